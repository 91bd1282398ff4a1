"""When a day or a month of a zone begins and ends. Pure."""

import datetime as dt
import zoneinfo
from dataclasses import dataclass

from runs.models.budgets import DAY, MONTH


@dataclass(frozen=True)
class Span:
    """From `begins_at` up to, and without, `ends_at`; None: it has no end."""

    begins_at: dt.datetime
    ends_at: dt.datetime | None

    def holds(self, moment: dt.datetime) -> bool:
        return self.begins_at <= moment and (self.ends_at is None or moment < self.ends_at)


def around(moment: dt.datetime, period: str, zone: str) -> Span:
    """The day or month in which `moment` lies, as the clocks of `zone` show it; both ends in UTC.

    A day has 23 or 25 hours where the clocks change. Where midnight is skipped it begins when they were moved; where
    it comes twice, with the first.
    """
    there = zoneinfo.ZoneInfo(zone)
    date = moment.astimezone(there).date()
    if period == MONTH:
        date = date.replace(day=1)
    return Span(_midnight(date, there), _midnight(_following(date, period), there))


def _following(date: dt.date, period: str) -> dt.date:
    if period == DAY:
        return date + dt.timedelta(days=1)
    return (date.replace(day=28) + dt.timedelta(days=4)).replace(day=1)


def _midnight(date: dt.date, zone: zoneinfo.ZoneInfo) -> dt.datetime:
    return dt.datetime.combine(date, dt.time(), zone).astimezone(dt.UTC)
