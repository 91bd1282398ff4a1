"""The routing cascade by real workers: who decided, by the rows, and who was asked about it, on the wire."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User

from agents import roster
from agents.models import Agent
from agents.routing import fits, teaching
from agents.values import AgentKind
from approvals.models import OPERATOR, REQUESTER, ApprovalRequest
from runs import states
from runs.models import PlanTemplate, Route, Routing
from tests.agents.routing import desk
from tests.model_fixtures import ScriptedModel
from tests.plans.cast import plan
from tests.runs.cast import agent, call, decide, events_of, script, scripts, start, text
from tests.scenarios import Answer, Scenario, Seen, carried, nobody_is_asked, start_workers
from tests.stack import Stack

pytestmark = [pytest.mark.crash, pytest.mark.django_db(transaction=True)]

REFUND, NOBODYS = desk.ASKED["refunds"], desk.NOBODYS[0]
UNCLEAR = "what it has always been about"


@pytest.fixture
def company(model: ScriptedModel) -> Iterator[None]:
    """Four agents with exemplars, fitted, and two rules: one leads to an agent, the other to a plan."""
    roster.forget()
    for route in desk.table().routes:
        agent(route.slug, owns=route.description, exemplars=route.exemplars)
    assert fits.keep_up()
    content = plan({"key": "only", "agent": "orders", "task": "For {{customer}}: " + script(text("compared"))})
    parameters = {"properties": {"customer": {"type": "string"}}, "required": ["customer"]}
    PlanTemplate.objects.create(slug="compare", title="Compare", parameters=parameters, content=content)
    refunds = Agent.objects.get(slug="refunds")
    teaching.teach_rule("refunds of vip", 'has(metadata.tier) && metadata.tier == "vip"', None, agent=refunds)
    teaching.teach_rule("comparisons", 'text.contains("compare")', None, template="compare")
    yield
    roster.forget()


@pytest.mark.usefixtures("company")
def test_every_stage_decides_what_is_its_own(
    model: ScriptedModel, stack: Stack, ann: User, bob: User, subtests: pytest.Subtests
) -> None:
    start_workers(stack)
    cascade = Cascade(ann, bob)
    scenarios = cascade.without_a_router()
    agent("triage", kind=AgentKind.ROUTER)

    carried(scenarios | cascade.with_a_router(), model, subtests)


def _dispatches(slug: str, **more: Any) -> dict[str, Any]:
    said = {"task": f"Look at it. {script(text('Looked.'))}", "confidence": 0.9}
    return call((f"dispatch_to_{slug}", said | more))


ASKS = call(("ask_human", {"question": "Which one?"}))


class Cascade:
    def __init__(self, ann: User, bob: User) -> None:
        self.ann, self.bob = ann, bob

    def without_a_router(self) -> dict[str, Scenario]:
        return {
            "a rule": self.a_rule(),
            "a rule with a plan": self.a_rule_with_a_plan(),
            "likeness": self.likeness(),
            "a question whose answer routes": self.a_question(),
            "a question whose answer is unclear": self.a_question_and_a_person(),
        }

    def with_a_router(self) -> dict[str, Scenario]:
        return {
            "a classifier that is sure": self.a_classifier(),
            "a classifier that asks": self.a_classifier_that_asks(),
            "a classifier that stays unsure": self.a_classifier_that_stays_unsure(),
        }

    def of(
        self, words: str, plays: str, check: Callable[[Seen], None], decides: Answer = nobody_is_asked, **more: Any
    ) -> Scenario:
        """The script stands behind what is compared."""
        run = start(self.ann, f"{words}{' ' * 4100}{plays}", agent=None, **more)
        return Scenario(run, check, decides)

    # -- no model is asked whose it is ---------------------------------------------------------------------------
    def a_rule(self) -> Scenario:
        def check(seen: Seen) -> None:
            kept = _decided(seen, "rule", "refunds", "By the rule.")
            assert kept.line == "Routed by the rule “refunds of vip”"
            assert [each["stage"] for each in kept.stages] == ["rules"]
            _only_asked(seen, "refunds")

        return self.of(NOBODYS, script(text("By the rule.")), check, metadata={"tier": "vip"})

    def a_rule_with_a_plan(self) -> Scenario:
        def check(seen: Seen) -> None:
            kept = Routing.objects.get(run=seen.run)
            assert (kept.decided_by, kept.template, seen.run.output) == ("rule", "compare", "compared")
            (sent,) = seen.requests()
            assert (sent.agent, sent.opening.startswith("For Kim: ")) == ("orders", True)

        return self.of("compare them", "", check, metadata={"customer": "Kim"})

    def likeness(self) -> Scenario:
        def check(seen: Seen) -> None:
            kept = _decided(seen, "semantic", "refunds", "By likeness.")
            (first, *_) = kept.stages[-1]["top"]
            assert (first["agent"], kept.confidence) == ("refunds", first["probability"])
            assert first["probability"] >= first["threshold"]
            assert kept.line == f"semantic: refunds {first['probability']:.2f} ≥ {first['threshold']:.2f}"
            _only_asked(seen, "refunds")

        return self.of(REFUND, script(text("By likeness.")), check, metadata={"ticket": "T-7"})

    # -- without a router the platform asks ----------------------------------------------------------------------
    def a_question(self) -> Scenario:
        def decides(request: ApprovalRequest) -> None:
            decide(request, self.ann, "answered", answer="accounts")

        def check(seen: Seen) -> None:
            kept = _decided(seen, "question", "accounts", "As you said.")
            assert kept.line == "asked, and the answer was accounts"
            (asked,) = seen.asked
            assert (asked.kind, asked.addressed_to) == ("clarify", REQUESTER)
            _offered_the_likeliest(asked, kept)
            assert (kept.stages[-1]["answer"], kept.stages[-1]["by"]) == ("accounts", "user:ann")
            _only_asked(seen, "accounts")

        return self.of(NOBODYS, script(text("As you said.")), check, decides)

    def a_question_and_a_person(self) -> Scenario:
        def decides(request: ApprovalRequest) -> None:
            if request.kind == "clarify":
                decide(request, self.ann, "answered", answer=UNCLEAR)
            else:
                decide(request, self.bob, "answered", answer="jobs")

        def check(seen: Seen) -> None:
            kept = _decided(seen, "person", "jobs", "As bob said.")
            asked, routed = seen.asked
            assert [(each.kind, each.addressed_to) for each in seen.asked] == [
                *[("clarify", REQUESTER), ("routing", OPERATOR)]
            ]
            _offered_the_likeliest(asked, kept)
            assert routed.content["question"] == UNCLEAR
            assert kept.line == "bob chose jobs"
            stages = [each["stage"] for each in kept.stages]
            assert stages.count("question") == 1
            assert stages[-1] == "person"
            _only_asked(seen, "jobs")

        return self.of(NOBODYS, script(text("As bob said.")), check, decides)

    # -- the router ----------------------------------------------------------------------------------------------
    def a_classifier(self) -> Scenario:
        def check(seen: Seen) -> None:
            kept = _decided(seen, "classifier", "jobs", "Looked.", by="triage")
            assert (kept.confidence, kept.line) == (0.9, "triage chose jobs, 0.90 sure")
            assert kept.stages[-1]["chose"] == [{"agent": "jobs", "confidence": 0.9}]
            router, worker = seen.requests()
            offered = [each["name"] for each in router.body["tools"]]
            assert offered == [f"dispatch_to_{slug}" for slug in ("accounts", "jobs", "orders", "refunds")] + [
                "ask_human"
            ]
            told = ", ".join(f"{each['slug']} {each['probability']:.2f}" for each in kept.candidates)
            assert f"it may be for (1 would be certain): {told}" in router.opening
            assert worker.opening.startswith("Task: Look at it. ")
            assert router.ended_at <= worker.began_at

        return self.of(NOBODYS, scripts(triage=[_dispatches("jobs", confidence=0.9)]), check)

    def a_classifier_that_asks(self) -> Scenario:
        def decides(request: ApprovalRequest) -> None:
            decide(request, self.ann, "answered", answer="orders")

        def check(seen: Seen) -> None:
            kept = _decided(seen, "question", "orders", "Looked.", by="triage")
            assert kept.line == "triage asked, and chose orders"
            (asked,) = seen.asked
            assert (asked.kind, asked.addressed_to, asked.content["question"]) == ("question", REQUESTER, "Which one?")
            _offered_the_likeliest(asked, kept)
            _, refused, answered = seen.requests_of(seen.tries()[0])
            assert refused.results[0]["is_error"]
            assert refused.results[0]["content"].startswith("You are 0.30 sure, and 0.50 is asked for")
            assert [each["content"] for each in answered.results] == ["orders"]
            assert [route.agent.slug for route in Route.objects.filter(source__run=seen.run)] == ["orders"]

        turns = [_dispatches("jobs", confidence=0.3), ASKS, _dispatches("orders", confidence=0.9)]
        return self.of(desk.NOBODYS[1], scripts(triage=turns), check, decides)

    def a_classifier_that_stays_unsure(self) -> Scenario:
        def decides(request: ApprovalRequest) -> None:
            if request.kind == "question":
                decide(request, self.ann, "answered", answer="either")
            else:
                decide(request, self.bob, "answered", answer="accounts")

        def check(seen: Seen) -> None:
            _decided(seen, "person", "accounts", "As bob chose.", by="triage")
            assert [(each.kind, each.addressed_to) for each in seen.asked] == [
                *[("question", REQUESTER), ("routing", OPERATOR)]
            ]
            assert Route.objects.get(source__run=seen.run).decided_by == "user:bob"
            _, second = seen.requests_of(seen.tries()[0])
            assert [each["content"] for each in second.results] == ["either"]

        plays = scripts(triage=[ASKS, ASKS], accounts=[text("As bob chose.")])
        return self.of(desk.NOBODYS[2], plays, check, decides)


def _decided(seen: Seen, stage: str, slug: str, output: str, *, by: str = "") -> Routing:
    """By which stage, to whom, with what result; `by` the router, where it was asked."""
    kept = Routing.objects.get(run=seen.run)
    assert (kept.decided_by, kept.agent) == (stage, slug)
    assert (seen.run.status, seen.run.output) == (states.SUCCEEDED, output)
    assert [who for who, _ in seen.origins()] == ([by, slug] if by else [slug])
    assert events_of(seen.run, "routing_judged")[-1]["decided_by"] == stage
    return kept


def _only_asked(seen: Seen, slug: str) -> None:
    """One request in all: of whoever got it, who is told who asked."""
    (sent,) = seen.requests()
    assert sent.agent == slug
    assert "\n\nAsked by: ann" in sent.opening


def _offered_the_likeliest(asked: ApprovalRequest, kept: Routing) -> None:
    likeliest = next(each for each in kept.stages if each["stage"] == "semantic")["top"]
    offered = asked.content["candidates"]
    assert offered == [each["agent"] for each in likeliest][: len(offered)]
    assert len(offered) > 1
