"""The bounded loop, driven in this process against the scripted model server: what is offered, and every way to end."""

import itertools
import json

import pytest

from agents import manifests
from agents.models import Agent
from approvals.models import ApprovalRequest
from runs import states
from runs.engine import reserving, turn
from runs.models import Dispatch, Step, ToolCall
from runs.states import StopReason
from tests.runs.cast import (
    agent,
    call,
    carry_all,
    decide,
    event_types,
    only_call,
    request_of,
    script,
    start,
    text,
    tool,
)
from tools import registry
from tools.models import Tool
from tools.values import Confirmation, Effect, ErrorKind, Risk

pytestmark = pytest.mark.django_db(transaction=True)

REMARK = {"type": "object", "properties": {"word": {"type": "string"}}, "additionalProperties": False}


@pytest.fixture
def echo(model):
    """An agent with one pure tool."""
    tool("echo", "tests.echo")
    agent("worker", "echo")


def play(owner, *turns, **more):
    return carry_all(start(owner, script(*turns, **more)))


def ended(run):
    """How the one dispatch of a run ended; cut off is never green."""
    dispatch = run.dispatches.get()
    assert run.stop_reason == dispatch.stop_reason
    assert (run.status == states.SUCCEEDED) == (dispatch.stop_reason in states.GREEN)
    return StopReason(dispatch.stop_reason), dispatch.message


def block(name, arguments, id="toolu_1"):
    return {"type": "tool_use", "id": id, "name": name, "input": arguments}


def test_a_plain_answer_finishes_the_run(model, ann):
    agent()

    run = play(ann, text("Hello."))

    assert (run.status, run.stop_reason, run.output) == (states.SUCCEEDED, StopReason.FINISHED, "Hello.")
    assert Step.objects.get().cost_usd > 0


def test_a_pure_tool_runs_without_asking(echo, ann):
    run = play(ann, call(("echo", {"word": "hi"})), text("It said {{result:1}}"))

    assert run.output == 'It said {"word":"hi"}'
    assert only_call(run).status == states.DONE
    assert not ApprovalRequest.objects.exists()


class TestWhatIsOffered:
    def names(self, model):
        return [each["name"] for each in model.requests()[-1].get("tools", [])]

    def test_exactly_the_granted_tools_in_the_manifests_order(self, model, ann):
        for name in ("alpha", "beta", "gamma"):
            tool(name, "tests.echo")
        agent("worker", "gamma", "alpha")

        play(ann, text("Hello."))

        assert self.names(model) == ["gamma", "alpha"]

    def test_a_switched_off_tool_is_not_offered(self, model, ann, bob):
        for name in ("alpha", "beta"):
            tool(name, "tests.echo")
        agent("worker", "alpha", "beta")
        registry.switch(Tool.objects.get(name="alpha"), by=bob, enabled=False)

        play(ann, text("Hello."))

        assert self.names(model) == ["beta"]

    def test_no_grant_no_tools(self, model, ann):
        tool("alpha", "tests.echo")
        agent()

        play(ann, text("Hello."))

        assert self.names(model) == []

    def test_a_worker_with_every_grant_is_never_offered_to_dispatch(self, model, ann):
        agent("other")
        agent("worker", *registry.platform_names())

        play(ann, text("Hello."))

        assert self.names(model) == registry.platform_names()
        assert not [name for name in self.names(model) if name.startswith("dispatch_to")]


class TestLimits:
    def test_a_model_that_always_asks_for_more_is_stopped_at_its_iterations(self, model, ann):
        tool("count", "tests.echo")
        agent("worker", "count", limits={"iterations": 2})
        forever = [call(("count", {"n": number})) for number in range(9)]

        run = play(ann, *forever)

        sentence = "It used all 2 model calls it may make without coming to an end."
        assert ended(run) == (StopReason.MAX_ITERATIONS, sentence)
        assert run.output == sentence
        assert (model.count(), ToolCall.objects.count()) == (2, 2)

    def test_control_one_more_iteration_would_have_finished(self, model, ann):
        tool("count", "tests.echo")
        agent("worker", "count", limits={"iterations": 3})

        run = play(ann, call(("count", {"n": 1})), call(("count", {"n": 2})), text("Done."))

        assert run.output == "Done."

    def test_the_same_call_with_the_same_result_three_times_is_a_loop(self, echo, ann):
        run = play(ann, call(("echo", {"n": 1})), loop=True)

        assert ended(run)[0] == StopReason.LOOP_DETECTED
        assert ToolCall.objects.count() == 3

    def test_control_other_arguments_are_no_loop(self, echo, ann):
        run = play(ann, *[call(("echo", {"n": number})) for number in (1, 1, 2)], text("Done."))

        assert run.output == "Done."

    def test_tokens_in_total(self, model, ann):
        tool("echo", "tests.echo")
        agent("worker", "echo", limits={"tokens_total": 1000})
        used = {"input_tokens": 900, "output_tokens": 60, "cache_read_input_tokens": 40}

        run = play(ann, call(("echo", {})) | {"usage": used}, text("not reached"))

        assert ended(run) == (StopReason.MAX_TOKENS, "It used 1,000 tokens; its limit is 1,000.")

    def test_working_time(self, echo, ann):
        run = start(ann, script(call(("echo", {})), text("not reached")))
        Dispatch.objects.update(worked_seconds=3600)

        run = carry_all(run)

        assert ended(run)[0] == StopReason.TIMEOUT

    def test_waiting_for_people_is_no_working_time(self, model, ann, bob):
        tool("pay", "tests.echo", Effect.PURE, Risk.HIGH)
        agent("worker", "pay", limits={"wall_seconds": 60})
        run = play(ann, call(("pay", {})), text("Done."))
        Dispatch.objects.update(created_at="2020-01-01T00:00Z", started_at="2020-01-01T00:00Z")

        decide(request_of(run), bob)
        run = carry_all(run)

        assert run.output == "Done."

    def test_more_calls_in_a_turn_than_allowed_are_refused_and_the_rest_run(self, model, ann):
        tool("echo", "tests.echo")
        agent("worker", "echo", limits={"tool_calls_per_turn": 2})

        run = play(ann, call(*[("echo", {"n": number}) for number in range(3)]), text("{{result:3}}"))

        assert [each.status for each in ToolCall.objects.all()] == [states.DONE, states.DONE, states.REFUSED]
        assert run.output == "Refused: only 2 calls a turn are allowed; ask for this one again in a later turn."


class TestWrongCalls:
    """What is wrong with a call is a sentence that the model reads, and the run goes on."""

    def refused(self, run, kind):
        refused = only_call(run)
        assert (refused.status, refused.error_kind) == (states.REFUSED, kind)
        assert (run.status, run.output) == (states.SUCCEEDED, f"I read: {refused.result}")
        assert "tool_call_refused" in event_types(run)
        return refused.result

    @pytest.mark.parametrize(
        ("name", "arguments", "kind", "sentence"),
        [
            ("nothing", {}, ErrorKind.UNKNOWN_TOOL, "Refused: There is no such tool."),
            ("secret", {}, ErrorKind.UNKNOWN_TOOL, "Refused: There is no such tool."),
            ("dispatch_to_worker", {"task": "x"}, ErrorKind.UNKNOWN_TOOL, "Refused: There is no such tool."),
            ("remark", {"word": 5}, ErrorKind.INVALID_ARGUMENTS, "word: 5 is not of type 'string'"),
            ("remark", {"wrd": "hi"}, ErrorKind.INVALID_ARGUMENTS, "wrd is not an argument of this tool."),
            ("echo", {"n": 10**20}, ErrorKind.INVALID_ARGUMENTS, "cannot be kept as JSON"),
        ],
    )
    def test_of_one_call(self, model, ann, name, arguments, kind, sentence):
        tool("echo", "tests.echo")
        tool("remark", "tests.echo", input_schema=REMARK)
        tool("secret", "tests.echo")
        agent("worker", "echo", "remark")

        run = play(ann, call((name, arguments)), text("I read: {{result:1}}"))

        assert sentence in self.refused(run, kind)

    def test_a_number_that_is_none_is_nothing(self, echo, ann, streamed):
        run = play(ann, call(("echo", {"n": float("nan")})), text("{{result:1}}"))

        assert run.output == '{"n":null}'

    def test_input_that_is_no_object_is_never_executed(self, echo, ann):
        whole = {"blocks": [block("echo", [1, 2])], "stop_reason": "tool_use"}

        run = play(ann, whole)

        assert run.status == states.WAITING
        assert not ToolCall.objects.exists()
        assert Step.objects.get().error.startswith("garbage")

    def test_what_no_row_can_keep_is_replaced_and_the_run_goes_on(self, echo, ann):
        odd, clean = "nul \x00", "nul \ufffd"

        run = play(ann, call(("echo", {"n": odd}), (odd, {}), say=odd), text(odd))

        kept, unknown = ToolCall.objects.all()
        assert (json.loads(kept.result), unknown.tool, run.output) == ({"n": clean}, clean, clean)


def test_half_characters_are_replaced_wherever_they_stand():
    block = {"a\ud800": ["b\udfff", {"c": "\x00d"}], "whole": "\U0001f600", "n": 5}

    assert turn.storable([block]) == [{"a\ufffd": ["b\ufffd", {"c": "\ufffdd"}], "whole": "\U0001f600", "n": 5}]


class TestFailInABox:
    """A failed tool is a value the model reads; the run goes on, and the ledger and the events tell."""

    @pytest.mark.parametrize(
        ("callable", "kind", "sentence"),
        [
            ("tests.raise", ErrorKind.RAISED, "The tool failed: RuntimeError: the cupboard is bare"),
            ("tests.hang", ErrorKind.TIMEOUT, "The tool did not finish within 0.3 seconds and was stopped."),
            ("tests.big", ErrorKind.TOO_LARGE, "The result is 5,000,000 bytes; the limit is 64,000 bytes."),
            ("tests.bytes", ErrorKind.INVALID_RESULT, "The result has no JSON form: the result is of type bytes."),
            ("tests.nan", ErrorKind.INVALID_RESULT, "The result has no JSON form: the result.ratio is nan."),
        ],
    )
    def test_of_one_call(self, model, ann, callable, kind, sentence):
        timeout = 0.3 if callable == "tests.hang" else 30
        tool("act", callable, timeout_seconds=timeout)
        agent("worker", "act")

        run = play(ann, call(("act", {})), text("I read: {{result:1}}"))

        failed = only_call(run)
        assert (run.status, run.output) == (states.SUCCEEDED, f"I read: {sentence}")
        assert (failed.status, failed.error_kind) == (states.FAILED, kind)
        assert failed.attempts.get().error_kind == kind
        assert "tool_call_failed" in event_types(run)

    def test_the_model_is_told_that_it_is_an_error(self, model, ann):
        tool("act", "tests.raise")
        agent("worker", "act")

        play(ann, call(("act", {})), text("Sorry."))

        (result,) = model.requests()[-1]["messages"][-1]["content"]
        assert result["is_error"] is True

    def test_a_result_with_nul_is_kept(self, model, ann):
        tool("act", "tests.nul")
        agent("worker", "act")

        run = play(ann, call(("act", {})), text("{{result:1}}"))

        assert run.output == "before\ufffdafter"

    def test_an_error_of_ours_is_tried_again_and_set_aside_in_the_end(self, echo, ann, monkeypatch, caplog):
        monkeypatch.setattr(reserving, "prepare", lambda *args: 1 / 0)
        run = start(ann, script(text("Hello.")))

        while not run.is_final:
            Dispatch.objects.filter(run=run).update(due_at=None)
            run = carry_all(run)

        assert ended(run)[0] == StopReason.QUARANTINED
        assert "tripped over an error of ours" in caplog.text


def test_control_trips_that_end_are_forgotten(echo, ann, monkeypatch, caplog):
    run = start(ann, script(text("Hello.")))
    with monkeypatch.context() as broken:
        broken.setattr(reserving, "prepare", lambda *args: 1 / 0)
        carry_all(run)

    Dispatch.objects.filter(run=run, status=states.QUEUED).update(due_at=None)
    run = carry_all(run)

    assert run.output == "Hello."


def test_the_transcript_only_grows(model, ann, bob):
    """Every request begins with what the one before it sent: the provider's prompt cache hits."""
    tool("echo", "tests.echo")
    tool("pay", "tests.echo", risk=Risk.HIGH)
    agent("worker", "echo", "pay")
    turns = [
        call(("echo", {"n": 1}), ("nothing", {}), say="First."),
        text("Thinking.") | {"stop_reason": "pause_turn"},
        call(("pay", {"n": 2}), ("echo", {"n": 3})),
        text("Done."),
    ]

    run = play(ann, *turns)
    decide(request_of(run), bob, "rejected", reason="no")
    run = carry_all(run)

    assert run.output == "Done."
    sent = [unmarked(request) for request in model.requests()]
    assert len(sent) == 4
    for before, after in itertools.pairwise(sent):
        assert after["messages"][: len(before["messages"])] == before["messages"]
        assert len(after["messages"]) > len(before["messages"])
        assert (after["system"], after["tools"]) == (before["system"], before["tools"])


def unmarked(value):
    """A request without its cache markers, and every content as blocks."""
    if isinstance(value, dict):
        value = {name: unmarked(inner) for name, inner in value.items() if name != "cache_control"}
        if "role" in value and isinstance(value["content"], str):
            value["content"] = [{"type": "text", "text": value["content"]}]
        return value
    return [unmarked(inner) for inner in value] if isinstance(value, list) else value


class TestLiveSwitches:
    """Pinned, yet revocable: what an operator tightens bites at the very next call."""

    def test_a_tool_that_asks_from_now_on(self, echo, ann, bob):
        run = start(ann, script(call(("echo", {})), text("Done.")))
        registry.switch(Tool.objects.get(), by=bob, confirmation=Confirmation.ALWAYS)

        run = carry_all(run)

        assert run.waiting_on == "a person's approval of echo (low risk)"

    def test_a_retired_agent_calls_nothing_more(self, echo, ann):
        run = start(ann, script(call(("echo", {})), text("{{result:1}}")))
        manifests.retire(Agent.objects.get(), by=None)

        run = carry_all(run)

        assert run.output == "Refused: The agent worker was retired."

    def test_a_new_manifest_reaches_new_dispatches_and_not_running_ones(self, echo, ann):
        running = start(ann, script(call(("echo", {})), text("Ran.")))
        agent("worker")
        fresh = start(ann, script(call(("echo", {})), text("{{result:1}}")))

        running, fresh = carry_all(running), carry_all(fresh)

        assert (running.output, only_call(running).status) == ("Ran.", states.DONE)
        assert fresh.output == "Refused: There is no such tool."
