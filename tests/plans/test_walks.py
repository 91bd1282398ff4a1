"""Whatever workers, people, clocks and deaths do, in any order: the run ends, and nothing is lost or done twice."""

import logging
import os
from random import Random

import pytest

from runs import pausing
from runs.orchestration import nodes
from tests.plans import walks
from tests.plans.cast import node, plan
from tests.runs.cast import start, text

pytestmark = pytest.mark.django_db(transaction=True)

# More of them: WALKS=500 pytest tests/plans/test_walks.py
WALKS, ACTS, NODES = int(os.environ.get("WALKS", "6")), 30, 6
# Twice a run is taken up again after its end, by a comment.
PARTS = 3


@pytest.fixture(autouse=True)
def cast(model, settings):
    settings.BATON_SLICE_TURNS = 1  # hands change after every turn
    walks.hire()


@pytest.mark.parametrize("seed", range(WALKS))
def test_a_walk_ends_and_nothing_is_lost_or_done_twice(seed, ann, bob, ledger, caplog):
    dice = Random(seed)
    run = start(ann, "x", agent=None, plan=walks.Plans(dice).plan(NODES))
    walk = walks.Walk(run, bob)
    before = len(ledger.get("/effects"))

    with caplog.at_level(logging.ERROR, "runs"):
        for _ in range(PARTS):
            for acts in walks.acts(dice, ACTS):
                walk.does(*acts)
            assert walk.comes_to_its_end() == [], walk.told
            walk.does(("comment", dice.randrange(100)))
        assert walk.comes_to_its_end() == [], walk.told

    assert walks.faults(run, ledger.get("/effects")[before:]) == [], walk.told
    assert [record.getMessage() for record in caplog.records] == []


def test_control_who_is_not_resumed_is_found(ann, bob, monkeypatch):
    monkeypatch.setattr(pausing, "_resume", lambda log, dispatch: None)
    walk = walks.Walk(start(ann, "x", agent=None, plan=plan(node("a"))), bob)

    walk.does(("decide", 0))  # the plan
    walk.does(("pause", 0))

    [fault] = walk.comes_to_its_end()
    assert fault.startswith("nobody can move it: ")


def test_control_a_rule_that_is_not_heeded_is_found(ann, bob, monkeypatch):
    monkeypatch.setattr(nodes, "may_start", lambda *about: True)
    failing = node("a", text("half") | walks.CUT)
    walk = walks.Walk(start(ann, "x", agent=None, plan=plan(failing, node("b", after=("a",)))), bob)

    assert walk.comes_to_its_end() == []

    assert walks.faults(walk.run, []) == ["b is succeeded although 0 of 1 had succeeded (all)"]


def test_control_an_effect_that_is_missing_made_twice_or_made_unasked_is_found(ann, bob, ledger):
    plans = walks.Plans(Random(0))
    free = plans.does("free")
    walk = walks.Walk(start(ann, "x", agent=None, plan=plan(node("a", free, text("done")))), bob)
    before = len(ledger.get("/effects"))
    assert walk.comes_to_its_end() == []
    [made] = ledger.get("/effects")[before:]

    assert walks.faults(walk.run, [made]) == []
    assert [fault.rsplit(", ")[-1] for fault in walks.faults(walk.run, [])] == ["was done 0 times"]
    assert [fault.rsplit(", ")[-1] for fault in walks.faults(walk.run, [made, made])] == ["was done 2 times"]
    walk.does(("comment", 0))
    assert walk.comes_to_its_end() == []
    again = ledger.get("/effects")[before:]
    assert walks.faults(walk.run, again) == []
    walk.run.dispatches.get(number=2).calls.update(request=None)
    assert [fault.rsplit(", ")[-1] for fault in walks.faults(walk.run, again)] == ["and nobody was asked"]
