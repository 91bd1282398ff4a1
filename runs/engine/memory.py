"""What the worker that holds a dispatch knows of it: read from the rows once, then grown by each turn it takes."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.transcripts import Transcript
from runs import budgets, leases, states
from runs.engine import context, turn
from runs.engine.limits import SAME_CALL_LIMIT
from runs.models import Dispatch, Step, ToolCall
from runs.values import Lease


@dataclass
class Memory:
    """Holds while nobody else may change what it was made of: a turn that leaves a call open ends it.

    `tail` are the steps since the last answer, `calls` those of the newest answer, `said` its text.
    `tokens_before` are those of the newest answer and all that led to it. `seen` counts every settled call by tool,
    arguments and result, and `repeated` names one that came up too often. `capped_run`: the run has a budget.
    """

    dispatch: Dispatch
    transcript: Transcript
    capped_run: bool
    number: int = 0
    tail: list[Step] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    said: str = ""
    tokens_before: int | None = None
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

    def took(self, step: Step, content: Sequence[Mapping[str, Any]], calls: list[ToolCall]) -> None:
        """A step was taken, and answered or not. Calls that have not come to their ends stay open."""
        self.number = step.number
        if step.status == states.ANSWERED:
            self._answered(step, content, calls)
        else:
            self.tail.append(step)

    def _answered(self, step: Step, content: Sequence[Mapping[str, Any]], calls: list[ToolCall]) -> None:
        self.tail, self.calls = [], calls
        self.said = turn.text_of(content)
        self.tokens_before = step.total_tokens
        self.transcript.append(context.answer(content))
        if calls and not self.open_calls:
            self._settled()

    def _settled(self) -> None:
        """The calls of the newest answer have all come to their ends."""
        self.transcript.append(context.results(self.calls))
        for call in self.calls:
            self.seen[key := (call.tool, call.arguments, call.result)] += 1
            if self.seen[key] >= SAME_CALL_LIMIT:
                self.repeated = call.tool

    def input_bound(self) -> int | None:
        """An upper bound of the next request's input tokens, without what the provider adds; None before an answer."""
        if self.tokens_before is None:
            return None
        return self.tokens_before + context.added_bytes(self.calls)


def read(lease: Lease, *, is_new: bool = False) -> Memory:
    """`is_new`: no worker has held the dispatch before, so it has no steps to be read. Raises LostLease."""
    dispatch = leases.peek(lease)
    memory = Memory(
        dispatch,
        Transcript(context.opening(dispatch)),
        capped_run=budgets.is_capped(dispatch.run_id),
    )
    if not is_new:
        _recall(memory, dispatch.steps.order_by("number"), dispatch.calls.select_related("request__decision"))
    return memory


def _recall(memory: Memory, steps: Iterable[Step], calls: Iterable[ToolCall]) -> None:
    by_step = defaultdict(list)
    for call in sorted(calls, key=lambda call: call.position):
        by_step[call.step_id].append(call)
    for step in steps:
        memory.took(step, json.loads(step.reply or "[]"), by_step[step.pk])
