"""Work that ends every process that carries it is set aside; whoever was carried beside it has nothing to fear."""

import signal
from collections.abc import Iterator

import psutil
import pytest
from django.contrib.auth.models import User

from orchestrator_site.services import processes
from orchestrator_site.services.supervisor import Supervisor
from runs import carrier, leases, states
from runs.errors import Suspected
from runs.models import Run, Step
from runs.states import StopReason
from runs.values import Lease
from tests.model_fixtures import Process
from tests.runs import cast
from tests.runs.cast import event_types
from tests.runs.meanwhile import leave_to_others
from tests.stack import Stack
from tests.waiting import PATIENCE_SECONDS, eventually
from tools.models import Tool
from tools.values import Effect, Risk

pytestmark = [pytest.mark.crash, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("model")]

# Longer than a worker lives when the poison is carried in it: whoever asks this model dies with each of them.
SLOW_SECONDS = 5
QUICK, SLOW, WORKERS = 17, 3, 2
# The first death does not count: it came after a step that was recorded.
WORKERS_ENDED = 1 + leases.SUSPECT_AFTER


@pytest.fixture
def supervisor(stack: Stack) -> Iterator[Supervisor]:
    """Two workers under it, as `manage.py up` has them: started again, and their exits told."""
    supervisor = Supervisor(on_exit=[leases.process_exited])
    env = stack.env | {"BATON_RECONCILE_SECONDS": "0.5", "BATON_LEASE_SECONDS": "6"}
    names = [f"watched-{n}" for n in range(WORKERS)]
    supervisor.start(*[processes.worker(name, env=env, logs=stack.logs) for name in names])
    yield supervisor
    supervisor.stop()


def hire() -> None:
    cast.tool("act", "tests.effect", Effect.KEYED, Risk.LOW)
    cast.tool("poison", "tests.poison", Effect.PURE, Risk.LOW)
    Tool.objects.update(confirmation="never")
    cast.agent("worker", "act", "poison")


def ordinary(ann: User, *, delay_seconds: float = 0) -> Run:
    act = cast.call(("act", {"dedupe": True})) | {"delay_seconds": delay_seconds}
    return cast.start(ann, cast.script(act, cast.text("done")))


def test_poison_is_set_aside_and_nobody_beside_it(
    stack: Stack, supervisor: Supervisor, ledger: Process, ann: User
) -> None:
    hire()
    before = len(ledger.get("/effects"))
    innocent = [ordinary(ann, delay_seconds=SLOW_SECONDS) for _ in range(SLOW)]
    poison = cast.start(ann, cast.script(cast.call(("poison", {})), cast.text("done")))
    innocent += [ordinary(ann) for _ in range(QUICK)]
    at_work = Run.objects.filter(pk__in=[poison.pk, *[run.pk for run in innocent]]).exclude(status__in=states.RUN.final)
    eventually(lambda: supervisor.look() or not at_work.exists())  # type: ignore[func-returns-value]

    poison.refresh_from_db()
    assert (poison.status, poison.stop_reason) == (states.FAILED, StopReason.QUARANTINED)
    assert event_types(poison).count("worker_exited") == 1 + leases.QUARANTINE_AFTER
    assert {Run.objects.get(pk=run.pk).status for run in innocent} == {states.SUCCEEDED}
    made = ledger.get("/effects")[before:]
    keys = {str(cast.only_call(run).idempotency_key) for run in innocent}
    assert len(made) == len(keys) == len(innocent)
    assert {effect["key"] for effect in made} == keys
    assert Step.objects.filter(status=states.LOST).exclude(dispatch__run=poison).exists(), "nobody was beside it"
    assert sum(len(deaths) for deaths in supervisor._deaths.values()) == WORKERS_ENDED, "later it died alone"


@pytest.mark.parametrize("ended_by", [signal.SIGTERM, signal.SIGKILL])
def test_the_end_of_its_worker_says_nothing_of_a_suspect(stack: Stack, ann: User, ended_by: signal.Signals) -> None:
    """It is handed back by its own process, which goes with the worker, and is no more suspect than before."""
    hire()
    run = cast.start(ann, cast.script(cast.text("done") | {"delay_seconds": 2 * PATIENCE_SECONDS}))
    for _ in range(leases.SUSPECT_AFTER):
        one_more_worker_dies(run)
    worker = stack.start_worker({"BATON_GRACE_SECONDS": "1", "BATON_RECONCILE_SECONDS": "0.5"})
    asked = Step.objects.filter(dispatch__run=run, status=states.ASKED)
    eventually(asked.exists)
    (alone,) = [each for each in psutil.Process(worker.pid).children() if "runs.lone_worker" in each.cmdline()]

    worker.send(ended_by)

    eventually(lambda: not alone.is_running() or alone.status() == psutil.STATUS_ZOMBIE)
    dispatch = run.dispatches.get()
    assert (dispatch.status, dispatch.claims_without_progress) == (states.QUEUED, leases.SUSPECT_AFTER)
    assert event_types(run).count("worker_stopped") == 1


def one_more_worker_dies(*runs: Run) -> list[Lease]:
    """It had claimed them all, and none of them has come a step further."""
    claimed = [leases.claim(run.dispatches.get().pk) for run in runs]
    for run in runs:
        leave_to_others(run)
    return [lease for lease in claimed if lease]


@pytest.mark.parametrize("mended", [True, False])
def test_control_without_suspicion_a_bystander_is_set_aside_with_the_poison(
    mended: bool, ann: User, ledger: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not mended:
        monkeypatch.setattr(leases, "SUSPECT_AFTER", leases.QUARANTINE_AFTER)
    hire()
    poison, bystander = ordinary(ann), ordinary(ann)
    together = 0
    try:
        for _ in range(leases.QUARANTINE_AFTER):
            together += len(one_more_worker_dies(poison, bystander)) == 2
    except Suspected:
        pass

    assert carrier.carry(bystander.dispatches.get().pk, alone=True)

    assert together == (leases.SUSPECT_AFTER if mended else leases.QUARANTINE_AFTER)
    bystander.refresh_from_db()
    assert bystander.stop_reason == (StopReason.FINISHED if mended else StopReason.QUARANTINED)
