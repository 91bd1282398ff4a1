"""Queue a waiting dispatch again, in the transaction of what it waited for. The caller holds run and dispatch."""

from orchestrator_site.core.events import Record
from runs import doorbells, lifecycle, orchestration, states
from runs.models import Dispatch, Run


def wake(log: Record, run: Run, dispatch: Dispatch) -> None:
    """A dispatch that a worker holds needs no waking: it reads the rows again before it waits."""
    if dispatch.status == states.WAITING:
        lifecycle.move_dispatch(log, dispatch, states.QUEUED, waiting_on="", wake_on="", due_at=None)
        doorbells.ring_after_commit(dispatch.pk)
    orchestration.advance_locked(log, run)
