"""Budgets above a run: drawn in allotments, exact whoever draws, and only where there is a cap."""

from decimal import Decimal

import pytest

from agents import roster
from runs import budgets, states, top_ups
from runs.budgets import Scope, Short, allotments
from runs.models import Account, Allotment, BudgetPeriod, Step
from tests.budgets.cast import Payer, budget, period_of, person, spent, sums_agree
from tests.runs.cast import agent, carry_all, script, start, text

pytestmark = pytest.mark.django_db(transaction=True)


def is_refused(came_to):
    return isinstance(came_to, Short) and came_to.scope == Scope.BUDGET


def test_a_run_under_a_budget_spends_from_it(model, ann):
    agent()
    daily = budget(cap="1")

    run = carry_all(start(ann, script(text("Hello."))))

    step, allotment = Step.objects.get(), Allotment.objects.get()
    assert (run.status, step.allotments) == (states.SUCCEEDED, [allotment.pk])
    assert allotment.spent_usd == step.cost_usd > 0
    assert allotment.reserved_usd == 0
    assert spent(daily) == step.cost_usd
    sums_agree()


def test_a_run_is_under_the_budgets_that_name_it_and_no_others(model, ann):
    agent()
    agent("other")
    wanted = {
        budget(),
        budget("user", owner=ann),
        budget("agent", agent="worker"),
        budget("agent", agent="worker", period="run"),
    }
    budget("user", owner=person("ben"))
    budget("app", owner=person("shop", "App"))
    budget("agent", agent="other")
    budget(period="month", active=False)

    carry_all(start(ann, script(text("Hello."))))

    assert {each.budget for each in BudgetPeriod.objects.all()} == wanted
    assert len({each.spent_usd for each in Allotment.objects.all()}) == 1


def test_all_or_nothing(model, ann):
    agent()
    wide, narrow = budget(cap="1"), budget("user", owner=ann, cap="0.05")
    payer = Payer(start(ann, "x"))

    refused = payer.reserve("0.06")

    assert refused == Short(Scope.BUDGET, period_id=period_of(narrow).pk)
    assert period_of(wide).granted_usd == period_of(narrow).granted_usd == 0
    assert isinstance(payer.reserve("0.05"), list)
    sums_agree()


def test_the_runs_own_budget_is_asked_first_and_given_back_with_the_rest(model, ann):
    agent()
    budget(cap="0.05")
    run = start(ann, "x", budget_usd=Decimal("1"))
    payer = Payer(run)

    assert is_refused(payer.reserve("0.06"))
    assert Account.objects.get(run=run).reserved_usd == 0
    assert Payer(start(ann, "y", budget_usd=Decimal("0.01"))).reserve("0.02") == Short(Scope.RUN)
    sums_agree()


def test_a_chunk_is_a_share_of_what_is_left_and_the_last_cent_can_be_used(model, ann):
    agent()
    whole = budget(cap="32")
    first = Payer(start(ann, "x"))

    first.reserve("0.01")

    assert Allotment.objects.get().granted_usd == 1
    other = Payer(start(ann, "y"))
    for _ in range(31):
        assert isinstance(other.reserve("1"), list)
    assert isinstance(other.reserve("0.99"), list), "what the first has drawn and not reserved is taken back"
    assert period_of(whole).granted_usd == 32
    assert is_refused(other.reserve("0.01"))
    sums_agree()


def test_whoever_was_taken_back_from_draws_again(model, ann):
    agent()
    budget(cap="1")
    first, second = Payer(start(ann, "x")), Payer(start(ann, "y"))
    first.reserve("0.01")
    second.reserve("0.98")

    assert first.reserve("0.01") is not None
    assert is_refused(first.reserve("0.01"))
    sums_agree()


def test_lowering_a_cap_bites_at_the_next_reservation(model, ann):
    agent()
    daily = budget(cap="32")
    payer = Payer(start(ann, "x"))
    payer.reserve("0.01")

    daily.cap_usd = Decimal("0.015")
    budgets.change(daily)

    assert is_refused(payer.reserve("0.01"))


def test_a_new_budget_bites_at_the_next_reservation(model, ann):
    agent()
    payer = Payer(start(ann, "x"))
    payer.reserve("0.01")

    budget(cap="0.01")

    assert is_refused(payer.reserve("0.02"))
    assert roster.today().epoch > 0


def test_what_a_run_has_left_goes_back_at_its_end(model, ann):
    agent()
    daily = budget(cap="32")

    carry_all(start(ann, script(text("Hello."))))

    period = period_of(daily)
    assert period.granted_usd == period.spent_usd == spent(daily) > 0
    assert not Allotment.objects.get().is_live


def test_what_nobody_has_touched_for_long_goes_back(model, ann):
    agent()
    daily = budget(cap="32")
    payer = Payer(start(ann, "x"))
    payer.reserve("0.01")
    assert allotments.give_back_idle() == 0

    Allotment.objects.update(touched_at="2020-01-01T00:00Z")

    assert allotments.give_back_idle() == 1
    assert period_of(daily).granted_usd == Decimal("0.01")
    payer.settle("0.005")
    Allotment.objects.update(touched_at="2020-01-01T00:00Z")
    allotments.give_back_idle()
    assert period_of(daily).granted_usd == Decimal("0.005")
    assert isinstance(payer.reserve("0.02"), list), "it draws again"
    sums_agree()


def test_a_budget_for_each_run_is_counted_run_by_run(model, ann):
    agent()
    budget("agent", period="run", agent="worker", cap="0.05")
    first, second = Payer(start(ann, "x")), Payer(start(ann, "y"))

    assert isinstance(first.reserve("0.05"), list)
    assert is_refused(first.reserve("0.01"))
    assert isinstance(second.reserve("0.05"), list)
    assert top_ups.wake_waiting() == 0
