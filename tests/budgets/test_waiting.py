"""A budget that others draw on is used up: whoever needs it waits, one question is asked, and all go on, or end."""

from decimal import Decimal

import pytest
from django.contrib.auth.models import Permission, User

from approvals import decisions
from approvals.errors import NotAllowedToDecide
from approvals.models import OPERATOR, ApprovalRequest
from orchestrator_site.core import canonical
from orchestrator_site.core.models import Event
from runs import budgets, cancellation, reconcile, states, top_ups
from runs.models import BudgetPeriod, BudgetWait, Dispatch
from runs.states import StopReason
from tests.budgets.cast import budget, period_of, sums_agree
from tests.runs.cast import (
    agent,
    carry_all,
    decide,
    due_now,
    events_of,
    overdue,
    person,
    request_of,
    script,
    start,
    text,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def bob(bob):
    """Decides requests, and sets budgets."""
    bob.user_permissions.add(Permission.objects.get(codename="change_budget"))
    return User.objects.get(pk=bob.pk)


@pytest.fixture
def cyd(db):
    """Decides requests as bob does, and sets no budgets."""
    return person("cyd", decides=True)


def waiting_run(ann):
    return carry_all(start(ann, script(text("Hello."))))


def asked():
    return ApprovalRequest.objects.open().get(kind="budget_account")


def woken(*runs):
    """The reconciler has had its turn, and whatever it woke was carried."""
    for part in reconcile.BUDGETS:
        part()
    return [carry_all(run) for run in runs]


def test_a_run_waits_holding_no_slot_and_says_for_what(model, ann):
    agent()
    daily = budget("agent", agent="worker", cap="0.001", zone="Europe/Berlin")

    run = waiting_run(ann)

    dispatch, period = run.dispatches.get(), period_of(daily)
    assert run.status == states.WAITING
    assert run.waiting_on.startswith("a person to add to the budget of the agent worker, or its refill at 20")
    assert run.waiting_on.endswith("00:00 (Europe/Berlin)")
    assert (dispatch.lease_owner, dispatch.due_at) == ("", period.ends_at)
    assert asked().addressed_to == OPERATOR
    assert abs((asked().deadline_at - period.ends_at).total_seconds()) < 2
    assert model.count() == 0


def test_many_runs_that_wait_are_one_question_and_the_answer_wakes_them_all(model, ann, bob):
    agent()
    budget("agent", agent="worker", cap="0.001")
    runs = [waiting_run(ann) for _ in range(5)]
    assert BudgetWait.objects.count() == 5
    request = asked()
    assert "0.00 of 0.00 USD" in request.title

    decide(request, bob, "modified", edit={"amount_usd": "5"})

    assert [run.output for run in woken(*runs)] == ["Hello."] * 5
    assert not BudgetWait.objects.exists()
    assert BudgetPeriod.objects.get().added_usd == 5
    assert Event.objects.filter(chain="platform", type="budget_raised").count() == 1
    sums_agree()


@pytest.mark.parametrize(
    "verdict",
    [{}, {"verdict": "modified", "edit": {"amount_usd": "1000000"}}, {"verdict": "rejected", "reason": "No."}],
)
def test_who_sets_no_budgets_does_not_decide_about_one_that_others_draw_on(verdict, model, ann, bob, cyd):
    agent()
    budget("agent", agent="worker", cap="0.001")
    run = waiting_run(ann)

    with pytest.raises(NotAllowedToDecide, match=r"takes the permission runs\.change_budget too"):
        decide(asked(), cyd, **verdict)

    assert not ApprovalRequest.objects.decidable_by(cyd).exists()
    assert not BudgetPeriod.objects.exclude(added_usd=0, declined_at=None).exists()
    assert ApprovalRequest.objects.decidable_by(bob).get() == asked()
    decide(asked(), bob)
    assert [run.output for run in woken(run)] == ["Hello."]


def test_control_about_a_run_s_own_they_do(model, ann, cyd):
    agent()
    run = carry_all(start(ann, script(text("Hello.")), budget_usd=Decimal("0.001")))
    assert ApprovalRequest.objects.decidable_by(cyd).exists()

    decide(request_of(run), cyd)

    assert carry_all(run).output == "Hello."


@pytest.mark.parametrize(("batch", "woken_at_once"), [(100, 3), (2, 2)])
def test_as_many_are_woken_as_there_is_room_for_in_bounded_batches(model, ann, monkeypatch, batch, woken_at_once):
    agent()
    daily = budget("agent", agent="worker", cap="0.001")
    runs = [waiting_run(ann) for _ in range(4)]
    wanted = BudgetWait.objects.earliest("since").wanted_usd
    monkeypatch.setattr(top_ups, "BATCH", batch)

    daily.cap_usd = wanted * 3
    budgets.change(daily)
    top_ups.wake_waiting()

    assert [run.dispatches.get().status for run in runs] == ["queued"] * woken_at_once + ["waiting"] * (
        4 - woken_at_once
    )


def test_declined_they_end_and_so_does_who_comes_later_in_the_period(model, ann, bob):
    agent()
    budget("agent", agent="worker", cap="0.001")
    first, second = waiting_run(ann), waiting_run(ann)

    decide(asked(), bob, "rejected", reason="Enough for today")
    ended = woken(first, second)
    later = waiting_run(ann)

    for run in (*ended, later):
        assert (run.status, run.stop_reason) == (states.FAILED, StopReason.BUDGET)
        assert "bob declined to add to it: Enough for today" in run.dispatches.get().message
    assert not ApprovalRequest.objects.open().exists()


def test_nobody_answers_and_the_turn_of_the_day_lets_them_go_on(model, ann):
    agent()
    daily = budget("agent", agent="worker", cap="0.02")
    run = waiting_for_more(ann, daily)
    decisions.expire(overdue(asked()).pk)
    assert carry_all(run).status == states.WAITING, "a question that expires ends nobody"

    the_period_is_over()
    due_now(run)
    reconcile.wake_due()
    run = carry_all(run)

    assert run.output == "Hello."
    assert BudgetPeriod.objects.filter(budget=daily).count() == 2
    assert not ApprovalRequest.objects.open().exists()


def waiting_for_more(ann, daily):
    """It waits in a period of which all is gone."""
    first = carry_all(start(ann, script(text("Hello."))))
    assert first.output == "Hello."
    BudgetPeriod.objects.update(added_usd=-period_of(daily).limit_usd + period_of(daily).granted_usd)
    run = waiting_run(ann)
    assert run.status == states.WAITING
    return run


def the_period_is_over():
    BudgetPeriod.objects.update(begins_at="2020-01-01T00:00Z", ends_at="2020-01-02T00:00Z")


def test_a_month_turns_too(model, ann):
    agent()
    monthly = budget(cap="0.02", period="month")
    run = waiting_for_more(ann, monthly)

    the_period_is_over()
    top_ups.wake_waiting()

    assert carry_all(run).output == "Hello."


def test_a_question_that_went_with_its_run_is_asked_again(model, ann):
    agent()
    budget("agent", agent="worker", cap="0.001")
    first, second = waiting_run(ann), waiting_run(ann)
    assert asked().run_id == first.pk

    cancellation.cancel(first.pk, ann)
    assert not ApprovalRequest.objects.open().exists()
    woken(second)

    assert asked().run_id == second.pk
    assert [wait.dispatch.run for wait in BudgetWait.objects.all()] == [second]


def test_a_question_is_taken_back_once_nobody_waits(model, ann):
    agent()
    daily = budget("agent", agent="worker", cap="0.001")
    run = waiting_run(ann)

    daily.cap_usd = Decimal(1)
    budgets.change(daily)
    (run,) = woken(run)

    assert run.output == "Hello."
    assert ApprovalRequest.objects.get().status == "superseded"


def test_a_budget_of_each_run_that_nobody_answers_for_ends_it(model, ann):
    agent()
    budget("agent", agent="worker", cap="0.001", period="run")
    run = waiting_run(ann)
    assert run.waiting_on == "a person to add to the budget of the agent worker"

    decisions.expire(overdue(asked()).pk)
    (run,) = woken(run)

    assert (run.status, run.stop_reason) == (states.FAILED, StopReason.BUDGET)


def test_a_budget_that_is_switched_off_lets_them_go_on(model, ann):
    agent()
    daily = budget("agent", agent="worker", cap="0.001")
    run = waiting_run(ann)

    daily.active = False
    budgets.change(daily)

    assert woken(run)[0].output == "Hello."


def test_most_of_it_gone_is_told_once_a_period(model, ann):
    agent()
    daily = budget(cap="0.013")

    runs = [carry_all(start(ann, script(text("Hello.")))) for _ in range(2)]

    told = [told for run in runs for told in events_of(run, "budget_low")]
    assert [each["budget"] for each in told] == [str(daily)]
    (event,) = Event.objects.filter(chain="platform", type="budget_low")
    assert canonical.loads(event.data) == told[0]
    assert period_of(daily).warned_at is not None


def test_most_of_a_runs_own_budget_gone_is_told_once(model, ann):
    agent("worker", limits={"cost_usd": Decimal(1)})

    run = carry_all(start(ann, script(text("Hello.")), budget_usd=Decimal("0.013")))

    assert [each["budget"] for each in events_of(run, "budget_low")] == ["this run"]
    assert Dispatch.objects.get().status == states.SUCCEEDED
