"""Both model servers through the real SDK."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import pytest

from tests.demo.desk_harness import AGENTS, tools_for
from tests.model_fixtures import Process, running


@pytest.fixture(scope="module")
def demo_model() -> Iterator[Process]:
    env = {**os.environ, "DEMO_MODEL_WORD_DELAY_SECONDS": "0"}
    with running("orchestrator_site.demo.model_server", env=env) as server:
        yield server


@pytest.fixture(scope="module")
def client(demo_model) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(api_key="demo", base_url=demo_model.url, max_retries=0, timeout=20) as client:
        yield client


def question(text: str, slug: str = "triage") -> dict[str, Any]:
    return {
        "model": "baton-demo-1",
        "max_tokens": 1000,
        "system": [{"type": "text", "text": AGENTS[slug].system_prompt, "cache_control": {"type": "ephemeral"}}],
        "tools": tools_for(slug),
        "messages": [{"role": "user", "content": text}],
    }


def test_a_streamed_answer_is_the_same_as_a_whole_one(client):
    whole = client.messages.create(**question("What's the weather?"))
    with client.messages.stream(**question("What's the weather?")) as stream:
        pieces = list(stream.text_stream)
        streamed = stream.get_final_message()

    assert len(pieces) > 5
    assert "".join(pieces) == streamed.content[0].text == whole.content[0].text
    assert streamed.stop_reason == whole.stop_reason == "end_turn"


def test_a_streamed_tool_call_arrives_with_its_arguments(client):
    with client.messages.stream(**question("Where is order 1042?")) as stream:
        message = stream.get_final_message()

    assert message.stop_reason == "tool_use"
    assert message.content[0].name == "dispatch_to_orders"
    assert "1042" in message.content[0].input["task"]
    assert message.content[0].id.startswith("toolu_")


def test_usage_counts_what_the_prompt_cache_served(client):
    asked = question("Where is order 1055?", "orders")

    first, second = (client.messages.create(**asked).usage for _ in range(2))

    assert first.cache_creation_input_tokens + first.cache_read_input_tokens > 256
    assert second.cache_read_input_tokens == first.cache_creation_input_tokens + first.cache_read_input_tokens
    assert second.input_tokens > 0
    assert second.output_tokens > 0


def test_an_answer_cut_off_says_so(client):
    reply = client.messages.create(**question("What's the weather?") | {"max_tokens": 8})

    assert reply.stop_reason == "max_tokens"


def test_a_transcript_with_an_unanswered_call_is_refused(client):
    asked = question("Where is 1042?")
    call = {"type": "tool_use", "id": "toolu_1", "name": "dispatch_to_orders", "input": {}}
    asked["messages"] += [{"role": "assistant", "content": [call]}, {"role": "user", "content": "Well?"}]

    with pytest.raises(anthropic.BadRequestError, match="toolu_1"):
        client.messages.create(**asked)


def test_models_and_tokens_can_be_asked_for(client):
    assert [model.id for model in client.models.list()] == ["baton-demo-1"]
    counted = client.messages.count_tokens(model="baton-demo-1", messages=[{"role": "user", "content": "Hello there"}])
    assert counted.input_tokens > 0


def test_sixty_four_are_served_at_once(client):
    with ThreadPoolExecutor(64) as pool:
        replies = list(pool.map(lambda n: client.messages.create(**question(f"Where is order {1001 + n}?")), range(64)))

    assert all(str(1001 + n) in reply.content[0].input["task"] for n, reply in enumerate(replies))


# The scripted server


@pytest.fixture
def play(scripted_model) -> Iterator:
    with anthropic.Anthropic(api_key="test", base_url=scripted_model.url, max_retries=0, timeout=5) as client:

        def call(
            script: str, *, streamed: bool = True, messages: list | None = None, system: str = "You work here."
        ) -> anthropic.types.Message:
            asked: dict[str, Any] = {
                "model": "scripted",
                "max_tokens": 500,
                "system": system,
                "messages": [{"role": "user", "content": f"Task: {script}"}, *(messages or [])],
            }
            if not streamed:
                return client.messages.create(**asked)
            with client.messages.stream(**asked) as stream:
                return stream.get_final_message()

        yield call


@pytest.mark.parametrize("streamed", [True, False])
def test_a_script_is_played_turn_by_turn(play, streamed):
    script = '{"script": [{"tools": [{"name": "look", "input": {"at": 1}}]}, {"text": "Saw {{result:1}}."}]}'
    first = play(script, streamed=streamed)
    use = first.content[0]
    answered = [
        {"role": "assistant", "content": [{"type": "tool_use", "id": use.id, "name": use.name, "input": use.input}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "a cat"}]},
    ]

    second = play(script, streamed=streamed, messages=answered)

    assert (use.name, use.input) == ("look", {"at": 1})
    assert second.content[0].text == "Saw a cat."


def test_the_system_prompt_chooses_among_scripts(play):
    script = '{"scripts": {"desk": [{"text": "the desk"}], "kitchen": [{"text": "the kitchen"}]}}'

    assert play(script, system="You work in the kitchen.").content[0].text == "the kitchen"


def test_a_failure_happens_as_often_as_the_script_says(play):
    script = '{"script": [{"status": 429, "retry_after": 7, "times": 2, "text": "at last"}], "n": "429 twice"}'

    for _ in range(2):
        with pytest.raises(anthropic.RateLimitError) as raised:
            play(script)
        assert raised.value.response.headers["retry-after"] == "7"

    assert play(script).content[0].text == "at last"


@pytest.mark.parametrize("fault", ["reset", "garbage"])
@pytest.mark.parametrize("streamed", [True, False])
def test_a_broken_reply_is_an_error_at_the_client(play, fault, streamed):
    with pytest.raises(Exception):  # noqa: B017  which one differs by transport; that it is one is the point
        play(f'{{"script": [{{"{fault}": true, "text": "one two three four"}}]}}', streamed=streamed)


def test_a_truncated_stream_ends_without_a_stop_reason(play):
    assert play('{"script": [{"truncate": true, "text": "one two three four"}]}').stop_reason is None


def test_every_request_is_kept(play, scripted_model):
    before = scripted_model.count()

    play('{"script": [{"text": "kept"}], "n": "kept"}')

    assert scripted_model.count() == before + 1
    assert '"kept"' in scripted_model.requests()[-1]["messages"][0]["content"]
