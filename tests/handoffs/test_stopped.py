"""A node that waits for a person is stopped: what was asked of it is taken back, and nobody can say yes to it."""

import json

import pytest

from agents.values import AgentKind
from approvals.errors import AlreadyDecided
from approvals.models import ApprovalRequest
from runs import states
from runs.models import Handoff, Plan
from tests.handoffs.cast import clerks, handoff, proposal, proposed
from tests.plans.cast import node, plan
from tests.runs import callables  # noqa: F401  registers them
from tests.runs.cast import agent, call, carry_all, decide, request_of, script, scripts, start, text, tool

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def cast(model):
    tool("look_up", "tests.echo")
    clerks()
    agent("worker")
    agent("planner", kind=AgentKind.PLANNER)
    agent("lead", kind=AgentKind.SUPERVISOR)


def lead(owner, *children):
    """A supervisor that dispatches these, waits for the worker among them, and finishes without the others."""
    asked = call(*[(f"dispatch_to_{slug}", {"task": task}) for slug, task in children])
    wait = call(("wait", {"of": ["worker-2"]}))
    finish = call(("finish", {"answer": "Enough.", "stop_others": True}))
    return carry_all(start(owner, scripts(lead=[asked, wait, finish]), agent="lead"))


def test_a_proposal_of_a_node_that_is_stopped_is_taken_back(ann, bob):
    run = lead(ann, ("clerk", script(proposal())), ("worker", script(text("Done."))))

    assert (run.status, run.output) == (states.SUCCEEDED, "Enough.")
    assert Handoff.objects.get().status == states.CANCELLED
    asked = ApprovalRequest.objects.get()
    assert asked.status == "superseded"
    with pytest.raises(AlreadyDecided):
        decide(asked, bob)


def test_so_is_a_plan_that_waits(ann, settings):
    settings.BATON_ASK_FOR_PLANS = "always"
    answer = json.dumps(plan(node("a")))
    run = lead(ann, ("planner", script(text(answer))), ("worker", script(text("Done."))))

    assert run.status == states.SUCCEEDED
    assert Plan.objects.get().status == states.CANCELLED
    assert not ApprovalRequest.objects.open().exists()


def test_control_a_question_of_another_node_stays(ann, bob):
    run = proposed(ann, proposal())
    other = proposed(ann, proposal())

    assert request_of(run).pk != request_of(other).pk
    decide(request_of(other), bob)

    assert request_of(run).status == "open"
    assert handoff().status == states.ACCEPTED
