"""Find what was forgotten, due or left behind. One thread in each worker; any number of them is harmless."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection
from django.db.models import Min
from django.db.models.functions import Now

from agents.routing import fits
from approvals import sweeps
from orchestrator_site.core import events, observers, partitions
from runs import auditing, blobs, carrier, doorbells, lifecycle, orchestration, states, top_ups
from runs.budgets import allotments
from runs.models import Dispatch, Node, Routing, Run
from runs.pacing import turns
from runs.policies import simulating

logger = logging.getLogger(__name__)

BATCH = 100
# While the broker is away this many dispatches are carried at once, straight from the database.
FALLBACK_THREADS = 8


def sweep(fallback: ThreadPoolExecutor | None = None) -> None:
    """Everything that is due, once. Each part stands alone: an error in one leaves the others their turn."""
    auditing.keep_up()  # the first: a database that was restored is seen before it is worked on
    call_forgotten(fallback)
    woken = (turns.call_held, wake_due, start_due)
    for part in (*woken, sweeps.expire_due, *BUDGETS, advance_left_behind, *POLICIES, make_partitions):
        try:
            part()
        except Exception:
            logger.exception("the reconciler's %s failed", part.__name__)


# Who waits for money, and money that waits for nobody.
BUDGETS = (top_ups.wake_waiting, top_ups.keep_asked, allotments.give_back_idle)


# Policies that are tried on the past, and calls that a new one may let through sooner.
POLICIES = (simulating.call_forgotten,)


class Hourly:
    """A part of the sweep that has its turn once an hour in each process, the first at once."""

    def __init__(self, part: Callable[[], object]) -> None:
        self.__name__ = part.__name__
        self._part, self._due_at = part, 0.0

    def __call__(self) -> None:
        if time.monotonic() >= self._due_at:
            self._due_at = time.monotonic() + 3600
            self._part()


make_partitions = Hourly(partitions.make_ahead)
sweep_blobs = Hourly(blobs.sweep)


def wake_due() -> int:
    """Queue waiting dispatches whose time has come."""
    due = list(Dispatch.objects.due().values_list("pk", "run_id")[:BATCH])
    return sum(_alone(_wake, dispatch_id, run_id) for dispatch_id, run_id in due)


def _wake(dispatch_id: UUID, run_id: UUID) -> None:
    with events.recording() as log:
        run = Run.objects.select_for_update(of=("self",), no_key=True).select_related("agent").get(pk=run_id)
        due = Dispatch.objects.due().select_for_update(skip_locked=True, of=("self",)).filter(pk=dispatch_id)
        dispatch = due.order_by("pk").first()
        if dispatch is not None:
            lifecycle.move_dispatch(log, dispatch, states.QUEUED, waiting_on="", due_at=None)
            doorbells.ring_after_commit(dispatch.pk)
            orchestration.advance_locked(log, run)


def start_due() -> int:
    """Nodes whose next try is due, and may begin: a run has one turn, however many of them it has."""
    due = Node.objects.due().values("run_id").annotate(first=Min("due_at")).order_by("first")
    return sum(_alone(orchestration.start_due, run_id) for run_id in due.values_list("run_id", flat=True)[:BATCH])


def keep_routes_up() -> None:
    """What an embedder is asked for, which may be a server and take its time."""
    fits.keep_up()
    route_left_behind()


def route_left_behind() -> int:
    """Runs whose request is to be judged again, by what a person said: whoever took the answer went away."""
    left = Routing.objects.exclude(again="").values_list("run_id", flat=True)[:BATCH]
    return sum(_alone(orchestration.route_again, run_id) for run_id in left)


def advance_left_behind() -> int:
    """Runs that nothing moves: one of their nodes has ended, and whoever ended it went away. Costs what it finds."""
    ended = Dispatch.objects.unheeded().values_list("run_id", flat=True)
    begun = Run.objects.filter(status=states.ACCEPTED).values_list("pk", flat=True)
    left = list(ended.order_by().union(begun.order_by())[:BATCH])
    return sum(_alone(orchestration.advance, run_id) for run_id in left)


def _alone(move: Callable[..., object], *about: UUID) -> bool:
    """One row that cannot be moved must not keep the others from their turn."""
    try:
        move(*about)
    except Exception:
        logger.exception("%s%s failed", move.__name__, about)
        return False
    return True


def call_forgotten(fallback: ThreadPoolExecutor | None = None) -> int:
    """Ring for dispatches nobody holds; where the broker does not take it, carry them from here."""
    forgotten = _forgotten()
    is_away = False
    for dispatch_id in forgotten:
        is_away = is_away or not doorbells.ring(dispatch_id)
        if is_away and fallback is not None:
            fallback.submit(carrier.carry, dispatch_id, fairly=True)
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
    """The threads: one sweeps; the others may take their time, and tell observers, fit routes, look through files."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._fallback = ThreadPoolExecutor(FALLBACK_THREADS, thread_name_prefix="fallback")
        self._threads = [
            threading.Thread(target=self._repeat, args=[part], name=name, daemon=True)
            for name, part in (
                ("reconciler", self._sweep),
                ("observers", observers.tell),
                ("routes", keep_routes_up),
                ("artifacts", sweep_blobs),
            )
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Returns when the sweep in hand has ended; observers are told again by the next worker."""
        self._stop.set()
        self._threads[0].join(timeout=10)

    def _sweep(self) -> None:
        sweep(self._fallback)

    def _repeat(self, part: Callable[[], object]) -> None:
        while not self._stop.wait(settings.BATON_RECONCILE_SECONDS):
            try:
                part()
            except DatabaseError as error:
                logger.warning("nothing reconciled: %s", error)
            except Exception:
                logger.exception("the reconciler failed and goes on")
            finally:
                connection.close()
