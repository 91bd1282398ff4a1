"""Simulations over a real history: carried in batches, gone on with after a kill, cancelled, and never flipping what
the policy itself ruled."""

import datetime as dt

import pytest
from django.contrib.auth.models import User

from orchestrator_site.core import canonical
from orchestrator_site.core.clock import database_now
from orchestrator_site.core.models import Event
from orchestrator_site.core.transitions import StaleRow
from runs import reconcile, states
from runs.errors import BadRequest, NotPossible
from runs.models import Simulation, ToolCall
from runs.policies import simulating
from tests.policies import cast
from tests.policies.cast import rule
from tests.waiting import eventually
from tools.policies import versions

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("model")]

SMALL = rule("small payments", "notify", tool="pay_out", condition="double(args.amount) <= 50.0")
LARGE = rule("large payments", "deny", tool="pay_out", condition="double(args.amount) > 500.0")
NOBODYS = rule("nobody's", "deny", tool="pay_out", condition="double(args.amount) > 1000000.0")


@pytest.fixture
def history(ann: User) -> None:
    """Each run has one call that reads and one that asks to pay."""
    cast.desk()
    cast.paid(ann, 20, 30, 70, 600)


def carried(draft, **more) -> Simulation:
    asked = simulating.ask(draft, by=None, **more)
    simulating.carry(asked.pk)
    asked.refresh_from_db()
    return asked


def test_a_draft_is_tried_on_what_was_ruled(history, ann):
    done = carried(cast.draft(SMALL, LARGE, NOBODYS, by=ann))

    found = done.found()
    assert (done.status, done.total, done.seen, done.percent) == (states.DONE, 8, 8, 100)
    assert (found.judged, found.flips) == (8, 3)
    assert found.flips_by_tool == {
        "pay_out → asks → runs and is told of": 2,
        "pay_out → asks → refused": 1,
    }
    assert (found.approvals_more, found.approvals_fewer) == (0, 3)
    assert found.money_more == {"pay_out.amount": "50"}
    assert found.without_match(done.value()) == ["nobody's"]
    assert {sample["call"] for sample in found.samples} <= {
        str(pk) for pk in ToolCall.objects.values_list("pk", flat=True)
    }


def test_the_policy_in_force_flips_nothing_of_its_own(ann, bob):
    cast.desk()
    cast.in_force(SMALL, LARGE, by=ann, second=bob)
    cast.paid(ann, 20, 70, 600)

    found = carried(cast.draft(SMALL, LARGE)).found()

    assert (found.judged, found.flips, found.unclear) == (6, 0, 0)


def test_what_the_draft_asks_for_and_nobody_recorded_is_counted(history, ann):
    often = rule("often", "ask", tool="pay_out", condition="calls.of_tool > 3")

    found = carried(cast.draft(often)).found()

    assert (found.judged, found.unclear, found.not_recorded) == (4, 4, {"calls.of_tool": 4})


@pytest.mark.parametrize(
    ("filters", "judged"),
    [
        ({"tool": "pay_out"}, 4),
        ({"verdict": "Allow"}, 4),
        ({"agent": "nobody"}, 0),
        ({"agent": "worker"}, 8),
        ({"app": "ann"}, 0),
    ],
)
def test_filters_cut_what_is_judged(history, filters, judged):
    assert carried(cast.draft(SMALL), filters=filters).found().judged == judged


def test_a_time_cuts_what_is_judged(history):
    tomorrow = database_now() + dt.timedelta(days=1)

    assert carried(cast.draft(SMALL), until=tomorrow, since=tomorrow - dt.timedelta(hours=1)).found().judged == 0


def test_what_was_found_before_a_kill_is_kept(history, monkeypatch):
    monkeypatch.setattr(simulating, "BATCH", 3)
    whole = carried(cast.draft(SMALL, LARGE))
    asked = simulating.ask(cast.draft(SMALL, LARGE), by=None)
    simulating._begin(asked)
    simulating._batch(asked)  # and here its worker is killed

    simulating.carry(asked.pk)

    asked.refresh_from_db()
    assert (asked.status, asked.seen) == (states.DONE, 8)
    assert asked.tally == whole.tally


def test_of_two_who_carry_the_same_one_goes_on(history, monkeypatch):
    monkeypatch.setattr(simulating, "BATCH", 3)
    asked = simulating.ask(cast.draft(SMALL), by=None)
    simulating._begin(asked)
    other = Simulation.objects.get(pk=asked.pk)
    simulating._batch(asked)

    with pytest.raises(StaleRow):
        simulating._batch(other)

    simulating.carry(asked.pk)
    assert Simulation.objects.get(pk=asked.pk).found().seen == 8


def test_a_cancelled_one_stops_at_its_next_batch(history, monkeypatch, ann):
    monkeypatch.setattr(simulating, "BATCH", 3)
    asked = simulating.ask(cast.draft(SMALL), by=None)
    simulating._begin(asked)
    carrying = Simulation.objects.get(pk=asked.pk)

    simulating.cancel(asked, by=ann)

    with pytest.raises(StaleRow):
        simulating._batch(carrying)
    with pytest.raises(NotPossible):
        simulating.cancel(asked, by=ann)


def test_one_that_nobody_carries_is_called_for(history, settings, monkeypatch):
    rung: list = []
    asked = simulating.ask(cast.draft(SMALL), by=None)
    monkeypatch.setattr(simulating, "ring", rung.append)

    assert simulating.call_forgotten() == 0
    Simulation.objects.filter(pk=asked.pk).update(moved_at=database_now() - dt.timedelta(hours=1))
    reconcile.sweep()

    assert rung == [asked.pk]


def test_an_error_of_ours_ends_it_and_says_so(history, monkeypatch):
    asked = simulating.ask(cast.draft(SMALL), by=None)
    monkeypatch.setattr(simulating.history, "recorded", lambda rows: 1 / 0)

    simulating.carry(asked.pk)

    asked.refresh_from_db()
    assert (asked.status, asked.error) == (states.FAILED, "ZeroDivisionError: division by zero")


def test_who_edits_the_draft_meanwhile_changes_nothing(history):
    draft = cast.draft(SMALL)
    asked = simulating.ask(draft, by=None)
    versions.rewrite(draft, cast.policy(LARGE), by=None)

    simulating.carry(asked.pk)

    asked.refresh_from_db()
    assert [each.name for each in asked.value().rules] == ["small payments"]
    assert simulating.latest(draft) is None


def test_it_is_on_the_platform_chain(history, ann):
    asked = simulating.ask(cast.draft(SMALL), by=ann)

    told = canonical.loads(Event.objects.filter(type="policy_simulated").get().data)

    assert told["simulation"] == str(asked.pk)


@pytest.mark.parametrize(
    ("asked", "field"),
    [({"filters": {"colour": "red"}}, "filters"), ({"since": database_now}, "until")],
)
def test_what_makes_no_sense_is_refused(asked, field):
    asked = {name: value() if callable(value) else value for name, value in asked.items()}
    if "since" in asked:
        asked["until"] = asked["since"] - dt.timedelta(days=1)

    with pytest.raises(BadRequest) as refused:
        simulating.ask(versions.draft(by=None), by=None, **asked)

    assert set(refused.value.faults) == {field}


def test_rules_that_hold_for_nothing_are_told_at_a_glance(history):
    assert simulating.unmatched(cast.policy(SMALL, NOBODYS)) == (["nobody's"], 8)


def test_a_worker_carries_it(history, stack):
    asked = simulating.ask(cast.draft(SMALL, LARGE), by=None)

    stack.start_worker()
    eventually(lambda: Simulation.objects.get(pk=asked.pk).status == states.DONE)

    assert Simulation.objects.get(pk=asked.pk).found().flips == 3
