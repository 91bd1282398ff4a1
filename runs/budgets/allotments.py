"""Allotments: what runs are handed of a budget, so that their model calls do not queue on one row.

A run draws a chunk when its allotment has less than the next call may cost, from every budget above it at once or from
none; who finds a budget dry takes back first what other runs have drawn and not reserved. So at a refusal nothing of
the budget is left but what calls in flight have reserved, and less than one more reservation.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q
from django.db.models.functions import Now

from runs.budgets.accounts import WARN_AT
from runs.budgets.calendar import Span
from runs.budgets.caps import Cap
from runs.models import Budget, BudgetPeriod
from runs.models.budgets import LEVELS, RUN

# A run draws this part of what is left where that is more than it needs; all of what is left of a budget of its own.
SHARE = Decimal(1) / 32
# What a run has drawn and not used for so long goes back.
IDLE_SECONDS = 600
BATCH = 500

_IN_ORDER = f"array_position(ARRAY{list(LEVELS)}, b.level::text), b.id, p.id"  # as `caps.active` sorts them


@dataclass(frozen=True)
class Place:
    """An allotment of a budget, and what is left in it, as far as its worker knows."""

    id: int
    period_id: int
    left: Decimal


# -- opened by the first reservation of a run in a period --------------------------------------------------------
def opened(run_id: UUID, caps: Sequence[Cap], spans: Mapping[int, Span]) -> dict[tuple[int, dt.datetime], Place]:
    """The counters and allotments of these budgets, made where they were missing."""
    budgets = [cap.budget_id for cap in caps]
    runs = [run_id if cap.period == RUN else None for cap in caps]
    begins, ends = [spans[id].begins_at for id in budgets], [spans[id].ends_at for id in budgets]
    with connection.cursor() as cursor:
        cursor.execute(_OPEN_PERIODS, [budgets, runs, begins, ends])
        cursor.execute(_OPEN_ALLOTMENTS, [run_id, budgets, runs, begins])
        cursor.execute(_OPENED, [budgets, begins, run_id])
        return {
            (budget_id, begins_at): Place(id, period_id, left)
            for id, period_id, budget_id, begins_at, left in cursor.fetchall()
        }


# The budget's row is shared with no change of its cap: either that sees the new counter, or this sees the new cap.
_OPEN_PERIODS = """
INSERT INTO runs_budgetperiod (budget_id, run_id, begins_at, ends_at, cap_usd)
SELECT b.id, wanted.run_id, wanted.begins_at, wanted.ends_at, b.cap_usd
FROM unnest(%s::bigint[], %s::uuid[], %s::timestamptz[], %s::timestamptz[])
     WITH ORDINALITY AS wanted(budget_id, run_id, begins_at, ends_at, place)
JOIN runs_budget b ON b.id = wanted.budget_id
WHERE NOT EXISTS (SELECT FROM runs_budgetperiod p WHERE p.budget_id = wanted.budget_id
                  AND p.begins_at = wanted.begins_at AND p.run_id IS NOT DISTINCT FROM wanted.run_id)
ORDER BY wanted.place FOR SHARE OF b
ON CONFLICT DO NOTHING
"""
_OPEN_ALLOTMENTS = """
INSERT INTO runs_allotment (run_id, period_id)
SELECT %s, p.id FROM runs_budgetperiod p
JOIN unnest(%s::bigint[], %s::uuid[], %s::timestamptz[]) AS wanted(budget_id, run_id, begins_at)
  ON p.budget_id = wanted.budget_id AND p.begins_at = wanted.begins_at AND p.run_id IS NOT DISTINCT FROM wanted.run_id
ORDER BY p.id ON CONFLICT DO NOTHING
"""
_OPENED = """
SELECT a.id, p.id, p.budget_id, p.begins_at, a.granted_usd - a.spent_usd - a.reserved_usd
FROM runs_allotment a JOIN runs_budgetperiod p ON p.id = a.period_id
JOIN unnest(%s::bigint[], %s::timestamptz[]) AS wanted(budget_id, begins_at)
  ON p.budget_id = wanted.budget_id AND p.begins_at = wanted.begins_at
WHERE a.run_id = %s
"""


# -- reserved, and drawn where it is not enough ------------------------------------------------------------------
@dataclass(frozen=True)
class Part:
    """One allotment as it was found: what was left in it, what its budget had `room` for, and the `chunk` drawn."""

    id: int
    period_id: int | None
    left: Decimal
    room: Decimal | None
    chunk: Decimal
    limit: Decimal | None

    def lacks(self, amount: Decimal) -> bool:
        return self.left + self.chunk < amount


@dataclass(frozen=True)
class Found:
    """What a reservation came to; `account` is the cap of the run's own and what is used of it now."""

    fits: bool
    account_fits: bool
    account: tuple[Decimal, Decimal] | None
    parts: Sequence[Part]

    def dry(self, amount: Decimal) -> list[int]:
        """Counters that had not enough."""
        return [part.period_id for part in self.parts if part.period_id is not None and part.lacks(amount)]

    def short_node(self, amount: Decimal) -> int | None:
        return next((part.id for part in self.parts if part.period_id is None and part.lacks(amount)), None)

    def after(self, place: Place, amount: Decimal) -> Place:
        part = next(part for part in self.parts if part.id == place.id)
        return Place(place.id, place.period_id, part.left + part.chunk - amount if self.fits else part.left)


def reserve(run_id: UUID, amount: Decimal, ids: Sequence[int], period_ids: Sequence[int]) -> Found:
    """One statement: from the run's account and all of these allotments, or from none; drawn from `period_ids` first
    where an allotment has too little. Locks: those counters, the account, the allotments."""
    with connection.cursor() as cursor:
        cursor.execute(
            _RESERVE,
            {"run": run_id, "amount": amount, "ids": list(ids), "periods": list(period_ids), "share": SHARE},
        )
        rows = cursor.fetchall()
    fits, account_fits, cap, used = rows[0][:4]
    parts = [Part(*row[4:]) for row in rows]
    account = None if cap is None else (cap, used + amount if fits else used)
    return Found(fits, account_fits, account, parts)


_RESERVE = f"""
WITH counters AS MATERIALIZED (
  SELECT p.id, p.run_id IS NOT NULL AS is_runs,
         p.cap_usd + p.added_usd AS most, p.cap_usd + p.added_usd - p.granted_usd AS room
  FROM runs_budgetperiod p JOIN runs_budget b ON b.id = p.budget_id
  WHERE p.id = ANY(%(periods)s::bigint[]) ORDER BY {_IN_ORDER} FOR NO KEY UPDATE OF p),
own AS MATERIALIZED (
  SELECT cap_usd, spent_usd + reserved_usd AS used FROM runs_account
  WHERE run_id = %(run)s AND (SELECT count(*) FROM counters) >= 0 FOR NO KEY UPDATE),
held AS MATERIALIZED (
  SELECT a.id, a.period_id, a.granted_usd - a.spent_usd - a.reserved_usd AS unused, a.spent_usd - a.counted_usd AS news
  FROM runs_allotment a WHERE a.id = ANY(%(ids)s::bigint[]) AND (SELECT count(*) FROM own) >= 0
  ORDER BY a.id FOR NO KEY UPDATE),
parts AS MATERIALIZED (
  SELECT held.*, counters.room, counters.most,
         CASE WHEN counters.id IS NULL OR held.unused >= %(amount)s THEN 0
              ELSE greatest(0, least(room, greatest(%(amount)s - unused,
                                                    CASE WHEN is_runs THEN room ELSE round(room * %(share)s, 6) END)))
         END AS chunk
  FROM held LEFT JOIN counters ON counters.id = held.period_id),
verdict AS MATERIALIZED (
  SELECT coalesce((SELECT cap_usd >= used + %(amount)s FROM own), true) AS account_fits,
         (SELECT bool_and(unused + chunk >= %(amount)s) FROM parts) AS parts_fit),
paid AS (
  UPDATE runs_account SET reserved_usd = reserved_usd + %(amount)s
  WHERE run_id = %(run)s AND (SELECT account_fits AND parts_fit FROM verdict)),
taken AS (
  UPDATE runs_allotment t SET granted_usd = granted_usd + chunk, reserved_usd = reserved_usd + %(amount)s,
         counted_usd = CASE WHEN chunk > 0 THEN counted_usd + news ELSE counted_usd END,
         is_live = true, touched_at = clock_timestamp()
  FROM parts WHERE t.id = parts.id AND (SELECT account_fits AND parts_fit FROM verdict)),
drawn AS (
  UPDATE runs_budgetperiod t SET granted_usd = granted_usd + chunk, spent_usd = spent_usd + news
  FROM parts WHERE t.id = parts.period_id AND chunk > 0 AND (SELECT account_fits AND parts_fit FROM verdict))
SELECT account_fits AND parts_fit, account_fits, (SELECT cap_usd FROM own), (SELECT used FROM own),
       parts.id, parts.period_id, parts.unused, parts.room, parts.chunk, parts.most
FROM verdict, parts
"""  # noqa: S608


# -- given back --------------------------------------------------------------------------------------------------
def take_back(period_ids: Sequence[int], *, but: UUID | None = None) -> Decimal:
    """All that live runs have drawn and not reserved, one run's left out, goes back to these counters, which the caller
    holds or which are locked here. Comes to how much that was."""
    return _returned(
        "a.period_id = ANY(%(periods)s) AND a.run_id IS DISTINCT FROM %(but)s::uuid",
        {"periods": list(period_ids), "but": but},
        ends=False,
    )


def give_back(run_id: UUID) -> Decimal:
    """Of a run that has ended. A transaction of its own: no other lock is held."""
    with transaction.atomic():
        return _returned("a.run_id = %(run)s AND a.is_live", {"run": run_id}, ends=True)


def give_back_idle() -> int:
    """What nobody has touched for long: its run waits, or has ended and whoever ended it went away."""
    with connection.cursor() as cursor:
        cursor.execute(_IDLE, {"idle": IDLE_SECONDS, "most": BATCH})
        ids = [id for (id,) in cursor.fetchall()]
    if ids:
        with transaction.atomic():
            _returned(f"a.id = ANY(%(ids)s) AND {_IS_IDLE}", {"ids": ids, "idle": IDLE_SECONDS}, ends=True)
    return len(ids)


_IS_IDLE = "touched_at < now() - make_interval(secs => %(idle)s)"
_IDLE = f"SELECT id FROM runs_allotment WHERE is_live AND period_id IS NOT NULL AND {_IS_IDLE} LIMIT %(most)s"  # noqa: S608


def _returned(which: str, values: dict[str, Any], *, ends: bool) -> Decimal:
    """Counters first, then allotments, each in their order."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK_COUNTERS.format(which=which), values)
        cursor.execute(_RETURN.format(which=which), {**values, "ends": ends})
        return cursor.fetchone()[0]


_LOCK_COUNTERS = f"""
SELECT p.id FROM runs_budgetperiod p JOIN runs_budget b ON b.id = p.budget_id
WHERE p.id IN (SELECT a.period_id FROM runs_allotment a WHERE a.is_live AND {{which}})
ORDER BY {_IN_ORDER} FOR NO KEY UPDATE OF p
"""  # noqa: S608
_RETURN = """
WITH held AS MATERIALIZED (
  SELECT a.id, a.period_id, a.granted_usd - a.spent_usd - a.reserved_usd AS unused, a.spent_usd - a.counted_usd AS news
  FROM runs_allotment a WHERE a.is_live AND a.period_id IS NOT NULL AND {which} ORDER BY a.id FOR NO KEY UPDATE),
given AS (
  UPDATE runs_allotment t SET granted_usd = granted_usd - unused, counted_usd = counted_usd + news,
         is_live = NOT %(ends)s OR reserved_usd > 0
  FROM held WHERE t.id = held.id),
back AS (
  UPDATE runs_budgetperiod t SET granted_usd = granted_usd - sums.unused, spent_usd = spent_usd + sums.news
  FROM (SELECT period_id, sum(unused) AS unused, sum(news) AS news FROM held GROUP BY period_id) AS sums
  WHERE t.id = sums.period_id)
SELECT coalesce(sum(unused), 0) FROM held
"""


def change(budget: Budget) -> None:
    """Save a budget as it is now. What runs have drawn of it and not reserved goes back: a lower cap bites at the next
    reservation. What is spent or reserved above it stays so."""
    with transaction.atomic():
        budget.save()
        open_now = Q(ends_at__isnull=True) | Q(ends_at__gt=Now())
        take_back(list(budget.periods.filter(open_now).values_list("pk", flat=True)))


# -- nearly gone -------------------------------------------------------------------------------------------------
def first_warnings(found: Found) -> list[BudgetPeriod]:
    """Counters of which this draw handed out the last part, and nobody was told before."""
    ids = [
        part.period_id
        for part in found.parts
        if part.chunk
        and part.room is not None
        and part.limit is not None
        and part.room - part.chunk <= part.limit * (1 - WARN_AT)
    ]
    if not ids:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE runs_budgetperiod SET warned_at = clock_timestamp()"
            " WHERE id = ANY(%s::bigint[]) AND warned_at IS NULL RETURNING id",
            [ids],
        )
        told = [id for (id,) in cursor.fetchall()]
    return (
        list(BudgetPeriod.objects.filter(pk__in=told).select_related("budget__owner", "budget__agent")) if told else []
    )
