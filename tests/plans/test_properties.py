"""Over random DAGs: each node is tried once, never before its parents, and failed parents mean what the rule says."""

import random
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from unittest import mock

import pytest
from django.db import connections
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runs import carrier, orchestration, states
from runs.models import Dispatch
from runs.orchestration import nodes
from runs.planning import checking, values
from tests.plans import dags
from tests.plans.cast import node, plan
from tests.runs.cast import agent, at_once, carry_all, start

pytestmark = pytest.mark.django_db(transaction=True)
FIXTURES = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.fixture(autouse=True)
def cast(model):
    agent("worker")


def carry_shuffled(run, seed):
    """In any order, as several workers would come to them."""
    dice = random.Random(seed)
    while ready := list(Dispatch.objects.forgotten().filter(run=run)):
        carrier.carry(dice.choice(ready).pk)
    run.refresh_from_db()


@settings(max_examples=25, deadline=None, suppress_health_check=FIXTURES)
@given(spots=dags.dags(), seed=st.integers(0, 1000))
def test_a_random_dag_comes_to_what_its_rules_say(ann, spots, seed):
    run = start(ann, "x", agent=None, plan=dags.plan_of(spots))

    carry_shuffled(run, seed)

    assert dags.faults(run, spots) == []
    ends = [f"n{n}" for n in range(len(spots)) if not any(n in spot.parents for spot in spots)]
    good = all(dags.expected(spots)[key] == "succeeded" for key in ends)
    assert run.status == (states.SUCCEEDED if good else states.FAILED)


def test_control_a_scheduler_that_heeds_no_rule_is_found_out(ann):
    spots = [dags.Spot((), "all", False), dags.Spot((0,), "all", True)]

    with mock.patch.object(nodes, "may_start", return_value=True):
        run = carry_all(start(ann, "x", agent=None, plan=dags.plan_of(spots)))

    assert dags.faults(run, spots) == ["n1 is succeeded, not skipped", "n1 was dispatched 1 times"]


@given(edges=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=20))
def test_a_ring_is_named_exactly_where_there_is_one(edges):
    after = {n: sorted({a for a, b in edges if b == n and a != n}) for n in range(8)}
    spec = values.PlanSpec.model_validate(
        {
            "nodes": [
                {"key": f"n{n}", "agent": "x", "task": "t", "depends_on": [f"n{a}" for a in after[n]]} for n in after
            ]
        }
    )

    ring = checking.cycle(spec)

    assert bool(ring) == _has_ring(after)
    waits_for = {f"n{n}": {f"n{a}" for a in before} for n, before in after.items()}
    assert all(before in waits_for[later] for before, later in pairwise(ring))


def _has_ring(after):
    left = dict(after)
    while free := [n for n, before in left.items() if not any(a in left for a in before)]:
        for n in free:
            del left[n]
    return bool(left)


def test_two_hundred_parents_that_end_at_the_same_moment_start_their_child_once(ann):
    parents = [node(f"p{n}") for n in range(200)]
    run = start(ann, "x", agent=None, plan=plan(*parents, node("child", after=tuple(p["key"] for p in parents))))
    with mock.patch.object(carrier.orchestration, "advance", return_value=None):
        _carry_in_threads(list(run.dispatches.values_list("pk", flat=True)))
    assert run.dispatches.filter(unheeded=True).count() == 200

    came = at_once(lambda: orchestration.advance(run.pk), 16)

    assert not [each for each in came if isinstance(each, Exception)]
    assert run.dispatches.filter(node__key="child").count() == 1
    assert carry_all(run).status == states.SUCCEEDED


def test_workers_that_end_them_side_by_side_start_the_child_once(ann):
    parents = [node(f"p{n}") for n in range(40)]
    run = start(ann, "x", agent=None, plan=plan(*parents, node("child", after=tuple(p["key"] for p in parents))))

    _carry_in_threads(list(run.dispatches.values_list("pk", flat=True)))

    assert run.dispatches.filter(node__key="child").count() == 1


def _carry_in_threads(ids):
    def carry(dispatch_id):
        try:
            assert carrier.carry(dispatch_id)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(carry, ids))
