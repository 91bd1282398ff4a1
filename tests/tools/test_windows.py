"""Time windows by the clock on the wall, on ordinary days and on those on which the clocks change."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.policies.values import Window
from tools.policies.windows import is_open, next_opening

ALL = frozenset(range(7))
WEEKDAYS = frozenset(range(5))
BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"


def window(opens: str, closes: str, zone: str = BERLIN, days: frozenset[int] = ALL, *closed: str) -> Window:
    dates = frozenset(map(dt.date.fromisoformat, closed))
    return Window("w", zone, days, dt.time.fromisoformat(opens), dt.time.fromisoformat(closes), dates)


def utc(moment: str) -> dt.datetime:
    return dt.datetime.fromisoformat(moment).replace(tzinfo=dt.UTC)


# In 2026 Berlin's clocks jump on 29 March at 01:00 UTC and fall back on 25 October at 01:00 UTC; New York's jump on
# 8 March at 07:00 UTC and fall back on 1 November at 06:00 UTC.
OFFICE, NIGHT, LATE = window("09:00", "17:00"), window("22:00", "06:00"), window("02:30", "04:00")
OFFICE_NY, LATE_NY = window("09:00", "17:00", NEW_YORK), window("02:30", "04:00", NEW_YORK)
ONE_THIRTY, ONE_THIRTY_NY = window("01:30", "02:30"), window("00:30", "01:30", NEW_YORK)
SKIPPED, SKIPPED_NY = window("02:00", "03:00"), window("02:00", "03:00", NEW_YORK)

# fmt: off
TABLE = [
    # window       moment, UTC            open   what
    (OFFICE,       "2026-01-05T08:00",    True,  "it opens at its minute, in winter an hour from UTC"),
    (OFFICE,       "2026-01-05T07:59:59", False, "not a second earlier"),
    (OFFICE,       "2026-01-05T15:59:59", True,  "until the last second"),
    (OFFICE,       "2026-01-05T16:00",    False, "it closes at its minute"),
    (OFFICE,       "2026-07-06T07:00",    True,  "in summer two hours from UTC"),
    (OFFICE,       "2026-07-06T15:00",    False, "in summer it closes by the wall too"),
    (OFFICE,       "2026-03-29T07:00",    True,  "on the day of the jump it is summer by nine"),
    (OFFICE,       "2026-10-25T07:30",    False, "on the day of the fall it is winter by nine"),
    (OFFICE,       "2026-10-25T08:00",    True,  "and opens by winter's clock"),
    (NIGHT,        "2026-01-05T22:30",    True,  "across midnight, the evening"),
    (NIGHT,        "2026-01-06T04:59:59", True,  "across midnight, the morning after"),
    (NIGHT,        "2026-01-06T05:00",    False, "closed by its minute"),
    (NIGHT,        "2026-03-29T03:59:59", True,  "the night of the jump ends at six by the wall"),
    (NIGHT,        "2026-03-29T04:00",    False, "an hour earlier in UTC than the night before"),
    (NIGHT,        "2026-10-25T04:59:59", True,  "the night of the fall is an hour longer"),
    (NIGHT,        "2026-10-25T05:00",    False, "and ends at six by the wall"),
    (LATE,         "2026-03-29T00:59:59", False, "an opening that is jumped over: not before the jump"),
    (LATE,         "2026-03-29T01:00",    True,  "but as the clocks jump"),
    (LATE,         "2026-03-29T02:00",    False, "until its closing, four by the wall"),
    (LATE,         "2026-10-25T00:30",    True,  "an opening that comes twice: the first time"),
    (LATE,         "2026-10-25T01:15",    True,  "and it stays open through the hour's return"),
    (ONE_THIRTY,   "2026-10-25T00:30",    True,  "a closing that comes twice: not the first time"),
    (ONE_THIRTY,   "2026-10-25T01:29:59", True,  "up to the second"),
    (ONE_THIRTY,   "2026-10-25T01:30",    False, "then it closes"),
    (ONE_THIRTY,   "2026-03-29T00:59:59", True,  "a closing that is jumped over: open up to the jump"),
    (ONE_THIRTY,   "2026-03-29T01:00",    False, "and closed from it on"),
    (SKIPPED,      "2026-03-29T01:00",    False, "a window that is jumped over whole never opens that day"),
    (SKIPPED,      "2026-10-25T01:59:59", True,  "and is two hours long on the day of the fall"),
    (OFFICE_NY,    "2026-03-07T14:00",    True,  "New York, the day before its jump"),
    (OFFICE_NY,    "2026-03-08T13:00",    True,  "New York, the day of its jump"),
    (OFFICE_NY,    "2026-11-01T13:30",    False, "New York, the day of its fall: not by summer's clock"),
    (OFFICE_NY,    "2026-11-01T14:00",    True,  "but by winter's"),
    (LATE_NY,      "2026-03-08T06:59:59", False, "New York, an opening that is jumped over"),
    (LATE_NY,      "2026-03-08T07:00",    True,  "opens as the clocks jump"),
    (ONE_THIRTY_NY, "2026-11-01T05:30",   True,  "New York, a closing that comes twice: still open"),
    (ONE_THIRTY_NY, "2026-11-01T06:30",   False, "and closed the second time"),
    (SKIPPED_NY,   "2026-03-08T07:00",    False, "New York, jumped over whole"),
]
# fmt: on


@pytest.mark.parametrize(("given", "moment", "expected", "what"), TABLE, ids=[row[3] for row in TABLE])
def test_it_is_open_by_the_clock_on_the_wall(given, moment, expected, what):
    assert is_open(given, utc(moment)) is expected


# fmt: off
NEXT = [
    # window                                          now                 opens next
    (OFFICE,                                          "2026-01-05T07:00", "2026-01-05T08:00"),
    (OFFICE,                                          "2026-01-05T08:00", "2026-01-06T08:00"),
    (window("09:00", "17:00", BERLIN, WEEKDAYS),      "2026-01-09T17:00", "2026-01-12T08:00"),
    (OFFICE,                                          "2026-03-28T17:00", "2026-03-29T07:00"),
    (OFFICE,                                          "2026-10-24T17:00", "2026-10-25T08:00"),
    (LATE,                                            "2026-03-28T12:00", "2026-03-29T01:00"),
    (LATE,                                            "2026-10-24T12:00", "2026-10-25T00:30"),
    (SKIPPED,                                         "2026-03-28T12:00", "2026-03-30T00:00"),
    (LATE_NY,                                         "2026-03-07T12:00", "2026-03-08T07:00"),
    (ONE_THIRTY_NY,                                   "2026-10-31T12:00", "2026-11-01T04:30"),
    (NIGHT,                                           "2026-01-05T12:00", "2026-01-05T21:00"),
    (window("09:00", "17:00", BERLIN, ALL, "2026-01-06"), "2026-01-05T12:00", "2026-01-07T08:00"),
]
# fmt: on


@pytest.mark.parametrize(("given", "now", "opens"), NEXT)
def test_the_next_opening(given, now, opens):
    assert next_opening(given, utc(now)) == utc(opens)


def test_one_that_never_opens_has_no_next_opening():
    assert next_opening(window("09:00", "17:00", BERLIN, frozenset()), utc("2026-01-05T12:00")) is None


def test_a_date_on_which_it_stays_closed_closes_the_night_that_begins_on_it():
    night = window("22:00", "06:00", BERLIN, ALL, "2026-01-05")

    assert not is_open(night, utc("2026-01-05T23:00"))
    assert not is_open(night, utc("2026-01-06T03:00"))
    assert is_open(night, utc("2026-01-05T03:00"))


zones = st.sampled_from([BERLIN, NEW_YORK, "UTC", "Australia/Lord_Howe", "Asia/Kathmandu", "America/St_Johns"])
times = st.times(max_value=dt.time(23, 59)).map(lambda time: time.replace(second=0, microsecond=0))
moments = st.integers(0, 365 * 24 * 60).map(lambda minutes: utc("2026-01-01") + dt.timedelta(minutes=minutes))
windows = st.builds(Window, st.just("w"), zones, st.frozensets(st.integers(0, 6), min_size=1), times, times)


@settings(max_examples=200, deadline=None)
@given(windows, moments)
def test_at_its_next_opening_it_is_open_and_was_not_opened_between(given_window, now):
    opens = next_opening(given_window, now)

    assert opens is not None
    assert opens > now
    assert is_open(given_window, opens)
    assert opens.tzinfo == dt.UTC


@settings(max_examples=100, deadline=None)
@given(windows, moments)
def test_a_closed_one_stays_closed_until_then(given_window, now):
    """The control of the test above: an opening that was passed over would show here."""
    if is_open(given_window, now):
        return
    opens = next_opening(given_window, now)
    assert opens is not None
    step = max((opens - now) / 50, dt.timedelta(seconds=1))
    between = now
    while between < opens:
        assert not is_open(given_window, between), between.astimezone(ZoneInfo(given_window.zone))
        between += step
