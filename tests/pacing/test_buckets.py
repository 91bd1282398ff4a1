"""The bucket alone: exact whatever comes when, and a place of its own for everybody who waits."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.pacing.buckets import Bucket

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def seconds(number):
    return dt.timedelta(seconds=number)


def bucket(interval=1, at_once=1):
    return Bucket(seconds(interval), at_once)


def test_a_full_bucket_lets_so_many_through_at_once_and_then_one_an_interval():
    it, taken = bucket(at_once=3), []
    for tenth in range(60):
        now = START + seconds(tenth / 10)
        if it.may_take(now, has_place=False):
            it.take(now)
            taken.append(tenth / 10)

    assert taken == [0, 0.1, 0.2, 1, 2, 3, 4, 5]


@given(
    st.lists(st.floats(0, 3), max_size=60), st.integers(1, 5), st.sampled_from([0.1, 0.5, 1.0]), st.lists(st.booleans())
)
def test_in_no_stretch_of_time_more_pass_than_the_rate_allows(pauses, at_once, interval, have_places):
    it, now, taken = bucket(interval, at_once), START, []
    for n, pause in enumerate(pauses):
        now += seconds(pause)
        has_place = n < len(have_places) and have_places[n]
        if it.may_take(now, has_place=has_place):
            it.take(now)
            taken.append(now)
        else:
            it.place(now, was_late=has_place)
    for first, begun in enumerate(taken):
        for last, ended in enumerate(taken[first:], start=first):
            assert last - first + 1 <= at_once + (ended - begun) / seconds(interval) + 1e-9


def test_five_hundred_who_wait_come_in_order_and_each_once():
    it = bucket(at_once=5)
    places = []
    for _ in range(505):
        if it.may_take(START, has_place=False):
            it.take(START)
        else:
            places.append(it.place(START, was_late=False))

    assert places == sorted(set(places))
    assert len(places) == 500
    for place in places:
        assert it.may_take(place, has_place=True)
        it.take(place)


def test_a_newcomer_does_not_pass_those_who_have_a_place():
    it = bucket()
    it.take(START)
    place = it.place(START, was_late=False)
    later = it.place(START, was_late=False)

    assert not it.may_take(place, has_place=False)
    assert it.may_take(place, has_place=True)
    assert later == place + seconds(1)


def test_who_comes_late_and_finds_it_full_is_next_and_not_last():
    it = bucket()
    it.take(START)
    places = [it.place(START, was_late=False) for _ in range(100)]
    late = places[1] + seconds(0.4)
    it.take(late)  # the first, who came as late

    assert not it.may_take(late, has_place=True)
    assert it.place(late, was_late=True) == late + seconds(1)


@given(st.lists(st.floats(0, 3), max_size=20), st.integers(1, 5), st.sampled_from([0.1, 0.5, 1.0]))
def test_what_is_left_is_what_is_let_through(pauses, at_once, interval):
    it, now = bucket(interval, at_once), START
    for pause in pauses:
        now += seconds(pause)
        if it.may_take(now, has_place=True):
            it.take(now)
    left, taken = it.left(now), 0
    while it.may_take(now, has_place=True):
        it.take(now)
        taken += 1

    assert left == taken


@pytest.mark.parametrize("at_once", [1, 3])
def test_a_clock_that_was_ahead_once_blocks_it_no_longer_than_a_full_rate_would(at_once):
    it, ahead = bucket(interval=2, at_once=at_once), START + seconds(3600)
    while it.may_take(ahead, has_place=False):
        it.take(ahead)
    assert it.place(ahead, was_late=False) > ahead
    assert it.place(ahead, was_late=True) > ahead

    it.keep_to(START)

    assert not it.may_take(START, has_place=True)
    assert it.may_take(START + seconds(2), has_place=True)
    assert it.may_take(START + seconds(2 * at_once), has_place=False)


@given(st.lists(st.floats(0, 3), max_size=30), st.integers(1, 5))
def test_control_by_a_clock_that_goes_on_nothing_is_taken_back(pauses, at_once):
    it, now = bucket(0.5, at_once), START
    for pause in pauses:
        now += seconds(pause)
        before = (it.spent_to, it.promised_to, it.made_up_to)
        it.keep_to(now)
        assert (it.spent_to, it.promised_to, it.made_up_to) == before
        if it.may_take(now, has_place=False):
            it.take(now)
        else:
            it.place(now, was_late=False)
