"""Rows -> the messages a model reads. Pure: no query, no clock.

The transcript is append-only: what was sent before is always a prefix of what is sent next.
"""

from collections.abc import Iterable
from typing import Any

from agents.transcripts import Message
from runs.models import Dispatch, ToolCall
from runs.states import DONE, RESOLVED


def first_message(dispatch: Dispatch) -> str:
    """What the agent is asked: the task verbatim, and what it may need beside it."""
    if not dispatch.briefing:
        return dispatch.task
    return f"Task: {dispatch.task}\n\n{dispatch.briefing}"


def opening(dispatch: Dispatch) -> list[Message]:
    """What the agent reads first: the conversation so far, and its task."""
    opening: list[Message] = []
    for request, reply in dispatch.history:
        opening += [_user(request), answer(reply)]
    return [*opening, _user(first_message(dispatch))]


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def answer(content: Any) -> Message:
    """What the model said: its blocks, or the text of an earlier run."""
    return {"role": "assistant", "content": content}


def results(calls: Iterable[ToolCall]) -> Message:
    """What came of the calls of one answer, in their order."""
    return {"role": "user", "content": [_tool_result(call) for call in calls]}


def _tool_result(call: ToolCall) -> Message:
    block = {"type": "tool_result", "tool_use_id": call.provider_id, "content": call.result}
    return block if _went_well(call) else block | {"is_error": True}


def _went_well(call: ToolCall) -> bool:
    return call.status in (DONE, RESOLVED) and not call.error_kind


def added_bytes(calls: Iterable[ToolCall]) -> int:
    """How much a turn's results add to the next request, in bytes: no token is shorter than one."""
    return sum(len(call.result.encode()) + 100 for call in calls)
