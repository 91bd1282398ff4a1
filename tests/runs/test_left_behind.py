"""What a worker leaves behind that went away between the end of its node and the run's next move."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from orchestrator_site.core import events
from runs import carrier, reconcile, states
from runs.models import Dispatch, Run
from runs.orchestration import flow, nodes
from runs.orchestration.nodes import Moves, Place
from tests.runs.cast import agent, call, carry_all, script, start, text, tool
from tools.values import Effect, Risk

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def carry_and_go(monkeypatch):
    """Carry a node to its end, and go away before its run is moved on."""

    def carry(node):
        with monkeypatch.context() as patch:
            patch.setattr(carrier.orchestration, "advance", lambda run_id: None)
            assert carrier.carry(node.pk)

    return carry


def add(run, *tasks):
    """Nodes within the run's first one, each after the one before it in its list."""
    with events.recording() as log:
        moves = Moves(log, Run.objects.select_for_update(of=("self",), no_key=True).get(pk=run.pk))
        outer = moves.node(run.nodes.get(number=1).pk)
        places = [Place(f"n{n}", task, agent=run.agent, after=after) for n, (task, after) in enumerate(tasks)]
        nodes.add(moves, outer, places)
        flow.run_on(moves)


def test_a_node_is_started_although_another_one_waits_for_a_person(model, ann, carry_and_go):
    tool("pay", "tests.echo", Effect.UNSAFE, Risk.HIGH)
    agent("worker", "pay")
    run = start(ann, script(text("Begun.")))
    looks, asks, tells = script(text("Looked.")), script(call(("pay", {})), text("Paid.")), script(text("Told."))
    add(run, (looks, []), (asks, []), (tells, [0]))
    for number in (2, 3):
        carry_and_go(run.dispatches.get(number=number))
    assert run.dispatches.get(number=3).status == states.WAITING

    assert reconcile.advance_left_behind() == 1

    assert run.dispatches.get(number=4).status == states.QUEUED


def test_a_run_is_left_behind_once(model, ann, carry_and_go):
    agent()
    run = start(ann, script(text("Hello.")))
    carry_and_go(run.dispatches.get())

    assert [reconcile.advance_left_behind() for _ in range(2)] == [1, 0]

    run.refresh_from_db()
    assert run.status == states.SUCCEEDED


def test_nothing_is_left_where_the_worker_stayed(model, ann):
    agent()
    run = carry_all(start(ann, script(text("Hello."))))

    assert run.status == states.SUCCEEDED
    assert reconcile.advance_left_behind() == 0


def test_a_node_that_ended_after_its_run_is_heeded_too(model, ann):
    """As when the run was ended by whoever saw the node's last row first."""
    agent()
    run = carry_all(start(ann, script(text("Hello."))))
    Dispatch.objects.filter(run=run).update(unheeded=True)

    assert [reconcile.advance_left_behind() for _ in range(2)] == [1, 0]


def test_the_sweep_asks_one_question(model, ann):
    with CaptureQueriesContext(connection) as asked:
        reconcile.advance_left_behind()

    assert len(asked) == 1
