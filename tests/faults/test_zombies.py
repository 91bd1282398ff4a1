"""A worker that is stopped past its lease and woken again: it writes nothing, and what it did is late evidence."""

import json
import os
import re
import signal
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import psutil
import pytest
from django.contrib.auth.models import User
from django.test import Client

from orchestrator_site.services.child import Child
from runs import carrier, engine, states
from runs.errors import LostLease
from runs.models import Dispatch, Run, ToolCall
from runs.values import Lease
from tests.faults import batch
from tests.faults.batch import HALF, Batch, Cell, Holds
from tests.faults.points import FREE_CALLS, INTENDED, SENT, known_at
from tests.model_fixtures import Process
from tests.runs.cast import agent, call, claim, event_types, only_call, script, start, text, tool
from tests.runs.meanwhile import elsewhere, leave_to_others
from tests.stack import Stack
from tests.waiting import PATIENCE_SECONDS, eventually
from tools.models import Tool
from tools.values import Effect, Risk

pytestmark = [pytest.mark.crash, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("model")]

POINTS = [point for point in FREE_CALLS if point != "before_doorbell"]  # there it has nothing more to write
STAGES = {
    "before the intent": POINTS[: POINTS.index("after_reply_commit")],
    "from the intent on": POINTS[POINTS.index("after_reply_commit") :],
}


def freeze(worker: Child) -> None:
    os.kill(worker.pid, signal.SIGSTOP)
    eventually(lambda: psutil.Process(worker.pid).status() == psutil.STATUS_STOPPED)


def wake(worker: Child) -> None:
    """And wait until it has come to the end of all it had in hand."""
    os.kill(worker.pid, signal.SIGCONT)
    eventually(lambda: tasks(worker, "received") == tasks(worker, "succeeded"))


def tasks(worker: Child, what: str) -> int:
    return len(re.findall(rf"Task runs\.tasks\.carry\[\S+\] {what}", worker.log.read_text()))


def become_zombie_at(point: str, worker: Child, holds: Holds, ledger: Process, ann: User, bob: User) -> Batch:
    """A run of every kind stands at the point, the worker is stopped, somebody else takes over, and it is woken."""
    slow: dict[str, Any] = {"hold_first": True} if point == "during" else {}
    prepared = batch.prepare(ann, HALF, **slow)
    holds.put_up(point)
    begun = batch.begin(ann, bob, prepared, HALF, **slow)
    if point == "during":
        eventually(lambda: all(batch.made(ledger, begun).values()))
    else:
        holds.await_arrivals(point, len(begun))
    freeze(worker)
    batch.take_over(begun)
    before = {cell: what_the_taker_wrote(run) for cell, run in begun.items()}
    holds.take_down(point)
    ledger.post("/release", {})
    wake(worker)
    batch.refresh(begun)
    assert {cell: what_the_taker_wrote(run) for cell, run in begun.items()} == before, "a zombie's write is seen"
    return begun


def what_the_taker_wrote(run: Run) -> Any:
    """All there is of a run but late evidence."""
    run.refresh_from_db()
    call = batch.call_of(run)
    return (
        run.status,
        run.output,
        list(run.dispatches.values_list("status", "fence", "cost_usd", "iterations", "tokens")),
        call and (call.status, call.result, list(call.attempts.values_list("status", "result", "fence"))),
        [type for type in event_types(run) if type != "late_evidence_kept"],
    )


@pytest.mark.parametrize("stage", STAGES)
def test_a_worker_stopped_past_its_lease(
    stage: str, stack: Stack, holds: Holds, ledger: Process, ann: User, bob: User, subtests: pytest.Subtests
) -> None:
    batch.hire()
    worker = stack.start_worker(holds.env)
    for point in STAGES[stage]:
        begun = become_zombie_at(point, worker, holds, ledger, ann, bob)
        made = batch.made(ledger, begun)
        for cell, run in begun.items():
            with subtests.test(point=point, call=str(cell)):
                batch.is_accounted_for(cell, run, made[cell])
                known = known_at(point, cell)
                has_doubt = is_in_doubt(cell, known)
                assert run.status == (states.WAITING if has_doubt else states.SUCCEEDED)
                assert made[cell] >= 1
                assert has_late_evidence(run) == (known in (INTENDED, SENT))


def is_in_doubt(cell: Cell, known: str) -> bool:
    """What was not found may still be sent by a process that is not dead, so that a lookup proves nothing then."""
    if cell.effect == Effect.UNSAFE:
        return known in (INTENDED, SENT)
    return cell.effect == Effect.VERIFIABLE and known == INTENDED


def has_late_evidence(run: Run) -> bool:
    call = batch.call_of(run)
    assert call is not None
    attempts = call.attempts.exclude(late_evidence="")
    assert attempts.count() == event_types(run).count("late_evidence_kept")
    for attempt in attempts:
        assert json.loads(json.loads(attempt.late_evidence)["content"])["made"] == call.idempotency_key
    return attempts.exists()


def test_late_evidence_is_shown_where_the_doubt_is_resolved(
    stack: Stack, holds: Holds, ledger: Process, ann: User, bob: User
) -> None:
    batch.hire()
    worker = stack.start_worker(holds.env)
    begun = become_zombie_at("after_send", worker, holds, ledger, ann, bob)
    User.objects.filter(pk=bob.pk).update(is_superuser=True)
    client = Client()
    client.force_login(User.objects.get(pk=bob.pk))

    page = client.get("/uncertain/").content.decode()
    listed = client.get("/api/v1/uncertain/").json()["results"]

    doubtful = [batch.call_of(run) for cell, run in begun.items() if cell.effect == Effect.UNSAFE]
    told = {each["id"]: [attempt["late_evidence"] for attempt in each["attempts"]] for each in listed}
    for doubt in doubtful:
        assert doubt is not None
        (evidence,) = told[str(doubt.pk)]
        assert doubt.idempotency_key in evidence
    assert page.count("Its worker came back late") == len(doubtful)


def with_the_fence_of_today(lease: Lease) -> Lease:
    """What a worker without a fence comes to: whoever holds the row, its writes match."""
    held = Dispatch.objects.get(pk=lease.dispatch_id)
    return replace(lease, fence=held.fence, owner=held.lease_owner)


@pytest.mark.parametrize(("fenced", "status"), [(True, states.DONE), (False, states.UNCERTAIN)])
def test_control_without_the_fence_a_zombies_write_is_seen(
    fenced: bool, status: str, ann: User, ledger: Process
) -> None:
    """It comes back while the call is under way elsewhere, and takes the one who sent it for dead."""
    tool("act", "tests.effect", Effect.UNSAFE, Risk.LOW)
    Tool.objects.update(confirmation="never")
    agent("worker", "act")
    run = start(ann, script(call(("act", {"hold_first": True})), text("Done.")))
    first = claim(run)
    leave_to_others(run)
    second = elsewhere(lambda: carrier.carry(first.dispatch_id))
    eventually(lambda: ToolCall.objects.filter(status=states.EXECUTING).exists())
    eventually(lambda: only_call(run).idempotency_key in [effect["key"] for effect in ledger.get("/effects")])

    with pytest.raises(LostLease) if fenced else nullcontext():
        engine.advance(first if fenced else with_the_fence_of_today(first))

    ledger.post("/release", {})
    second.exception(timeout=PATIENCE_SECONDS)
    assert only_call(run).status == status
