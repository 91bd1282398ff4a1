"""Pause a run, and resume it: what is in hand comes to the end of its turn, and nothing new begins in between."""

from uuid import UUID

from django.contrib.auth.models import User
from django.db.models.functions import Now

from orchestrator_site.core import events
from orchestrator_site.core.events import Record
from runs import doorbells, lifecycle, orchestration, states
from runs.errors import NotPossible
from runs.models import Dispatch, Run
from runs.orchestration import flow
from runs.values import RESUMED


def pause(run_id: UUID, by: User) -> Run:
    """Raises NotPossible for a run that has ended, is being cancelled, or is paused. Locks: run, its dispatches."""
    with events.recording() as log:
        run = _locked(run_id)
        if run.is_final or run.cancel_requested_at is not None:
            raise NotPossible("It has ended, or is about to: there is nothing to pause.")
        if run.paused_at is not None:
            raise NotPossible("It is paused already.")
        Run.objects.filter(pk=run.pk).update(paused_at=Now())
        for dispatch in _held(run):
            Dispatch.objects.filter(pk=dispatch.pk).update(pause_requested=True)
            if dispatch.status != states.WORKING:
                lifecycle.move_dispatch(log, dispatch, states.PAUSED, waiting_on=RESUMED)
        lifecycle.move_run(log, run, states.PAUSED, actor=_actor(by), waiting_on=RESUMED)
    return run


def resume(run_id: UUID, by: User) -> Run:
    """What waited goes on waiting, once a worker has looked. Raises NotPossible for a run that is not paused."""
    with events.recording() as log:
        run = _locked(run_id)
        if run.status != states.PAUSED:
            raise NotPossible("It is not paused.")
        Run.objects.filter(pk=run.pk).update(paused_at=None)
        run.paused_at = None
        for dispatch in _held(run):
            _resume(log, dispatch)
        lifecycle.move_run(log, run, states.WORKING, actor=_actor(by), waiting_on="")
        with orchestration.moving(log, run) as moves:
            flow.start_all(moves)
    return run


def _resume(log: Record, dispatch: Dispatch) -> None:
    Dispatch.objects.filter(pk=dispatch.pk).update(pause_requested=False)
    if dispatch.status == states.PAUSED:
        lifecycle.move_dispatch(log, dispatch, states.QUEUED, waiting_on="", wake_on="", due_at=None)
        doorbells.ring_after_commit(dispatch.pk)


def _held(run: Run) -> list[Dispatch]:
    return list(run.dispatches.open().select_for_update(of=("self",)).order_by("number"))


def _locked(run_id: UUID) -> Run:
    return Run.objects.select_for_update(of=("self",), no_key=True).select_related("agent").get(pk=run_id)


def _actor(by: User) -> str:
    return f"user:{by.get_username()}"
