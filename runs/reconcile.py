"""Find what was forgotten, due or left behind. One thread in each worker; any number of them is harmless."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from approvals import sweeps
from orchestrator_site.core import events, observers
from runs import carrier, doorbells, lifecycle, orchestration, states
from runs.models import Dispatch, Handoff, Run

logger = logging.getLogger(__name__)

BATCH = 100
# While the broker is away this many dispatches are carried at once, straight from the database.
FALLBACK_THREADS = 8


def sweep(fallback: ThreadPoolExecutor | None = None) -> None:
    """Everything that is due, once. Each part stands alone: an error in one leaves the others their turn."""
    for part in (wake_due, sweeps.expire_due, advance_left_behind, observers.tell):
        try:
            part()
        except Exception:
            logger.exception("the reconciler's %s failed", part.__name__)
    call_forgotten(fallback)


def wake_due() -> int:
    """Queue waiting dispatches whose time has come."""
    due = list(Dispatch.objects.due().values_list("pk", "run_id")[:BATCH])
    for dispatch_id, run_id in due:
        with events.recording() as log:
            run = Run.objects.select_for_update(of=("self",)).select_related("agent").get(pk=run_id)
            dispatch = Dispatch.objects.due().select_for_update(skip_locked=True).filter(pk=dispatch_id).first()
            if dispatch is None:
                continue
            lifecycle.move_dispatch(log, dispatch, states.QUEUED, waiting_on="", due_at=None)
            doorbells.ring_after_commit(dispatch.pk)
            orchestration.advance_locked(log, run)
    return len(due)


def advance_left_behind() -> int:
    """Runs that nothing moves: all their nodes have ended, and whoever ended the last one went away."""
    at_work = Dispatch.objects.open().filter(run=OuterRef("pk"))
    proposed = Handoff.objects.filter(source__run=OuterRef("pk"), status=states.PROPOSED)
    left = list(
        Run.objects.open().exclude(Exists(at_work)).exclude(Exists(proposed)).values_list("pk", flat=True)[:BATCH]
    )
    for run_id in left:
        orchestration.advance(run_id)
    return len(left)


def call_forgotten(fallback: ThreadPoolExecutor | None = None) -> int:
    """Ring for dispatches nobody holds; where the broker does not take it, carry them from here."""
    forgotten = _forgotten()
    for dispatch_id in forgotten:
        if not doorbells.ring(dispatch_id) and fallback is not None:
            fallback.submit(carrier.carry, dispatch_id)
    return len(forgotten)


def _forgotten() -> list[UUID]:
    """Those not rung for lately, marked as rung for now; rows that another reconciler has in hand are skipped."""
    lately = Now() - timedelta(seconds=settings.BATON_LEASE_SECONDS / 3)
    with events.recording():
        rows = Dispatch.objects.forgotten().filter(rung_at__lt=lately).order_by("rung_at")
        ids = list(rows.select_for_update(skip_locked=True).values_list("pk", flat=True)[:BATCH])
        Dispatch.objects.filter(pk__in=ids).update(rung_at=Now())
    return ids


class Reconciler:
    """The thread. `stop()` returns when it has ended."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)
        self._fallback = ThreadPoolExecutor(FALLBACK_THREADS, thread_name_prefix="fallback")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stop.wait(settings.BATON_RECONCILE_SECONDS):
            try:
                sweep(self._fallback)
            except DatabaseError as error:
                logger.warning("nothing reconciled: %s", error)
            except Exception:
                logger.exception("the reconciler failed and goes on")
            finally:
                connection.close()
