"""Stored steps -> the messages a model reads. Pure: no query, no clock."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from runs.models import Dispatch, Step, ToolCall
from runs.states import ANSWERED, DONE, RESOLVED

Message = Mapping[str, Any]


def first_message(dispatch: Dispatch) -> str:
    """What the agent is asked: the task verbatim, and what it may need beside it."""
    if not dispatch.briefing:
        return dispatch.task
    return f"Task: {dispatch.task}\n\n{dispatch.briefing}"


def messages(dispatch: Dispatch, steps: Iterable[Step], calls: Iterable[ToolCall]) -> list[Message]:
    """The transcript, append-only: what was sent before is always a prefix of what is sent next."""
    transcript: list[Message] = []
    for request, answer in dispatch.history:
        transcript += [_user(request), {"role": "assistant", "content": answer}]
    transcript.append(_user(first_message(dispatch)))
    by_step = defaultdict(list)
    for call in calls:
        by_step[call.step_id].append(call)
    for step in steps:
        if step.status == ANSWERED:
            transcript += _exchange(step, by_step[step.pk])
    return transcript


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _exchange(step: Step, calls: Sequence[ToolCall]) -> list[Message]:
    reply: Message = {"role": "assistant", "content": json.loads(step.reply)}
    if not calls:
        return [reply]
    return [reply, {"role": "user", "content": [_tool_result(call) for call in calls]}]


def _tool_result(call: ToolCall) -> Message:
    block = {"type": "tool_result", "tool_use_id": call.provider_id, "content": call.result}
    return block if _went_well(call) else block | {"is_error": True}


def _went_well(call: ToolCall) -> bool:
    return call.status in (DONE, RESOLVED) and not call.error_kind


def added_bytes(calls: Iterable[ToolCall]) -> int:
    """How much a turn's results add to the next request, in bytes: no token is shorter than one."""
    return sum(len(call.result.encode()) + 100 for call in calls)
