"""Time windows in named zones, right on both days a year on which the clocks change. Pure.

What is meant is the clock on the wall: a window that opens at 02:30 opens, on the day on which the clocks jump from
02:00 to 03:00, as they jump; on the day on which the hour from 02:00 comes twice it opens the first time, and one that
closes at 02:30 closes the second time.
"""

import datetime as dt
from zoneinfo import ZoneInfo

from tools.policies.values import Window

DAY = dt.timedelta(days=1)
# How far ahead the next opening is looked for: a window of one day a week, with a year of excepted dates.
HORIZON_DAYS = 400


def is_open(window: Window, now: dt.datetime) -> bool:
    """`now` is aware."""
    today = now.astimezone(ZoneInfo(window.zone)).date()
    return any(opens <= now < closes for day in (today - DAY, today) for opens, closes in _hours(window, day))


def next_opening(window: Window, now: dt.datetime) -> dt.datetime | None:
    """The first moment after `now` at which it opens, in UTC; None when it does not within a year."""
    today = now.astimezone(ZoneInfo(window.zone)).date()
    for ahead in range(HORIZON_DAYS):
        for opens, _ in _hours(window, today + ahead * DAY):
            if opens > now:
                return opens
    return None


def _hours(window: Window, day: dt.date) -> list[tuple[dt.datetime, dt.datetime]]:
    """When it is open on what began on that day; nothing where the day is not among its own."""
    if day.weekday() not in window.days or day in window.except_dates:
        return []
    last = day if window.opens < window.closes else day + DAY
    opens, closes = _instant(day, window.opens, window.zone, 0), _instant(last, window.closes, window.zone, 1)
    return [(opens, closes)] if opens < closes else []


def _instant(day: dt.date, time: dt.time, zone: str, fold: int) -> dt.datetime:
    """When the clock shows this, in UTC: the first or the second time it does; the moment it jumps over it, if so."""
    shown = dt.datetime.combine(day, time, ZoneInfo(zone)).replace(fold=fold)
    instant = shown.astimezone(dt.UTC)
    if instant.astimezone(shown.tzinfo).replace(tzinfo=None, fold=0) == shown.replace(tzinfo=None, fold=0):
        return instant
    return _jump(instant - DAY, instant + DAY, ZoneInfo(zone))


def _jump(before: dt.datetime, after: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    """The second at which the offset changes between the two."""
    old = before.astimezone(zone).utcoffset()
    while after - before > dt.timedelta(seconds=1):
        middle = (before + (after - before) / 2).replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == old:
            before = middle
        else:
            after = middle
    return after.replace(microsecond=0)
