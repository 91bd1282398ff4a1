"""What is passed on: each strategy, exactly as the approver saw it, and as the target was told on the wire."""

import pytest

from approvals.models import ApprovalRequest
from runs import artifacts, states
from runs.handing_over import transfers
from runs.handing_over.transfers import Passed, Turn
from tests.handoffs.cast import clerks, first_words, handoff, origins, played, proposal, proposed, transition
from tests.runs import callables  # noqa: F401  registers them
from tests.runs.cast import agent, call, carry_all, decide, request_of, text, tool

pytestmark = pytest.mark.django_db(transaction=True)

LOOK = call(("look_up", {"order": 7}), say="I look it up.")
STATE = {"order": 7, "amount": 5}


@pytest.fixture(autouse=True)
def cast(model):
    tool("look_up", "tests.echo")
    clerks()


def passed_and_told(run, bob, model):
    """What was frozen, and what the target was told when it was accepted."""
    content = request_of(run).content
    decide(request_of(run), bob)
    run = carry_all(run)
    assert run.status == states.SUCCEEDED
    return content, first_words(model, "payer")


def test_structured_passes_the_reason_the_state_and_references(ann, bob, model):
    run = proposed(ann, LOOK, proposal(state=STATE))

    content, told = passed_and_told(run, bob, model)

    (findings,) = handoff().artifacts
    assert content["passed"] == (
        'Handed over because: Money is not mine.\n\nTask state:\n{\n "amount": 5,\n "order": 7\n}\n\n'
        f"References you can read with artifact_read:\n- {findings}"
    )
    assert told == f"Task: {played()}\n\n{content['passed']}"
    assert "I look it up" not in told


def test_selective_passes_the_chosen_answers_and_no_other(ann, bob, model):
    transition("clerk", "payer", transfer="selective")
    again = call(("look_up", {"order": 8}), say="And the next one.")

    content, told = passed_and_told(proposed(ann, LOOK, again, proposal(steps=[2])), bob, model)

    assert content["steps"] == [2]
    assert told == f"Task: {played()}\n\n{content['passed']}"
    assert "From what clerk did, chosen by it:\n2. And the next one." in told
    assert 'called look_up with {"order":8}' in told
    assert "I look it up." not in told


def test_full_passes_all_of_it_and_keeps_it_whole(ann, bob, model):
    transition("clerk", "payer", transfer="full")

    run = proposed(ann, LOOK, proposal())
    content, told = passed_and_told(run, bob, model)

    assert told == f"Task: {played()}\n\n{content['passed']}"
    assert "All that clerk did:\nTask: " in told
    assert "1. I look it up." in told
    (reference,) = [line for line in told.splitlines() if "artifact:" in line][-1:]
    kept = artifacts.find(run.pk, reference.removeprefix("- "))
    assert kept is not None
    assert (kept.name, artifacts.text(kept)) == ("transcript of clerk", told.split("All that clerk did:\n")[1])


def test_a_summary_is_written_before_the_question_is_asked(ann, bob, model):
    agent("scribe")
    transition("clerk", "payer", transfer="summary", summariser="scribe")
    task = played(scribe=[text("Order 7 was late; nothing was paid.")])

    run = proposed(ann, LOOK, proposal(task))
    content, told = passed_and_told(run, bob, model)

    assert origins(run) == [("clerk", "run"), ("scribe", "route"), ("payer", "handoff")]
    summary = run.nodes.get(role="summariser")
    assert (summary.within.number, summary.status) == (1, states.SUCCEEDED)  # type: ignore[union-attr]
    assert "I look it up." in first_words(model, "scribe")
    assert told == f"Task: {task}\n\n{content['passed']}"
    assert told.endswith("Summary of what clerk did:\nOrder 7 was late; nothing was paid.")
    assert "I look it up." not in told


def test_without_a_summariser_of_its_own_it_is_whom_the_manifest_names_else_the_installation(ann, settings):
    agent("scribe")
    transition("clerk", "payer", transfer="summary")
    settings.BATON_SUMMARISER = "scribe"
    task = played(scribe=[text("By the installation's.")], notary=[text("By its own.")])

    first = proposed(ann, proposal(task))
    agent("notary")
    clerks(summariser="notary")
    second = proposed(ann, proposal(task))

    assert "By the installation's." in request_of(first).content["passed"]
    assert "By its own." in request_of(second).content["passed"]


def test_nobody_is_asked_while_the_summary_is_written(ann, model):
    agent("scribe")
    transition("clerk", "payer", transfer="summary", summariser="scribe")
    task = played(scribe=[call(("ask_human", {"question": "x"}))])  # which it was not granted, and then says nothing

    run = proposed(ann, proposal(task))

    assert "scribe" in [slug for slug, _ in origins(run)]
    asked = request_of(run)
    assert asked.reasons[-1].startswith("No summary is passed on: ")
    assert "Summary" not in asked.content["passed"]


def test_a_summary_nobody_can_write_is_left_out_and_said_so(ann, bob, model):
    agent("scribe")
    row = transition("clerk", "payer", transfer="summary", summariser="scribe")
    row.summariser.active = False  # type: ignore[union-attr]
    row.summariser.save()  # type: ignore[union-attr]

    run = proposed(ann, proposal())

    assert request_of(run).reasons[-1] == "Nobody is at work who would write its summary: none is passed on."
    decide(request_of(run), bob)
    assert carry_all(run).output == "Paid."


def test_what_is_counted_is_no_less_than_what_is_sent(ann, bob, model):
    run = proposed(ann, proposal(state={"name": "Zoë"}))

    content, told = passed_and_told(run, bob, model)

    assert content["tokens_at_most"] == len(told.encode()) > len(told)


def test_an_edited_task_is_counted_anew_and_what_is_passed_stays(ann, bob, model):
    run = proposed(ann, proposal(state=STATE))
    before = request_of(run).content
    task = played() + " Today."

    decide(request_of(run), bob, "modified", edit={"task": task})
    carry_all(run)

    after = ApprovalRequest.objects.get().effective_content
    assert (after["passed"], handoff().passed) == (before["passed"],) * 2
    assert after["tokens_at_most"] == before["tokens_at_most"] + len(" Today.")
    assert first_words(model, "payer") == f"Task: {task}\n\n{after['passed']}"


def test_what_came_after_the_question_is_not_passed_on(ann, bob, model):
    """The text is frozen: rows that change later do not change it."""
    transition("clerk", "payer", transfer="full")
    run = proposed(ann, LOOK, proposal())
    frozen = request_of(run).content["passed"]

    run.dispatches.get().calls.filter(tool="look_up").update(result="something else")
    _, told = passed_and_told(run, bob, model)

    assert told == f"Task: {played()}\n\n{frozen}"
    assert "something else" not in told


# -- the pure part -----------------------------------------------------------------------------------------------
def test_the_same_values_give_the_same_text():
    passed = Passed("Why.", {"b": 1, "a": [1]}, ["artifact:1"], "Head:", "Words.")

    assert transfers.briefing(passed) == transfers.briefing(
        Passed("Why.", {"a": [1], "b": 1}, *list(vars(passed).values())[2:])
    )
    assert transfers.briefing(passed).endswith("- artifact:1\n\nHead:\nWords.")


def test_a_transcript_says_who_told_what_and_what_came_of_each_call():
    turns = [
        Turn(1, "First.", [("get", '{"a":1}', "one"), ("get", '{"a":2}', "two")], [("user:ann", "Mind the EU.")]),
        Turn(2, ""),
    ]

    assert transfers.transcript(turns) == (
        "[told by user:ann] Mind the EU.\n1. First.\n"
        'called get with {"a":1}\n→ one\ncalled get with {"a":2}\n→ two\n\n2.'
    )


def test_a_long_excerpt_is_cut_and_says_where_it_goes_on():
    whole, long = "x" * transfers.LONGEST_EXCERPT, "x" * (transfers.LONGEST_EXCERPT + 1)

    assert transfers.cut(whole, "artifact:1") == whole
    assert transfers.cut(long, "artifact:1") == whole + "\n… cut here; all of it: artifact:1"
