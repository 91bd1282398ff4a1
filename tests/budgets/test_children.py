"""Children draw from what their parent has left: a plan's share, a supervisor's limit, whoever is summarised."""

from decimal import Decimal

import pytest

from agents.values import AgentKind
from runs import carrier, states
from runs.models import Allotment, Dispatch
from tests.plans.cast import node, plan
from tests.runs.cast import agent, call, carry_all, decide, script, scripts, start, text, tool

pytestmark = pytest.mark.django_db(transaction=True)
# What a short call of these agents is reserved at is about 1.3 cents, and what it comes to far less.
ONE_CALL = Decimal("0.02")


def lead(ann, *, cap, children=2, **more):
    for slug in ("orders", "refunds"):
        agent(slug)
    agent("lead", kind=AgentKind.SUPERVISOR, limits={"cost_usd": cap})
    tasks = [("orders", "refunds")[n % 2] for n in range(children)]
    asked = call(*[(f"dispatch_to_{slug}", {"task": scripts(**{slug: [text("done")]})}) for slug in tasks])
    turns = [asked, call(("wait", {})), call(("finish", {"answer": "All."}))]
    return start(ann, scripts(lead=turns), agent="lead", **more)


def test_a_supervisor_and_all_it_dispatches_stay_within_its_limit(model, ann):
    run = carry_all(lead(ann, cap=Decimal(1)))

    bound, dispatches = Allotment.objects.get(), run.dispatches.all()
    assert run.status == states.SUCCEEDED
    assert bound.granted_usd == 1
    assert bound.spent_usd == sum(each.cost_usd for each in dispatches) > 0
    assert {tuple(each.terms["draws_on"]) for each in dispatches} == {(bound.pk,)}


def test_children_that_run_side_by_side_cannot_spend_it_twice(model, ann, bob):
    run = lead(ann, cap=Decimal(1))
    assert carrier.carry(run.dispatches.get(number=1).pk)
    Allotment.objects.update(granted_usd=Allotment.objects.get().spent_usd + Decimal("0.001"))

    run = carry_all(run)

    _, *children = run.dispatches.order_by("number")
    assert [each.status for each in children] == [states.WAITING] * 2
    assert children[0].waiting_on == "a person to add to the budget of run and all that works for it"
    for child in children:
        request = request_of_dispatch(child)
        assert (request.kind, request.content["scope"]) == ("budget", "node")
        decide(request, bob)
        run = carry_all(run)
    assert run.status == states.SUCCEEDED


def request_of_dispatch(dispatch):
    from approvals.models import ApprovalRequest

    return ApprovalRequest.objects.open().get(dispatch_id=dispatch.pk)


def test_a_share_holds_for_all_tries_and_for_whatever_the_node_goes_over(model, ann):
    agent("clerk")
    items = [script(text(str(n))) for n in range(3)]
    each = {"key": "a", "agent": "clerk", "task": "{item}", "over": {"items": items}, "budget_usd": str(ONE_CALL)}
    run = carry_all(start(ann, "x", agent=None, plan=plan(each)))

    bound = Allotment.objects.get()
    assert bound.granted_usd == ONE_CALL
    assert bound.spent_usd == sum(each.cost_usd for each in Dispatch.objects.filter(run=run))
    assert bound.spent_usd + bound.reserved_usd <= ONE_CALL


def test_nothing_is_bound_where_nothing_was_shared_out(model, ann):
    agent("clerk")

    carry_all(start(ann, "x", agent=None, plan=plan(node("a") | {"agent": "clerk"})))

    assert not Allotment.objects.exists()


def test_a_summariser_draws_from_what_it_summarises_for(model, ann):
    tool("echo", "tests.echo")
    agent("summariser")
    agent("worker", "echo", limits={"iterations": 40, "context_tokens": 5000, "tokens_total": 10_000_000})
    words = [call(("echo", {"n": n}), say=f"Order {n}. " + "word " * 250) for n in range(12)]

    run = carry_all(start(ann, scripts(worker=words, summariser=[text("They are late.")])))

    worker, summariser = run.dispatches.order_by("number")[:2]
    bound = Allotment.objects.get(node=worker.node)
    assert (summariser.node.role, summariser.terms["draws_on"]) == ("summariser", [bound.pk])
    assert worker.terms["draws_on"] == [bound.pk]
    assert bound.granted_usd == worker.cost_cap_usd
    assert bound.spent_usd == sum(each.cost_usd for each in run.dispatches.all())
