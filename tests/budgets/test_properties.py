"""Random trees, and reservations, settlements, ends and changed caps in any order: the sums agree after each."""

from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.models import Agent
from orchestrator_site.core.clock import database_now
from runs import budgets
from runs.budgets import allotments
from runs.models import Allotment, Budget, BudgetPeriod
from tests.budgets.cast import Payer, budget, person, spent, sums_agree
from tests.runs.cast import agent, start

pytestmark = pytest.mark.django_db(transaction=True)

MONEY = st.integers(1, 60).map(lambda cents: Decimal(cents) / 100)
STEPS = st.one_of(
    st.tuples(st.just("reserve"), st.integers(0, 3), MONEY),
    st.tuples(st.just("settle"), st.integers(0, 3), st.integers(0, 100)),
    st.tuples(st.just("end"), st.integers(0, 3), st.just(0)),
    st.tuples(st.just("idle"), st.just(0), st.just(0)),
    st.tuples(st.just("raise"), st.integers(0, 4), MONEY),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    caps=st.lists(st.one_of(st.none(), MONEY.map(lambda usd: usd * 4)), min_size=5, max_size=5),
    steps=st.lists(STEPS, min_size=10, max_size=40),
)
def test_whatever_happens_in_whatever_order(model, ann, caps, steps):
    payers, tree = people_at_work(ann, caps)
    charged = {payer: Decimal(0) for payer in payers}

    for what, which, much in steps:
        payer = payers[which % len(payers)]
        match what:
            case "reserve":
                payer.reserve(much)
            case "settle" if payer.reserved:
                cost = payer.reserved[0][0] * much / 100
                payer.settle(cost)
                charged[payer] += cost
            case "end":
                budgets.give_back(payer.dispatch.run_id)
            case "idle":
                Allotment.objects.update(touched_at="2020-01-01T00:00Z")
                allotments.give_back_idle()
            case "raise" if tree:
                each = tree[which % len(tree)]
                each.cap_usd += much
                budgets.change(each)
        sums_agree()

    for each in tree:
        under = [payer for payer in payers if each.agent_id in (None, payer.dispatch.manifest.agent_id)]
        under = [payer for payer in under if each.owner_id in (None, payer.dispatch.run.owner_id)]
        assert spent(each) == sum(charged[payer] for payer in under)


def people_at_work(ann, caps):
    """Four runs of two people and two agents, and a budget at each level that has a cap."""
    Allotment.objects.all().delete()
    BudgetPeriod.objects.all().delete()
    Budget.objects.all().delete()
    other = person(f"user-{database_now().timestamp()}")
    for slug in ("worker", "clerk"):
        if not Agent.objects.filter(slug=slug).exists():
            agent(slug)
    wanted = [(ann, "worker", None), (ann, "clerk", "0.7"), (other, "worker", None), (other, "clerk", "2")]
    runs = [start(owner, "x", slug, budget_usd=cap and Decimal(cap)) for owner, slug, cap in wanted]
    places = [
        {"level": "global"},
        {"level": "user", "owner": ann},
        {"level": "agent", "agent": "worker"},
        {"level": "agent", "agent": "clerk", "period": "month"},
        {"level": "agent", "agent": "clerk", "period": "run"},
    ]
    tree = [budget(cap=cap, **place) for place, cap in zip(places, caps, strict=True) if cap is not None]
    return [Payer(run) for run in runs], tree
