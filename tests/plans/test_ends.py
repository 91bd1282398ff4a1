"""What has ended has ended, and so has all that lies within it, whoever held it then."""

import json

import pytest

from agents.models import Agent, FailureRule
from agents.values import AgentKind
from approvals import states as verdicts
from approvals import sweeps
from approvals.errors import AlreadyDecided
from approvals.models import ApprovalRequest
from runs import cancellation, carrier, comments, pausing, states
from runs.engine import asking
from runs.models import ToolCall, WatchRule
from runs.states import StopReason
from tests.handoffs.cast import clerks, handoff, proposal, transition
from tests.plans.cast import carried, node, of, plan
from tests.runs import callables  # noqa: F401  registers them
from tests.runs.cast import (
    agent,
    call,
    carry_all,
    decide,
    overdue,
    request_of,
    script,
    scripts,
    start,
    text,
    tool,
)
from tests.runs.meanwhile import just_before
from tools.values import Effect, Risk

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def cast(model):
    for slug in ("worker", "orders", "refunds"):
        agent(slug)
    agent("lead", kind=AgentKind.SUPERVISOR)


def to(*slugs):
    return call(*[(f"dispatch_to_{slug}", {"task": scripts(**{slug: [text(f"{slug} done")]})}) for slug in slugs])


ANY = call(("wait", {"until": "any"}))
STOP = call(("finish", {"answer": "Enough.", "stop_others": True}))


def lead(owner, second):
    """A run whose supervisor finishes once the first of two has ended; they are to be carried yet."""
    run = start(owner, scripts(lead=[second, ANY, STOP]), agent="lead")
    first = run.dispatches.get()
    carrier.carry(first.pk)
    orders, other = run.dispatches.exclude(pk=first.pk).order_by("number")
    carrier.carry(orders.pk)
    return run, first, other


class TestOneThatAWorkerHeldWhenItsSupervisorEnded:
    def test_ends_when_the_worker_comes_to_its_end(self, ann, bob, monkeypatch):
        run, first, refunds = lead(ann, to("orders", "refunds"))

        def finishes():
            carrier.carry(first.pk)
            run.refresh_from_db()
            assert (run.status, of(run, "refunds-2").status) == (states.SUCCEEDED, states.WORKING)

        just_before(monkeypatch, asking, "ask", finishes)
        carrier.carry(refunds.pk)

        assert of(run, "refunds-2").is_final
        assert of(run, "run").inner_open == 0
        comments.comment(run.pk, of(run, "orders-1").pk, "Again.", bob)
        done = carry_all(run)
        assert (done.status, of(done, "run").inner_open) == (states.SUCCEEDED, 0)

    def test_has_no_plan_of_it_carried_out(self, ann, bob, monkeypatch):
        agent("planner", kind=AgentKind.PLANNER)
        planned = scripts(planner=[text('{"nodes": [{"key": "a", "agent": "worker", "task": "x"}]}')])
        both = call(*[(f"dispatch_to_{slug}", {"task": planned}) for slug in ("orders", "planner")])
        run, first, planner = lead(ann, both)

        def finishes_and_is_commented_on():
            carrier.carry(first.pk)
            comments.comment(run.pk, of(run, "orders-1").pk, "Again.", bob)

        just_before(monkeypatch, asking, "ask", finishes_and_is_commented_on)
        carrier.carry(planner.pk)

        planner.refresh_from_db()
        assert planner.stop_reason == StopReason.FINISHED
        assert (run.plans.count(), of(run, "planner-2").status) == (0, states.CANCELLED)


def test_a_run_that_ends_while_it_is_paused_is_paused_no_longer(ann, bob, monkeypatch):
    run = start(ann, script(text("Done.")))
    just_before(monkeypatch, asking, "ask", lambda: pausing.pause(run.pk, bob))
    run = carry_all(run)
    assert (run.status, run.paused_at) == (states.SUCCEEDED, None)

    comments.comment(run.pk, run.nodes.get().pk, "Again.", bob)

    assert carry_all(run).status == states.SUCCEEDED


def test_a_plan_whose_run_ended_paused_goes_on_with_a_comment(ann, bob, monkeypatch):
    run = start(ann, "x", agent=None, plan=plan(node("a")))
    just_before(monkeypatch, asking, "ask", lambda: pausing.pause(run.pk, bob))
    run = carry_all(run)
    assert run.status == states.SUCCEEDED

    comments.comment(run.pk, of(run, "a").pk, "Again.", bob)

    assert carry_all(run).status == states.SUCCEEDED


class TestANodeThatWaitsForAPerson:
    @pytest.mark.parametrize("expires", [True, False])
    def test_takes_whom_a_rule_had_dispatched_with_it_when_it_ends(self, ann, bob, expires):
        agent("poster", "blackboard_post", "propose_handoff", handoff_targets=("worker",))
        checker = Agent.objects.get(slug="orders")
        WatchRule.objects.create(name="claims", condition="true", agent=checker, task=script(text("looked")))
        claim = call(("blackboard_post", {"category": "claim", "content": "late"}))
        run = start(ann, script(claim, proposal(target="worker")), agent="poster")
        carrier.carry(run.dispatches.get().pk)
        assert (of(run, "run").status, of(run, "run").inner_open) == (states.WAITING, 1)

        if expires:
            overdue(request_of(run))
            sweeps.expire_due()
        else:
            decide(request_of(run), bob, "rejected", reason="no")

        run.refresh_from_db()
        assert run.status == states.FAILED
        assert {each.status for each in run.nodes.filter(role="watch")} == {states.CANCELLED}
        assert not run.dispatches.open().exists()

    def test_is_asked_about_anew_when_a_comment_has_a_vote_cast_again(self, ann, bob):
        changes = {"A person has read": [text("yes")], "": [text("no")]}
        items = [json.dumps({"scripts": {"You are worker.": changes}}), script(text("yes"))]
        voters = {"key": "all", "agent": "worker", "task": "{item}", "over": {"items": items}}
        run = carried(ann, voters | {"reduce": {"how": "vote", "ties": "person"}}, node("after", after=("all",)))
        request = request_of(run)

        comments.comment(run.pk, of(run, "all-1").pk, "Look again.", bob)

        with pytest.raises(AlreadyDecided):
            decide(request, bob, "answered", answer="no")
        run = carry_all(run)
        assert (of(run, "all").output, of(run, "all").message) == ("yes", "yes: 2.")
        assert run.status == states.SUCCEEDED
        assert not ApprovalRequest.objects.open().exists()

    def test_is_asked_about_again_when_the_votes_are_equal_again(self, ann, bob):
        items = [script(text("no")), script(text("yes"))]
        voters = {"key": "all", "agent": "worker", "task": "{item}", "over": {"items": items}}
        run = carried(ann, voters | {"reduce": {"how": "vote", "ties": "person"}})
        before = request_of(run)

        comments.comment(run.pk, of(run, "all-1").pk, "Look again.", bob)
        run = carry_all(run)

        assert request_of(run).pk != before.pk
        decide(request_of(run), bob, "answered", answer="no")
        run.refresh_from_db()
        assert (run.status, run.output) == (states.SUCCEEDED, "no")


class TestWhatAPersonWasAsked:
    """It is taken back by a comment on what it was made of, and asked again by whoever is sent for anew."""

    @staticmethod
    def commented(run, key, bob):
        """Nobody decides the question that was open any more."""
        before = request_of(run)
        comments.comment(run.pk, of(run, key).pk, "Otherwise.", bob)
        for verdict in ("approved", "rejected"):
            with pytest.raises(AlreadyDecided, match=r"superseded by the system at .*: Another takes its place"):
                decide(before, bob, verdict, reason="late")
        assert ApprovalRequest.objects.get(pk=before.pk).status == verdicts.SUPERSEDED
        return before.kind, carry_all(run)

    @staticmethod
    def asked_again(run, kind):
        request = request_of(run)
        assert (run.status, request.kind) == (states.WAITING, kind)
        return request

    def test_of_a_plan_that_came_after_it(self, ann, bob, settings):
        settings.BATON_ASK_FOR_PLANS = "never"
        agent("planner", kind=AgentKind.PLANNER)
        planned = scripts(planner=[text(json.dumps(plan(node("inner"))))])
        run = start(
            ann, "x", agent=None, plan=plan(node("a"), node("b", after=("a",)) | {"agent": "planner", "task": planned})
        )
        settings.BATON_ASK_FOR_PLANS = "always"
        carry_all(run)

        kind, run = self.commented(run, "a", bob)
        decide(self.asked_again(run, kind), bob)
        run = carry_all(run)

        assert (run.status, run.output) == (states.SUCCEEDED, "inner done")
        assert [each.status for each in run.plans.order_by("pk")] == ["accepted", "cancelled", "accepted"]

    @pytest.fixture
    def bettered(self, ann):
        """A run whose planner is sent for once more; it is carried until then."""
        agent("planner", kind=AgentKind.PLANNER)
        agent("judge")
        planned = {
            "the nodes that are there": [text(json.dumps(plan(node("two", text("better"), after=("one",)))))],
            "Agents at work": [text(json.dumps(plan(node("one"), judge={"agent": "judge"})))],
        }
        judged = {
            "better": [text('{"score": 0.9, "feedback": ""}')],
            "": [text('{"score": 0.1, "feedback": "more"}')],
        }
        run = start(ann, scripts(planner=planned, judge=judged), agent="planner")
        for number in (1, 2, 3):
            carrier.carry(run.dispatches.get(number=number).pk)
        return run

    def test_of_a_plan_that_is_to_better_it(self, bob, bettered, settings):
        settings.BATON_ASK_FOR_PLANS = "always"
        carry_all(bettered)

        kind, run = self.commented(bettered, "one", bob)
        decide(self.asked_again(run, kind), bob)
        run = carry_all(run)

        assert (run.status, run.output) == (states.SUCCEEDED, "better")

    def test_of_a_planner_that_is_to_better_it(self, bob, bettered):
        """Nobody was asked yet."""
        before = bettered.dispatches.latest("number")

        comments.comment(bettered.pk, of(bettered, "one").pk, "Otherwise.", bob)
        run = carry_all(bettered)

        before.refresh_from_db()
        assert (before.node.role, before.status) == ("planner", states.CANCELLED)
        assert (run.status, run.output, run.plans.count()) == (states.SUCCEEDED, "better", 2)

    def test_of_a_handoff(self, ann, bob):
        tool("look_up", "tests.echo")
        clerks()
        run = carried(ann, node("a"), node("b", after=("a",)) | {"agent": "clerk", "task": scripts(clerk=[proposal()])})
        before = handoff()

        kind, run = self.commented(run, "a", bob)
        decide(self.asked_again(run, kind), bob)
        run = carry_all(run)

        before.refresh_from_db()
        assert (before.status, handoff().status) == (states.CANCELLED, states.ACCEPTED)
        assert (run.status, run.output) == (states.SUCCEEDED, "Paid.")

    def test_of_a_handoff_by_the_supervisor_around_it(self, ann, bob):
        tool("look_up", "tests.echo")
        clerks()
        agent("lead", "propose_handoff", kind=AgentKind.SUPERVISOR, handoff_targets=("payer",))
        turns = {"lead tried before": [call(("finish", {"answer": "Mine."}))]}
        turns[""] = [to("orders"), call(("wait", {})), proposal()]
        run = carry_all(start(ann, scripts(lead=turns), agent="lead"))

        _, run = self.commented(run, "orders-1", bob)

        assert (run.status, run.output, handoff().status) == (states.SUCCEEDED, "Mine.", states.CANCELLED)

    def test_of_a_step_that_failed(self, ann, bob):
        FailureRule.objects.create(agent=Agent.objects.get(slug="refunds"), ask_person=True)
        cut = text("so far") | {"stop_reason": "max_tokens"}
        failing = node("b", after=("a",)) | {"agent": "refunds", "task": scripts(refunds=[cut])}
        run = carried(ann, node("a"), failing, node("c", after=("b",)))

        kind, run = self.commented(run, "a", bob)
        decide(self.asked_again(run, kind), bob, "answered", answer="By hand.")
        run = carry_all(run)

        assert (of(run, "b").output, run.status, run.output) == ("By hand.", states.SUCCEEDED, "c done")

    def test_of_the_supervisor_around_it_that_failed(self, ann, bob):
        FailureRule.objects.create(agent=Agent.objects.get(slug="lead"), ask_person=True)
        turns = {"lead tried before": [call(("finish", {"answer": "Now."}))]}
        turns[""] = [to("orders"), call(("wait", {})), text("so far") | {"stop_reason": "max_tokens"}]
        run = carry_all(start(ann, scripts(lead=turns), agent="lead"))

        _, run = self.commented(run, "orders-1", bob)

        assert (run.status, run.output) == (states.SUCCEEDED, "Now.")

    def test_of_a_call(self, ann, bob, ledger, settings):
        settings.BATON_ASK_FOR_PLANS = "never"
        tool("pay", "tests.effect", Effect.KEYED, Risk.HIGH)
        agent("payer", "pay")
        pays = {"agent": "payer", "task": scripts(payer=[call(("pay", {"amount": 5})), text("Paid.")])}
        run = carried(ann, node("a"), node("b", after=("a",)) | pays)

        kind, run = self.commented(run, "a", bob)
        decide(self.asked_again(run, kind), bob)
        run = carry_all(run)

        paid = ToolCall.objects.filter(dispatch__run=run, status=states.DONE)
        assert (run.status, run.output, paid.count()) == (states.SUCCEEDED, "Paid.", 1)


def test_a_plan_that_waits_is_cancelled_with_its_run(ann, bob, settings):
    settings.BATON_ASK_FOR_PLANS = "always"
    run = carried(ann, node("a"))

    cancellation.cancel(run.pk, bob)

    assert run.plans.get().status == states.CANCELLED


def test_a_proposal_whose_summary_is_being_written_is_taken_back_with_its_node(ann):
    tool("look_up", "tests.echo")
    clerks()
    transition("clerk", "payer", transfer="summary", summariser="writer")
    tasks = {"clerk": script(proposal()), "orders": script(text("Done."))}
    asked = call(*[(f"dispatch_to_{slug}", {"task": task}) for slug, task in tasks.items()])
    wait = call(("wait", {"of": ["orders-2"]}))
    run = carry_all(start(ann, scripts(lead=[asked, wait, STOP]), agent="lead"))

    assert run.status == states.SUCCEEDED
    assert [each.status for each in run.nodes.filter(role="summariser")] == [states.CANCELLED]
    assert handoff().status == states.CANCELLED
