"""Cancel a run: what has not started is taken back at once; what is executing settles first, or becomes uncertain."""

from uuid import UUID

from django.contrib.auth.models import User
from django.db.models.functions import Now

from approvals import requests
from approvals.models import ApprovalRequest
from orchestrator_site.core import events
from orchestrator_site.core.events import Record
from runs import lifecycle, orchestration, states
from runs.engine import cancelling
from runs.errors import NotPossible
from runs.models import Handoff, Run


def cancel(run_id: UUID, by: User) -> Run:
    """Raises NotPossible when the run has ended. Locks: run, dispatches, calls, requests."""
    actor, why = f"user:{by.get_username()}", f"The run was cancelled by {by.get_username()}."
    with events.recording() as log:
        run = Run.objects.select_for_update(of=("self",), no_key=True).select_related("agent").get(pk=run_id)
        if run.is_final:
            raise NotPossible(f"The run has {run.status} already.")
        if run.cancel_requested_at is None:
            Run.objects.filter(pk=run.pk).update(cancel_requested_at=Now())
            run.refresh_from_db(fields=["cancel_requested_at"])
            log.run(run.pk, "cancel_requested", actor=actor)
        for dispatch_id in run.dispatches.open().order_by("number").values_list("pk", flat=True):
            cancelling.stop(log, dispatch_id, why)
        _withdraw_proposals(log, run)
        requests.supersede(log, ApprovalRequest.objects.filter(run_id=run.pk), why=why)
        orchestration.advance_locked(log, run)
    return run


def _withdraw_proposals(log: Record, run: Run) -> None:
    for plan in run.plans.filter(status=states.PROPOSED):
        lifecycle.move_plan(log, plan, states.CANCELLED)
    for handoff in Handoff.objects.filter(source__run=run, status=states.PROPOSED).select_related("target"):
        lifecycle.move_handoff(log, run.pk, handoff, states.CANCELLED)
