"""A cancel, or the end of the time, that arrives while a worker stands at a point; an outside ledger judges."""

import os
import signal
import time
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

from runs import cancellation, leases, states, uncertain
from runs.errors import NotPossible
from runs.models import Dispatch, Run
from runs.states import StopReason
from runs.uncertain import Finding
from tests.faults import batch, points
from tests.faults.batch import HALF, Batch, Cell, Holds
from tests.faults.points import FREE_CALLS, NOT_YET, known_at
from tests.model_fixtures import Process
from tests.runs.meanwhile import elsewhere
from tests.stack import Stack
from tests.waiting import PATIENCE_SECONDS, eventually
from tools.values import Effect, ErrorKind

pytestmark = [pytest.mark.crash, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("model")]

POINTS = [point for point in FREE_CALLS if point not in ("during", "before_doorbell")]


# Who stands still in a transaction for longer than a lease loses it, and this is not what is looked at here.
LONG_LEASE = {"BATON_LEASE_SECONDS": "60"}


def cancel_at(point: str, holds: Holds, ann: User, bob: User) -> Batch:
    """A run of every kind stands at the point and is cancelled; it goes on when that is done or waits for its lock."""
    prepared = batch.prepare(ann, HALF)
    holds.put_up(point)
    with transaction.atomic():  # all wait before the first call: each call is to one that was not carried yet
        begun = batch.begin(ann, bob, prepared, HALF)
    holds.await_arrivals(point, len(begun))
    cancels = [elsewhere(partial(cancellation.cancel, run.pk, ann)) for run in begun.values()]
    eventually(lambda: sum(cancel.done() for cancel in cancels) + waiting_for_a_lock() >= len(cancels))
    holds.take_down(point)
    for cancel in cancels:
        cancel.result(timeout=PATIENCE_SECONDS)
    batch.settle(begun)
    return begun


def waiting_for_a_lock() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return cursor.fetchone()[0]


def effects_after_cancel(point: str, cell: Cell) -> set[int]:
    """What was not intended when it was cancelled is never sent; what was, settles."""
    if known_at(point, cell) != NOT_YET or points.commits_an_intent(point, cell):
        return {1}
    return {0, 1} if point == "before_claim_commit" else {0}  # who waits for the same row may come first


@pytest.mark.parametrize("at", [POINTS, ["before_doorbell"]], ids=["every point", "before_doorbell"])
def test_a_cancel_at(
    at: list[str], stack: Stack, holds: Holds, ledger: Process, ann: User, bob: User, subtests: pytest.Subtests
) -> None:
    batch.hire()
    stack.start_worker(holds.env | LONG_LEASE | {"BATON_SLICE_TURNS": points.slice_turns(at[0])})
    for point in at:
        begun = cancel_at(point, holds, ann, bob)
        made = batch.made(ledger, begun)
        for cell, run in begun.items():
            with subtests.test(point=point, call=str(cell)):
                batch.is_accounted_for(cell, run, made[cell])
                assert (run.status, run.stop_reason) == (states.CANCELLED, StopReason.CANCELLED)
                assert made[cell] in effects_after_cancel(point, cell)
                assert not leaves_doubt(run), "its worker lived, so that it settled"


WALL_SECONDS, SECONDS_LEFT = 1000, 4
SOME = [HALF[0], HALF[5], HALF[2], HALF[7]]


# What a free call brought is recorded where the next model call is reserved, which then may take place.
ANSWERING = ["before_record_commit", "after_record_commit"]


def leave_little_time(batch: Batch) -> None:
    Dispatch.objects.filter(run__in=list(batch.values())).update(worked_seconds=WALL_SECONDS - SECONDS_LEFT)


def effects_after_the_time(point: str, cell: Cell) -> int:
    """Nothing is begun that was not intended in time."""
    return int(known_at(point, cell) != NOT_YET or points.commits_an_intent(point, cell))


def test_the_time_is_up_at_every_point(
    stack: Stack, holds: Holds, ledger: Process, ann: User, bob: User, subtests: pytest.Subtests
) -> None:
    batch.hire(wall_seconds=WALL_SECONDS)
    stack.start_worker(holds.env | LONG_LEASE)
    for point in POINTS:
        prepared = batch.prepare(ann, SOME)
        leave_little_time(prepared)
        holds.put_up(point)
        with transaction.atomic():  # the worker hears of them when they have little time
            begun = batch.begin(ann, bob, prepared, SOME)
            leave_little_time(begun)
        holds.await_arrivals(point, len(begun))
        time.sleep(SECONDS_LEFT)
        holds.take_down(point)
        batch.settle(begun)
        made = batch.made(ledger, begun)
        for cell, run in begun.items():
            with subtests.test(point=point, call=str(cell)):
                batch.is_accounted_for(cell, run, made[cell])
                assert made[cell] == effects_after_the_time(point, cell)
                if point in (points.LATER if cell.gated else ANSWERING):
                    assert run.status == states.SUCCEEDED, "its last answer was under way"
                else:
                    assert (run.status, run.stop_reason) == (states.FAILED, StopReason.TIMEOUT)


def leaves_doubt(run: Run) -> bool:
    call = batch.call_of(run)
    return call is not None and call.status == states.UNCERTAIN


@pytest.mark.parametrize("point", ["after_intent", "after_send"])
def test_a_cancel_and_then_the_worker_dies(
    point: str, stack: Stack, holds: Holds, ledger: Process, ann: User, bob: User, subtests: pytest.Subtests
) -> None:
    """What was under way is in doubt, and a person may still say what became of it when the run has ended."""
    batch.hire()
    prepared = batch.prepare(ann)
    worker = stack.start_worker(holds.env)
    holds.put_up(point)
    begun = batch.begin(ann, bob, prepared)
    holds.await_arrivals(point, len(begun))
    for run in begun.values():
        cancellation.cancel(run.pk, ann)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait_stopped(10)
    leases.process_exited("worker", worker.pid)

    batch.take_over(begun)

    made = batch.made(ledger, begun)
    for cell, run in begun.items():
        with subtests.test(call=str(cell)):
            batch.is_accounted_for(cell, run, made[cell])
            assert (run.status, run.stop_reason) == (states.CANCELLED, StopReason.CANCELLED)
            if cell.effect in (Effect.UNSAFE, Effect.KEYED):
                can_still_be_resolved(run, bob)
            else:
                assert not leaves_doubt(run), "it was looked up, or is harmless"


def can_still_be_resolved(run: Run, bob: User) -> None:
    call = batch.call_of(run)
    assert call is not None
    assert call.status == states.UNCERTAIN
    with pytest.raises(NotPossible):
        uncertain.resolve(call.pk, Finding.REPEAT, by=bob, attests_dead=True)
    assert uncertain.resolve(call.pk, Finding.HAPPENED, by=bob, result="I looked.").status == states.RESOLVED


TOOL_SECONDS = 3.0
# By where the worker stood until the call's deadline had passed, and the effect class: status, error, and effects.
LATE: dict[str, dict[Effect, tuple[str, str, int]]] = {
    "after_intent": dict.fromkeys(Effect, (states.FAILED, ErrorKind.TIMEOUT, 0)),  # certainly not sent
    "during": {
        Effect.PURE: (states.FAILED, ErrorKind.TIMEOUT, 1),
        Effect.KEYED: (states.DONE, "", 1),  # sent again under its key, and answered
        Effect.VERIFIABLE: (states.DONE, "", 1),  # looked up
        Effect.UNSAFE: (states.UNCERTAIN, "", 1),
    },
    "after_send": dict.fromkeys(Effect, (states.DONE, "", 1)),
}


@pytest.mark.parametrize("point", LATE)
def test_the_deadline_of_a_call_passes(
    point: str, stack: Stack, holds: Holds, ledger: Process, ann: User, bob: User, subtests: pytest.Subtests
) -> None:
    batch.hire(tool_seconds=TOOL_SECONDS)
    slow: dict[str, Any] = {"hold_first": True} if point == "during" else {}
    prepared = batch.prepare(ann, **slow)
    stack.start_worker(holds.env | LONG_LEASE)
    holds.put_up(point)
    begun = batch.begin(ann, bob, prepared, **slow)
    if point != "during":
        holds.await_arrivals(point, len(begun))
        time.sleep(TOOL_SECONDS)
        holds.take_down(point)
    batch.settle(begun)

    made = batch.made(ledger, begun)
    for cell, run in begun.items():
        with subtests.test(call=str(cell)):
            batch.is_accounted_for(cell, run, made[cell])
            call = batch.call_of(run)
            assert call is not None
            status, error, effects = LATE[point][cell.effect]
            assert (call.status, made[cell]) == (status, effects)
            assert call.error_kind == error or status == states.UNCERTAIN
            assert run.status == (states.WAITING if status == states.UNCERTAIN else states.SUCCEEDED)
