"""Rates, exact under any concurrency: buckets are locked, read and written in the transaction that commits the intent.

Lock order: after requests, before budgets and the chain's head; several buckets in the order of their ids. Where no
limit matches, nothing is asked of the database.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from django.contrib.auth.models import User
from django.db import connection
from django.db.models import OuterRef, Subquery

from agents import roster
from agents.roster import Roster
from runs import leases
from runs.models import Dispatch, RateLimit
from runs.models.pacing import APP, CALLS, EACH, MODEL_CALLS, RATE_SCOPES
from runs.pacing.buckets import LONG_AGO, Bucket
from runs.pacing.deeds import Deed, Held

Limits = Mapping[tuple[str, str, str], RateLimit]
# A limit and the key of the bucket.
Counted = tuple[int, str]


# -- which limits ------------------------------------------------------------------------------------------------
def limits(served: Roster) -> Limits:
    return served.keep("rates", _limits)


def matching(served: Roster, deed: Deed) -> list[tuple[RateLimit, str]]:
    """The limits that a deed is counted under, each with the key of its bucket."""
    found = limits(served)
    return list(_matching(found, deed)) if found else []


def _matching(limits: Limits, deed: Deed) -> Iterable[tuple[RateLimit, str]]:
    counts = MODEL_CALLS if deed.is_model_call else CALLS
    for scope in RATE_SCOPES[counts]:
        for name in deed.named(scope):
            limit = limits.get((counts, scope, name)) or limits.get((counts, scope, EACH))
            if limit is not None:
                yield limit, name


def _limits() -> Limits:
    """Apps by the ids of their users, as dispatches know them: by one statement, so that none is renamed between."""
    app = User.objects.filter(username=OuterRef("name")).values("pk")
    rows = RateLimit.objects.filter(active=True).annotate(app=Subquery(app))
    keys = [str(row.app or row.name) if row.scope == APP else row.name for row in rows]
    return {(row.counts, row.scope, key): row for row, key in zip(rows, keys, strict=True)}


def follow(before: str, now: str) -> None:
    """A user was renamed: its limits hold on, and what is used up of them stays so."""
    own = RateLimit.objects.filter(scope=APP, name=before)
    if counts := list(own.values_list("counts", flat=True)):
        RateLimit.objects.filter(scope=APP, name=now, counts__in=counts).delete()
        own.update(name=now)
        roster.bump()


# -- taking ------------------------------------------------------------------------------------------------------
@dataclass
class Row:
    """One locked bucket. `before` is what it was taken up as."""

    id: int
    bucket: Bucket
    before: tuple[dt.datetime, ...] = ()

    @property
    def now(self) -> tuple[dt.datetime, ...]:
        return self.bucket.spent_to, self.bucket.promised_to, self.bucket.made_up_to


@dataclass
class Buckets:
    """The buckets of some deeds, locked until the transaction ends; `at` is the database's time after that."""

    dispatch: Dispatch
    at: dt.datetime = LONG_AGO
    rows: dict[Counted, Row] = field(default_factory=dict)

    @property
    def _has_place(self) -> bool:
        place = self.dispatch.place_at
        return self.dispatch.held_by.startswith("rate:") and place is not None and place <= self.at

    def hold(self, counted: Sequence[tuple[RateLimit, str]]) -> Held | None:
        """What holds a deed up; None where all of its buckets have room."""
        full = [each for each in counted if not self._of(each).may_take(self.at, has_place=self._has_place)]
        return self._held(full[0]) if full else None

    def take(self, counted: Sequence[tuple[RateLimit, str]]) -> None:
        for each in counted:
            self._of(each).take(self.at)

    def place(self, counted: Sequence[tuple[RateLimit, str]]) -> Held:
        """A place in each of the buckets, for who finds one of them full: the last of them is when to come again."""
        place = self.dispatch.place_at
        if self.dispatch.held_by.startswith("rate:") and place is not None and place > self.at:
            return self._held(self._named_by_place(counted), place)  # woken too early, and still in the row
        late = self._has_place
        places = [(self._of(each).place(self.at, was_late=late), each) for each in counted]
        last, each = max(places, key=lambda given: given[0])
        return self._held(each, last)

    def _named_by_place(self, counted: Sequence[tuple[RateLimit, str]]) -> tuple[RateLimit, str]:
        return next((each for each in counted if _by(each) == self.dispatch.held_by), counted[0])

    def _of(self, counted: tuple[RateLimit, str]) -> Bucket:
        limit, key = counted
        return self.rows[limit.pk, key].bucket

    def _held(self, counted: tuple[RateLimit, str], due_at: dt.datetime | None = None) -> Held:
        limit, key = counted
        told = f"the rate of {_named(limit, key)}: {limit.counted} in {limit.period}"
        return Held(told, _by(counted), due_at)

    def write(self) -> None:
        """And who has passed has a place no more."""
        changed = [row for row in self.rows.values() if row.now != row.before]
        if self._has_place and any(row.bucket.spent_to != row.before[0] for row in changed):
            leases.note(self.dispatch, held_by="", place_at=None)
        if changed:
            with connection.cursor() as cursor:
                columns = zip(*((row.id, *row.now) for row in changed), strict=True)
                cursor.execute(_WRITE, [list(column) for column in columns])


def _by(counted: tuple[RateLimit, str]) -> str:
    limit, key = counted
    return f"rate:{limit.pk}:{key}"


def _named(limit: RateLimit, key: str) -> str:
    name = User.objects.values_list("username", flat=True).get(pk=int(key)) if limit.scope == APP else key
    return f"{limit.scope} {name}"


def locked(dispatch: Dispatch, counted: Iterable[tuple[RateLimit, str]]) -> Buckets:
    """Lock these buckets in order, making those there are not yet."""
    limits = {(limit.pk, key): limit for limit, key in counted}
    buckets = Buckets(dispatch)
    if not limits:
        return buckets
    found = _lock(limits)
    if len(found) < len(limits):
        with connection.cursor() as cursor:
            cursor.execute(_MAKE, [LONG_AGO, LONG_AGO, LONG_AGO, *_columns(limits)])
        found = _lock(limits)
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        buckets.at = cursor.fetchone()[0]
    for id, limit_id, key, *moments in found:
        limit = limits[limit_id, key]
        row = Row(id, Bucket(limit.interval, limit.at_once, *moments))
        row.bucket.keep_to(buckets.at)
        row.before = row.now
        buckets.rows[limit_id, key] = row
    return buckets


def _lock(limits: Mapping[Counted, RateLimit]) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(_LOCK, _columns(limits))
        return cursor.fetchall()


def _columns(limits: Mapping[Counted, RateLimit]) -> list[list]:
    wanted = sorted(limits)
    return [[limit for limit, _ in wanted], [key for _, key in wanted]]


_LOCK = """
SELECT b.id, b.limit_id, b.key, b.spent_to, b.promised_to, b.made_up_to FROM runs_ratebucket b
JOIN unnest(%s::bigint[], %s::text[]) AS wanted(limit_id, key) ON b.limit_id = wanted.limit_id AND b.key = wanted.key
ORDER BY b.id FOR NO KEY UPDATE OF b
"""
_MAKE = """
INSERT INTO runs_ratebucket (limit_id, key, spent_to, promised_to, made_up_to)
SELECT limit_id, key, %s, %s, %s FROM unnest(%s::bigint[], %s::text[]) AS wanted(limit_id, key)
ORDER BY limit_id, key ON CONFLICT DO NOTHING
"""
_WRITE = """
UPDATE runs_ratebucket b SET spent_to = n.spent_to, promised_to = n.promised_to, made_up_to = n.made_up_to
FROM unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[])
     AS n(id, spent_to, promised_to, made_up_to)
WHERE b.id = n.id
"""
