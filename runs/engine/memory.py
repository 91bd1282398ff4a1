"""What the worker that holds a dispatch knows of it: read from the rows once, then grown by each turn it takes."""

import hashlib
import json
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from agents.transcripts import Transcript
from runs import budgets, contracts, leases, states
from runs.budgets import Purse
from runs.engine import context, spilling, turn
from runs.engine.context import View
from runs.engine.limits import SAME_CALL_LIMIT
from runs.models import Dispatch, Message, Step, ToolCall
from runs.platform_tools import FINISH
from runs.values import Lease

# The stop reason of an answer that its provider wants back as it is.
PAUSED = "pause_turn"


@dataclass(frozen=True)
class Past:
    """An answered step: the calls that it asked for, and the bytes that it makes of the transcript."""

    number: int
    calls: list[ToolCall]
    is_paused: bool
    written: int


@dataclass
class Memory:
    """Holds while nobody else may change what it was made of: a turn that leaves a call open ends it.

    `view` is what the model is shown of `past`, the answered steps that no summary stands for.
    `tail` are the steps since the last answer, `calls` those of the newest answer, `said` its text.
    `tokens_before` are those of the newest answer and all that led to it. `seen` counts every settled call by tool,
    arguments and result, and `repeated` names one that came up too often. `purse`: where its money comes from.
    `mail` are the messages since the newest answer, and `mail_known` counts all that were left to the dispatch so far.
    `is_paused`: the newest answer goes back as it is, and nothing is said after it. `returned` counts final answers
    that were not what was agreed, and went back to the agent.
    """

    dispatch: Dispatch
    transcript: Transcript
    purse: Purse
    view: View = field(default_factory=View)
    past: list[Past] = field(default_factory=list)
    number: int = 0
    tail: list[Step] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    said: str = ""
    tokens_before: int | None = None
    mail: list[Message] = field(default_factory=list)
    mail_known: int = 0
    is_paused: bool = False
    returned: int = 0
    seen: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    repeated: str | None = None

    @property
    def unfinished(self) -> Step | None:
        """A step whose reply nobody recorded."""
        return next((step for step in self.tail if step.status == states.ASKED), None)

    @property
    def open_calls(self) -> list[ToolCall]:
        return [call for call in self.calls if not call.is_settled]

    @property
    def ends_with_platform_call(self) -> bool:
        return any(call.tool_version_id is None for call in self.calls)

    @property
    def is_told_more(self) -> bool:
        """It was left messages, seen as its row was locked, that the next request could bring and does not."""
        return self.dispatch.mail > self.mail_known and not self.is_paused

    @property
    def is_unread(self) -> bool:
        """The next request brings messages that no step has read."""
        return any(message.step is None for message in self.mail)

    def is_told(self, mail: Sequence[Message]) -> None:
        """Messages that come before the next answer."""
        if mail:
            self.mail += mail
            self.transcript.add_to_last(context.told(mail))

    def took(self, step: Step, content: Sequence[Mapping[str, Any]], calls: list[ToolCall]) -> None:
        """A step was taken, and answered or not. Calls that have not come to their ends stay open."""
        self.number = step.number
        if step.status == states.ANSWERED:
            self._answered(step, content, calls)
        else:
            self.tail.append(step)

    def _answered(self, step: Step, content: Sequence[Mapping[str, Any]], calls: list[ToolCall]) -> None:
        self.tail, self.calls, self.mail = [], calls, []
        self.is_paused = step.stop_reason == PAUSED
        self.returned += not calls and not self.is_paused
        self.said = turn.text_of(content)
        self.tokens_before = step.total_tokens
        before = len(self.transcript.written)
        if step.number > self.view.summarised_to:
            self.transcript.append(context.answer(content))
        if calls and not self.open_calls:
            self._settled(step)
        if step.number > self.view.summarised_to:
            written = sum(map(len, self.transcript.written[before:]))
            self.past.append(Past(step.number, calls, self.is_paused, written))

    def _settled(self, step: Step) -> None:
        """The calls of the newest answer have all come to their ends."""
        if step.number > self.view.summarised_to:
            self.transcript.append(context.results(self.calls, self.view))
        self.returned += any(_went_back(call) for call in self.calls)
        for call in self.calls:
            self.seen[key := (call.tool, call.arguments, _came_to(call))] += 1
            if self.seen[key] >= SAME_CALL_LIMIT:
                self.repeated = call.tool

    def input_bound(self) -> int | None:
        """An upper bound of the next request's input tokens, without what the provider adds; None before an answer."""
        if self.tokens_before is None:
            return None
        return self.tokens_before + context.added_bytes(self.calls, self.mail) + self._shown_instead()

    def _shown_instead(self) -> int:
        """Bytes of what stands in the place of other things since the newest answer: it was not counted with it."""
        if not self._is_viewed_anew:
            return 0
        calls = [call for past in self.past for call in past.calls if call.pk in self.view.left_out]
        return sum(len(context.left_out(call, self.view).encode()) for call in calls) + len(self.view.summary.encode())

    @property
    def _is_viewed_anew(self) -> bool:
        return bool(self.past) and self.view.after_step >= self.past[-1].number

    def size(self) -> int | None:
        """As well as it is known, the next request's input tokens; an upper bound but for the turn after a new view."""
        return self.view.tokens if self._is_viewed_anew else self.input_bound()


def _went_back(call: ToolCall) -> bool:
    """A supervisor's word was not what was agreed."""
    return call.tool == FINISH and call.status == states.FAILED and call.result.startswith(contracts.MISFIT)


def _came_to(call: ToolCall) -> str:
    """The same for the same result, also where that is kept as another artifact each time."""
    return call.artifact.blob_id if call.artifact else hashlib.sha256(call.result.encode()).hexdigest()


def read(lease: Lease, *, is_new: bool = False) -> Memory:
    """`is_new`: no worker has held the dispatch before, so it has no steps to be read. Raises LostLease."""
    dispatch = leases.peek(lease)
    view = _view(dispatch)
    opening = Transcript(context.opening(dispatch))
    if view.summary:
        opening.add_to_last([context.summary(view)])
    memory = Memory(dispatch, opening, purse=budgets.read(dispatch), view=view)
    steps: Iterable[Step] = () if is_new else dispatch.steps.order_by("number")
    calls: Iterable[ToolCall] = () if is_new else dispatch.calls.select_related("request__decision", "artifact")
    _recall(memory, steps, calls, _mail(dispatch))
    return memory


def _view(dispatch: Dispatch) -> View:
    if not dispatch.views:
        return View()
    rows = list(dispatch.context_views.select_related("made_by__manifest__agent").order_by("number"))
    made = [row for row in rows if not row.is_pending and not row.failed]
    failed = [row.after_step for row in rows if row.failed]
    summary = next((row for row in reversed(made) if row.summary), None)
    by = summary.made_by if summary else None
    return View(
        left_out=frozenset(UUID(call) for row in rows for call in row.left_out),
        summarised_to=(summary.summarised_to or 0) if summary else 0,
        summary=summary.summary if summary else "",
        summarised_by=f"{by.manifest.agent.slug} (#{by.number})" if by else "",
        after_step=made[-1].after_step if made else 0,
        tokens=made[-1].tokens_after if made else 0,
        failed_after=failed[-1] if failed else 0,
        is_pending=rows[-1].is_pending,
        may_read=spilling.may_spill(dispatch),
    )


def _mail(dispatch: Dispatch) -> deque[Message]:
    if not dispatch.mail:
        return deque()
    return deque(dispatch.messages.select_related("sender_dispatch").order_by("number"))


def _recall(memory: Memory, steps: Iterable[Step], calls: Iterable[ToolCall], mail: deque[Message]) -> None:
    by_step = defaultdict(list)
    for call in sorted(calls, key=lambda call: call.position):
        by_step[call.step_id].append(call)
    for step in steps:
        if (
            step.status == states.ANSWERED
            and (read := _read_by(step, mail))
            and step.number > memory.view.summarised_to
        ):
            memory.is_told(read)
        memory.took(step, json.loads(step.reply or "[]"), by_step[step.pk])
    if not memory.open_calls:
        _hear(memory, mail)


def _read_by(step: Step, mail: deque[Message]) -> list[Message]:
    """The next messages, as far as this step or a failed one before it read them; they leave `mail`."""
    read = []
    while mail and mail[0].step is not None and mail[0].step <= step.number:
        read.append(mail.popleft())
    return read


def _hear(memory: Memory, mail: deque[Message]) -> None:
    """What is left of the mail goes into the next request, unless nothing may be said now."""
    if not memory.is_paused:
        memory.mail_known = max(memory.dispatch.mail, *(message.number for message in mail), 0)
        memory.is_told(list(mail))
