"""What one dispatch pays from: its own cap, its run's account, the nodes it works within, and capped budgets above.

Money is reserved BEFORE it is spent, by conditional UPDATE, and settled after. Locks: counters of budgets in the order
of `caps.active`, the run's account, its allotments by id; then no counter any more in the same transaction.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.db import connection

from orchestrator_site.core.events import Record
from runs.budgets import accounts, allotments
from runs.budgets.allotments import Place
from runs.budgets.caps import Cap
from runs.models import Dispatch


class Scope(StrEnum):
    """Whose cap was reached: the run's, the dispatch's, that of a node with all that lies within it, a budget's."""

    RUN = "run"
    DISPATCH = "dispatch"
    NODE = "node"
    BUDGET = "budget"


@dataclass(frozen=True)
class Short:
    """There is no room for the next call. `allotment_id` names the node's, `period_id` the budget's counter."""

    scope: Scope
    allotment_id: int | None = None
    period_id: int | None = None


class TakenBack(Exception):
    """Another run has taken back what this one had drawn and not reserved: read again, and draw first."""


@dataclass
class Purse:
    """What the worker that holds a dispatch knows of it; `drawn` are allotments of budgets, by budget and beginning."""

    has_account: bool = False
    nodes: tuple[int, ...] = ()
    drawn: dict[tuple[int, dt.datetime], Place] = field(default_factory=dict)


def read(dispatch: Dispatch) -> Purse:
    """One query, whatever there is."""
    purse = Purse(nodes=tuple(dispatch.terms.get("draws_on", ())))
    with connection.cursor() as cursor:
        cursor.execute(_READ, [dispatch.run_id, dispatch.run_id])
        for id, period_id, budget_id, begins_at, left in cursor.fetchall():
            if id is None:
                purse.has_account = True
            else:
                purse.drawn[budget_id, begins_at] = Place(id, period_id, left)
    return purse


_READ = """
SELECT a.id, p.id, p.budget_id, p.begins_at, a.granted_usd - a.spent_usd - a.reserved_usd
FROM runs_allotment a JOIN runs_budgetperiod p ON p.id = a.period_id
WHERE a.run_id = %s AND (p.ends_at IS NULL OR p.ends_at > clock_timestamp())
UNION ALL SELECT NULL, NULL, NULL, NULL, NULL FROM runs_account WHERE run_id = %s
"""


def reserve(
    log: Record, dispatch: Dispatch, amount_usd: Decimal, purse: Purse, caps: Sequence[Cap] = ()
) -> list[int] | Short:
    """Reserve for one model call from everywhere at once, or from nowhere. The caller holds the dispatch, whose run is
    joined and whose `now` is the database's.

    Comes to the ids of the allotments it was reserved from, which `settle` is given again. No statement where nothing
    is capped but the dispatch, one where allotments have what is wanted, else money is drawn first. Tells of a budget
    that is nearly gone. Raises TakenBack.
    """
    if dispatch.cost_usd + amount_usd > dispatch.cost_cap_usd:
        return Short(Scope.DISPATCH)
    if not caps and not purse.nodes:
        return _from_account(log, dispatch, amount_usd) if purse.has_account else []
    return _from_all(log, dispatch, amount_usd, purse, caps)


def _from_account(log: Record, dispatch: Dispatch, amount: Decimal) -> list[int] | Short:
    if (came_to := accounts.reserve(dispatch.run_id, amount)) is None:
        return Short(Scope.RUN)
    _warn_of_run(log, dispatch.run_id, amount, *came_to)
    return []


def _warn_of_run(log: Record, run_id: UUID, amount: Decimal, cap: Decimal, used: Decimal) -> None:
    """Only the call that crosses the line looks whether it was told before."""
    line = cap * accounts.WARN_AT
    if used - amount < line <= used and accounts.is_first_warning(run_id):
        log.run(run_id, "budget_low", budget="this run", used_usd=str(used), cap_usd=str(cap))


def _from_all(log: Record, dispatch: Dispatch, amount: Decimal, purse: Purse, caps: Sequence[Cap]) -> list[int] | Short:
    spans = {cap.budget_id: cap.span(dispatch.now, dispatch.run.created_at) for cap in caps}
    keys = [(id, span.begins_at) for id, span in spans.items()]
    if any(key not in purse.drawn for key in keys):
        purse.drawn |= allotments.opened(dispatch.run_id, caps, spans)
    places = [purse.drawn[key] for key in keys]
    draws = any(place.left < amount for place in places)
    ids = sorted([*purse.nodes, *(place.id for place in places)])
    period_ids = [place.period_id for place in places]
    found = allotments.reserve(dispatch.run_id, amount, ids, period_ids if draws else [])
    if draws and not found.fits and found.account_fits and (dry := found.dry(amount)):
        allotments.take_back(dry, but=dispatch.run_id)
        found = allotments.reserve(dispatch.run_id, amount, ids, period_ids)
    for key, place in zip(keys, places, strict=True):
        purse.drawn[key] = found.after(place, amount)
    if not found.fits:
        return _short(found, amount, draws=draws)
    _warn(log, dispatch, amount, found)
    return ids


def _short(found: allotments.Found, amount: Decimal, *, draws: bool) -> Short:
    if not found.account_fits:
        return Short(Scope.RUN)
    if (node := found.short_node(amount)) is not None:
        return Short(Scope.NODE, allotment_id=node)
    if not draws:
        raise TakenBack
    return Short(Scope.BUDGET, period_id=found.dry(amount)[0])


def _warn(log: Record, dispatch: Dispatch, amount: Decimal, found: allotments.Found) -> None:
    if found.account is not None:
        _warn_of_run(log, dispatch.run_id, amount, *found.account)
    for period in allotments.first_warnings(found):
        told: dict[str, Any] = {"budget": str(period.budget), "period": period.pk, "cap_usd": str(period.limit_usd)}
        told["used_usd"] = str(period.granted_usd)
        log.run(dispatch.run_id, "budget_low", **told)
        log.platform("budget_low", **told)


def settle(
    log: Record, dispatch: Dispatch, reserved_usd: Decimal, spent_usd: Decimal, allotment_ids: Sequence[int] | None = ()
) -> None:
    """Turn a reservation into what was spent; the dispatch's own cost is written by its holder."""
    log.writes.add(_SETTLE_ACCOUNT, [reserved_usd, spent_usd, dispatch.run_id])
    if allotment_ids:
        log.writes.add(_SETTLE_ALLOTMENTS, [reserved_usd, spent_usd, list(allotment_ids)])


_SETTLE_ACCOUNT = (
    "UPDATE runs_account SET reserved_usd = reserved_usd - %s, spent_usd = spent_usd + %s WHERE run_id = %s"
)
_SETTLE_ALLOTMENTS = """
UPDATE runs_allotment SET reserved_usd = reserved_usd - %s, spent_usd = spent_usd + %s
FROM (SELECT id AS held_id FROM runs_allotment WHERE id = ANY(%s::bigint[]) ORDER BY id FOR NO KEY UPDATE) AS held
WHERE id = held_id
"""
