import pytest
from django.contrib.auth.models import User

from agents.models import WorkerRoster
from approvals import requests
from approvals.models import ApprovalRequest
from orchestrator_site.core import events
from runs.models import Run
from tests.live.conftest import Site, allowed
from tools.values import Risk


@pytest.fixture
def approver(transactional_db: None) -> User:
    return allowed("approver", "decide_approvalrequest")


def ask(run: Run, title: str = "May I?", **terms: object) -> ApprovalRequest:
    with events.recording() as log:
        return requests.ask(
            log,
            kind="question",
            run_id=run.pk,
            title=title,
            frozen={"question": title},
            risk=Risk.LOW,
            reasons=["It asks."],
            deadline_seconds=3600,
            requester_id=run.owner_id,
            **terms,  # type: ignore[arg-type]
        )


def take_back(request: ApprovalRequest) -> None:
    with events.recording() as log:
        requests.supersede(log, ApprovalRequest.objects.filter(pk=request.pk), why="not needed")


def test_the_queue_is_told_whenever_it_changes(site: Site, run: Run, approver: User) -> None:
    queue = site.watch("/ws/approvals/", approver)
    first = queue.until_type("approvals_changed")

    request = ask(run)
    opened = queue.until_type("approvals_changed")
    take_back(request)
    closed = queue.until_type("approvals_changed")

    assert first["data"] == {"request": None, "open": 0, "mine": 0}
    assert opened["data"] == {"request": str(request.pk), "open": 1, "mine": 1}
    assert closed["data"] == {"request": str(request.pk), "open": 0, "mine": 0}


def test_each_is_told_of_their_own_queue(site: Site, run: Run, approver: User) -> None:
    theirs = site.watch("/ws/approvals/", run.owner)
    strangers = site.watch("/ws/approvals/", allowed("stranger"))
    theirs.until_type("approvals_changed")
    strangers.until_type("approvals_changed")

    request = ask(run)

    assert theirs.until_type("approvals_changed")["data"] == {"request": str(request.pk), "open": 1, "mine": 0}
    with pytest.raises(TimeoutError):
        strangers.until(lambda message: True, 0.3)


def test_nobody_has_no_queue(site: Site, transactional_db: None) -> None:
    assert site.watch("/ws/approvals/").close_code() == 4401


def test_operations_hear_of_the_platform_and_its_processes(site: Site, run: Run) -> None:
    operator = allowed("operator", "view_workerroster")
    ops = site.watch("/ws/ops/", operator)
    ops.until_type("ops_changed")

    with events.recording() as log:
        log.platform("tool_switched", actor="user:op", tool="refund")
    switched = ops.until_type("tool_switched")
    WorkerRoster.objects.create(worker="w-1", host="here", pid=1, epoch=7)
    with events.recording() as log:
        log.run(run.pk, "noted")
    processes = ops.until_type("ops_changed")

    assert switched["data"] == {"tool": "refund"}
    (process,) = [each for each in processes["data"]["workers"] if each["worker"] == "w-1"]
    assert process == {"worker": "w-1", "host": "here", "pid": 1, "epoch": 7, "error": "", "alive": True}


def test_operations_are_not_for_everyone(site: Site, approver: User) -> None:
    assert site.watch("/ws/ops/", approver).close_code() == 4404
