"""Routing: a router decides who works; where it is unsure it asks once, and then a person routes."""

import pytest

from agents import manifests
from agents.models import Agent, Manifest, OrderingRule
from agents.values import AgentKind
from approvals.errors import AnswerNeeded, InvalidEdit, NotAllowedToDecide
from approvals.models import OPERATOR, REQUESTER, ApprovalRequest
from runs import artifacts, cancellation, carrier, platform_tools, states
from runs.engine import settling
from runs.models import Artifact, Plan, Route
from runs.planning import checking
from runs.states import StopReason
from tests.runs.cast import (
    agent,
    call,
    carry_all,
    decide,
    event_types,
    events_of,
    person,
    request_of,
    scripts,
    start,
    text,
)
from tools.values import ErrorKind

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def desk(model):
    """A router, and two agents it may choose from."""
    agent("orders", "artifact_read")
    agent("refunds", "artifact_read")
    agent("router", kind=AgentKind.ROUTER)


def to(slug, task="Do it."):
    return (f"dispatch_to_{slug}", {"task": task, "confidence": 0.9})


ASK = call(("ask_human", {"question": "Which order?", "candidates": ["1", "2"]}))


def ask_for(owner, router, **workers):
    return carry_all(start(owner, scripts(router=router, **workers), agent=None))


def agents_of(run):
    return [node.manifest.agent.slug for node in run.dispatches.order_by("number")]


@pytest.mark.parametrize("slug", ["orders", "refunds"])
def test_a_clear_request_goes_to_its_owner(desk, ann, slug):
    run = ask_for(ann, [call(to(slug))], **{slug: [text(f"{slug} did it.")]})

    assert agents_of(run) == ["router", slug]
    assert (run.status, run.output) == (states.SUCCEEDED, f"{slug} did it.")
    assert run.dispatches.get(number=1).message == f"Routed to {slug}."
    assert [event["agent"] for event in events_of(run, "routed")] == [slug]


def test_a_router_is_offered_exactly_who_is_at_work_and_one_way_to_ask(desk, ann, model):
    manifests.draft("unpublished", Manifest.objects.get(agent__slug="orders").spec(), by=None)
    agent("retired")
    manifests.retire(Agent.objects.get(slug="retired"), by=None)

    ask_for(ann, [text("No.")])

    offered = [each["name"] for each in model.requests()[-1]["tools"]]
    assert offered == ["dispatch_to_orders", "dispatch_to_refunds", "ask_human"]


def test_an_agent_published_a_moment_ago_is_offered_at_the_next_turn(desk, ann, model):
    run = start(ann, scripts(router=[call(to("newcomer"))], newcomer=[text("Hello.")]), agent=None)
    agent("newcomer")

    run = carry_all(run)

    assert run.output == "Hello."


def test_a_router_that_answers_in_words_declines(desk, ann):
    run = ask_for(ann, [text("Nobody here does taxes.")])

    assert (run.status, run.output) == (states.SUCCEEDED, "Nobody here does taxes.")
    assert agents_of(run) == ["router"]


def test_where_nobody_is_at_work_a_run_that_names_nobody_says_so(model, ann):
    run = carry_all(start(ann, "hello", agent=None))

    assert (run.status, run.stop_reason) == (states.FAILED, StopReason.NEEDS_HUMAN)
    assert run.output == "No router is at work, and the request names no agent."


def test_who_is_named_needs_no_router(desk, ann, model):
    run = carry_all(start(ann, scripts(orders=[text("Hello.")]), agent="orders"))

    assert agents_of(run) == ["orders"]


class TestAnAmbiguousRequest:
    def test_is_asked_about_and_the_answer_routes(self, desk, ann):
        run = ask_for(ann, [ASK, call(to("orders", "Look at {{result:1}}"))], orders=[text("Order 2 left.")])
        question = request_of(run)
        assert (run.status, run.waiting_on) == (states.WAITING, "an answer: Which order?")
        assert (question.addressed_to, question.requester, question.kind) == (REQUESTER, ann, "question")
        assert (question.content["question"], question.content["candidates"]) == ("Which order?", ["1", "2"])
        assert agents_of(run) == ["router"]

        decide(question, ann, "answered", answer="order 2")
        run = carry_all(run)

        assert run.dispatches.get(number=2).task == "Look at order 2"
        assert run.output == "Order 2 left."

    def test_only_who_asked_or_may_decide_answers(self, desk, ann):
        run = ask_for(ann, [ASK])

        with pytest.raises(NotAllowedToDecide):
            decide(request_of(run), person("eve"), "answered", answer="mine")

    def test_still_unsure_gets_a_person_to_route_and_never_a_second_question(self, desk, ann, bob):
        run = ask_for(ann, [ASK, ASK], refunds=[text("Paid.")])
        decide(request_of(run), ann, "answered", answer="either")
        run = carry_all(run)

        routing = request_of(run)
        assert (routing.kind, routing.addressed_to) == ("routing", OPERATOR)
        assert routing.content["candidates"] == ["orders", "refunds"]
        assert ApprovalRequest.objects.filter(kind="question").count() == 1
        with pytest.raises(NotAllowedToDecide):
            decide(routing, ann, "answered", answer="refunds")

        decide(routing, bob, "answered", answer="refunds")
        run = carry_all(run)

        assert (agents_of(run), run.output) == (["router", "refunds"], "Paid.")
        assert Route.objects.get().decided_by == "user:bob"

    def test_two_questions_in_one_turn_are_one_question(self, desk, ann):
        twice = call(*[("ask_human", {"question": f"Which? {number}"}) for number in (1, 2)])

        run = ask_for(ann, [twice])

        assert (request_of(run).kind, request_of(run).title) == ("question", "Which? 1")

    def test_a_wrong_question_does_not_count_as_asked(self, desk, ann):
        run = ask_for(ann, [call(("ask_human", {"question": 5})), ASK])

        assert request_of(run).kind == "question"

    @pytest.mark.parametrize("choice", ["nobody", "router", ""])
    def test_a_person_can_only_choose_who_is_at_work(self, desk, ann, bob, choice):
        run = ask_for(ann, [ASK, ASK])
        decide(request_of(run), ann, "answered", answer="either")
        run = carry_all(run)

        with pytest.raises((InvalidEdit, AnswerNeeded)):
            decide(request_of(run), bob, "answered", answer=choice)
        assert run.dispatches.count() == 1

    def test_a_question_that_nobody_answers_is_told_to_the_router(self, desk, ann):
        run = ask_for(ann, [ASK, text("I was told: {{result:1}}")])

        decide(request_of(run), ann, "rejected", reason="leave me alone")
        run = carry_all(run)

        assert run.output == "I was told: Refused by a person: leave me alone"

    def test_a_worker_may_ask_more_than_once(self, desk, ann):
        agent("worker", "ask_human")
        run = carry_all(start(ann, scripts(worker=[ASK, ASK, text("{{result:1}}, {{result:2}}")])))

        for answer in ("one", "two"):
            decide(request_of(run), ann, "answered", answer=answer)
            run = carry_all(run)

        assert run.output == "one, two"


class TestSeveralSteps:
    def test_two_dispatches_of_one_turn_run_in_order_with_a_reference(self, desk, ann, model):
        run = start(
            ann,
            scripts(
                router=[call(to("orders", "Find it."), to("refunds", "Pay it back."))],
                orders=[text("Order 7 cost 5.")],
                refunds=[text("Paid 5.")],
            ),
            agent=None,
        )
        router = run.dispatches.get()
        assert carrier.carry(router.pk)

        _, first, second = run.nodes.order_by("number")
        assert (first.status, second.status) == (states.WORKING, states.BLOCKED)
        run = carry_all(run)

        message = model.requests()[-1]["messages"][0]["content"][0]["text"]
        (kept,) = Artifact.objects.all()
        assert message.startswith("Task: Pay it back.")
        assert f"Result of orders-1 (orders) ({kept.reference}): Order 7 cost 5." in message
        assert (run.status, run.output) == (states.SUCCEEDED, "Order 7 cost 5.\n\nPaid 5.")

    def test_the_second_reads_the_firsts_result_whole_by_its_reference(self, desk, ann):
        long = "word " * 400 + "end"
        input = scripts(router=[call(to("orders"), to("refunds"))], orders=[text(long)])
        run = start(ann, input, agent=None)
        for number in (1, 2):
            assert carrier.carry(run.dispatches.get(number=number).pk)
        (kept,) = Artifact.objects.all()
        reading = scripts(refunds=[call(("artifact_read", {"reference": kept.reference})), text("{{result:1}}")])
        run.dispatches.filter(number=3).update(briefing="", task=reading)

        carry_all(run)

        assert run.dispatches.get(number=3).output == long

    def test_an_ordering_rule_comes_before_the_routers_order(self, desk, ann):
        rule = {"before": Agent.objects.get(slug="orders"), "after": Agent.objects.get(slug="refunds")}
        OrderingRule.objects.create(**rule, reason="look before you pay")

        run = ask_for(ann, [call(to("refunds"), to("orders"))], orders=[text("First.")], refunds=[text("Second.")])

        assert agents_of(run) == ["router", "orders", "refunds"]
        assert run.output == "First.\n\nSecond."

    def test_control_without_a_rule_the_routers_order_stands(self, desk, ann):
        run = ask_for(ann, [call(to("refunds"), to("orders"))], orders=[text("2")], refunds=[text("1")])

        assert agents_of(run) == ["router", "refunds", "orders"]

    def test_rules_in_a_ring_order_nothing(self, desk, ann):
        orders, refunds = Agent.objects.get(slug="orders"), Agent.objects.get(slug="refunds")
        OrderingRule.objects.create(before=orders, after=refunds, reason="a")
        OrderingRule.objects.create(before=refunds, after=orders, reason="b")

        run = ask_for(ann, [call(to("refunds"), to("orders"))], orders=[text("2")], refunds=[text("1")])

        assert agents_of(run) == ["router", "refunds", "orders"]

    def test_what_comes_after_a_failure_is_skipped(self, desk, ann):
        cut = text("So far.") | {"stop_reason": "max_tokens"}

        run = ask_for(ann, [call(to("orders"), to("refunds"))], orders=[cut])

        first, second = run.nodes.order_by("number")[1:]
        assert (first.stop_reason, second.status) == (StopReason.MAX_TOKENS, states.SKIPPED)
        assert (run.status, run.stop_reason, run.output) == (states.FAILED, StopReason.MAX_TOKENS, "So far.")

    def test_who_retires_before_it_could_start_takes_what_follows_with_it(self, desk, ann):
        run = start(ann, scripts(router=[call(to("orders"), to("refunds"))]), agent=None)
        original = platform_tools.add_route

        def add_and_retire(*args, **more):
            route = original(*args, **more)
            Agent.objects.filter(slug="orders").update(active=False)
            return route

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(platform_tools, "add_route", add_and_retire)
            run = carry_all(run)

        first, second = run.nodes.order_by("number")[1:]
        assert (first.stop_reason, second.status) == (StopReason.REFUSED, states.SKIPPED)
        assert run.status == states.FAILED

    def test_a_handed_over_step_is_waited_for(self, desk, ann, bob):
        agent("payer")
        agent("orders", "propose_handoff", handoff_targets=("payer",))
        handing = call(("propose_handoff", {"target": "payer", "reason": "r", "task": scripts(payer=[text("Paid.")])}))
        run = ask_for(ann, [call(to("orders"), to("refunds"))], orders=[handing], refunds=[text("Told.")])
        assert run.nodes.get(number=3).status == states.BLOCKED

        decide(request_of(run), bob)
        run = carry_all(run)

        assert agents_of(run) == ["router", "orders", "payer", "refunds"]
        assert "Result of orders-1 (payer)" in run.dispatches.get(number=4).briefing
        assert run.output == "Paid.\n\nTold."


def test_a_target_that_retires_within_the_turn_is_an_error_the_router_reads(desk, ann):
    run = start(ann, scripts(router=[call(to("orders")), text("{{result:1}}")]), agent=None)
    manifests.retire(Agent.objects.get(slug="orders"), by=None)

    run = carry_all(run)

    assert run.dispatches.get().calls.get().error_kind == ErrorKind.UNKNOWN_TOOL
    assert run.output == "Refused: There is no such tool."


def test_a_run_cancelled_in_the_middle_of_routing_dispatches_nobody(desk, ann, monkeypatch):
    """The cancel comes between the reply and the platform tool."""
    run = start(ann, scripts(router=[call(to("orders"))], orders=[text("no")]), agent=None)
    original = settling.settle

    def cancel_first(*args):
        cancellation.cancel(run.pk, ann)
        return original(*args)

    monkeypatch.setattr(settling, "settle", cancel_first)
    run = carry_all(run)

    assert (run.status, agents_of(run)) == (states.CANCELLED, ["router"])
    assert not Route.objects.exists()
    assert "tool_call_refused" in event_types(run)


def test_a_proposal_that_loses_against_a_cancel_leaves_nothing_open(desk, ann, monkeypatch):
    agent("worker", "propose_handoff", handoff_targets=("orders",))
    proposing = call(("propose_handoff", {"target": "orders", "reason": "r", "task": "t"}))
    run = start(ann, scripts(worker=[proposing]))
    original = settling.settle

    def cancel_first(*args):
        cancellation.cancel(run.pk, ann)
        return original(*args)

    monkeypatch.setattr(settling, "settle", cancel_first)
    run = carry_all(run)

    assert run.status == states.CANCELLED
    assert not ApprovalRequest.objects.exists()


@pytest.mark.parametrize("reference", ["artifact:nonsense", "", "artifact:01999999-0000-7000-8000-000000000000"])
def test_a_reference_that_is_none_finds_nothing(desk, ann, reference):
    run = start(ann, "x", agent="orders")

    assert artifacts.find(run.pk, reference) is None


class TestSeveralDecisions:
    def both(self, owner):
        routed = call(to("orders", "Look."), to("refunds", "Pay."))
        return ask_for(owner, [routed], orders=[text("Seen.")], refunds=[text("Paid.")])

    def test_make_a_plan(self, desk, ann):
        run = self.both(ann)

        made = Plan.objects.get(run=run)
        assert (made.source, made.made_by, made.status) == ("router", "agent:router", states.ACCEPTED)
        assert [each["depends_on"] for each in made.content["nodes"]] == [[], ["orders-1"]]
        assert {node.plan_id for node in run.nodes.filter(number__gt=1)} == {made.pk}
        assert (run.status, run.output) == (states.SUCCEEDED, "Seen.\n\nPaid.")
        assert [event["agent"] for event in events_of(run, "routed")] == ["orders", "refunds"]

    def test_are_a_persons_to_approve_as_any_plan_is(self, desk, ann, bob, settings):
        settings.BATON_ASK_FOR_PLANS = "always"
        run = self.both(ann)
        assert (run.status, run.waiting_on) == (states.WAITING, "a person to approve the plan")
        assert agents_of(run) == ["router"]

        decide(request_of(run), bob)
        run = carry_all(run)

        assert (run.status, run.output) == (states.SUCCEEDED, "Seen.\n\nPaid.")
        assert "The request, in the person's own words:" in run.dispatches.get(number=2).briefing
        assert all(route.node_id for route in Route.objects.all())

    def test_are_carried_out_as_a_person_edits_them(self, desk, ann, bob, settings):
        settings.BATON_ASK_FOR_PLANS = "always"
        run = self.both(ann)
        only = [{"key": "orders-1", "agent": "refunds", "task": "Look."}]

        decide(request_of(run), bob, "modified", edit={"content": {"nodes": only}})
        run = carry_all(run)

        assert (agents_of(run), run.output) == (["router", "refunds"], "Paid.")
        assert [route.node_id is not None for route in Route.objects.order_by("number")] == [True, False]

    def test_are_no_more_than_a_run_may_have(self, desk, ann, monkeypatch):
        monkeypatch.setattr(checking, "NODE_LIMIT", 1)
        run = self.both(ann)

        assert (run.status, run.stop_reason) == (states.FAILED, StopReason.REFUSED)
        assert "2 nodes are more than the 1 that the run may have" in run.nodes.get().message
