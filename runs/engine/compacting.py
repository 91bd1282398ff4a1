"""Before a transcript outgrows its model's window: old results give way to references, then old turns to a summary.

The steps stay as they are; what changes is the view of them, once, so that what is sent is a stable prefix again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.conf import settings

from agents.models import Agent
from agents.transcripts import to_json
from agents.values import ModelRequest
from orchestrator_site.core import events
from orchestrator_site.core.events import Record
from runs import artifacts, blobs, leases, lineage, states
from runs.artifacts import Draft
from runs.engine import context
from runs.engine.memory import Memory
from runs.engine.waiting import wait
from runs.models import ContextView, Dispatch, Node, ToolCall
from runs.models.nodes import SUMMARISER
from runs.values import Continue, Lease, Outcome
from runs.workspace_tools import RESULTS
from tools import flow

# Room is made down to this part of the window, so that the next view is many turns away.
GOAL = 0.6
# The newest answers are shown whole, with what came of their calls.
KEPT_ANSWERS = 2
# A shorter result is no longer than what would stand in its place.
SHORTEST_LEFT_OUT = 800
# Turns between two tries to have a summary made, where one came to nothing.
SUMMARY_AGAIN_AFTER = 5


@dataclass(frozen=True)
class LeaveOut:
    """Results that give way to references, oldest first, with their steps' numbers."""

    calls: Sequence[tuple[int, ToolCall]]
    tokens_before: int
    tokens_after: int


@dataclass(frozen=True)
class Summarise:
    """The turns up to a step are to be summarised by an agent."""

    up_to: int
    agent: str
    tokens_before: int


# -- what is to be done ------------------------------------------------------------------------------------------
def needed(memory: Memory, request: ModelRequest) -> LeaveOut | Summarise | None:
    """None where the request fits, and where nothing more can be done about it."""
    size, window = memory.size(), _window(memory.dispatch, request)
    if size is None or size <= window:
        return None
    return _leave_out(memory, request, size, window) or _summarise(memory, size)


def _window(dispatch: Dispatch, request: ModelRequest) -> int:
    """Tokens that a request may have: what the model takes in, and what the manifest allows."""
    window = request.model.context_window - request.max_tokens
    limit = dispatch.pinned.limits.context_tokens
    return min(window, limit) if limit else window


def _leave_out(memory: Memory, request: ModelRequest, size: int, window: int) -> LeaveOut | None:
    """Oldest first, until what is left is some way below the window."""
    per_byte = _tokens_per_byte(memory, request)
    chosen, left = [], float(size)
    for number, call in _candidates(memory):
        if left <= window * GOAL:
            break
        chosen.append((number, call))
        left -= (len(call.result.encode()) - context.LEFT_OUT_BYTES) * per_byte
    return LeaveOut(chosen, size, max(round(left), 0)) if chosen else None


def _tokens_per_byte(memory: Memory, request: ModelRequest) -> float:
    """As the last reply counted them, over all that led to it."""
    told = len(to_json([request.system, request.tools]).encode())
    written = told + sum(map(len, memory.transcript.written)) - context.added_bytes(memory.calls, memory.mail)
    return min((memory.tokens_before or 0) / max(written, 1), 1.0)


def _candidates(memory: Memory) -> Iterator[tuple[int, ToolCall]]:
    for past in memory.past[:-KEPT_ANSWERS]:
        for call in past.calls:
            if call.pk not in memory.view.left_out and len(call.result.encode()) >= SHORTEST_LEFT_OUT:
                yield past.number, call


def _summarise(memory: Memory, size: int) -> Summarise | None:
    old = [past for past in memory.past[:-KEPT_ANSWERS] if not past.is_paused]
    agent = memory.dispatch.pinned.summariser or settings.BATON_SUMMARISER
    view = memory.view
    if len(old) < 2 or (view.failed_after and memory.past[-1].number < view.failed_after + SUMMARY_AGAIN_AFTER):
        return None
    if memory.dispatch.node.role == SUMMARISER or not Agent.objects.at_work().filter(slug=agent).exists():
        return None
    return Summarise(old[-1].number, agent, size)


# -- doing it ----------------------------------------------------------------------------------------------------
def carry_out(lease: Lease, memory: Memory, step: LeaveOut | Summarise) -> Outcome:
    """One transaction; the rows are read again after it. Raises LostLease."""
    if isinstance(step, Summarise):
        return _ask_for_summary(lease, memory, step)
    drafts = [_draft(number, call) for number, call in step.calls if call.artifact is None]
    with events.recording() as log:
        dispatch = leases.hold(lease)
        if leases.is_cancelled(dispatch):
            return Continue()
        artifacts.write(log.writes, [draft for _, draft in drafts])
        for call, draft in drafts:
            ToolCall.objects.filter(pk=call.pk).update(artifact=draft.artifact)
        view = _add(
            log,
            dispatch,
            memory,
            left_out=[str(call.pk) for _, call in step.calls],
            tokens_before=step.tokens_before,
            tokens_after=step.tokens_after,
        )
        log.run(
            dispatch.run_id,
            "results_left_out",
            dispatch=str(dispatch.pk),
            view=view.number,
            calls=view.left_out,
            tokens_before=view.tokens_before,
            tokens_after=view.tokens_after,
        )
    return Continue()


def _draft(number: int, call: ToolCall) -> tuple[ToolCall, Draft]:
    content = call.result.encode()
    name = f"{RESULTS}{number}-{call.position + 1}-{call.tool}.txt"
    run_id, dispatch_id = call.dispatch.run_id, call.dispatch_id
    kept = artifacts.draft(
        blobs.put(content), len(content), name, run_id=run_id, dispatch_id=dispatch_id, labels=call.labels
    )
    return call, kept


def _add(log: Record, dispatch: Dispatch, memory: Memory, **content: object) -> ContextView:
    leases.note(dispatch, views=dispatch.views + 1)
    return ContextView.objects.create(
        dispatch=dispatch, number=dispatch.views, after_step=memory.past[-1].number, **content
    )


def _ask_for_summary(lease: Lease, memory: Memory, step: Summarise) -> Outcome:
    """The run's next advance sends for the summariser; the dispatch costs nothing until it has ended."""
    with events.recording() as log:
        dispatch = leases.hold(lease)
        if leases.is_cancelled(dispatch):
            return Continue()
        view = _add(
            log,
            dispatch,
            memory,
            summarised_to=step.up_to,
            tokens_before=step.tokens_before,
            tokens_after=step.tokens_before,
        )
        leases.note(dispatch, unheeded=True)
        log.run(
            dispatch.run_id,
            "summary_asked",
            dispatch=str(dispatch.pk),
            view=view.number,
            agent=step.agent,
            steps=step.up_to,
        )
        return _wait(log, dispatch, step.agent)


def _wait(log: Record, dispatch: Dispatch, agent: str) -> Outcome:
    return wait(log, dispatch, f"a summary of its earlier turns by {agent}", wake_on="any")


# -- once the summariser has ended -------------------------------------------------------------------------------
def take_summary(lease: Lease, memory: Memory) -> Outcome:
    """Of a dispatch whose newest view has no summary yet: it takes what came of it, or goes on waiting."""
    with events.recording() as log:
        dispatch = leases.hold(lease)
        if leases.is_cancelled(dispatch):
            return Continue()
        pending = dispatch.context_views.select_related("node__answered_by", "node__agent").order_by("number").last()
        assert pending is not None
        if not pending.is_pending:
            return Continue()
        node = pending.node
        if node is None or not node.is_final:
            agent = node.agent.slug if node and node.agent else "its summariser"
            return _wait(log, dispatch, agent)
        said = node.answered_by.output if node.answered_by else node.output
        if node.status == states.SUCCEEDED and said.strip():
            pending.summary, pending.made_by = said, node.answered_by
            pending.tokens_after = _after_summary(memory, pending)
            leases.note(dispatch, labels=flow.joined(dispatch.labels, _labels(node)))
        else:
            pending.failed = (node.message or "The summariser said nothing.")[:300]
        pending.save(update_fields=["summary", "made_by", "failed", "tokens_after"])
        told = {"failed": pending.failed} if pending.failed else {"steps": pending.summarised_to}
        log.run(dispatch.run_id, "summary_taken", dispatch=str(dispatch.pk), view=pending.number, **told)
        return Continue()


def _labels(node: Node) -> str:
    """Of what its summariser has read: also what others told it, and what it looked up itself."""
    return lineage.of_dispatch(node.answered_by) if node.answered_by else lineage.before(node.pk)


def _after_summary(memory: Memory, view: ContextView) -> int:
    """An estimate: what the turns up to there make of the transcript is gone, and the summary is there instead."""
    written = sum(map(len, memory.transcript.written))
    gone = sum(past.written for past in memory.past if past.number <= (view.summarised_to or 0))
    left = view.tokens_before * max(written - gone, 0) / max(written, 1)
    return min(round(left) + len(view.summary.encode()), view.tokens_before)
