"""What becomes of a node whose try failed, where more than one agent has had a part in it."""

import pytest

from agents.models import Agent, FailureRule
from agents.values import AgentKind
from approvals.models import ApprovalRequest
from runs import orchestration, states
from runs.models import Node
from tests.handoffs import cast as handing_over
from tests.handoffs.cast import clerks, first_words, origins, proposal, proposed
from tests.runs import callables  # noqa: F401  registers them
from tests.runs.cast import agent, call, carry_all, decide, request_of, scripts, start, text, tool
from tools.values import Effect, Risk

pytestmark = pytest.mark.django_db(transaction=True)

CUT = text("so far") | {"stop_reason": "max_tokens"}
WAIT = call(("wait", {}))


def rule(slug, **columns):
    return FailureRule.objects.create(agent=Agent.objects.get(slug=slug), **columns)


def go_on(run):
    """Its next try is due."""
    Node.objects.filter(run=run, status=states.READY).update(due_at="2020-01-01T00:00Z")
    orchestration.start_due(run.pk)
    return carry_all(run)


class TestASupervisorThatFails:
    @pytest.fixture(autouse=True)
    def cast(self, model):
        tool("mail", "tests.effect", Effect.KEYED, Risk.LOW)
        agent("letters", "mail")
        agent("deputy")
        agent("lead", kind=AgentKind.SUPERVISOR)

    def lead(self, owner, *letters):
        to = call(("dispatch_to_letters", {"task": scripts(letters=list(letters))}))
        return carry_all(start(owner, scripts(lead=[to, WAIT, CUT], deputy=[text("By the deputy.")]), agent="lead"))

    def test_is_given_to_nobody_by_the_machine_once_another_has_acted_for_it(self, ann, ledger):
        rule("lead", tries=3, fallbacks=["deputy"], ask_person=True)

        run = self.lead(ann, call(("mail", {"to": "cy"})), text("Sent."))

        assert origins(run) == [("lead", "run"), ("letters", "route")]
        assert (request_of(run).kind, request_of(run).content["acted"]) == ("node", True)

    def test_a_person_may_have_it_tried_again_and_it_is_told_what_was_done_for_it(self, ann, bob, ledger):
        rule("lead", ask_person=True)
        run = self.lead(ann, call(("mail", {"to": "cy"})), text("Sent."))

        decide(request_of(run), bob, "modified", edit={"agent": "deputy", "task": scripts(deputy=[text("Done.")])})

        told = carry_all(run).dispatches.get(number=3).briefing
        assert '- letters has called mail with {"to":"cy"}' in told

    def test_control_its_fallback_takes_it_where_nobody_has_acted(self, ann):
        rule("lead", fallbacks=["deputy"])

        assert self.lead(ann, text("Nothing to send.")).output == "By the deputy."


class TestWhatWasHandedOver:
    @pytest.fixture(autouse=True)
    def cast(self, model):
        tool("look_up", "tests.echo")
        tool("pay", "tests.effect", Effect.KEYED, Risk.LOW)
        clerks()
        agent("deputy")

    def handed_over(self, owner, bob, *turns, **played):
        """The clerk hands over to the payer, which is accepted; the payer plays these turns."""
        played = {"deputy": [text("By the deputy.")]} | played
        run = proposed(owner, proposal(handing_over.played(payer=list(turns), **played)))
        decide(request_of(run), bob)
        return carry_all(run)

    def test_is_tried_again_by_the_targets_rule_with_what_it_was_told(self, ann, bob, model):
        rule("payer", tries=2)
        rule("clerk", fallbacks=["deputy"])

        run = self.handed_over(ann, bob, CUT)
        assert origins(run) == [("clerk", "run"), ("payer", "handoff")]
        run = go_on(run)

        assert origins(run)[2:] == [("payer", "retry")]
        accepted, again = run.dispatches.order_by("number")[1:]
        assert (again.task, again.depth) == (accepted.task, accepted.depth)
        assert again.briefing.startswith(accepted.briefing)
        assert "payer tried before, and ended" in again.briefing

    def test_is_not_given_to_whom_the_sources_rule_names(self, ann, bob):
        rule("clerk", fallbacks=["deputy"])

        run = self.handed_over(ann, bob, CUT)

        assert (run.status, origins(run)) == (states.FAILED, [("clerk", "run"), ("payer", "handoff")])

    def test_goes_to_the_targets_fallback_with_the_accepted_task(self, ann, bob):
        rule("payer", fallbacks=["deputy"])

        run = self.handed_over(ann, bob, CUT)

        assert run.output == "By the deputy."
        assert origins(run)[2:] == [("deputy", "fallback")]

    def test_goes_to_nobody_where_its_source_had_acted(self, ann, bob, ledger):
        agent("clerk", "propose_handoff", "look_up", "pay", handoff_targets=("payer",))
        rule("payer", tries=3, fallbacks=["deputy"], ask_person=True)
        run = proposed(ann, call(("pay", {"amount": 5})), proposal(handing_over.played(payer=[CUT])))
        decide(request_of(run), bob)

        run = carry_all(run)

        assert origins(run) == [("clerk", "run"), ("payer", "handoff")]
        asked = ApprovalRequest.objects.open().get(run_id=run.pk)
        assert (asked.kind, asked.content["acted"], asked.content["agent"]) == ("node", True, "payer")

    def test_a_person_who_has_it_tried_again_has_all_of_it_passed_on_again(self, ann, bob, model):
        rule("payer", ask_person=True)
        run = self.handed_over(ann, bob, CUT)

        decide(request_of(run), bob)
        run = carry_all(run)

        again = run.dispatches.get(number=3)
        assert again.manifest.agent.slug == "payer"
        assert run.dispatches.get(number=2).briefing in again.briefing
        assert "Money is not mine." in first_words(model, "payer")
