"""kill -9 of a real worker at every point of a call, for every effect class and executor; an outside ledger judges.

Nothing is lost, nothing is repeated, and doubt is shown. The worker that takes over is this test's own process.
"""

import os
import signal
from typing import Any

import pytest
from django.contrib.auth.models import User

from orchestrator_site.core import crashpoints
from runs import leases, states, uncertain
from runs.engine import effects
from runs.models import Run
from runs.uncertain import Finding
from tests.faults import batch
from tests.faults.batch import CELLS, Batch, Cell, Holds
from tests.faults.points import FREE_CALLS, INTENDED, RECORDED, SENT, known_at, slice_turns
from tests.model_fixtures import Process
from tests.stack import Stack
from tests.waiting import eventually
from tools.values import Effect

pytestmark = [pytest.mark.crash, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("model")]


def test_every_point_is_in_the_table() -> None:
    assert set(FREE_CALLS) == {*crashpoints.POINTS, "during"}


def let_a_worker_die(stack: Stack, holds: Holds, ledger: Process, point: str, *people: User) -> Batch:
    """It carries a run of every kind, all of them stand at the point, and it is killed."""
    ann, bob = people
    slow: dict[str, Any] = {"hold_first": True} if point == "during" else {}
    prepared = batch.prepare(ann, **slow)
    holds.put_up(point)
    # Begun before anybody is at work: else one of them is up for its second slice ahead of one that comes late.
    begun = batch.begin(ann, bob, prepared, **slow)
    worker = stack.start_worker(holds.env | {"BATON_SLICE_TURNS": slice_turns(point)})
    if point == "during":
        eventually(lambda: all(batch.made(ledger, begun).values()))
    else:
        holds.await_arrivals(point, len(begun))
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait_stopped(10)
    leases.process_exited("worker", worker.pid)
    return begun


@pytest.mark.parametrize("point", FREE_CALLS)
def test_a_worker_killed_at_a_point(
    point: str, stack: Stack, holds: Holds, ledger: Process, ann: User, bob: User, subtests: pytest.Subtests
) -> None:
    batch.hire()
    begun = let_a_worker_die(stack, holds, ledger, point, ann, bob)
    before = batch.made(ledger, begun)

    batch.take_over(begun)

    after = batch.made(ledger, begun)
    for cell, run in begun.items():
        with subtests.test(call=str(cell)):
            known = known_at(point, cell)
            assert (before[cell] > 0) == (known in (SENT, RECORDED)), "the worker died elsewhere"
            batch.is_accounted_for(cell, run, after[cell])
            if cell.effect == Effect.UNSAFE and known in (INTENDED, SENT):
                is_in_doubt(cell, run)
                assert after[cell] == before[cell], "an unsafe call is never sent again by the machine"
            else:
                is_done(run)
                assert after[cell] >= 1, "nothing is lost"


def is_done(run: Run) -> None:
    call = batch.call_of(run)
    assert call is not None
    assert (run.status, run.output, call.status) == (states.SUCCEEDED, "done", states.DONE)
    assert run.dispatches.get().steps.filter(status=states.ANSWERED).count() == 2


def is_in_doubt(cell: Cell, run: Run) -> None:
    call = batch.call_of(run)
    assert call is not None
    assert (run.status, call.status) == (states.WAITING, states.UNCERTAIN)
    assert run.waiting_on == f"a person to say whether {cell.tool} happened"
    assert uncertain.may_repeat(call), "its worker was seen to be gone"


def test_another_real_worker_takes_over(stack: Stack, holds: Holds, ledger: Process, ann: User, bob: User) -> None:
    """By its own reconciler, once the leases have run out: nobody saw the first one die."""
    batch.hire()
    begun = batch.prepare(ann, hold_first=True)
    first = stack.start_worker(holds.env)
    begun = batch.begin(ann, bob, begun, hold_first=True)
    eventually(lambda: all(batch.made(ledger, begun).values()))
    os.kill(first.pid, signal.SIGKILL)

    stack.start_worker({"BATON_LEASE_SECONDS": str(batch.LEASE_SECONDS), "BATON_RECONCILE_SECONDS": "0.5"})

    batch.settle(begun)
    made = batch.made(ledger, begun)
    for cell, run in begun.items():
        batch.is_accounted_for(cell, run, made[cell])
        assert run.status == (states.WAITING if cell.effect == Effect.UNSAFE else states.SUCCEEDED)


UNSAFE = [cell for cell in CELLS if cell.effect == Effect.UNSAFE]


def test_a_person_resolves_the_doubt_and_the_run_goes_on(
    stack: Stack, holds: Holds, ledger: Process, ann: User, bob: User
) -> None:
    batch.hire()
    begun = let_a_worker_die(stack, holds, ledger, "after_intent", ann, bob)
    batch.take_over(begun)

    for cell in UNSAFE:
        call = batch.call_of(begun[cell])
        assert call is not None
        uncertain.resolve(call.pk, Finding.REPEAT, by=bob)
    batch.take_over({cell: begun[cell] for cell in UNSAFE})

    made = batch.made(ledger, begun)
    assert {str(cell): (begun[cell].status, made[cell]) for cell in UNSAFE} == {
        str(cell): (states.SUCCEEDED, 1) for cell in UNSAFE
    }


def test_control_repeating_an_unsafe_call_by_machine_would_show_in_the_ledger(
    stack: Stack, holds: Holds, ledger: Process, ann: User, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Teeth: with the effect class ignored after a crash, the ledger counts the same effect twice."""
    monkeypatch.setattr(effects, "_after_crash", lambda *args: states.READY)
    batch.hire()
    begun = let_a_worker_die(stack, holds, ledger, "after_send", ann, bob)

    batch.take_over(begun)

    made = batch.made(ledger, begun)
    assert [made[cell] for cell in UNSAFE] == [2] * len(UNSAFE)
