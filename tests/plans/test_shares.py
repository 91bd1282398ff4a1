"""A plan promises its nodes no more than is left around it, less what others were promised."""

from decimal import Decimal

import pytest

from runs.models import Allotment, Node
from runs.orchestration import plans
from tests.plans.cast import node, of, plan
from tests.runs.cast import agent, start

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def run(model, ann):
    """Of one dollar: `a` may spend 0.6 of it, `b` is promised nothing."""
    agent("worker")
    content = plan(node("a", budget_usd="0.6"), node("b"))
    return start(ann, "x", agent=None, plan=content, budget_usd=Decimal(1))


def left(run, key):
    return plans.setting_of(of(run, key)).remaining_usd


def test_of_the_runs_budget_without_what_others_were_promised(run):
    assert left(run, "b") == Decimal("0.4")
    assert left(run, "run") == Decimal("0.4")


def test_of_the_share_of_the_node_around(run):
    assert left(run, "a") == Decimal("0.6")

    Allotment.objects.filter(node=of(run, "a")).update(spent_usd="0.2", reserved_usd="0.1")

    assert left(run, "a") == Decimal("0.3")


def test_a_share_within_a_share_counts_once_outside_and_once_inside(run):
    outer = of(run, "a")
    Node.objects.create(
        run=run, number=9, key="c", within=outer, kind="agent", task="x", spec={"budget_usd": "0.5"}, status="ready"
    )

    assert left(run, "b") == Decimal("0.4")
    assert left(run, "a") == Decimal("0.1")


@pytest.mark.parametrize("change", [{"superseded": True}, {"status": "succeeded"}])
def test_a_node_that_has_ended_or_was_superseded_needs_nothing_more(run, change):
    b = of(run, "b")
    Node.objects.filter(key="a").update(**change)

    assert plans.setting_of(b).remaining_usd == Decimal(1)


def test_what_a_node_has_spent_is_no_promise_any_more(run):
    Allotment.objects.filter(node=of(run, "a")).update(spent_usd="0.5")

    assert left(run, "b") == Decimal("0.9")  # the account of the run is settled beside it


def test_control_nothing_bounds_a_run_without_a_budget(model, ann):
    agent("worker")
    free = start(ann, "x", agent=None, plan=plan(node("a"), node("b")))

    assert left(free, "b") is None
