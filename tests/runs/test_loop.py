"""The bounded loop, driven in this process against the scripted model server."""

import pytest

from runs import states
from runs.models import Dispatch, Step, ToolCall
from runs.states import StopReason
from tests.runs.cast import agent, call, carry_all, only_call, request_of, decide, script, start, text, tool
from tools.values import Effect, Risk

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_plain_answer_finishes_the_run(model, ann):
    agent()

    run = carry_all(start(ann, script(text("Hello."))))

    assert (run.status, run.stop_reason, run.output) == (states.SUCCEEDED, StopReason.FINISHED, "Hello.")
    assert Step.objects.get().cost_usd > 0


def test_a_pure_tool_runs_without_asking(model, ann):
    tool("echo", "tests.echo")
    agent("worker", "echo")

    run = carry_all(start(ann, script(call(("echo", {"word": "hi"})), text("It said {{result:1}}"))))

    assert run.output == 'It said {"word":"hi"}'
    assert only_call(run).status == states.DONE


def test_a_gated_call_does_not_act_before_it_is_approved_and_then_acts_once(model, ann, bob, ledger):
    tool("pay", "tests.effect", Effect.KEYED, Risk.HIGH)
    agent("worker", "pay")
    run = carry_all(start(ann, script(call(("pay", {"amount": 5})), text("Paid."))))
    assert run.status == states.WAITING
    key = only_call(run).idempotency_key
    assert not [effect for effect in ledger.get("/effects") if effect["key"] == key]

    decide(request_of(run), bob)
    run = carry_all(run)

    assert run.output == "Paid."
    assert [effect["requests"] for effect in ledger.get("/effects") if effect["key"] == key] == [1]
