"""The event log's partitions: the platform's chain, the runs of each month, and a net for what fits nowhere.

A run's chain is `run:<UUIDv7>`, which begins with the moment the run was made: sorted as bytes, a month of runs is a
range of chains. Whoever reads one chain reads one partition; a month that nobody needs any more goes as a table does.
"""

import datetime as dt
import re
from dataclasses import dataclass
from uuid import UUID

from django.db import connection, transaction

from orchestrator_site.core.clock import database_now

TABLE = "core_event"
MONTHS_AHEAD = 3
# Making one takes the net's lock for an instant; whoever writes there is not kept waiting longer than this.
LOCK_SECONDS = 2
# One maker at a time; the key is ours alone.
LOCK = 0x6261746F6E02
_NAME = re.compile(rf"{TABLE}_(\d{{4}})_(\d{{2}})")


@dataclass(frozen=True, order=True)
class Month:
    """A calendar month, UTC."""

    year: int
    month: int

    @classmethod
    def of(cls, moment: dt.datetime) -> "Month":
        utc = moment.astimezone(dt.UTC)
        return cls(utc.year, utc.month)

    def __str__(self) -> str:
        return f"{self.year}-{self.month:02}"

    @property
    def partition(self) -> str:
        return f"{TABLE}_{self.year}_{self.month:02}"

    @property
    def following(self) -> "Month":
        return Month(self.year + self.month // 12, self.month % 12 + 1)

    @property
    def begins_at(self) -> dt.datetime:
        return dt.datetime(self.year, self.month, 1, tzinfo=dt.UTC)

    @property
    def ends_at(self) -> dt.datetime:
        return self.following.begins_at

    @property
    def first_id(self) -> UUID:
        """Runs made in the month have ids from this one up to the following month's first."""
        return UUID(int=int(self.begins_at.timestamp() * 1000) << 80)

    @property
    def first_chain(self) -> str:
        """And their chains, sorted as bytes, likewise."""
        return f"run:{str(self.first_id)[:13]}"


def months() -> list[Month]:
    """Those that have a partition, oldest first."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass", [TABLE])
        found = [_NAME.fullmatch(name) for (name,) in cursor.fetchall()]
    return sorted(Month(int(each[1]), int(each[2])) for each in found if each)


def make_ahead() -> list[Month]:
    """Make what is missing of this month and the three to come, and return it. Any number may ask at once."""
    missing = _missing()
    return [month for month in missing if _make(month)]


def _missing() -> list[Month]:
    there = set(months())
    wanted = [Month.of(database_now())]
    for _ in range(MONTHS_AHEAD):
        wanted.append(wanted[-1].following)
    return [month for month in wanted if month not in there]


def _make(month: Month) -> bool:
    """False when another one was first, or is at it. What waited for it in the net moves into it."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            return False
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{LOCK_SECONDS}s"])
        cursor.execute("SELECT baton_make_event_partition(%s)", [month.begins_at.date()])
        return cursor.fetchone()[0]
