"""What a person may do with a proposal beside a plain yes or no, and what the clock does."""

import pytest

from agents.models import Agent
from approvals import decisions
from approvals.errors import InvalidEdit, InvalidVerdict
from approvals.models import ApprovalRequest
from orchestrator_site.core.clock import database_now
from runs import cancellation, carrier, pausing, states
from runs.models import Dispatch, Handoff
from runs.orchestration.handoffs import GUIDANCE_LIMIT
from runs.states import StopReason
from tests.handoffs.cast import (
    LAST_WORD,
    TASK,
    clerks,
    first_words,
    handoff,
    origins,
    played,
    proposal,
    proposed,
    transition,
)
from tests.runs import callables  # noqa: F401  registers them
from tests.runs.cast import agent, call, carry_all, decide, event_types, overdue, request_of, scripts, text, tool
from tools.values import Effect, Risk

pytestmark = pytest.mark.django_db(transaction=True)

LOOK = call(("look_up", {"order": 7}), say="I look it up.")
ORDER = {"type": "object", "properties": {"order": {"type": "integer"}}, "required": ["order"]}


@pytest.fixture(autouse=True)
def cast(model):
    tool("look_up", "tests.echo")
    clerks()


# -- redirected --------------------------------------------------------------------------------------------------
def test_it_may_go_to_another_agent_that_its_source_may_hand_over_to(ann, bob, model):
    run = proposed(ann, proposal(state={"order": 7}))
    shown = request_of(run).content

    decide(request_of(run), bob, "modified", edit={"target": "writer"})
    run = carry_all(run)

    assert origins(run) == [("clerk", "run"), ("writer", "handoff")]
    assert (run.output, handoff().target.slug, handoff().status) == ("Written.", "writer", states.ACCEPTED)
    assert first_words(model, "writer") == f"Task: {shown['task']}\n\n{shown['passed']}"
    frozen = ApprovalRequest.objects.get()
    assert (frozen.content["target"], frozen.effective_content["target"]) == ("payer", "writer")


def test_target_and_task_may_be_edited_together(ann, bob):
    run = proposed(ann, proposal())

    edit = {"target": "writer", "task": played(writer=[text("Written anew.")])}
    decide(request_of(run), bob, "modified", edit=edit)

    assert carry_all(run).output == "Written anew."


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("stranger", "You may not hand over to 'stranger'; allowed: payer, writer."),
        ("clerk", "You may not hand over to 'clerk'; allowed: payer, writer."),
        ("", "Name the agent that is to continue."),
        (5, "Name the agent that is to continue."),
    ],
)
def test_it_goes_to_nobody_else(ann, bob, target, sentence):
    agent("stranger")
    run = proposed(ann, proposal())

    with pytest.raises(InvalidEdit) as raised:
        decide(request_of(run), bob, "modified", edit={"target": target})

    assert sentence in raised.value.faults["target"]
    assert handoff().status == states.PROPOSED


def test_a_redirected_one_is_held_to_the_others_rules(ann, bob):
    run = proposed(ann, proposal())
    row = transition("clerk", "writer", contract=ORDER)
    faults = []
    for columns in ({}, {"contract": None, "may_hand_over": False}, {"may_hand_over": True, "ring_limit": 1}):
        for name, value in columns.items():
            setattr(row, name, value)
        row.save()
        try:
            decide(request_of(run), bob, "modified", edit={"target": "writer"})
        except InvalidEdit as error:
            faults.append(error.faults["target"])

    assert len(faults) == 2
    assert "state is missing: writer has to be given one that fits" in faults[0]
    assert "operators forbid it" in faults[1]
    assert handoff().status == states.ACCEPTED  # once nothing stands in the way


def test_a_retired_agent_is_no_redirect(ann, bob):
    run = proposed(ann, proposal())
    Agent.objects.filter(slug="writer").update(active=False)

    with pytest.raises(InvalidEdit, match="There is no agent 'writer' at work"):
        decide(request_of(run), bob, "modified", edit={"target": "writer"})


def test_what_operators_forbid_meanwhile_is_not_accepted(ann, bob):
    run = proposed(ann, proposal())
    row = transition("clerk", "payer", may_hand_over=False)

    with pytest.raises(InvalidVerdict, match="Operators forbid handoffs from clerk to payer by now"):
        decide(request_of(run), bob)
    row.delete()
    decide(request_of(run), bob)

    assert carry_all(run).output == "Paid."


# -- sent back with guidance -------------------------------------------------------------------------------------
def test_guidance_goes_to_its_source_which_goes_on(ann, bob, model):
    run = proposed(ann, LOOK, proposal(), guided=[text("I wrote to the customer.")])
    (findings,) = handoff().artifacts

    decide(request_of(run), bob, "answered", answer="Write to the customer first.")
    run = carry_all(run)

    told = first_words(model, "clerk")
    assert origins(run) == [("clerk", "run"), ("clerk", "guidance")]
    assert (run.status, run.output) == (states.SUCCEEDED, "I wrote to the customer.")
    assert "It was not accepted. bob says what to do instead:\nWrite to the customer first." in told
    assert f"- {findings}" in told
    assert "I look it up." not in told.partition("You proposed that")[2]  # references, not its transcript
    declined = handoff()
    assert (declined.status, declined.returned_to) == (states.DECLINED, run.dispatches.last())
    assert run.dispatches.last().depth == run.dispatches.first().depth  # type: ignore[union-attr]


def test_what_it_has_done_is_told_so_that_it_is_not_done_again(ann, bob, model):
    tool("pay", "tests.effect", Effect.KEYED, Risk.LOW)
    agent("clerk", "propose_handoff", "pay", handoff_targets=("payer",))
    run = proposed(ann, call(("pay", {"amount": 5})), proposal(), guided=[text("Done.")])

    decide(request_of(run), bob, "answered", answer="Go on.")
    carry_all(run)

    assert 'clerk has called pay with {"amount":5}' in first_words(model, "clerk")


def test_guidance_is_bounded(ann, bob):
    run = proposed(ann, proposal(), guided=[proposal()])
    for _ in range(GUIDANCE_LIMIT):
        decide(request_of(run), bob, "answered", answer="Look again.")
        run = carry_all(run)

    with pytest.raises(InvalidVerdict, match="sent back 3 times already: accept it, or decline it"):
        decide(request_of(run), bob, "answered", answer="Look again.")
    decide(request_of(run), bob)

    assert carry_all(run).output == "Paid."
    assert [origin for _, origin in origins(run)] == ["run", *["guidance"] * GUIDANCE_LIMIT, "handoff"]


def test_a_plain_no_ends_it_as_ever(ann, bob):
    run = proposed(ann, proposal(), guided=[text("Never said.")])

    decide(request_of(run), bob, "rejected", reason="It was paid already.")
    run = carry_all(run)

    assert (run.status, run.stop_reason) == (states.FAILED, StopReason.REJECTED)
    assert origins(run) == [("clerk", "run")]


def test_a_decision_while_the_run_is_paused_waits_for_it(ann, bob):
    run = proposed(ann, proposal(), guided=[text("Understood.")])
    pausing.pause(run.pk, bob)

    decide(request_of(run), bob, "answered", answer="Wait for the customer.")
    assert carry_all(run).status == states.PAUSED
    pausing.resume(run.pk, bob)

    assert carry_all(run).output == "Understood."


# -- the clock ---------------------------------------------------------------------------------------------------
def test_the_edges_deadline_is_the_questions(ann):
    transition("clerk", "payer", deadline_seconds=90)

    run = proposed(ann, proposal())

    left = (request_of(run).deadline_at - database_now()).total_seconds()
    assert 60 < left <= 90


def test_control_without_one_it_is_the_installations(ann, settings):
    run = proposed(ann, proposal())

    left = (request_of(run).deadline_at - database_now()).total_seconds()
    assert left > settings.BATON_APPROVAL_SECONDS - 60


def test_after_it_the_proposal_expires_and_the_run_says_so(ann):
    transition("clerk", "payer", deadline_seconds=90)
    run = proposed(ann, proposal())
    overdue(request_of(run))

    decisions.expire(ApprovalRequest.objects.get().pk)
    run.refresh_from_db()

    assert (handoff().status, run.status, run.stop_reason) == (states.EXPIRED, states.FAILED, StopReason.NEEDS_HUMAN)
    assert run.output == "The handoff to payer expired: Nobody decided before the deadline."
    assert "handoff_expired" in event_types(run)


# -- the source that watches -------------------------------------------------------------------------------------
def watched(ann, bob, task="", **more):
    transition("clerk", "payer", source_watches=True)
    run = proposed(ann, proposal(task), **more)
    decide(request_of(run), bob)
    return carry_all(run)


def test_a_source_that_watches_has_the_last_word(ann, bob, model):
    run = watched(ann, bob, last_word=[text("Your 5 euros are on their way.")])

    assert origins(run) == [("clerk", "run"), ("payer", "handoff"), ("clerk", "closing")]
    assert (run.status, run.output) == (states.SUCCEEDED, "Your 5 euros are on their way.")
    assert "You handed this over to payer, which has ended (finished). It says:\nPaid." in first_words(model, "clerk")
    assert handoff().closed_by == run.dispatches.last()


def test_control_one_that_does_not_watch_is_not_told(ann, bob):
    run = proposed(ann, proposal(), last_word=[text("Never said.")])
    decide(request_of(run), bob)

    assert carry_all(run).output == "Paid."
    assert len(origins(run)) == 2


def test_the_last_word_is_one_answer_without_tools(ann, bob, model):
    run = watched(ann, bob, last_word=[LOOK, text("After all.")])

    asked = [body for body in model.requests() if "You handed this over" in str(body["messages"])]
    assert len(asked) == 1
    assert not asked[0].get("tools")
    assert run.output == "Paid."  # what it was to be told stands
    assert "clerk was to have the last word" in run.nodes.get(number=1).message


def test_the_last_word_makes_nothing_green(ann, bob):
    """The target failed; the source says so in its own words, and the run has failed all the same."""
    failing = f"{TASK} " + '{"scripts": {"You are payer.": [{"text": "Half a", "stop_reason": "max_tokens"}]}}'

    run = watched(ann, bob, failing, last_word=[text("It could not be paid.")])

    assert (run.status, run.stop_reason) == (states.FAILED, StopReason.MAX_TOKENS)
    assert run.output == "It could not be paid."


def test_who_watches_who_watches_has_the_very_last_word(ann, bob):
    transition("writer", "payer", source_watches=True)
    transition("clerk", "writer", source_watches=True)
    run = proposed(ann, proposal("To be worded.", target="writer"), last_word=[text("Clerk: all done.")])
    onwards = scripts(writer={LAST_WORD: [text("Writer: paid.")], "": [proposal("Pay.")]})
    decide(request_of(run), bob, "modified", edit={"task": onwards})
    run = carry_all(run)
    decide(request_of(run), bob, "modified", edit={"task": played()})
    run = carry_all(run)

    assert origins(run)[2:] == [("payer", "handoff"), ("writer", "closing"), ("clerk", "closing")]
    assert run.output == "Clerk: all done."


def test_cancelling_while_the_last_word_is_awaited_ends_it(ann, bob):
    transition("clerk", "payer", source_watches=True)
    run = proposed(ann, proposal(), last_word=[text("Never said.")])
    decide(request_of(run), bob)
    assert carrier.carry(Dispatch.objects.get(run=run, origin="handoff").pk)
    cancellation.cancel(run.pk, ann)
    run.refresh_from_db()

    assert run.status == states.CANCELLED
    assert Handoff.objects.get().closed_by.status == states.CANCELLED  # type: ignore[union-attr]
