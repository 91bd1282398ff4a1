"""End a dispatch before its time: what is open is taken back, what is executing stays and may be resolved."""

from uuid import UUID

from approvals import requests
from approvals.models import ApprovalRequest
from orchestrator_site.core import events
from orchestrator_site.core.events import Record
from runs import leases, lifecycle, states
from runs.engine import doubt, effects, recording
from runs.lifecycle import AttemptEnd
from runs.models import Attempt, Dispatch, Handoff, ToolCall
from runs.states import StopReason
from runs.values import Continue, Ended, Lease, Outcome
from tools.values import Effect, ErrorKind

NOT_STARTED = (states.PROPOSED, states.RULED, states.AWAITING_APPROVAL, states.DEFERRED, states.READY)


def end(lease: Lease, reason: StopReason, why: str) -> Outcome:
    """The holder's way: settle first what a crash left open, then end."""
    if executing := ToolCall.objects.filter(dispatch_id=lease.dispatch_id, status=states.EXECUTING).first():
        effects.recover(lease, executing)
        return Continue()
    return end_at_once(lease, reason, why)


def end_at_once(lease: Lease, reason: StopReason, why: str) -> Ended:
    """Without a lookup or anything else that may have ended its workers: what was executing is in doubt."""
    with events.recording() as log:
        end_held(log, leases.hold(lease), reason, why)
    return Ended(reason)


def stop(log: Record, dispatch_id: UUID, why: str) -> Dispatch:
    """For whoever holds the run's row: a dispatch that a worker holds ends when that sees it, another one at once."""
    dispatch = Dispatch.objects.select_for_update(of=("self",)).get(pk=dispatch_id)
    if not dispatch.is_final:
        Dispatch.objects.filter(pk=dispatch.pk).update(cancel_requested=True)
        dispatch.cancel_requested = True
        if dispatch.status != states.WORKING:
            end_held(log, dispatch, StopReason.CANCELLED, why)
    return dispatch


def end_held(log: Record, dispatch: Dispatch, reason: StopReason, why: str) -> None:
    """The caller holds the dispatch's row, and no worker does. Locks: calls, then requests."""
    for attempt in Attempt.objects.filter(call__dispatch=dispatch, status=states.SENT).select_related("call"):
        _leave_in_doubt(log, dispatch, attempt)
    open_calls = ToolCall.objects.select_for_update(of=("self",)).filter(dispatch=dispatch, status__in=NOT_STARTED)
    for call in open_calls.order_by("step__number", "position"):
        if doubt.leave(log, dispatch, call):
            continue
        lifecycle.move_call(log, dispatch.run_id, call, states.CANCELLED, result=why, error_kind=ErrorKind.CANCELLED)
    for step in dispatch.steps.filter(status=states.ASKED):
        recording.count_lost(log, dispatch, step)
    for handoff in Handoff.objects.filter(source=dispatch, status=states.PROPOSED).select_related("target"):
        lifecycle.move_handoff(log, dispatch.run_id, handoff, states.CANCELLED)
    requests.supersede(log, ApprovalRequest.objects.filter(dispatch_id=dispatch.pk), why=why)
    lifecycle.end_dispatch(log, dispatch, reason, why)


def _leave_in_doubt(log: Record, dispatch: Dispatch, attempt: Attempt) -> None:
    """A call that was sent and never recorded: harmless if it is pure, else a person says what became of it."""
    to = states.FAILED if attempt.call.effect == Effect.PURE else states.UNCERTAIN
    end = AttemptEnd(attempt.call, attempt, states.UNKNOWN, to, effects.WORKER_GONE, str(ErrorKind.LOST))
    lifecycle.end_attempts(log, dispatch, [end])
