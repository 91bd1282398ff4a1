"""A run that names nobody: rules, likeness, a router, a question and a person say whose it is, in this order."""

import json

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction

from agents import manifests, roster
from agents.models import Agent, FailureRule, OrderingRule
from agents.routing import embedders, fits, teaching
from agents.routing.embedders import EmbedderFailed, WordVectors
from agents.values import AgentKind
from approvals.errors import InvalidEdit, NotAllowedToDecide
from approvals.models import OPERATOR, REQUESTER, ApprovalRequest
from runs import cancellation, intake, orchestration, reconcile, states
from runs.models import PlanTemplate, Route, Routing
from runs.states import StopReason
from tests.agents.routing import desk
from tests.plans.cast import node, plan
from tests.runs.cast import (
    agent,
    call,
    carry_all,
    decide,
    event_types,
    events_of,
    overdue,
    person,
    request_of,
    script,
    scripts,
    start,
    text,
    tool,
)
from tools.values import Effect, Risk

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _a_fresh_memory():
    roster.forget()
    yield
    roster.forget()
    embedders.configured.cache_clear()


@pytest.fixture
def company(model):
    """Four agents with exemplars, fitted. Nobody routes but the platform."""
    for route in desk.table().routes:
        agent(route.slug, owns=route.description, exemplars=route.exemplars)
    assert fits.keep_up()


@pytest.fixture
def router(company):
    agent("triage", kind=AgentKind.ROUTER)


def says(*turns, words):
    """A request in these words, whose agents all play the turns. The script stands behind what is compared."""
    return f"{words}{' ' * 4100}{script(*turns)}"


def asks(words, **turns):
    return f"{words}{' ' * 4100}{scripts(**turns)}"


def ask(owner, input, **more):
    return carry_all(start(owner, input, agent=None, **more))


def routing_of(run):
    return Routing.objects.get(run=run)


def stage(run, name):
    return [each for each in routing_of(run).stages if each["stage"] == name][-1]


def agents_of(run):
    return [each.manifest.agent.slug for each in run.dispatches.order_by("number")]


def first_words(model):
    """What the newest model call was told first."""
    content = model.requests()[-1]["messages"][0]["content"]
    return content if isinstance(content, str) else "".join(block["text"] for block in content)


def rule(condition, slug="refunds", name="refunds of vip", **more):
    return teaching.teach_rule(name, condition, None, agent=Agent.objects.get(slug=slug), **more)


REFUND, NOBODYS = desk.ASKED["refunds"], desk.NOBODYS[0]
DONE = text("Done.")


class TestARule:
    def test_gives_the_run_to_its_agent_and_no_model_is_asked_whose_it_is(self, router, ann, model):
        rule('metadata.tier == "vip"')

        run = ask(ann, says(DONE, words=NOBODYS), metadata={"tier": "vip"})

        kept = routing_of(run)
        assert (agents_of(run), model.count(), run.output) == (["refunds"], 1, "Done.")
        assert (kept.decided_by, kept.agent, kept.line) == ("rule", "refunds", "Routed by the rule “refunds of vip”")
        assert [each["stage"] for each in kept.stages] == ["rules"]
        assert kept.epoch == roster.database_epoch()
        (told,) = events_of(run, "routing_judged")
        assert (told["decided_by"], told["agent"]) == ("rule", "refunds")

    def test_control_without_it_the_router_has_the_request(self, router, ann):
        run = ask(ann, asks(NOBODYS, triage=[text("Nobody's.")]), metadata={"tier": "vip"})

        assert agents_of(run) == ["triage"]

    def test_may_give_it_to_a_planner(self, company, ann, model):
        agent("planner", kind=AgentKind.PLANNER)
        agent("worker")
        rule("true", "planner", name="all is planned")
        planned = text(json.dumps(plan(node("a", text("a done")))))

        run = ask(ann, asks("compare them", planner=[planned]))

        assert (run.status, run.output) == (states.SUCCEEDED, "a done")
        assert agents_of(run) == ["planner", "worker"]
        assert "Asked by: ann" in "".join(block["text"] for block in model.requests()[0]["messages"][0]["content"])

    def test_may_give_it_to_a_supervisor(self, company, ann):
        agent("boss", kind=AgentKind.SUPERVISOR)
        rule("true", "boss", name="all to the boss")

        run = ask(ann, asks("compare", boss=[call(("finish", {"answer": "Compared."}))]))

        assert (agents_of(run), run.output) == (["boss"], "Compared.")


class TestARuleWithAPlan:
    @pytest.fixture
    def template(self, company):
        agent("worker")
        content = plan({"key": "only", "agent": "worker", "task": "For {{customer}}: " + script(text("carried out"))})
        parameters = {"properties": {"customer": {"type": "string"}}, "required": ["customer"]}
        made = PlanTemplate.objects.create(slug="compare", title="Compare", parameters=parameters, content=content)
        teaching.teach_rule("comparisons", 'text.contains("compare")', None, template="compare")
        return made

    def test_is_carried_out_with_what_the_metadata_say(self, template, ann):
        run = ask(ann, "compare my late orders", metadata={"customer": "Kim", "ticket": "T-1"})

        assert (run.status, run.output) == (states.SUCCEEDED, "carried out")
        assert run.nodes.get(key="only").task.startswith("For Kim: ")
        assert run.plan == {"template": "compare", "parameters": {"customer": "Kim"}}
        assert (routing_of(run).template, routing_of(run).target) == ("compare", "the plan compare")

    @pytest.mark.parametrize("trouble", ["a parameter is missing", "it is switched off"])
    def test_is_passed_over_where_it_cannot_be(self, template, ann, trouble):
        if trouble == "it is switched off":
            PlanTemplate.objects.update(active=False)

        run = start(ann, f"{REFUND}: compare", agent=None, metadata={} if "missing" in trouble else {"customer": "Kim"})

        (passed,) = stage(run, "rules")["passed_over"]
        assert passed["rule"] == "comparisons"
        assert "customer" in passed["why"] or "no plan template compare is at work" in passed["why"]
        assert run.plan is None
        assert run.dispatches.count() == 1 or request_of(run).kind == "clarify"

    def test_tried_again_is_routed_again(self, template, ann):
        run = ask(ann, "compare my late orders", metadata={"customer": "Kim"})

        again = carry_all(intake.retry(run, ann, source="api"))
        elsewhere = intake.retry(run, ann, source="api", agent="worker")

        assert (again.plan, routing_of(again).template) == (run.plan, "compare")
        assert elsewhere.agent
        assert (elsewhere.plan, elsewhere.agent.slug) == (None, "worker")


class TestLikeness:
    def test_decides_where_it_is_sure_and_tells_who_asked(self, router, ann, model):
        ann.groups.add(Group.objects.create(name="Shop"))

        run = ask(ann, says(DONE, words=REFUND), metadata={"ticket": "T-7"})

        kept = routing_of(run)
        assert (agents_of(run), kept.decided_by, kept.agent) == (["refunds"], "semantic", "refunds")
        assert kept.line.startswith("semantic: refunds 0.")
        assert kept.confidence == stage(run, "semantic")["top"][0]["probability"]
        assert kept.caller == {"username": "ann", "roles": ["Shop"], "is_app": False}
        assert first_words(model).endswith('\n\nAsked by: ann (Shop)\nWith the request came: {"ticket":"T-7"}')

    def test_unsure_tells_the_router_whom_it_thought_of(self, router, ann, model):
        run = ask(
            ann, asks(NOBODYS, triage=[call(("dispatch_to_jobs", {"task": "Look.", "confidence": 0.9}))], jobs=[DONE])
        )

        told = next(r for r in model.requests() if "dispatch_to_jobs" in json.dumps(r["tools"]))
        words = "".join(block["text"] for block in told["messages"][0]["content"])
        likeliest = routing_of(run).candidates[0]
        assert "By what requests are like, it may be for" in words
        assert f"{likeliest['slug']} {likeliest['probability']:.2f}" in words
        kept = routing_of(run)
        assert (agents_of(run), run.output) == (["triage", "jobs"], "Done.")
        assert (kept.decided_by, kept.agent, kept.confidence) == ("classifier", "jobs", 0.9)
        assert kept.line == "triage chose jobs, 0.90 sure"
        assert stage(run, "classifier") == {
            "stage": "classifier",
            "router": "triage",
            "chose": [{"agent": "jobs", "confidence": 0.9}],
            "unsure": [],
        }

    @pytest.mark.parametrize("failure", [EmbedderFailed("it is away"), RuntimeError("a bug"), ValueError("shape")])
    def test_that_fails_is_said_and_the_next_stage_has_it(self, router, ann, monkeypatch, failure):
        def embed(self, texts):
            raise failure

        monkeypatch.setattr(WordVectors, "embed", embed)

        run = ask(
            ann,
            asks(REFUND, triage=[call(("dispatch_to_refunds", {"task": "Pay.", "confidence": 0.9}))], refunds=[DONE]),
        )

        assert str(failure) in stage(run, "semantic")["trouble"]
        assert (agents_of(run), routing_of(run).line) == (["triage", "refunds"], "triage chose refunds, 0.90 sure")

    def test_is_asked_with_no_transaction_open(self, router, ann, monkeypatch):
        seen = []
        original = WordVectors.embed

        def embed(self, texts):
            seen.append(connection.in_atomic_block)
            return original(self, texts)

        monkeypatch.setattr(WordVectors, "embed", embed)
        start(ann, REFUND, agent=None)
        assert seen == [False]

    def test_of_a_server_is_left_out_of_a_transaction(self, router, ann, monkeypatch):
        monkeypatch.setattr(WordVectors, "is_local", False)

        with transaction.atomic():
            inside = intake.judge(ann, REFUND)
        outside = intake.judge(ann, REFUND)

        assert inside
        assert inside.agent
        assert outside
        assert outside.agent
        assert "not asked with a transaction open" in inside.said.line
        assert (inside.agent.slug, outside.agent.slug) == ("triage", "refunds")

    def test_has_no_say_over_who_is_named(self, router, ann):
        run = carry_all(start(ann, says(DONE, words=REFUND), agent="jobs"))

        assert agents_of(run) == ["jobs"]
        assert not Routing.objects.exists()


class TestARouterThatIsUnsure:
    def dispatch(self, slug, **more):
        return call((f"dispatch_to_{slug}", {"task": "Do it.", "confidence": 0.9} | more))

    def test_is_told_to_ask_and_the_answer_routes(self, router, ann, model):
        asked = call(("ask_human", {"question": "Which one?"}))
        turns = [self.dispatch("jobs", confidence=0.3), asked, self.dispatch("orders", confidence=0.9)]
        run = ask(ann, asks(NOBODYS, triage=turns, orders=[DONE]))

        question = request_of(run)
        told = run.dispatches.get().calls.get(tool="dispatch_to_jobs")
        assert told.result.startswith("You are 0.30 sure, and 0.50 is asked for: ask with ask_human")
        assert "offer jobs" in told.result
        likely = [each["slug"] for each in routing_of(run).candidates]
        assert question.content["candidates"] == likely
        assert question.content["explained"]["orders"] == "Orders: deliveries and their whereabouts"
        assert not Route.objects.exists()

        decide(question, ann, "answered", answer="orders")
        run = carry_all(run)

        kept = routing_of(run)
        assert (agents_of(run), run.output) == (["triage", "orders"], "Done.")
        assert (kept.decided_by, kept.line) == ("question", "triage asked, and chose orders")
        assert stage(run, "classifier")["unsure"] == [{"agent": "jobs", "confidence": 0.3}]
        assert (stage(run, "question")["answer"], stage(run, "question")["by"]) == ("orders", "user:ann")

    @pytest.mark.parametrize("confidence", [0.5, 1])
    def test_control_who_is_sure_enough_dispatches(self, router, ann, confidence):
        run = ask(ann, asks(NOBODYS, triage=[self.dispatch("jobs", confidence=confidence)], jobs=[DONE]))

        assert (agents_of(run), run.output) == (["triage", "jobs"], "Done.")

    def test_one_that_says_nothing_of_it_is_told_to_and_says_it_again(self, router, ann):
        silent = call(("dispatch_to_jobs", {"task": "Do it."}))
        run = ask(ann, asks(NOBODYS, triage=[silent, self.dispatch("orders", confidence=0.9)], orders=[DONE]))

        told = run.dispatches.get(number=1).calls.get(tool="dispatch_to_jobs")
        assert (told.status, "confidence" in told.result) == (states.REFUSED, True)
        assert (agents_of(run), run.output) == (["triage", "orders"], "Done.")

    def test_the_least_is_a_setting(self, router, ann, settings):
        settings.BATON_ROUTER_CONFIDENCE = 0.2

        run = ask(ann, asks(NOBODYS, triage=[self.dispatch("jobs", confidence=0.3)], jobs=[DONE]))

        assert agents_of(run) == ["triage", "jobs"]

    def test_of_one_of_two_loses_neither(self, router, ann):
        both = call(
            ("dispatch_to_jobs", {"task": "First.", "confidence": 0.9}),
            ("dispatch_to_orders", {"task": "Second.", "confidence": 0.2}),
        )
        turns = [both, self.dispatch("refunds", confidence=0.8)]

        run = ask(ann, asks(NOBODYS, triage=turns, jobs=[text("1")], refunds=[text("2")]))

        assert agents_of(run) == ["triage", "jobs", "refunds"]
        assert routing_of(run).line == "triage chose jobs, then refunds, 0.80 sure"

    def test_that_gives_it_to_nobody_is_said(self, router, ann):
        run = ask(ann, asks(NOBODYS, triage=[text("Nobody does that here.")]))

        assert (routing_of(run).decided_by, routing_of(run).line) == ("", "triage gave it to nobody")

    def test_a_person_in_its_place_is_said(self, router, ann, bob):
        again = call(("ask_human", {"question": "Which?", "candidates": ["a"]}))
        run = ask(ann, asks(NOBODYS, triage=[again, again], refunds=[DONE]))
        decide(request_of(run), ann, "answered", answer="either")
        run = carry_all(run)
        likely = [each["slug"] for each in routing_of(run).candidates]
        assert request_of(run).content["candidates"][: len(likely)] == likely

        decide(request_of(run), bob, "answered", answer="refunds")
        run = carry_all(run)

        assert (routing_of(run).decided_by, routing_of(run).line) == ("person", "bob chose refunds")
        assert stage(run, "person") == {"stage": "person", "by": "user:bob", "chose": "refunds"}

    def test_what_is_to_be_looked_up_travels_along(self, router, ann, model):
        ask(ann, asks(NOBODYS, triage=[self.dispatch("jobs", query="hiring in spring")], jobs=[DONE]))

        assert first_words(model).endswith("Asked by: ann\nTo look up: hiring in spring")


class TestAQuestionWithoutARouter:
    @pytest.fixture
    def run(self, company, ann):
        return start(ann, says(DONE, words=NOBODYS), agent=None)

    def test_offers_the_likeliest_and_the_answer_routes(self, run, ann, model):
        question = request_of(run)
        likely = [each["slug"] for each in routing_of(run).candidates]
        run.refresh_from_db()
        assert (run.status, run.waiting_on) == (states.WAITING, "an answer: Which of these is it about?")
        assert (question.kind, question.addressed_to, question.requester) == ("clarify", REQUESTER, ann)
        assert question.content["candidates"] == likely
        assert question.content["explained"]["jobs"] == "Jobs: applications"
        assert (run.dispatches.count(), model.count()) == (0, 0)

        decide(question, ann, "answered", answer=" Jobs ")
        run = carry_all(run)

        kept = routing_of(run)
        assert (agents_of(run), run.output) == (["jobs"], "Done.")
        assert (kept.decided_by, kept.agent, kept.line) == ("question", "jobs", "asked, and the answer was jobs")
        assert stage(run, "question")["by"] == "user:ann"
        assert "Asked by: ann" in first_words(model)

    def test_only_who_asked_or_may_decide_answers(self, run):
        with pytest.raises(NotAllowedToDecide):
            decide(request_of(run), person("eve"), "answered", answer="jobs")

    def test_words_of_ones_own_are_judged_with_the_request(self, run, ann):
        decide(request_of(run), ann, "answered", answer=REFUND)

        run = carry_all(run)

        kept = routing_of(run)
        assert (agents_of(run), run.output) == (["refunds"], "Done.")
        assert (kept.decided_by, kept.agent, kept.again) == ("semantic", "refunds", "")
        assert [each["stage"] for each in kept.stages] == ["rules", "semantic", "question", "rules", "semantic"]

    def test_words_may_meet_a_rule_with_a_plan(self, run, ann):
        agent("worker")
        content = plan({"key": "only", "agent": "worker", "task": script(text("carried out"))})
        PlanTemplate.objects.create(slug="compare", title="Compare", content=content)
        teaching.teach_rule("comparisons", 'text.contains("side by side")', None, template="compare")

        decide(request_of(run), ann, "answered", answer="show them side by side")
        run = carry_all(run)

        assert (run.status, run.output) == (states.SUCCEEDED, "carried out")
        assert routing_of(run).template == "compare"

    def test_still_unsure_a_person_decides_and_there_is_no_second_question(self, run, ann, bob):
        decide(request_of(run), ann, "answered", answer="something else")

        routing = request_of(run)
        run.refresh_from_db()
        assert (routing.kind, routing.addressed_to) == ("routing", OPERATOR)
        assert run.waiting_on == "a person to say who takes it"
        assert routing.content["question"] == "something else"
        assert set(routing.content["candidates"]) == {"accounts", "jobs", "orders", "refunds"}
        assert ApprovalRequest.objects.filter(kind="clarify").count() == 1
        with pytest.raises(NotAllowedToDecide):
            decide(routing, ann, "answered", answer="jobs")
        with pytest.raises(InvalidEdit):
            decide(routing, bob, "answered", answer="nobody")

        decide(routing, bob, "answered", answer="accounts")
        run = carry_all(run)

        assert (agents_of(run), run.output) == (["accounts"], "Done.")
        assert (routing_of(run).decided_by, routing_of(run).line) == ("person", "bob chose accounts")

    def test_whoever_took_the_answer_may_go_away(self, run, ann, monkeypatch):
        """The answer is committed, and nothing after it happens in that process."""
        monkeypatch.setattr(orchestration, "route_again", lambda run_id: None)
        decide(request_of(run), ann, "answered", answer=REFUND)
        monkeypatch.undo()
        assert (routing_of(run).again, run.dispatches.count()) == (REFUND, 0)

        assert reconcile.route_left_behind() == 1

        assert (agents_of(run), routing_of(run).again) == (["refunds"], "")
        assert reconcile.route_left_behind() == 0

    def test_judged_twice_at_once_it_is_given_away_once(self, run, ann, monkeypatch):
        monkeypatch.setattr(orchestration, "route_again", lambda run_id: None)
        decide(request_of(run), ann, "answered", answer=REFUND)
        monkeypatch.undo()
        judged: list[bool] = []
        original = WordVectors.embed

        def embed(self, texts):
            if not judged:
                judged.append(True)
                orchestration.route_again(run.pk)  # another process comes through meanwhile
            return original(self, texts)

        monkeypatch.setattr(WordVectors, "embed", embed)
        orchestration.route_again(run.pk)

        assert agents_of(run) == ["refunds"]

    def test_a_cancelled_run_is_not_judged_again(self, run, ann, monkeypatch):
        monkeypatch.setattr(orchestration, "route_again", lambda run_id: None)
        decide(request_of(run), ann, "answered", answer=REFUND)
        monkeypatch.undo()
        cancellation.cancel(run.pk, ann)

        orchestration.route_again(run.pk)

        run.refresh_from_db()
        assert (run.status, routing_of(run).again, run.dispatches.count()) == (states.CANCELLED, "", 0)

    @pytest.mark.parametrize(("ends", "reason"), [("rejected", StopReason.REJECTED), ("late", StopReason.NEEDS_HUMAN)])
    def test_that_is_not_answered_ends_the_run(self, run, ann, ends, reason):
        if ends == "late":
            overdue(request_of(run))
            reconcile.sweep()
        else:
            decide(request_of(run), ann, "rejected", reason="never mind")

        run.refresh_from_db()
        assert (run.status, run.stop_reason) == (states.FAILED, reason)
        assert run.output.startswith("It went to nobody: ")

    def test_a_cancel_takes_it_back(self, run, ann):
        cancellation.cancel(run.pk, ann)

        run.refresh_from_db()
        assert run.status == states.CANCELLED
        assert not ApprovalRequest.objects.open().exists()

    def test_an_agent_that_retired_meanwhile_is_no_answer(self, run, ann):
        manifests.retire(Agent.objects.get(slug="jobs"), by=None)

        decide(request_of(run), ann, "answered", answer="jobs")

        assert request_of(run).kind == "routing"
        assert "jobs" not in request_of(run).content["candidates"]

    def test_of_more_than_a_question_can_offer_a_person_decides_at_once(self, model, ann, bob):
        for number in range(7):
            agent(f"agent-{number}")

        run = start(ann, script(DONE), agent=None)

        assert (request_of(run).kind, len(request_of(run).content["candidates"])) == ("routing", 7)
        decide(request_of(run), bob, "answered", answer="agent-3")
        assert agents_of(carry_all(run)) == ["agent-3"]


class TestAnotherAgentAfterAFailure:
    CUT = text("half") | {"stop_reason": "max_tokens"}

    def fails(self, slug):
        return FailureRule.objects.create(agent=Agent.objects.get(slug=slug), reroute=True)

    def test_is_whom_the_rules_find_for_the_task(self, company, ann, model):
        self.fails("refunds")
        rule('text.contains("money")', "accounts", name="money")
        run = carry_all(start(ann, asks(REFUND, refunds=[self.CUT], accounts=[DONE]), agent="refunds"))

        assert (agents_of(run), run.output) == (["refunds", "accounts"], "Done.")
        assert run.dispatches.get(number=2).origin == "reroute"
        (told,) = events_of(run, "rerouted")
        assert (told["tried"], told["chose"]) == (["refunds"], "accounts")
        assert "refunds tried before, and ended" in first_words(model)

    def test_is_said_in_the_runs_routing(self, company, ann):
        self.fails("refunds")
        rule('text.contains("money")', "accounts", name="money", priority=2)
        rule('text.contains("money")', "refunds", name="first", priority=1)

        run = ask(ann, asks(REFUND, refunds=[self.CUT], accounts=[DONE]))

        kept = routing_of(run)
        assert (agents_of(run), kept.agent) == (["refunds", "accounts"], "accounts")
        assert kept.line == "Routed by the rule “money”, after refunds had failed"

    def test_control_nobody_is_found_without_a_rule(self, company, ann):
        """What is like an agent that has failed is not therefore another's."""
        self.fails("refunds")

        run = carry_all(start(ann, asks(REFUND, refunds=[self.CUT]), agent="refunds"))

        assert (agents_of(run), run.status) == (["refunds"], states.FAILED)

    def test_is_not_looked_for_where_something_was_done(self, company, ann, bob):
        tool("pay", "tests.effect", Effect.KEYED, Risk.LOW)
        agent("refunds", "pay")
        self.fails("refunds")
        rule("true", "accounts", name="all")

        run = carry_all(start(ann, asks(REFUND, refunds=[call(("pay", {})), self.CUT]), agent="refunds"))

        assert agents_of(run) == ["refunds"]

    def test_by_a_server_is_as_it_said_when_the_run_came(self, company, ann, monkeypatch):
        """Two were likely enough; the second has it, and the server is not asked."""
        self.fails("refunds")
        run = start(ann, asks(REFUND, refunds=[self.CUT], accounts=[DONE]), agent=None)
        routing = routing_of(run)
        routing.stages[1]["top"] = [
            {"agent": "refunds", "probability": 0.6, "threshold": 0.5},
            {"agent": "orders", "probability": 0.1, "threshold": 0.5},
            {"agent": "accounts", "probability": 0.3, "threshold": 0.2},
        ]
        routing.save()
        monkeypatch.setattr(WordVectors, "is_local", False)
        monkeypatch.setattr(WordVectors, "embed", lambda self, texts: pytest.fail("it was asked"))

        run = carry_all(run)

        assert agents_of(run) == ["refunds", "accounts"]
        assert routing_of(run).line == "semantic: accounts 0.30 ≥ 0.20, after refunds had failed"


class TestWhatIsTaught:
    def test_an_exemplar_brings_the_next_one_there(self, company, ann):
        words = "my teapot has a crack in its lid"
        before = start(ann, says(DONE, words=words), agent=None)
        assert routing_of(before).agent != "accounts"
        for variant in (words, "the lid of the teapot is cracked", "a crack runs through my teapot"):
            teaching.teach_exemplar(Agent.objects.get(slug="accounts"), variant, ann, from_run=before.pk)
        roster.today()  # a worker's listener would have told it
        fits.keep_up()

        after = start(ann, says(DONE, words=words), agent=None)

        assert (routing_of(after).decided_by, routing_of(after).agent) == ("semantic", "accounts")

    def test_a_rule_does_at_once(self, company, ann):
        rule('text.contains("Mongolia")', "jobs", name="taught")

        assert agents_of(ask(ann, says(DONE, words=NOBODYS))) == ["jobs"]


class TestOrderingRules:
    @pytest.fixture
    def ordered(self, router):
        before, after = Agent.objects.get(slug="orders"), Agent.objects.get(slug="refunds")
        OrderingRule.objects.create(before=before, after=after, reason="look before you pay")

    def test_are_read_by_the_router_on_every_turn(self, ordered, ann, model):
        asked = call(("ask_human", {"question": "Which?", "candidates": ["x"]}))
        run = ask(ann, asks(NOBODYS, triage=[asked, text("No.")]))
        OrderingRule.objects.update(reason="never pay blindly")
        roster.bump()
        decide(request_of(run), ann, "answered", answer="x")
        carry_all(run)

        said = [
            next(each["description"] for each in body["tools"] if each["name"] == "dispatch_to_refunds")
            for body in model.requests()
        ]
        line = "Give a task to Refunds, who is responsible for: Refunds: money that goes back orders comes before it: "
        assert said == [line + "look before you pay", line + "never pay blindly"]

    def test_are_read_by_a_planner_with_what_each_agent_owns(self, ordered, ann, model):
        agent("planner", kind=AgentKind.PLANNER)

        carry_all(start(ann, script(text("No."), text("No."), text("No.")), agent="planner"))

        told = "".join(block["text"] for block in model.requests()[0]["messages"][0]["content"])
        assert "- refunds: Refunds: money that goes back" in told
        assert "In any plan:\n- orders before refunds: look before you pay" in told


def test_what_a_judgement_found_is_bound_to_the_chain(company, ann):
    run = start(ann, says(DONE, words=REFUND), agent=None)

    assert event_types(run)[:3] == ["run_accepted", "run_working", "routing_judged"]
    from orchestrator_site.core import canonical

    (told,) = events_of(run, "routing_judged")
    assert told["digest"] == canonical.digest(canonical.dumps(routing_of(run).stages))
