"""A conversation over the platform's own way to the model, with nothing else of the platform."""

import os
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from agents import llm
from agents.transcripts import Transcript
from agents.values import ModelReply, ModelRequest, ModelSpec
from benchmarks.peers.serving import MAX_TOKENS, request
from benchmarks.work import DESCRIPTION, INPUT_SCHEMA, SYSTEM_PROMPT, Work, record_text

Message = Mapping[str, Any]
Block = Mapping[str, Any]

FREE = Decimal(0)
# Endpoint and key are the installation's, from the environment.
MODEL = ModelSpec("bench", "bench", "", "", 10**8, 8192, FREE, FREE, FREE, FREE)


def posted(work: Work) -> Iterator[Sequence[Message]]:
    """A run turn by turn, each giving the messages it added; the model is called as the platform's workers call it."""
    transcript = Transcript([{"role": "user", "content": work.prompt}])
    tool = {"name": work.tool, "description": DESCRIPTION, "input_schema": INPUT_SCHEMA}
    asked = ModelRequest(MODEL, SYSTEM_PROMPT, transcript, [tool], MAX_TOKENS)
    is_over = False
    while not is_over:
        reply = llm.complete(asked)
        if not isinstance(reply, ModelReply):
            raise RuntimeError(reply.sentence)
        added = _turn(reply.content)
        for message in added:
            transcript.append(message)
        yield added
        is_over = len(added) == 1


def created(work: Work) -> Iterator[Sequence[Message]]:
    """The same by the SDK's own `messages.create`, over the platform's connections."""
    client = llm._client(llm._Access(os.environ["ANTHROPIC_BASE_URL"], "bench"))
    messages: list[Any] = [{"role": "user", "content": work.prompt}]
    is_over = False
    while not is_over:
        reply = client.messages.create(**request(messages, work.tool))
        added = _turn([block.to_dict() for block in reply.content])
        messages += added
        yield added
        is_over = len(added) == 1


def _turn(content: Sequence[Block]) -> list[Message]:
    """The answer, and the results of the tool calls it asks for."""
    results = [
        {"type": "tool_result", "tool_use_id": block["id"], "content": record_text(**block["input"])}
        for block in content
        if block["type"] == "tool_use"
    ]
    answer = {"role": "assistant", "content": [*content]}
    return [answer, {"role": "user", "content": results}] if results else [answer]
