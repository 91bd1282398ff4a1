"""Handoffs: an agent proposes that another continues, and nothing happens before a person's yes."""

import pytest

from agents import manifests
from agents.models import Agent
from approvals import decisions
from approvals.errors import InvalidEdit
from approvals.models import ApprovalRequest
from runs import artifacts, cancellation, states
from runs.handing_over import proposals
from runs.models import Artifact, Handoff
from runs.states import StopReason
from tests.runs.cast import agent, call, carry_all, decide, event_types, overdue, request_of, scripts, start, text
from tools.values import ErrorKind

pytestmark = pytest.mark.django_db(transaction=True)

TASK = "Pay 5 back for order 7.\nThe customer asked twice. " + scripts(payer=[text("Paid.")])


def proposal(**changes):
    return call(("propose_handoff", {"target": "payer", "reason": "Money is not mine.", "task": TASK} | changes))


@pytest.fixture
def pair(model):
    """A clerk who may propose the payer."""
    agent("payer", "artifact_read")
    agent("clerk", "propose_handoff", "artifact_read", handoff_targets=("payer",))


def propose(ann, **changes):
    return carry_all(start(ann, scripts(clerk=[proposal(**changes)]), agent="clerk"))


def test_a_proposal_pauses_the_run_and_dispatches_nobody(pair, ann):
    run = propose(ann, preconditions=["The order exists."], confidence=0.75)

    assert (run.status, run.waiting_on) == (states.WAITING, "a person to accept the handoff to payer")
    assert [node.manifest.agent.slug for node in run.dispatches.all()] == ["clerk"]
    assert run.dispatches.get().stop_reason == StopReason.HANDED_OFF
    content = request_of(run).content
    assert (content["source"], content["target"], content["task"]) == ("clerk", "payer", TASK)
    said = {"says": "The order exists.", "check": "", "outcome": "said", "why": ""}
    assert (content["preconditions"], content["confidence"]) == ([said], 0.75)


def test_an_accepted_handoff_gives_the_target_the_task_verbatim(pair, ann, bob, model):
    run = propose(ann)

    decide(request_of(run), bob)
    run = carry_all(run)

    first = model.requests()[-1]["messages"][0]["content"][0]["text"]
    assert first.startswith(f"Task: {TASK}\n\nHanded over because: Money is not mine.")
    source, continuation = run.dispatches.all()
    assert (continuation.manifest.agent.slug, continuation.depth) == ("payer", source.depth + 1)
    assert Handoff.objects.get().continued_by == continuation
    assert (run.status, run.output) == (states.SUCCEEDED, "Paid.")


def test_the_target_can_read_what_was_passed_by_reference(pair, ann, bob, model):
    run = start(ann, "to be scripted", agent="clerk")
    kept = artifacts.keep(run.dispatches.get(), "receipt", b"order 7 cost 5")
    run.dispatches.update(task=scripts(clerk=[proposal(artifacts=[kept.reference])]))
    reading = call(("artifact_read", {"reference": kept.reference}))

    run = carry_all(run)
    decide(request_of(run), bob, "modified", edit={"task": scripts(payer=[reading, text("It says {{result:1}}.")])})
    run = carry_all(run)

    first = model.requests()[-1]["messages"][0]["content"][0]["text"]
    assert f"References you can read with artifact_read:\n- {kept.reference}" in first
    assert run.output == "It says order 7 cost 5."


def test_a_person_may_reword_the_task(pair, ann, bob, model):
    run = propose(ann)

    for edit in ({"reason": "x"}, {"task": "x", "artifacts": []}, {"task": "  "}, {"task": 5}, {}):
        with pytest.raises(InvalidEdit, match="task"):
            decide(request_of(run), bob, "modified", edit=edit)
    reworded = scripts(payer=[text("Paid 3.")])
    decide(request_of(run), bob, "modified", edit={"task": reworded})
    run = carry_all(run)

    assert Handoff.objects.get().task == reworded
    assert run.output == "Paid 3."


def test_a_declined_handoff_ends_the_run_with_the_reason(pair, ann, bob):
    run = propose(ann)

    decide(request_of(run), bob, "rejected", reason="The customer was paid already")
    run.refresh_from_db()

    assert (run.status, run.stop_reason) == (states.FAILED, StopReason.REJECTED)
    assert "The handoff to payer was declined: The customer was paid already" in run.output
    assert run.dispatches.count() == 1


def test_a_handoff_nobody_decides_on_expires(pair, ann):
    run = propose(ann)
    request = overdue(request_of(run))

    decisions.expire(request.pk)
    run.refresh_from_db()

    assert Handoff.objects.get().status == states.EXPIRED
    assert (run.status, run.stop_reason) == (states.FAILED, StopReason.NEEDS_HUMAN)


def test_cancelling_the_run_withdraws_the_proposal(pair, ann):
    run = propose(ann)

    cancellation.cancel(run.pk, ann)
    run.refresh_from_db()

    assert Handoff.objects.get().status == states.CANCELLED
    assert not ApprovalRequest.objects.open().exists()
    assert (run.status, run.stop_reason) == (states.CANCELLED, StopReason.CANCELLED)


def test_a_target_retired_before_the_yes_does_no_work(pair, ann, bob):
    run = propose(ann)
    manifests.retire(Agent.objects.get(slug="payer"), by=None)

    decide(request_of(run), bob)
    run = carry_all(run)

    assert (run.status, run.stop_reason) == (states.FAILED, StopReason.REFUSED)
    assert run.output == "payer was retired before it could start."


INLINE = "data:text/plain;base64," + "QUJD" * 40
ELSEWHERE = "artifact:01999999-0000-7000-8000-000000000000"

REFUSED = {
    "unknown target": ({"target": "nobody"}, ErrorKind.INVALID_ARGUMENTS),
    "target not allowed": ({"target": "clerk"}, ErrorKind.INVALID_ARGUMENTS),
    "no task": ({"task": ""}, ErrorKind.INVALID_ARGUMENTS),
    "inline content": ({"artifacts": [INLINE]}, ErrorKind.RAISED),
    "unknown artifact": ({"artifacts": [ELSEWHERE]}, ErrorKind.RAISED),
    "no reference": ({"artifacts": ["the receipt"]}, ErrorKind.RAISED),
}


@pytest.mark.parametrize(("changes", "kind"), REFUSED.values(), ids=REFUSED)
def test_a_wrong_proposal_is_an_error_the_model_reads(pair, ann, changes, kind):
    input = scripts(clerk=[proposal(**changes), text("I was told: {{result:1}}")])

    run = carry_all(start(ann, input, agent="clerk"))

    (refused,) = run.dispatches.get().calls.all()
    assert (run.status, refused.error_kind) == (states.SUCCEEDED, kind)
    assert run.output == f"I was told: {refused.result}"
    assert not Handoff.objects.exists()


def test_a_retired_target_is_an_error_the_model_reads(pair, ann):
    manifests.retire(Agent.objects.get(slug="payer"), by=None)
    input = scripts(clerk=[proposal(), text("{{result:1}}")])

    run = carry_all(start(ann, input, agent="clerk"))

    assert run.output == "There is no agent 'payer' at work."


def test_another_runs_artifact_cannot_be_passed_on(pair, ann):
    other = start(ann, "something else", agent="clerk")
    kept = artifacts.keep(other.dispatches.get(), "secret", b"not yours")
    input = scripts(clerk=[proposal(artifacts=[kept.reference]), text("{{result:1}}")])

    run = carry_all(start(ann, input, agent="clerk"))

    assert run.output == f"There is no artifact '{kept.reference}' that you may read."
    assert Artifact.objects.filter(run=other).exists()


def test_handing_over_ends_at_a_depth(pair, ann):
    run = start(ann, scripts(clerk=[proposal(), text("{{result:1}}")]), agent="clerk")
    run.dispatches.update(depth=proposals.HANDOFF_DEPTH)

    run = carry_all(run)

    assert run.output.startswith("This run was handed over 5 times already")


def test_control_one_above_the_depth_it_is_proposed(pair, ann):
    run = start(ann, scripts(clerk=[proposal()]), agent="clerk")
    run.dispatches.update(depth=proposals.HANDOFF_DEPTH - 1)

    run = carry_all(run)

    assert run.status == states.WAITING


def test_an_agent_proposes_once(pair, ann):
    twice = call(*[("propose_handoff", {"target": "payer", "reason": "r", "task": "t"})] * 2)

    run = carry_all(start(ann, scripts(clerk=[twice]), agent="clerk"))

    first, second = run.dispatches.get().calls.all()
    assert (first.status, second.status) == (states.DONE, states.FAILED)
    assert second.result == "You have proposed a handoff already."
    assert event_types(run).count("approval_requested") == 1
