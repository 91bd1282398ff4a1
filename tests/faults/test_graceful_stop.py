"""TERM: a worker finishes or hands back what it holds, within its grace time; a deploy under load shows nowhere."""

from collections import Counter

import pytest
from django.contrib.auth.models import User

from agents.models import WorkerRoster
from orchestrator_site.services.child import Child
from runs import states
from runs.models import Attempt, Run, Step, ToolCall
from tests.faults import batch
from tests.faults.batch import CELLS, Cell
from tests.model_fixtures import Process, ScriptedModel
from tests.runs import cast
from tests.runs.cast import event_types
from tests.stack import Stack
from tests.waiting import PATIENCE_SECONDS, eventually
from tools.values import Effect

pytestmark = [pytest.mark.crash, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("model")]

FREE = [cell for cell in CELLS if not cell.gated]
TURNS = 4


def start_work(ann: User, cell: Cell) -> Run:
    """Several calls one after the other, each of them and each answer taking a moment."""
    calls = [
        cast.call((cell.tool, {"turn": turn, "hold_seconds": 0.3, "dedupe": cell.effect == Effect.KEYED}))
        | {"delay_seconds": 0.3}
        for turn in range(TURNS)
    ]
    return cast.start(ann, cast.script(*calls, cast.text("done")))


def is_under_way(run: Run) -> bool:
    return ToolCall.objects.filter(dispatch__run=run).exists()


def stop(worker: Child) -> None:
    """It ends by itself, within its grace time and in good order."""
    worker.ask_to_stop()
    assert worker.wait_stopped(worker.stop_seconds)
    assert worker.exit_code == 0


def test_a_deploy_under_load_loses_and_repeats_nothing(stack: Stack, ledger: Process, ann: User) -> None:
    batch.hire()
    old = [stack.start_worker(), stack.start_worker()]
    runs: list[Run] = []
    for worker in old:  # a new one for an old one, in the middle of the work
        stack.start_worker()
        wave = [start_work(ann, cell) for cell in FREE for _ in range(2)]
        eventually(lambda: all(is_under_way(run) for run in wave))  # noqa: B023
        runs += wave
        stop(worker)
        assert not WorkerRoster.objects.filter(pid=worker.pid).exists(), "it takes its leave"

    at_work = Run.objects.filter(pk__in=[run.pk for run in runs]).exclude(status__in=batch.AT_REST)
    eventually(lambda: not at_work.exists())
    assert {Run.objects.get(pk=run.pk).status for run in runs} == {states.SUCCEEDED}
    calls = ToolCall.objects.filter(dispatch__run__in=runs)
    assert calls.count() == len(runs) * TURNS
    not_done = calls.exclude(status=states.DONE)
    assert list(not_done.values_list("tool", "status", "error_kind", "result")) == []
    requests = Counter({effect["key"]: 0 for effect in ledger.get("/effects")})
    for effect in ledger.get("/effects"):
        requests[effect["key"]] += effect["requests"]
    assert {requests[call.idempotency_key] for call in calls} == {1}
    assert Attempt.objects.filter(call__in=calls).exclude(status=states.SUCCEEDED).count() == 0
    assert not Step.objects.filter(status=states.LOST).exists(), "no answer was paid for twice"
    fences = [run.dispatches.get().fence for run in runs]
    assert max(fences) > 1, "somebody handed on what he held"


def test_when_the_grace_time_ends_the_rest_is_handed_back(
    stack: Stack, ledger: Process, ann: User, model: ScriptedModel, subtests: pytest.Subtests
) -> None:
    """Although a lease lasts for longer than anybody waits here. What was executing is what its effect class says."""
    batch.hire()
    worker = stack.start_worker({"BATON_GRACE_SECONDS": "1", "BATON_LEASE_SECONDS": str(2 * PATIENCE_SECONDS)})
    asking = cast.start(ann, cast.script(cast.text("Here I am.") | {"delay_seconds": 2 * PATIENCE_SECONDS}))
    executing = batch.begin(ann, ann, {}, FREE, hold_first=True)
    eventually(lambda: all(batch.made(ledger, executing).values()) and model.count() > len(FREE))

    stop(worker)

    assert asking.dispatches.get().status == states.QUEUED
    assert cast.claim(asking), "it is free for whoever comes"
    batch.take_over(executing)
    made = batch.made(ledger, executing)
    for cell, run in executing.items():
        with subtests.test(call=str(cell)):
            batch.is_accounted_for(cell, run, made[cell])
            assert run.status == (states.WAITING if cell.effect == Effect.UNSAFE else states.SUCCEEDED)
            assert event_types(run).count("worker_stopped") == 1
