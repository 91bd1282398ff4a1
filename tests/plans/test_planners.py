"""Where plans come from: a template, a planner, or a planner that starts from a template; and who approves them."""

import json

import pytest

from agents.models import Agent, FailureRule
from agents.values import AgentKind
from approvals import decisions
from approvals.errors import InvalidEdit, InvalidVerdict
from runs import artifacts, comments, contracts, mail, reconcile, states
from runs.errors import BadRequest
from runs.models import Message, Plan, PlanTemplate
from runs.states import StopReason
from tests.plans.cast import carried, node, of, plan, statuses
from tests.runs.cast import (
    agent,
    carry_all,
    decide,
    event_types,
    events_of,
    overdue,
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
def cast(model):
    agent("worker")
    agent("planner", kind=AgentKind.PLANNER)


def planned(owner, *turns, **more):
    """A run of the planner, which answers so."""
    return carry_all(start(owner, script(*turns), agent="planner", **more))


def as_text(content):
    return text(json.dumps(content))


class TestAPlanner:
    def test_answers_with_a_plan_that_is_carried_out(self, ann, model):
        run = planned(ann, as_text(plan(node("a"), node("b", text("both read"), after=("a",)))))

        assert (run.status, run.output) == (states.SUCCEEDED, "both read")
        made = Plan.objects.get()
        assert (made.source, made.made_by, made.status) == ("planner", "agent:planner", states.ACCEPTED)
        assert [each["key"] for each in made.content["nodes"]] == ["a", "b"]

    def test_is_told_who_is_at_work_and_is_offered_no_tools(self, ann, model):
        planned(ann, as_text(plan(node("a"))))

        body = model.requests()[0]
        told = "".join(block["text"] for block in body["messages"][0]["content"])
        assert "Agents at work:\n- worker: the work of worker" in told
        assert "planner" not in told.partition("Agents at work:")[2]
        assert not body.get("tools")

    def test_that_answers_with_no_plan_ends_there(self, ann):
        run = planned(
            ann, text("I would rather not."), text("No."), text("No!"), text("Never."), as_text(plan(node("a")))
        )

        assert (run.status, run.stop_reason) == (states.FAILED, StopReason.CONTRACT_VIOLATED)

    def test_is_told_what_is_wrong_with_its_plan_and_asked_again(self, ann, model):
        ring = plan(node("a", after=("b",)), node("b", after=("a",)))

        run = planned(
            ann, as_text(ring), as_text(plan({"key": "a", "agent": "wroker", "task": "t"})), as_text(plan(node("a")))
        )

        assert (run.status, run.output) == (states.SUCCEEDED, "a done")
        told = [str(body["messages"][-1]["content"]) for body in model.requests()[:3]]
        assert "they wait for each other in a ring: a → b → a" in told[1]
        assert "did you mean" in told[2]
        assert "nodes" in str(model.requests()[0]["output_config"])


class TestAPlannerWithManyFaults:
    @pytest.mark.parametrize("unread", [0, mail.MOST_UNREAD])
    def test_is_told_of_the_first_and_how_many_more(self, ann, model, monkeypatch, unread):
        wrong = as_text(plan(*({"key": f"n{n}", "agent": "nobody", "task": "x"} for n in range(150))))
        run = start(ann, script(wrong, as_text(plan(node("a"))), loop=True), agent="planner")
        dispatch, faults_of = run.dispatches.get(), contracts.faults_of

        def while_others_write(*args):
            for n in range(unread):
                Message.objects.get_or_create(dispatch=dispatch, number=n + 100, sender="user:ann", text="x")
            return faults_of(*args)

        monkeypatch.setattr(contracts, "faults_of", while_others_write)
        run = carry_all(run)

        assert (run.status, run.output) == (states.SUCCEEDED, "a done")
        returned = Message.objects.get(sender="system").text
        assert "nodes.0.agent: there is no agent at work named 'nobody'." in returned
        told = returned.count("there is no agent")
        assert f"- and {150 - told} more." in returned
        assert len(returned) <= mail.LONGEST_CHARACTERS


class TestATemplate:
    @pytest.fixture
    def template(self):
        content = plan(
            {"key": "each", "agent": "worker", "task": "{item}", "over": {"items": "{{scripts}}"}},
            {"key": "last", "agent": "worker", "task": "{{closing}}", "depends_on": ["each"]},
        )
        parameters = {
            "properties": {
                "scripts": {"type": "array", "items": {"type": "string"}},
                "closing": {"type": "string"},
            },
            "required": ["scripts", "closing"],
        }
        return PlanTemplate.objects.create(slug="spread", title="Spread", parameters=parameters, content=content)

    def test_is_carried_out_with_what_is_given(self, ann, template):
        given = {"scripts": [script(text("1")), script(text("2"))], "closing": script(text("closed"))}

        run = carry_all(start(ann, "x", agent=None, plan={"template": "spread", "parameters": given}))

        assert (run.status, run.output) == (states.SUCCEEDED, "closed")
        assert statuses(run) == dict.fromkeys(["each", "each-1", "each-2", "last"], states.SUCCEEDED)
        assert Plan.objects.get().source == "template"

    @pytest.mark.parametrize(
        ("given", "fault"),
        [
            ({"scripts": ["x"]}, {"plan.parameters": "'closing' is a required property."}),
            ({"scripts": "x", "closing": "y"}, {"plan.parameters.scripts": "'x' is not of type 'array'."}),
        ],
    )
    def test_names_the_parameter_that_is_wrong(self, ann, template, given, fault):
        with pytest.raises(BadRequest) as refused:
            start(ann, "x", agent=None, plan={"template": "spread", "parameters": given})

        assert refused.value.faults == fault

    def test_that_is_not_there_is_named(self, ann, template):
        with pytest.raises(BadRequest, match="did you mean 'spread'"):
            start(ann, "x", agent=None, plan={"template": "spraed"})

    @pytest.mark.parametrize("again", ["retry", "comment"])
    def test_is_where_a_planner_starts_from_when_it_is_tried_again(self, ann, model, again):
        planner = Agent.objects.get(slug="planner")
        FailureRule.objects.create(agent=planner, tries=2, backoff_seconds=0)
        content = plan({"key": "usual", "agent": "worker", "task": "The usual."})
        PlanTemplate.objects.create(slug="hybrid", title="Hybrid", content=content, planner=planner)
        cut = text("so far") | {"stop_reason": "max_tokens"}
        answer = scripts(planner=[cut] if again == "retry" else [as_text(plan(node("other")))])
        run = carry_all(start(ann, answer, agent=None, plan={"template": "hybrid"}))

        if again == "retry":
            assert reconcile.start_due() == 1
        else:
            comments.comment(run.pk, of(run, "run").pk, "Once more.", ann)
        carry_all(run)

        first, *_, last = [each.briefing for each in run.dispatches.filter(manifest__agent=planner)]
        for briefing in (first, last):
            assert briefing.count("Agents at work:") == 1
            assert briefing.count("Start from this plan") == 1
        assert ("tried before" in last, "Once more." in last) == (True, again == "comment")

    def test_hands_its_artifacts_to_the_planner_that_starts_from_it(self, ann, model):
        planner = Agent.objects.get(slug="planner")
        earlier = carry_all(start(ann, script(text("Kept."))))
        kept = artifacts.keep(earlier.dispatches.get(), "notes.md", b"Mondays")
        content = plan({"key": "usual", "agent": "worker", "task": "The usual.", "inputs": [kept.reference]})
        PlanTemplate.objects.create(slug="hybrid", title="Hybrid", content=content, planner=planner)
        answer = script(as_text(plan(node("other", inputs=[kept.reference]))))

        run = carry_all(start(ann, answer, agent=None, plan={"template": "hybrid"}))

        assert (run.status, run.output) == (states.SUCCEEDED, "other done")

    def test_is_where_a_planner_starts_from(self, ann, model):
        planner = Agent.objects.get(slug="planner")
        content = plan({"key": "usual", "agent": "worker", "task": "The usual."})
        PlanTemplate.objects.create(slug="hybrid", title="Hybrid", content=content, planner=planner)
        answer = script(as_text(plan(node("other"))))

        run = carry_all(start(ann, answer, agent=None, plan={"template": "hybrid"}))

        told = "".join(block["text"] for block in model.requests()[0]["messages"][0]["content"])
        assert "Start from this plan" in told
        assert '"The usual."' in told
        assert (run.status, run.output) == (states.SUCCEEDED, "other done")


class TestAPersonApproves:
    @pytest.fixture
    def asked(self, ann, settings):
        settings.BATON_ASK_FOR_PLANS = "always"
        return planned(ann, as_text(plan(node("a"), node("b", after=("a",)), goal="Do both.")))

    def test_before_anything_is_carried_out(self, asked, bob):
        request = request_of(asked)
        assert (asked.status, asked.waiting_on) == (states.WAITING, "a person to approve the plan")
        assert (request.kind, request.title) == ("plan", "Carry out this plan of 2 nodes?")
        assert statuses(asked) == {}

        decide(request, bob)
        run = carry_all(asked)

        assert (run.status, run.output) == (states.SUCCEEDED, "b done")
        assert [event["actor"] for event in _with_actor(run, "plan_accepted")] == ["user:bob"]

    def test_of_a_plan_as_they_edited_it(self, asked, bob):
        edited = plan(node("a"), node("c", text("c instead"), after=("a",)))

        decide(request_of(asked), bob, "modified", edit={"content": edited})
        run = carry_all(asked)

        assert (run.output, sorted(statuses(run))) == ("c instead", ["a", "c"])
        made = Plan.objects.get()
        assert [[each["key"] for each in content["nodes"]] for content in (made.proposed, made.content)] == [
            ["a", "b"],
            ["a", "c"],
        ]

    def test_but_not_of_an_edit_that_is_no_plan(self, asked, bob):
        ring = plan(node("a", after=("b",)), node("b", after=("a",)))

        with pytest.raises(InvalidEdit, match="in a ring"):
            decide(request_of(asked), bob, "modified", edit={"content": ring})

    def test_but_not_of_one_that_does_not_hold_any_more(self, asked, bob):
        Agent.objects.filter(slug="worker").update(active=False)

        with pytest.raises(InvalidVerdict, match=r"nodes\.0\.agent: there is no agent at work named 'worker'"):
            decide(request_of(asked), bob)

        decide(request_of(asked), bob, "rejected", reason="nobody is left")
        asked.refresh_from_db()
        assert (asked.status, asked.stop_reason) == (states.FAILED, StopReason.REJECTED)

    def test_or_not_and_says_why(self, asked, bob):
        decide(request_of(asked), bob, "rejected", reason="too dear")

        asked.refresh_from_db()
        assert (asked.status, asked.stop_reason) == (states.FAILED, StopReason.REJECTED)
        assert asked.output == "The plan was declined: too dear"

    def test_where_an_agent_in_it_acts(self, ann, bob):
        tool("pay", "tests.effect", Effect.KEYED, Risk.LOW)
        agent("payer", "pay")
        run = planned(ann, as_text(plan({"key": "a", "agent": "payer", "task": script(text("paid"))})))
        assert request_of(run).kind == "plan"

    def test_control_nobody_is_asked_where_none_does(self, ann):
        run = planned(ann, as_text(plan(node("a"))))

        assert "approval_requested" not in event_types(run)


class TestAJudge:
    @pytest.fixture(autouse=True)
    def judge(self):
        agent("judge")

    def verdict(self, score):
        return as_text({"score": score, "feedback": "more of it"})

    def request(self, **verdicts):
        """What the planner plans, and what the judge says by what it reads."""
        judged = {words.replace("_", " "): [self.verdict(score)] for words, score in verdicts.items()}
        rule = {"agent": "judge", "bar": 0.8, "rounds": 2}
        again = {
            "Plan the nodes that are still needed; they may wait for, and read, the nodes that are there: one.": [
                as_text(plan(node("two", text("second result"), after=("one",))))
            ],
            "the nodes that are there: one, two.": [as_text(plan(node("three", text("third result"))))],
            "Agents at work": [as_text(plan(node("one", text("first result")), judge=rule))],
        }
        return json.dumps({"scripts": {"You are planner.": again, "You are judge.": judged}})

    def test_that_is_content_ends_it(self, ann):
        run = carry_all(start(ann, self.request(first_result=0.9), agent="planner"))

        assert (run.status, run.output) == (states.SUCCEEDED, "first result")
        assert sorted(statuses(run)) == ["judge-1", "one"]
        assert [(event["score"], event["round"]) for event in events_of(run, "judged")] == [(0.9, 1)]

    def test_sends_for_the_planner_twice_and_no_more(self, ann):
        asked = self.request(third_result=0.5, second_result=0.4, first_result=0.3)

        run = carry_all(start(ann, asked, agent="planner"))

        assert [event["score"] for event in events_of(run, "judged")] == [0.3, 0.4, 0.5]
        assert sorted(statuses(run)) == ["judge-1", "judge-2", "judge-3", "one", "plan-2", "plan-3", "three", "two"]
        assert (run.status, run.output) == (states.SUCCEEDED, "third result")
        assert of(run, "run").message == "Best effort: judged 0.50 where 0.80 is wanted. more of it"
        assert [each.round for each in Plan.objects.order_by("round")] == [1, 2, 3]

    def test_that_likes_the_second_round_ends_it_there(self, ann):
        run = carry_all(start(ann, self.request(second_result=0.9, first_result=0.3), agent="planner"))

        assert (run.output, of(run, "run").message) == ("second result", "")

    @pytest.fixture
    def worse(self, ann):
        """A run whose rounds after the first come to these."""

        def worse(*turns):
            rule = {"agent": "judge", "bar": 0.8, "rounds": len(turns)}
            again = {
                "the nodes that are there: one, two.": [as_text(plan(node("three", turns[-1])))],
                "the nodes that are there: one.": [as_text(plan(node("two", turns[0], after=("one",))))],
                "Agents at work": [as_text(plan(node("one", text("first result")), judge=rule))],
            }
            judged = {"first result": [self.verdict(0.3)], "": [self.verdict(0.4)]}
            asked = json.dumps({"scripts": {"You are planner.": again, "You are judge.": judged}})
            return carry_all(start(ann, asked, agent="planner"))

        return worse

    def test_a_second_round_that_fails_leaves_the_answer_of_the_first(self, worse):
        run = worse(text("so far") | {"stop_reason": "max_tokens"})

        assert (run.status, run.output) == (states.SUCCEEDED, "first result")
        said = of(run, "run").message
        assert said.startswith("Best effort: judged 0.30 where 0.80 is wanted. more of it")
        assert "Round 2, which was to better it, did not succeed. 1 of 2 nodes did not succeed (two: " in said
        assert [event["round"] for event in events_of(run, "judged")] == [1]

    def test_a_second_round_that_a_rule_leaves_out_leaves_it_too(self, worse):
        FailureRule.objects.create(agent=Agent.objects.get(slug="worker"), skip=True)

        run = worse(text("so far") | {"stop_reason": "max_tokens"})

        assert (run.status, run.output) == (states.SUCCEEDED, "first result")

    def test_a_third_round_that_fails_leaves_the_answer_of_the_second(self, worse):
        run = worse(text("second result"), text("so far") | {"stop_reason": "max_tokens"})

        assert (run.status, run.output, statuses(run)["three"]) == (states.SUCCEEDED, "second result", states.FAILED)
        assert of(run, "run").message.startswith("Best effort: judged 0.40 where 0.80 is wanted.")

    def test_a_first_round_that_fails_still_fails(self, ann):
        run = carried(ann, node("one", text("x") | {"stop_reason": "max_tokens"}), judge={"agent": "judge"})

        assert (run.status, run.stop_reason) == (states.FAILED, StopReason.MAX_TOKENS)

    @pytest.mark.parametrize("in_time", [True, False])
    def test_a_second_plan_that_nobody_accepts_leaves_the_answer_of_the_first(self, worse, settings, bob, in_time):
        settings.BATON_ASK_FOR_PLANS = "always"
        run = worse(text("second result"))
        decide(request_of(run), bob)
        run = carry_all(run)
        request = request_of(run)
        assert (request.kind, statuses(run)["one"]) == ("plan", states.SUCCEEDED)

        if in_time:
            decide(request, bob, "rejected", reason="too dear")
        else:
            overdue(request)
            decisions.expire(request.pk)
        run = carry_all(run)

        assert (run.status, run.stop_reason, run.output) == (states.SUCCEEDED, StopReason.FINISHED, "first result")
        why = "declined: too dear." if in_time else "expired: Nobody decided before the deadline."
        said = of(run, "run").message
        assert said == f"Best effort: judged 0.30 where 0.80 is wanted. more of it The plan of round 2 was {why}"

    def test_that_gives_no_score_is_said_to_have_given_none(self, ann):
        judged = scripts(judge=[text("hm")] * 4)
        rule = {"agent": "judge"}
        run = carry_all(start(ann, judged, agent=None, plan=plan(node("one"), judge=rule)))

        assert run.status == states.SUCCEEDED
        assert of(run, "run").message.startswith("It was not judged: ")


def _with_actor(run, type):
    from orchestrator_site.core import canonical, events

    return [canonical.loads(e.data) | {"actor": e.actor} for e in events.of_run(run.pk) if e.type == type]


def test_a_run_by_a_plan_of_one_node_is_as_good_as_by_its_agent(ann):
    assert carried(ann, node("a")).output == "a done"
