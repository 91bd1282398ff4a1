"""Workers whose clocks are an hour off: the database's time decides, and nothing comes early, late or twice."""

import time
from pathlib import Path

import pytest
from celery import current_app
from django.contrib.auth.models import User

from orchestrator_site.core import events
from orchestrator_site.core.clock import database_now
from orchestrator_site.services.child import Child
from runs import doorbells, states
from runs.models import Attempt, Run, Step
from tests.faults import batch
from tests.faults.batch import CELLS, Cell
from tests.model_fixtures import Process
from tests.runs import cast
from tests.runs.cast import event_types
from tests.stack import Stack
from tests.waiting import PATIENCE_SECONDS, eventually
from tools.values import Effect

pytestmark = [pytest.mark.crash, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("model")]

HOUR = 3600
WRONG_CLOCK = Path(__file__).parent / "wrong_clock"
# Of a doorbell that nobody heard a reconciler would know only after a third of the lease.
LEASE_SECONDS = 2 * PATIENCE_SECONDS
# Many times what a worker needs for what it heard of.
UNHEARD_SECONDS = 4


def start_worker(stack: Stack, off_seconds: int) -> Child:
    env = {
        "PYTHONPATH": str(WRONG_CLOCK),
        "BATON_TEST_CLOCK_OFF_SECONDS": str(off_seconds),
        "BATON_LEASE_SECONDS": str(LEASE_SECONDS),
        "BATON_RECONCILE_SECONDS": "0.5",
        "BATON_SLICE_TURNS": "1",  # so that they ring for each other
    }
    return stack.start_worker(env)


def start_work(ann: User, cell: Cell) -> Run:
    """A model that is overloaded for a second, a call, and an answer."""
    overloaded = {"status": 529, "times": 1, "retry_after": 1}
    act = cast.call((cell.tool, {"dedupe": cell.effect == Effect.KEYED, "of": str(cell)}))
    return cast.start(ann, cast.script(overloaded | act, cast.text("done")))


def test_an_hour_early_and_an_hour_late(stack: Stack, ledger: Process, ann: User, bob: User) -> None:
    batch.hire()
    ahead, behind = start_worker(stack, HOUR), start_worker(stack, -HOUR)
    began = database_now()
    runs = {cell: start_work(ann, cell) for cell in CELLS}

    asked = [run for cell, run in runs.items() if cell.gated]
    eventually(lambda: all(status_of(run) == states.WAITING for run in asked) and all(map(asks, asked)))
    for run in asked:
        request = cast.request_of(run)
        assert request.deadline_at > database_now()
        cast.decide(request, bob)
    at_work = Run.objects.filter(pk__in=[run.pk for run in runs.values()]).exclude(status=states.SUCCEEDED)
    eventually(lambda: not at_work.exists())

    made = batch.made(ledger, runs)
    assert set(made.values()) == {1}
    assert not Attempt.objects.exclude(status=states.SUCCEEDED).exists()
    assert not Step.objects.filter(status=states.LOST).exists()
    for run in runs.values():
        assert "dispatch_reclaimed" not in event_types(run)
        times = [event.at for event in events.of_run(run.pk)]
        assert began <= min(times) <= max(times) <= database_now()
        first, second = run.dispatches.get().steps.order_by("number")[:2]
        assert first.ended_at
        assert (second.asked_at - first.ended_at).total_seconds() >= 1, "the model server's word was not kept"
    carriers = {event.actor for run in runs.values() for event in events.of_run(run.pk) if "worker:" in event.actor}
    for worker in (ahead, behind):
        assert any(f":{worker.pid}:" in actor for actor in carriers), "one of them had nothing to do"


def status_of(run: Run) -> str:
    return run.dispatches.get().status


def asks(run: Run) -> bool:
    return "approval_requested" in event_types(run)


@pytest.mark.parametrize("heard_seconds", [doorbells.HEARD_WITHIN_SECONDS, 3 * 30])
def test_control_doorbells_that_soon_fall_silent_are_not_heard_by_a_clock_ahead(
    heard_seconds: int, stack: Stack, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    cast.agent()
    current_app.control.purge()  # whoever hears any doorbell, a leftover one too, takes what is up next
    start_worker(stack, HOUR)
    monkeypatch.setattr(doorbells, "HEARD_WITHIN_SECONDS", heard_seconds)

    run = cast.start(ann, cast.script(cast.text("done")))
    if heard_seconds > HOUR:
        eventually(lambda: Run.objects.get(pk=run.pk).is_final)
    else:
        time.sleep(UNHEARD_SECONDS)
        assert not Run.objects.get(pk=run.pk).is_final
