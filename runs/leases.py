"""Leases: who may move a dispatch. A claim grows the fence; one thread a process keeps all leases it holds alive."""

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache, partial
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError, connection, models, transaction
from django.db.models import F, Func, Subquery
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce, Greatest, Now

from agents.models import RosterEpoch
from orchestrator_site.core import crashpoints, events
from orchestrator_site.core.events import Record
from orchestrator_site.core.prepared import Prepared
from runs import lifecycle, state_versions, states
from runs.errors import LostLease, Suspected
from runs.models import Dispatch
from runs.pacing import places
from runs.values import Lease

logger = logging.getLogger(__name__)

# A dispatch that was claimed this often without one recorded step kills its workers, or trips over our own mistake.
QUARANTINE_AFTER = 5
# One that went down with so many workers, and not one step recorded, is claimed by a process of its own alone.
SUSPECT_AFTER = 2
DATABASE_AGAIN_SECONDS = 0.5
# Before the next claim of a dispatch that could not be brought to our version.
UNREADABLE_SECONDS = 2
# How long the supervisor waits for a row that somebody else has in hand.
SUPERVISOR_WAITS = "200ms"


@cache
def this_worker() -> str:
    """The name under which this process holds leases; another process, or a restart, never has the same."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"


def claim_next(called: UUID) -> Lease | None:
    """As `claim`, of whatever is up next (`runs_next_up`): who was called to one takes the one whose turn it is.

    Of two that take the same at once, one takes what it was called to; where that is the very same, the next that is
    free: the call to that one may have been spent on the first.
    """
    up_next = RawSQL("(SELECT runs_next_up(%s, %s))", [called, state_versions.current()])
    return _claim(up_next, alone=False) or claim(called) or _claim(None, alone=False)


def claim(dispatch_id: UUID, *, alone: bool = False) -> Lease | None:
    """Take the dispatch when it is ready, not newer than us, and held by nobody; None otherwise.

    Where its agent has all its places taken, it waits for one. One that is older than us is brought up in the same
    transaction. Locks: dispatch, limit, chain head. Raises Suspected, unless this process carries it `alone`.
    """
    return _claim(dispatch_id, alone=alone)


def _claim(which: Any, *, alone: bool) -> Lease | None:
    """`which` None: the foremost of those that are queued, and that nobody else is taking at this moment."""
    with events.recording() as log:
        free = Dispatch.objects.forgotten().annotate(now=Now())
        if which is None:
            free = free.filter(status=states.QUEUED).order_by("-priority", Coalesce("claimed_at", "created_at"))
        else:
            free = free.filter(pk=which).order_by("pk")
        dispatch = free.select_for_update(skip_locked=True, of=("self",), no_key=True).first()
        if dispatch is None:
            return None
        if not alone and _is_suspect(dispatch):
            raise Suspected(f"dispatch {dispatch.pk} went down with {dispatch.claims_without_progress} workers")
        if dispatch.status == states.QUEUED and (held := places.of_agent(dispatch)):
            changes: dict[str, Any] = {
                "waiting_on": held.on[:300],
                "held_by": held.by,
                "due_at": None,
                "unheeded": True,
            }
            lifecycle.move_dispatch(log, dispatch, states.WAITING, **changes)
            return None
        lease = _take(log, dispatch)
        if not lease.is_worn_out and not _is_brought_up(log, dispatch):
            return None
        crashpoints.reach("before_claim_commit")
    crashpoints.reach("after_claim")
    return lease


def _is_suspect(dispatch: Dispatch) -> bool:
    """Whoever held it last never gave it back, nor did the one before. Worn out, it is only ended, by anybody."""
    return dispatch.status == states.WORKING and SUSPECT_AFTER <= dispatch.claims_without_progress < QUARANTINE_AFTER


def _take(log: Record, dispatch: Dispatch) -> Lease:
    owner, was = this_worker(), dispatch.status
    changes: dict[str, Any] = {
        "lease_owner": owner,
        "lease_until": dispatch.now + lease_length(),
        "claimed_at": dispatch.now,
        "started_at": dispatch.started_at or dispatch.now,
        "fence": dispatch.fence + 1,
        "claims_without_progress": dispatch.claims_without_progress + 1,
        "hand_deadline": None,
        "due_at": None,
    }
    if was == states.QUEUED:
        lifecycle.move_dispatch(log, dispatch, states.WORKING, actor=f"worker:{owner}", **changes)
    else:
        changes["worked_seconds"] = dispatch.worked_seconds + _lost_seconds(dispatch)
        Dispatch.objects.filter(pk=dispatch.pk).update(**changes)
        log.run(dispatch.run_id, "dispatch_reclaimed", actor=f"worker:{owner}", dispatch=str(dispatch.pk))
    is_worn_out = changes["claims_without_progress"] > QUARANTINE_AFTER
    return Lease(dispatch.pk, dispatch.run_id, owner, changes["fence"], is_worn_out)


def _lost_seconds(dispatch: Dispatch) -> float:
    """Working time of who held it before us and never gave it back: as long as the lease was in force."""
    if dispatch.lease_until is None:  # taken from its holder, and not counted against it
        return 0
    assert dispatch.claimed_at is not None
    return max((min(dispatch.lease_until, dispatch.now) - dispatch.claimed_at).total_seconds(), 0)


def _is_brought_up(log: Record, dispatch: Dispatch) -> bool:
    """Whether it is of our version now. Where that fails it is tried again, until so many claims set it aside."""
    if dispatch.state_version == state_versions.current():
        return True
    try:
        with transaction.atomic():
            state_versions.bring_up(log, dispatch)
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        logger.exception("dispatch %s could not be brought to version %s", dispatch.pk, state_versions.current())
        due = dispatch.now + timedelta(seconds=UNREADABLE_SECONDS)
        lifecycle.move_dispatch(log, dispatch, states.QUEUED, due_at=due, lease_owner="", lease_until=None)
        return False
    return True


def lease_length() -> timedelta:
    return timedelta(seconds=settings.BATON_LEASE_SECONDS)


def hold(lease: Lease) -> Dispatch:
    """The first statements of every transaction of a worker: lock the row under our fence, or raise LostLease.

    Returns the dispatch joined with its run, manifest and agent, with `now`, the database's time, and `epoch`, the
    roster's. They are read after the lock is ours: what whoever held it before has changed, such as a cancel, is seen.
    No kill switch is moved from here to the transaction's end (`pacing.switches`).
    """
    mine = Dispatch.objects.filter(pk=lease.dispatch_id, fence=lease.fence, lease_owner=lease.owner).order_by()
    if mine.select_for_update(no_key=True).values_list("pk").first() is None:
        raise LostLease(f"dispatch {lease.dispatch_id} is no longer held under fence {lease.fence}")
    return _found(lease, _HELD)


def peek(lease: Lease) -> Dispatch:
    """As `hold`, without the locks: what a worker reads before it decides. Raises LostLease."""
    return _found(lease, _SEEN)


def _found(lease: Lease, joined: Prepared[Dispatch]) -> Dispatch:
    if (dispatch := joined.first(lease.dispatch_id, lease.fence, lease.owner)) is None:
        raise LostLease(f"dispatch {lease.dispatch_id} is no longer held under fence {lease.fence}")
    return dispatch


def _joined(epoch: Any, dispatch_id: UUID, fence: int, owner: str) -> models.QuerySet[Dispatch]:
    mine = Dispatch.objects.filter(pk=dispatch_id, fence=fence, lease_owner=owner).order_by()
    return mine.select_related("run", "manifest__agent").annotate(now=Now(), epoch=epoch)  # type: ignore[no-redef]


_EPOCH = Coalesce(Subquery(RosterEpoch.objects.values("epoch")[:1]), 0)
_EPOCH_TO_ACT = Func(function="runs_epoch_to_act", output_field=models.BigIntegerField())
_SEEN = Prepared(partial(_joined, _EPOCH), UUID(int=1), -1, "owner")
_HELD = Prepared(partial(_joined, _EPOCH_TO_ACT), UUID(int=1), -1, "owner")


def hold_known(lease: Lease, dispatch: Dispatch, *, hand_seconds: float | None, **changes: Any) -> Dispatch:
    """As `hold`, for who has the joined rows from before: one statement that locks, writes and says what is new.

    No kill switch is moved from here to the transaction's end. What others may write while a worker holds the row is
    read anew; `hand_seconds` from now is the deadline of the
    call in hand. `changes` are plain values.
    """
    names = ", ".join(f"{name} = %s" for name in changes)
    with connection.cursor() as cursor:
        cursor.execute(
            _HOLD.format(changes=f", {names}" if names else ""),
            [hand_seconds, *changes.values(), lease.dispatch_id, lease.fence, lease.owner],
        )
        row = cursor.fetchone()
    if row is None:
        raise LostLease(f"dispatch {lease.dispatch_id} is no longer held under fence {lease.fence}")
    for field, value in zip(_TOLD, row, strict=True):
        setattr(dispatch, field, value)
    for field, value in changes.items():
        setattr(dispatch, field, value)
    return dispatch


_HOLD = """
UPDATE runs_dispatch SET hand_deadline = now() + make_interval(secs => %s){changes}
WHERE id = %s AND fence = %s AND lease_owner = %s
RETURNING clock_timestamp(), hand_deadline, cancel_requested, pause_requested, cost_cap_usd, mail, runs_epoch_to_act()
"""
_TOLD = ("now", "hand_deadline", "cancel_requested", "pause_requested", "cost_cap_usd", "mail", "epoch")


def is_cancelled(dispatch: Dispatch) -> bool:
    """Of a held dispatch: whether its run is being cancelled."""
    return dispatch.cancel_requested


def is_stopped(dispatch: Dispatch) -> bool:
    """Of a held dispatch: nothing new is to be begun, since its run is being cancelled or paused."""
    return dispatch.cancel_requested or dispatch.pause_requested


def note(dispatch: Dispatch, **changes: Any) -> None:
    """Write plain values to a dispatch that the caller holds."""
    Dispatch.objects.filter(pk=dispatch.pk, fence=dispatch.fence).update(**changes)
    for field, value in changes.items():
        setattr(dispatch, field, value)


def working_seconds(dispatch: Dispatch) -> float:
    """Working time of a held dispatch, the current slice included."""
    assert dispatch.claimed_at is not None
    return dispatch.worked_seconds + (dispatch.now - dispatch.claimed_at).total_seconds()


def given_back(dispatch: Dispatch) -> dict[str, Any]:
    """The changes that go with every move of a held dispatch out of `working`."""
    return {
        "lease_owner": "",
        "lease_until": None,
        "hand_deadline": None,
        "worked_seconds": working_seconds(dispatch),
    }


def hand_on(lease: Lease, *, due_in_seconds: float = 0) -> None:
    """Give a dispatch with work left back to the queue. Raises LostLease."""
    with events.recording() as log:
        dispatch = hold(lease)
        due = dispatch.now + timedelta(seconds=due_in_seconds) if due_in_seconds else None
        changes = given_back(dispatch)
        if not due_in_seconds:
            changes["claims_without_progress"] = 0  # a whole slice ended no worker
        lifecycle.move_dispatch(log, dispatch, states.QUEUED, due_at=due, **changes)


def process_exited(name: str, pid: int) -> None:
    """The supervisor saw one of its processes exit: what it held is free at once, not when its leases run out.

    Waits for nobody, since the supervisor looks after all the others meanwhile: raises the database's error when a row
    could not be had, and is asked again.
    """
    owner = f"{socket.gethostname()}:{pid}:"
    held = Dispatch.objects.filter(status=states.WORKING, lease_owner__startswith=owner, lease_until__gt=Now())
    missed = None
    for dispatch_id in list(held.order_by("pk").values_list("pk", flat=True)):
        try:
            _free(dispatch_id, owner)
        except DatabaseError as error:
            missed = error
    if missed is not None:
        raise missed


def _free(dispatch_id: UUID, owner: str) -> None:
    with events.recording() as log:
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [SUPERVISOR_WAITS])
        held = Dispatch.objects.filter(pk=dispatch_id, status=states.WORKING, lease_owner__startswith=owner)
        dispatch = held.select_for_update(of=("self",)).first()
        if dispatch is not None:
            Dispatch.objects.filter(pk=dispatch.pk).update(lease_until=Now(), rung_at=Now() - lease_length())
            log.run(dispatch.run_id, "worker_exited", dispatch=str(dispatch.pk), worker=dispatch.lease_owner)


class Keeper:
    """Renews every lease this process holds, three times a lease, with one UPDATE.

    A lease is not renewed once the deadline of the call in hand has passed: whoever hangs loses it. What a carrier had
    to drop, because the database went away, is given up as soon as it answers.
    """

    def __init__(self) -> None:
        self._held: dict[UUID, Lease] = {}
        self._dropped: list[Lease] = []
        self._lock = threading.Lock()
        self._dropping = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def keeping(self, lease: Lease) -> Iterator[None]:
        with self._lock:
            self._held[lease.dispatch_id] = lease
            self._ensure_running()
        try:
            yield
        finally:
            with self._lock:
                if self._held.get(lease.dispatch_id) == lease:
                    del self._held[lease.dispatch_id]

    def held(self) -> list[Lease]:
        with self._lock:
            return list(self._held.values())

    def drop(self, lease: Lease) -> None:
        """Never blocks and never raises: the database may not answer at the moment."""
        with self._lock:
            self._dropped.append(lease)
            self._ensure_running()
        self._dropping.set()

    def _ensure_running(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            self._dropping.wait(settings.BATON_LEASE_SECONDS / 3)
            try:
                self.renew()
                self._give_up_dropped()
            except DatabaseError as error:
                logger.warning("leases not renewed: %s", error)
                time.sleep(DATABASE_AGAIN_SECONDS)
            finally:
                connection.close()

    def renew(self) -> int:
        held = self.held()
        if not held:
            return 0
        with connection.cursor() as cursor:
            cursor.execute(
                """UPDATE runs_dispatch d SET lease_until = now() + make_interval(secs => %s)
                   FROM (SELECT r.id FROM runs_dispatch r, unnest(%s::uuid[], %s::bigint[]) AS held(id, fence)
                         WHERE r.id = held.id AND r.fence = held.fence AND r.lease_owner = %s
                           AND (r.hand_deadline IS NULL OR r.hand_deadline > now())
                         ORDER BY r.id FOR NO KEY UPDATE OF r SKIP LOCKED) AS free
                   WHERE d.id = free.id""",
                [
                    settings.BATON_LEASE_SECONDS,
                    [lease.dispatch_id for lease in held],
                    [lease.fence for lease in held],
                    this_worker(),
                ],
            )
            return cursor.rowcount

    def _give_up_dropped(self) -> None:
        """They are free at once, and the claim does not count for quarantine: it ended no worker."""
        self._dropping.clear()
        with self._lock:
            dropped, self._dropped = self._dropped, []
        try:
            for lease in dropped:
                own = Dispatch.objects.filter(pk=lease.dispatch_id, fence=lease.fence, status=states.WORKING)
                own.update(
                    lease_until=Now(),
                    rung_at=Now() - lease_length(),
                    claims_without_progress=Greatest(F("claims_without_progress") - 1, 0),
                )
        except DatabaseError:
            with self._lock:
                self._dropped += dropped
            self._dropping.set()
            raise


keeper = Keeper()
