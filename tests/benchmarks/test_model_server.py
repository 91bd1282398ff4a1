"""The benchmark's model server, spoken to as the platform's workers do."""

from collections.abc import Iterator
from typing import Any

import pytest

from agents import llm
from agents.values import ModelReply, ModelRequest
from benchmarks.work import READ, Work, record_text
from tests.agents.test_llm import model
from tests.model_fixtures import Process, running

WORK = Work(runs=1, turns=3, payload=40)


@pytest.fixture(scope="module")
def server() -> Iterator[Process]:
    with running("benchmarks.model_server") as process:
        yield process


@pytest.fixture(autouse=True)
def _a_key(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TEST_MODEL_KEY", "any")
    yield
    llm.close()


def test_a_run_asks_for_other_records_each_turn_and_ends_after_its_last(server: Process) -> None:
    server.get("/count")
    replies = converse(server.url)

    assert [reply.stop_reason for reply in replies] == ["tool_use", "tool_use", "end_turn"]
    assert [call_of(reply) for reply in replies[:2]] == [(READ, {"record": n, "size": 40}) for n in (1, 2)]
    assert len({reply.content[0]["id"] for reply in replies[:2]}) == 2
    assert server.get("/count")["calls"] == 3


def test_a_request_without_an_order_is_refused(server: Process) -> None:
    answer = llm.complete(request(server.url, [{"role": "user", "content": "Hello"}]))

    assert not isinstance(answer, ModelReply)
    assert "order" in answer.sentence


def converse(url: str) -> list[ModelReply]:
    messages: list[dict[str, Any]] = [{"role": "user", "content": WORK.prompt}]
    replies: list[ModelReply] = []
    while not replies or replies[-1].stop_reason == "tool_use":
        reply = llm.complete(request(url, messages))
        assert isinstance(reply, ModelReply), reply
        replies.append(reply)
        block = reply.content[0]
        messages.append({"role": "assistant", "content": [dict(block)]})
        if block["type"] == "tool_use":
            result = {"type": "tool_result", "tool_use_id": block["id"], "content": record_text(**block["input"])}
            messages.append({"role": "user", "content": [result]})
    return replies


def request(url: str, messages: list[dict[str, Any]]) -> ModelRequest:
    return ModelRequest(model(url), "You are a test.", messages, [], max_tokens=1000, timeout_seconds=10)


def call_of(reply: ModelReply) -> tuple[str, dict[str, Any]]:
    (block,) = reply.content
    return block["name"], block["input"]
