"""What is asked all day, over a past: nothing reads a table that grows with every run, whatever the question.

The planner is left alone: what it chooses over a few thousand runs with fresh statistics is what is looked at.
"""

import pytest

from approvals.api import QueuePage
from approvals.models import ApprovalRequest, Decision
from benchmarks import plans, questions
from benchmarks.past import People
from benchmarks.plans import Scan
from benchmarks.questions import Question
from orchestrator_site import health
from orchestrator_site.core.admin_bases import CountsSoFar, Growing
from orchestrator_site.core.models import ChainHead, Event
from orchestrator_site.core.verify import chain
from runs.models import Attempt, Dispatch, Run, Step, ToolCall
from tests.history.conftest import RUNS, WAITING

# A scan may take this many rows in hand: those that wait and the newest an admin page looks through, and some.
# Every table of the past is larger.
MOST = 500
# Counts stop, and admin pages look back, this far: in production at 10,000 and 20,000.
FURTHEST = 150


pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _short_sighted(who: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Growing, "looks_back", FURTHEST)
    monkeypatch.setattr(CountsSoFar, "furthest", FURTHEST)
    monkeypatch.setattr(QueuePage, "counted_ahead", FURTHEST)
    monkeypatch.setattr(health, "COUNTED_UP_TO", FURTHEST)


def beyond(found: list[Scan]) -> list[str]:
    return [str(scan) for scan in found if scan.examined > MOST and not scan.table.startswith("pg_")]


def test_the_past_is_long_enough_to_tell():
    for model in (Run, Dispatch, Step, ToolCall, Attempt, ApprovalRequest, Decision, Event, ChainHead):
        assert model._base_manager.count() > MOST, model


def test_the_past_hangs_together():
    """Made by copying, and yet every chain verifies."""
    some = Run.objects.order_by("-pk").values_list("pk", flat=True)[:: (RUNS + WAITING) // 20]

    assert [fault for run_id in some if (fault := chain(f"run:{run_id}"))] == []


def all_of(who: People, *, named: str = "") -> list[Question]:
    return [question for question in questions.everything(who) if question.name.startswith(named)]


def test_sweeps_cost_what_they_find(who: People):
    """A hundred runs wait, thousands have ended, and nothing is due."""
    for question in all_of(who, named="sweep"):
        assert plans.examined(plans.scans(question.ask)) == 0, question.name


@pytest.mark.parametrize("room", ["live", "home", "runs", "a ", "approvals", "uncertain", "health", "api", "admin"])
def test_no_question_reads_the_past(who: People, room: str):
    asked = all_of(who, named=room)

    found = [f"{question.name}: {scan}" for question in asked for scan in beyond(plans.scans(question.ask))]

    assert asked
    assert not found, "\n".join(found)


def test_every_question_is_asked(who: People):
    rooms = ("sweep", "live", "home", "runs", "a ", "approvals", "uncertain", "health", "api", "admin")

    assert [question.name for question in all_of(who) if not question.name.startswith(rooms)] == []


USED = {
    "runs, failed": ("runs_run", "run_in_status"),
    "runs, mine of few": ("runs_run", "run_of_owner"),
    "runs, older": ("runs_run", "runs_run_pkey"),
    "runs, agent worker": ("runs_run", "runs_run_pkey"),
    "runs, agent rare": ("runs_dispatch", "manifest_id"),
    "approvals, decided": ("approvals_approvalrequest", "approval_decided"),
    "approvals, open": ("approvals_approvalrequest", "approval_open_by_deadline"),
    "health": ("runs_dispatch", "dispatch_open"),
    "api: approvals, rejected": ("approvals_approvalrequest", "approval_closed_in_status"),
}


@pytest.mark.parametrize("name", USED)
def test_the_index_made_for_it_is_used(who: People, name: str):
    table, index = USED[name]
    (question,) = (each for each in all_of(who) if each.name == name)

    used = [scan.index for scan in plans.scans(question.ask) if scan.table == table]

    assert any(index in each for each in used), used


class TestControls:
    """What these tests would say of questions that do read the past."""

    def test_a_column_without_an_index(self):
        assert beyond(plans.scans(lambda: list(Event.objects.filter(actor="user:nobody"))))

    def test_the_sweep_as_it_was(self):
        """Every run that waits, each two seconds, in every worker."""
        from django.db.models import Exists, OuterRef

        at_work = Dispatch.objects.open().filter(run=OuterRef("pk"))

        found = plans.scans(lambda: list(Run.objects.open().exclude(Exists(at_work))))

        assert plans.examined(found) >= WAITING
