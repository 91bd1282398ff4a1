"""What a worker leaves behind that went away between the end of its node and the run's next move."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from orchestrator_site.core import events
from runs import carrier, reconcile, states
from runs.models import Dispatch, Run
from runs.orchestration import nodes
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


def add(run, task, *parents):
    with events.recording() as log:
        held = Run.objects.select_for_update(of=("self",), no_key=True).get(pk=run.pk)
        return nodes.add(log, held, run.agent, task, origin="run", parents=parents)


def test_a_node_is_started_although_another_one_waits_for_a_person(model, ann, carry_and_go):
    tool("pay", "tests.echo", Effect.UNSAFE, Risk.HIGH)
    agent("worker", "pay")
    run = start(ann, script(text("Looked.")))
    first = run.dispatches.get()
    asking = add(run, script(call(("pay", {})), text("Paid.")))
    blocked = add(run, script(text("Told.")), first)
    for node in (first, asking):
        carry_and_go(node)
    assert Dispatch.objects.get(pk=asking.pk).status == states.WAITING

    assert reconcile.advance_left_behind() == 1

    assert Dispatch.objects.get(pk=blocked.pk).status == states.QUEUED


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
