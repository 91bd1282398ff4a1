"""Rows -> the messages a model reads. Pure: no query, no clock.

The transcript is append-only: what was sent before is always a prefix of what is sent next. What others told the agent
stands in the same user message as the results, after them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from agents import transcripts
from orchestrator_site.core.events import SYSTEM
from runs.models import Dispatch, Message, ToolCall
from runs.states import DONE, RESOLVED


def first_message(dispatch: Dispatch) -> str:
    """What the agent is asked: the task verbatim, and what it may need beside it."""
    if not dispatch.briefing:
        return dispatch.task
    return f"Task: {dispatch.task}\n\n{dispatch.briefing}"


def opening(dispatch: Dispatch) -> list[transcripts.Message]:
    """What the agent reads first: the conversation so far, and its task."""
    opening: list[transcripts.Message] = []
    for request, reply in dispatch.history:
        opening += [_user(request), answer(reply)]
    return [*opening, _user(first_message(dispatch))]


def _user(text: str) -> transcripts.Message:
    return {"role": "user", "content": text}


def answer(content: Any) -> transcripts.Message:
    """What the model said: its blocks, or the text of an earlier run."""
    return {"role": "assistant", "content": content}


def results(calls: Iterable[ToolCall], view: "View") -> transcripts.Message:
    """What came of the calls of one answer, in their order, as far as the view shows it."""
    return {"role": "user", "content": [_tool_result(call, view) for call in calls]}


def _tool_result(call: ToolCall, view: "View") -> transcripts.Message:
    content = left_out(call, view) if call.pk in view.left_out else call.result
    block = {"type": "tool_result", "tool_use_id": call.provider_id, "content": content}
    return block if _went_well(call) else block | {"is_error": True}


def _went_well(call: ToolCall) -> bool:
    return call.status in (DONE, RESOLVED) and not call.error_kind


def told(mail: Iterable[Message]) -> list[transcripts.Message]:
    """What others told the agent, each a block of its own, headed by who said it."""
    return [{"type": "text", "text": f"{_heading(message)}\n{message.text}"} for message in mail]


def _heading(message: Message) -> str:
    kind, _, name = message.sender.partition(":")
    if message.sender == SYSTEM:
        return "Message from the platform:"
    if kind == "agent":
        number = f" (#{message.sender_dispatch.number})" if message.sender_dispatch else ""
        return f"Message from the agent {name}{number}:"
    return f"Message from {name}, a person:"


# -- what is shown once all of it would not fit ------------------------------------------------------------------
@dataclass(frozen=True)
class View:
    """All views of a dispatch together.

    `left_out` are the ids of calls whose results give way to references; `may_read`: the agent can read these.
    `summary` stands for the steps up to `summarised_to`, 0: for none. `after_step`: the newest answered step when the
    newest of them was made, and `tokens` what was then left; `failed_after`: as a summary last came to nothing.
    """

    left_out: frozenset[UUID] = frozenset()
    summarised_to: int = 0
    summary: str = ""
    summarised_by: str = ""
    after_step: int = 0
    tokens: int = 0
    failed_after: int = 0
    is_pending: bool = False
    may_read: bool = False


# What stands in place of a result is at most about so long.
LEFT_OUT_BYTES = 600
BEGINNING_CHARACTERS = 200


def left_out(call: ToolCall, view: View) -> str:
    """What stands in the place of a result."""
    begins = call.result[:BEGINNING_CHARACTERS]
    told = f"[Left out to make room: {len(call.result):,} characters. It began: {begins}…"
    if not view.may_read or call.artifact is None:
        return f"{told}]"
    return f"{told}\nThe whole is {call.artifact.reference}: read it with artifact_read.]"


def summary(view: View) -> transcripts.Message:
    heading = f"Your turns 1 to {view.summarised_to}, in short, as {view.summarised_by} has summarised them:"
    return {"type": "text", "text": f"{heading}\n{view.summary}"}


def added_bytes(calls: Iterable[ToolCall], mail: Sequence[Message] = ()) -> int:
    """How much results and messages add to the next request, in bytes: no token is shorter than one."""
    letters = sum(len(block["text"].encode()) + 50 for block in told(mail))
    return letters + sum(len(call.result.encode()) + 100 for call in calls)
