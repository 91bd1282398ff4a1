"""Two beats, three reconcilers that sweep without a pause: every timer fires once."""

import sys
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db.models.functions import Now

from approvals.models import ApprovalRequest, Decision
from orchestrator_site.core import events, verify
from runs import carrier, reconcile, states
from runs.models import Dispatch, Run, Step
from tests.runs import cast
from tests.runs.cast import at_once, event_types
from tests.stack import Stack
from tests.waiting import eventually
from tools.values import Effect, Risk

pytestmark = [pytest.mark.crash, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("model")]

OF_EACH_KIND = 15


def reconcilers(stack: Stack, folder: Path, *, count: int = 3, callables: str = "tests.runs.callables") -> None:
    """Processes that only sweep, all the time."""
    for number in range(count):
        sign = folder / f"reconciler-{number}"
        env = {"BATON_RECONCILE_SECONDS": "0.02", "BATON_READY_FILE": str(sign), "BATON_CALLABLES": callables}
        stack.start_process(sign.name, [sys.executable, "-m", "tests.chaos.reconciler"], env)
    eventually(lambda: len(list(folder.glob("reconciler-*"))) == count)


def beats(stack: Stack) -> None:
    for number in range(2):
        argv = ["celery", "-A", "orchestrator_site", "beat", "--pidfile", "", "--scheduler", "celery.beat:Scheduler"]
        stack.start_process(f"beat-{number}", [sys.executable, "-m", *argv])


def waiting_for_a_moment(ann: User) -> list[Run]:
    """Their model is overloaded for an hour, and they hold no worker."""
    overloaded = {"status": 529, "times": 1, "retry_after": 3600}
    runs = [cast.start(ann, cast.script(overloaded | cast.text(f"done {n}"))) for n in range(OF_EACH_KIND)]
    for run in runs:
        carrier.carry(run.dispatches.get().pk)
        assert run.dispatches.get().due_at, run.dispatches.get().status
    return runs


def asking(ann: User) -> list[Run]:
    runs = [cast.start(ann, cast.script(cast.call(("pay", {})), cast.text("done"))) for _ in range(OF_EACH_KIND)]
    return [cast.carry_all(run) for run in runs]


def ended_but_not_moved_on(ann: User) -> list[Run]:
    runs = [cast.start(ann, cast.script(cast.text("done"))) for _ in range(OF_EACH_KIND)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(carrier.orchestration, "advance", lambda run_id: None)
        for run in runs:
            carrier.carry(run.dispatches.get().pk)
    return runs


def the_moment_comes(runs: list[Run]) -> None:
    Step.objects.filter(dispatch__run__in=runs).update(retry_at=Now())
    Dispatch.objects.filter(run__in=runs, status=states.WAITING).update(due_at=Now())


def fired(runs: list[Run], type: str) -> list[int]:
    """How often each run says so."""
    return [event_types(run).count(type) for run in runs]


def test_two_beats_and_three_reconcilers_fire_each_timer_once(stack: Stack, ann: User, tmp_path: Path) -> None:
    cast.tool("pay", "tests.effect", Effect.UNSAFE, Risk.HIGH)
    cast.agent("worker", "pay")
    sleeping, asked = waiting_for_a_moment(ann), asking(ann)
    reconcilers(stack, tmp_path)
    beats(stack)
    left = ended_but_not_moved_on(ann)
    for run in asked:
        cast.overdue(cast.request_of(run))
    the_moment_comes(sleeping)

    at_rest = [Dispatch.objects.due(), ApprovalRequest.objects.open(), Dispatch.objects.unheeded()]
    eventually(lambda: not any(due.exists() for due in at_rest))
    at_once(reconcile.sweep, 4)  # once more, from here: nothing is due any more

    once = [1] * OF_EACH_KIND
    assert fired(asked, "approval_expired") == once
    assert Decision.objects.count() == OF_EACH_KIND
    assert fired(left, "run_succeeded") == once
    assert fired(sleeping, "dispatch_queued") == fired(asked, "dispatch_queued") == [2] * OF_EACH_KIND
    for run in [*sleeping, *asked]:
        assert cast.carry_all(run).status == states.SUCCEEDED
        assert verify.chain(events.run_chain(run.pk)) is None


def test_dispatches_that_nobody_holds_are_rung_for_once(ann: User) -> None:
    cast.agent()
    for _ in range(OF_EACH_KIND):
        cast.start(ann, cast.script(cast.text("done")))
    Dispatch.objects.update(rung_at="2020-01-01T00:00Z")

    assert sum(at_once(reconcile.call_forgotten, 4)) == OF_EACH_KIND


def test_control_without_lock_and_condition_timers_fire_twice(stack: Stack, ann: User, tmp_path: Path) -> None:
    cast.agent()
    sleeping = waiting_for_a_moment(ann)
    reconcilers(stack, tmp_path, count=2, callables="tests.runs.callables,tests.faults.unlocked")

    the_moment_comes(sleeping)

    eventually(lambda: max(fired(sleeping, "dispatch_queued")) > 2)
