"""Every way a model can stop, the SDK's and unheard-of ones, over real HTTP: each has its outcome, and what was cut off
never runs."""

import json
from typing import get_args

import pytest
from anthropic.types import StopReason as SdkStopReason

from agents.models import ModelEntry
from runs import states
from runs.models import Attempt, Dispatch, Step, ToolCall
from runs.states import StopReason
from tests.agents.raw_server import STREAM_HEAD, answering, block, message_end, message_start
from tests.runs import cast
from tests.runs.cast import agent, call, carry_all, only_call, script, start, text, tool
from tools.values import Effect, Risk

pytestmark = pytest.mark.django_db(transaction=True)

PAUSED = "pause_turn"
# What becomes of a dispatch whose model stops with words alone; a paused turn is asked again.
WITH_WORDS = {
    "end_turn": StopReason.FINISHED,
    "stop_sequence": StopReason.FINISHED,
    "tool_use": StopReason.MODEL_FAILED,  # it announced calls and named none
    "max_tokens": StopReason.MAX_TOKENS,
    "model_context_window_exceeded": StopReason.MAX_TOKENS,
    "refusal": StopReason.REFUSED,
    PAUSED: None,
}
UNHEARD_OF = ("solar_flare", "x" * 200, "nul \x00")


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


def use(name, arguments, id="toolu_1"):
    return {"type": "tool_use", "id": id, "name": name, "input": arguments}


def test_the_sdk_knows_no_stop_reason_without_an_outcome_here():
    assert set(WITH_WORDS) == set(get_args(SdkStopReason))


class TestWithWords:
    @pytest.mark.parametrize(("stop_reason", "expected"), [each for each in WITH_WORDS.items() if each[1]])
    def test_it_ends_as_the_table_says(self, echo, ann, stop_reason, expected):
        run = play(ann, text("So far.") | {"stop_reason": stop_reason})

        assert ended(run)[0] == expected
        assert run.output == "So far."
        assert Step.objects.get().stop_reason == stop_reason

    @pytest.mark.parametrize("stop_reason", UNHEARD_OF, ids=["word", "long", "nul"])
    def test_a_reason_nobody_has_heard_of_is_the_models_failure(self, echo, ann, stop_reason):
        run = play(ann, text("So far.") | {"stop_reason": stop_reason})

        reason, message = ended(run)
        assert reason == StopReason.MODEL_FAILED
        assert message.startswith("The model stopped for a reason not known here: ")
        assert run.output == "So far."

    def test_no_reason_at_all_is_the_models_failure(self, model, ann, streamed):
        with answering(STREAM_HEAD, message_start(), message_end(None)) as url:
            ModelEntry.objects.update(endpoint=url)
            agent()
            run = play(ann)

        assert ended(run)[0] == StopReason.MODEL_FAILED

    def test_a_real_cut_at_the_output_limit(self, model, ann):
        agent(limits={"tokens_per_call": 20})

        run = play(ann, text("word " * 200))

        assert ended(run)[0] == StopReason.MAX_TOKENS
        assert run.output.startswith("word")


class TestWithCalls:
    """Only `tool_use` promises that every call is whole."""

    @pytest.mark.parametrize(
        ("stop_reason", "expected"),
        [
            ("max_tokens", StopReason.MAX_TOKENS),
            ("model_context_window_exceeded", StopReason.MAX_TOKENS),
            ("refusal", StopReason.REFUSED),
            ("end_turn", StopReason.MODEL_FAILED),
            ("stop_sequence", StopReason.MODEL_FAILED),
            *[(each, StopReason.MODEL_FAILED) for each in UNHEARD_OF],
        ],
    )
    def test_none_of_a_reply_that_was_cut_off_is_executed(self, echo, ann, stop_reason, expected):
        run = play(ann, call(("echo", {"n": 1}), say="So far.") | {"stop_reason": stop_reason})

        assert ended(run)[0] == expected
        assert not ToolCall.objects.exists()
        assert run.output == "So far."

    def test_control_the_same_reply_with_that_word_is_executed(self, echo, ann):
        run = play(ann, call(("echo", {"n": 1}), say="So far.") | {"stop_reason": "tool_use"}, text("Done."))

        assert only_call(run).status == states.DONE

    @pytest.mark.parametrize("arguments", ['{"amount": 12', '{"amount": 12}', ""], ids=["half", "whole", "none"])
    def test_a_call_that_the_output_limit_cut_is_never_executed(self, model, ann, ledger, arguments, streamed):
        """The SDK completes broken JSON as it goes: half an amount would look like a whole one."""
        cast.http_tool("pay", "/keyed", Effect.KEYED, Risk.LOW)
        agent("worker", "pay")
        opening = {"type": "tool_use", "id": "toolu_1", "name": "pay", "input": {}}
        half = block(0, opening, {"type": "input_json_delta", "partial_json": arguments})
        with answering(STREAM_HEAD, message_start(), half, message_end("max_tokens")) as url:
            ModelEntry.objects.update(endpoint=url)
            run = play(ann)

        assert ended(run)[0] == StopReason.MAX_TOKENS
        assert not ToolCall.objects.exists()
        assert not Attempt.objects.exists()

    def test_calls_beside_a_paused_turn_are_not_executed(self, echo, ann):
        run = play(ann, call(("echo", {"n": 1})) | {"stop_reason": PAUSED})

        assert ended(run)[0] == StopReason.MODEL_FAILED  # the provider takes no such turn back
        assert not ToolCall.objects.exists()


class TestAPausedTurn:
    def test_it_goes_back_as_it_is(self, model, ann):
        agent()
        search = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}
        paused = {"blocks": [search], "text": "Searching.", "stop_reason": PAUSED}

        run = play(ann, paused, text("Found."))

        assert (run.output, run.stop_reason) == ("Found.", StopReason.FINISHED)
        user, assistant = model.requests()[-1]["messages"]
        assert (user["role"], assistant["role"]) == ("user", "assistant")
        said = [
            {name: value for name, value in each.items() if name != "cache_control"} for each in assistant["content"]
        ]
        assert said == [search, {"type": "text", "text": "Searching."}]

    def test_one_that_never_goes_on_is_stopped_at_its_iterations(self, model, ann):
        agent(limits={"iterations": 3})

        run = play(ann, text("Searching.") | {"stop_reason": PAUSED}, loop=True)

        assert (ended(run)[0], model.count()) == (StopReason.MAX_ITERATIONS, 3)


class TestARefusal:
    def test_its_category_and_explanation_are_shown(self, model, ann):
        agent()
        why = {"type": "refusal", "category": "bio", "explanation": "It could enable harm."}

        run = play(ann, {"stop_reason": "refusal", "stop_details": why})

        sentence = "The model declined to answer (bio). It could enable harm."
        assert ended(run) == (StopReason.REFUSED, sentence)
        assert run.output == sentence

    @pytest.mark.parametrize("details", [None, {"type": "refusal"}, {"type": "refusal", "category": None}])
    def test_without_them_it_is_said_plainly(self, model, ann, details):
        agent()

        run = play(ann, {"stop_reason": "refusal", "stop_details": details})

        assert ended(run) == (StopReason.REFUSED, "The model declined to answer.")

    def test_a_category_nobody_has_heard_of_is_shown_as_it_came(self, model, ann):
        agent()
        why = {"type": "refusal", "category": "time \x00 travel", "explanation": "x" * 1000}

        run = play(ann, {"stop_reason": "refusal", "stop_details": why})

        reason, message = ended(run)
        assert reason == StopReason.REFUSED
        assert message.startswith("The model declined to answer (time \ufffd travel). xxx")


class TestOddCalls:
    def test_two_calls_with_one_id_end_it(self, echo, ann):
        twice = {"blocks": [use("echo", {}), use("echo", {"n": 1})], "stop_reason": "tool_use"}

        run = play(ann, twice)

        assert ended(run) == (StopReason.MODEL_FAILED, "The model gave two tool calls the same id.")
        assert not ToolCall.objects.exists()

    def test_an_id_of_many_characters_ends_it(self, echo, ann):
        run = play(ann, {"blocks": [use("echo", {}, id="t" * 201)], "stop_reason": "tool_use"})

        assert ended(run) == (StopReason.MODEL_FAILED, "The model gave a tool call an id of over 200 characters.")

    def test_two_hundred_calls_in_a_turn(self, model, ann):
        tool("echo", "tests.echo")
        agent("worker", "echo", limits={"tool_calls_per_turn": 8, "tokens_per_call": 8000})

        run = play(ann, call(*[("echo", {"n": number}) for number in range(200)]), text("Done."))

        statuses = list(ToolCall.objects.order_by("position").values_list("status", flat=True))
        assert statuses == [states.DONE] * 8 + [states.REFUSED] * 192
        assert Attempt.objects.count() == 8
        results = model.requests()[-1]["messages"][-1]["content"]
        assert len({each["tool_use_id"] for each in results}) == 200
        assert run.output == "Done."

    def test_two_hundred_calls_where_so_many_are_allowed_run_at_most_a_hundred(self, model, ann):
        tool("echo", "tests.echo")
        agent("worker", "echo", limits={"tool_calls_per_turn": 100, "tokens_per_call": 8000})

        run = play(ann, call(*[("echo", {"n": number}) for number in range(200)]), text("Done."))

        assert ToolCall.objects.filter(status=states.DONE).count() == 100
        assert run.output == "Done."

    def test_blocks_nobody_has_heard_of_are_kept_and_sent_back(self, echo, ann, model):
        strange = {"type": "hologram", "frames": {"first": None, "n": 2}, "deep": [{"x": [1.5, "é"]}]}
        turn = {"blocks": [strange], "tools": [{"name": "echo", "input": {}}]}

        run = play(ann, turn, text("Done."))

        assert run.output == "Done."
        assert strange in json.loads(Step.objects.get(number=1).reply)
        assistant = model.requests()[-1]["messages"][1]
        assert assistant["content"][0] == strange

    def test_a_call_of_the_providers_own_tool_is_not_ours_to_run(self, echo, ann):
        search = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "echo", "input": {}}

        run = play(ann, {"blocks": [search], "text": "I looked."})

        assert run.output == "I looked."
        assert not ToolCall.objects.exists()


def test_counts_of_tokens_that_are_none_are_no_reply(model, ann):
    agent()

    run = play(ann, text("Hello.") | {"usage": {"output_tokens": -5}})

    dispatch = Dispatch.objects.get()
    assert (run.status, dispatch.status, dispatch.tokens) == (states.WAITING, states.WAITING, 0)
    assert "in something that is no number" in run.waiting_on
