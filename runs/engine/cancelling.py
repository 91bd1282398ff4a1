"""End a dispatch whose run is being cancelled: what is open is taken back, what is executing stays and may be resolved."""

from approvals import requests
from approvals.models import ApprovalRequest
from orchestrator_site.core import events
from orchestrator_site.core.events import Record
from runs import leases, lifecycle, states
from runs.engine import asking, effects
from runs.models import Dispatch, ToolCall
from runs.states import StopReason
from runs.values import Continue, Ended, Lease, Outcome

NOT_STARTED = (states.PROPOSED, states.RULED, states.AWAITING_APPROVAL, states.DEFERRED, states.READY)


def end(lease: Lease) -> Outcome:
    """The holder's way: settle first what a crash left open, then end."""
    if executing := ToolCall.objects.filter(dispatch_id=lease.dispatch_id, status=states.EXECUTING).first():
        effects.recover(lease, executing)
        return Continue()
    dispatch = Dispatch.objects.get(pk=lease.dispatch_id)
    if asked := dispatch.steps.filter(status=states.ASKED).first():
        asking.settle_lost(lease, asked)
        return Continue()
    with events.recording() as log:
        end_held(log, leases.hold(lease), "The run was cancelled.")
    return Ended(StopReason.CANCELLED)


def end_held(log: Record, dispatch: Dispatch, why: str) -> None:
    """The caller holds the dispatch's row, and no call of it is executing. Locks: calls, then requests."""
    open_calls = ToolCall.objects.select_for_update().filter(dispatch=dispatch, status__in=NOT_STARTED)
    for call in open_calls.order_by("step", "position"):
        lifecycle.move_call(log, dispatch.run_id, call, states.CANCELLED, result=why, error_kind="cancelled")
    requests.supersede(log, ApprovalRequest.objects.filter(dispatch_id=dispatch.pk), why=why)
    lifecycle.end_dispatch(log, dispatch, StopReason.CANCELLED, why)
