"""Days and months as the clocks of a zone show them, also where they change. Pure."""

import datetime as dt
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.budgets.calendar import around
from runs.models.budgets import DAY, MONTH


def utc(text):
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("zone", "moment", "begins", "hours"),
    [
        ("UTC", "2026-03-29T12:00", "2026-03-29T00:00", 24),
        ("Europe/Berlin", "2026-03-28T12:00", "2026-03-27T23:00", 24),
        ("Europe/Berlin", "2026-03-29T12:00", "2026-03-28T23:00", 23),
        ("Europe/Berlin", "2026-10-25T12:00", "2026-10-24T22:00", 25),
        ("America/New_York", "2026-03-08T12:00", "2026-03-08T05:00", 23),
        ("America/New_York", "2026-11-01T12:00", "2026-11-01T04:00", 25),
        # Midnight itself is skipped, and comes twice.
        ("Africa/Cairo", "2026-04-24T12:00", "2026-04-23T22:00", 23),
        ("America/Havana", "2026-11-01T04:30", "2026-11-01T04:00", 25),
        ("America/Havana", "2026-11-01T05:30", "2026-11-01T04:00", 25),
        ("Asia/Kathmandu", "2026-01-01T18:20", "2026-01-01T18:15", 24),
    ],
)
def test_a_day_is_as_long_as_the_clocks_say(zone, moment, begins, hours):
    day = around(utc(moment), DAY, zone)

    assert day.begins_at == utc(begins)
    assert day.ends_at is not None
    assert day.ends_at - day.begins_at == dt.timedelta(hours=hours)


@pytest.mark.parametrize(
    ("moment", "begins", "ends"),
    [
        ("2026-01-31T23:30", "2026-01-31T23:00", "2026-02-28T23:00"),  # it is February in Berlin
        ("2026-03-15T00:00", "2026-02-28T23:00", "2026-03-31T22:00"),
        ("2028-02-29T12:00", "2028-01-31T23:00", "2028-02-29T23:00"),
        ("2026-12-31T22:59", "2026-11-30T23:00", "2026-12-31T23:00"),
    ],
)
def test_a_month_begins_at_its_own_midnight(moment, begins, ends):
    month = around(utc(moment), MONTH, "Europe/Berlin")

    assert (month.begins_at, month.ends_at) == (utc(begins), utc(ends))


ZONES = ["UTC", "Europe/Berlin", "America/New_York", "America/Havana", "Africa/Cairo", "Australia/Lord_Howe"]


@given(
    st.integers(0, 10 * 365 * 86_400),
    st.sampled_from([DAY, MONTH]),
    st.sampled_from(ZONES),
)
def test_every_moment_lies_in_one_period_and_they_follow_one_another(seconds, period, zone):
    moment = utc("2020-01-01T00:00") + dt.timedelta(seconds=seconds)

    spans = [around(moment, period, zone)]
    for _ in range(3):
        assert spans[-1].ends_at is not None
        spans.append(around(spans[-1].ends_at, period, zone))

    assert spans[0].holds(moment)
    assert all(before.ends_at == after.begins_at for before, after in pairwise(spans))
    assert all(around(span.begins_at, period, zone) == span for span in spans)
