"""A model request as the provider's API reads it, with the prompt-cache breakpoints set."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agents.transcripts import Message, Transcript, to_json
from agents.values import ModelRequest

EPHEMERAL = {"type": "ephemeral"}
MARKABLE = frozenset({"text", "tool_result", "tool_use", "image", "document"})

Block = dict[str, Any]


def arguments(request: ModelRequest) -> dict[str, Any]:
    """The arguments of the SDK's call.

    Four breakpoints are allowed and used: tools, system, the newest message, and the user message before it, which
    ended the previous request: a cache entry more than twenty blocks back would not be found otherwise.
    """
    marks = _marks(request.messages)
    messages = [marks.get(index, message) for index, message in enumerate(request.messages)]
    return _head(request) | {"messages": messages}


def body(request: ModelRequest) -> bytes:
    """The same as JSON; of a transcript only the marked messages are written anew.

    Raises TypeError or ValueError for what has no JSON form.
    """
    transcript = request.messages if isinstance(request.messages, Transcript) else Transcript(request.messages)
    marks = _marks(transcript)
    written = [
        to_json(marks[index]).encode() if index in marks else each for index, each in enumerate(transcript.written)
    ]
    head = to_json(_head(request)).encode()
    return b'%s,"messages":[%s]}' % (head[:-1], b",".join(written))


def _head(request: ModelRequest) -> dict[str, Any]:
    head: dict[str, Any] = {"model": request.model.provider_model, "max_tokens": request.max_tokens}
    if request.system:
        head["system"] = [{"type": "text", "text": request.system, "cache_control": EPHEMERAL}]
    if request.tools:
        head["tools"] = [*request.tools[:-1], {**request.tools[-1], "cache_control": EPHEMERAL}]
    if request.output_schema is not None:
        head["output_config"] = {"format": {"type": "json_schema", "schema": request.output_schema}}
    return head


def _marks(messages: Sequence[Message]) -> dict[int, Message]:
    """The newest message and the newest user message ahead of it, each with its breakpoint, by index."""
    newest = len(messages) - 1
    earlier = (index for index in range(newest - 1, -1, -1) if messages[index]["role"] == "user")
    ends = {newest, next(earlier, newest)} if messages else set()
    return {index: {**messages[index], "content": _marked(messages[index]["content"])} for index in ends}


def _marked(content: str | Iterable[Mapping[str, Any]]) -> list[Block]:
    """The content as blocks, the last one that may carry a breakpoint carrying it."""
    given = [{"type": "text", "text": content}] if isinstance(content, str) else content
    blocks: list[Block] = [dict(block) for block in given]
    for block in reversed(blocks):
        if block.get("type") in MARKABLE:
            block["cache_control"] = EPHEMERAL
            break
    return blocks
