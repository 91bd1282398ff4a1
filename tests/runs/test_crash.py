"""kill -9 of a real worker at every point of an approved call, for every effect class; an outside ledger judges.

Nothing is lost, nothing is repeated, and doubt is shown. The worker that takes over is this test's own process.
"""

import os
import signal
import time
from typing import Any

import pytest
from django.contrib.auth.models import User

from runs import carrier, doorbells, reconcile, states, uncertain
from runs.engine import effects
from runs.models import Attempt, Dispatch, Run
from runs.uncertain import Finding
from tests.model_fixtures import Process
from tests.runs import cast
from tests.runs.cast import eventually, only_call, request_of
from tests.stack import Stack
from tools.values import Effect, Risk

pytestmark = [pytest.mark.crash, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("model")]

LEASE_SECONDS = 2.0
SHORT_LEASE = {"BATON_LEASE_SECONDS": str(LEASE_SECONDS), "BATON_RECONCILE_SECONDS": "0.5"}

# Where the worker dies, whether the effect had happened by then, and whether its record was committed.
POINTS = {
    "before_intent_commit": (False, False),
    "after_intent": (False, False),
    "during": (True, False),
    "after_send": (True, False),
    "before_record_commit": (True, False),
    "after_record_commit": (True, True),
}


def gated_call(effect: Effect, ann: User, bob: User, *, executor: str, hold_seconds: float) -> Run:
    """A run whose one call was approved, so that the next worker sends it."""
    arguments = {"hold_seconds": hold_seconds, "dedupe": effect == Effect.KEYED}
    if executor == "http":
        cast.http_tool("act", "/effects", effect, Risk.HIGH)
    else:
        cast.tool("act", "tests.effect", effect, Risk.HIGH)
    cast.agent("worker", "act")
    run = cast.carry_all(cast.start(ann, cast.script(cast.call(("act", arguments)), cast.text("done"))))
    cast.decide(request_of(run), bob)
    run.refresh_from_db()
    return run


def effects_of(ledger: Process, run: Run) -> list[dict[str, Any]]:
    key = only_call(run).idempotency_key
    return [effect for effect in ledger.get("/effects") if effect["key"] == key]


def let_a_worker_die(stack: Stack, ledger: Process, run: Run, point: str, tmp_path: Any) -> None:
    crash = {} if point == "during" else {"BATON_CRASH_AT": point, "BATON_CRASH_ONCE": str(tmp_path / "fired")}
    worker = stack.start_worker(SHORT_LEASE | crash)
    for dispatch in run.dispatches.open():
        doorbells.ring(dispatch.pk)
    if point == "during":
        eventually(lambda: effects_of(ledger, run))
        os.kill(worker.pid, signal.SIGKILL)
    eventually(lambda: not worker.is_alive())


def take_over(run: Run) -> Run:
    """What another worker's reconciler does, until the run has ended or waits for a person."""
    ends_at = time.monotonic() + 30
    while time.monotonic() < ends_at:
        reconcile.sweep()
        for dispatch in Dispatch.objects.forgotten().filter(run=run):
            carrier.carry(dispatch.pk)
        run.refresh_from_db()
        if run.is_final or run.status == states.WAITING:
            return run
        time.sleep(0.05)
    raise AssertionError(f"run is {run.status} after 30 s")


@pytest.fixture(autouse=True)
def short_lease(settings: Any) -> None:
    settings.BATON_LEASE_SECONDS = LEASE_SECONDS


@pytest.mark.parametrize("executor", ["python", "http"])
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("effect", list(Effect))
def test_a_worker_killed_around_an_approved_call(
    effect: Effect, point: str, executor: str, stack: Stack, ledger: Process, ann: User, bob: User, tmp_path: Any
) -> None:
    happened, recorded = POINTS[point]
    hold = 3.0 if point == "during" else 0
    run = gated_call(effect, ann, bob, executor=executor, hold_seconds=hold)

    let_a_worker_die(stack, ledger, run, point, tmp_path)
    made_before = len(effects_of(ledger, run))
    assert (made_before > 0) == happened
    run = take_over(run)

    call, made = only_call(run), effects_of(ledger, run)
    in_doubt = effect == Effect.UNSAFE and not recorded and point != "before_intent_commit"
    if in_doubt:
        assert call.status == states.UNCERTAIN
        assert len(made) == made_before, "an unsafe call is never sent again by the machine"
        assert "whether act happened" in run.waiting_on
    else:
        assert (run.status, call.status) == (states.SUCCEEDED, states.DONE)
        assert len(made) >= 1, "nothing is lost"
        if effect != Effect.PURE:
            assert len(made) == 1, "nothing is repeated"


def test_a_person_resolves_the_doubt_and_the_run_goes_on(
    stack: Stack, ledger: Process, ann: User, bob: User, tmp_path: Any
) -> None:
    run = gated_call(Effect.UNSAFE, ann, bob, executor="python", hold_seconds=0)
    let_a_worker_die(stack, ledger, run, "after_intent", tmp_path)
    run = take_over(run)
    call = only_call(run)
    assert uncertain.may_repeat(call), "its worker was seen to be gone"

    uncertain.resolve(call.pk, Finding.REPEAT, by=bob)
    run = take_over(run)

    assert run.status == states.SUCCEEDED
    assert len(effects_of(ledger, run)) == 1


def test_control_repeating_an_unsafe_call_by_machine_would_show_in_the_ledger(
    stack: Stack, ledger: Process, ann: User, bob: User, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Teeth: with the effect class ignored after a crash, the ledger counts the same effect twice."""
    monkeypatch.setattr(effects, "_after_crash", lambda *args: states.READY)
    run = gated_call(Effect.UNSAFE, ann, bob, executor="python", hold_seconds=0)
    let_a_worker_die(stack, ledger, run, "after_send", tmp_path)

    run = take_over(run)

    assert len(effects_of(ledger, run)) == 2


@pytest.mark.parametrize(
    "point", ["after_claim", "after_reserve", "after_reply", "before_reply_commit", "after_reply_commit"]
)
def test_a_worker_killed_around_a_model_call_loses_nothing(point: str, stack: Stack, ann: User, tmp_path: Any) -> None:
    cast.agent("worker")
    run = cast.start(ann, cast.script(cast.text("Hello.")))

    worker = stack.start_worker(SHORT_LEASE | {"BATON_CRASH_AT": point, "BATON_CRASH_ONCE": str(tmp_path / "fired")})
    doorbells.ring(run.dispatches.get().pk)
    eventually(lambda: not worker.is_alive())
    run = take_over(run)

    assert (run.status, run.output) == (states.SUCCEEDED, "Hello.")
    assert run.dispatches.get().steps.filter(status=states.ANSWERED).count() == 1


def test_a_killed_worker_is_taken_over_by_another_real_worker(
    stack: Stack, ledger: Process, ann: User, bob: User
) -> None:
    run = gated_call(Effect.KEYED, ann, bob, executor="http", hold_seconds=1.5)
    first = stack.start_worker(SHORT_LEASE)
    doorbells.ring(run.dispatches.get().pk)
    eventually(lambda: effects_of(ledger, run))
    os.kill(first.pid, signal.SIGKILL)

    stack.start_worker(SHORT_LEASE)

    eventually(lambda: Run.objects.get(pk=run.pk).status == states.SUCCEEDED, within_seconds=30)
    assert [effect["requests"] for effect in effects_of(ledger, run)] == [2]
    assert Attempt.objects.filter(call__dispatch__run=run).count() == 2
