"""A restored backup: the database is older than what was done, so work stands still until what was in flight is marked.

    the machine could have done it by itself   executing, ready           → uncertain, a person says what happened
    a person had to say yes first              awaiting approval          → asked anew, with the doubt as a reason
    it waited for its window                   deferred                   → asked anew when that opens
    it is not proposed yet                     queued, working, waiting   → its run asks for every call with an effect
    it only reads                              pure, platform tools       → goes on

Why, and what it costs: docs/decisions/restored-backups.md.
"""

import logging
import threading
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from django.db.models import F
from django.db.models.functions import Now

from agents import roster
from approvals import requests
from approvals.models import ApprovalRequest
from orchestrator_site.core import checkpoints, events, restorations, second_place, signing
from orchestrator_site.core.events import SYSTEM, Record
from orchestrator_site.core.models import Restoration
from orchestrator_site.core.second_place import Known
from runs import leases, lifecycle, states
from runs.engine.proposing import TOOL_CALL_KIND
from runs.lifecycle import AttemptEnd
from runs.models import Attempt, Dispatch, Run, ToolCall
from runs.models.runs import RunQuerySet
from tools.values import Effect, ErrorKind

logger = logging.getLogger(__name__)

# Farther than a dispatch can have been claimed between a backup and its restore.
FENCE_LEAP = 1_000_000
# Stands among the processes that may carry an attempt: nobody can see it end.
UNSEEN = "whoever sent it after the backup was made"
IN_DOUBT = (
    "The database was restored from a backup. This call may have been carried out after the backup was made; nothing "
    "here can tell."
)
ASK_REASON = (
    "The database was restored from a backup that holds this request undecided: it may have been approved, and carried "
    "out, since. Look before you approve."
)

_may_carry = threading.Event()
_said = ""


def may_carry() -> bool:
    """Whether this process has seen that the database is no older than its second place. Asked before every claim.

    Raises DatabaseError, and whatever keeps what was in flight from being marked.
    """
    return _may_carry.is_set() or look()


def look() -> bool:
    """Ask the second place; where the database turns out to be older, hold the work and mark what was in flight.

    Also copies to the second place what it lacks. False while work has to stand still. Raises as `may_carry`.
    """
    if (known := _ahead()) is not None:
        _may_carry.clear()
        restorations.begin(known, by=SYSTEM)
    _go_on_if_marked()
    return _may_carry.is_set()


def _ahead() -> Known | None:
    """A second place that cannot be read or written says nothing against the work; it is told once, and asked again."""
    global _said
    try:
        known = second_place.copy()
        _said = ""
    except OSError as error:
        if _said != str(error):
            _said = str(error)
            logger.error("the second place of the checkpoints falls behind: %s", error)
        return None
    return known


def _go_on_if_marked() -> None:
    if restorations.unmarked() is not None:
        _may_carry.clear()
        mark()
    _may_carry.set()


def forget() -> None:
    """Ask anew before the next claim."""
    _may_carry.clear()


# -- marking -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Marked:
    """How much of the work is in doubt."""

    runs: int
    uncertain: int
    asked_again: int


def mark() -> Marked | None:
    """Bring up what was in flight; None when nothing has to be. Running it twice, or at once, changes nothing more.

    Run by run, each in a transaction of its own; work goes on when the last one is marked.
    """
    while (restoration := restorations.unmarked()) is not None:
        for run_id in list(_not_marked(restoration).values_list("pk", flat=True)):
            _mark_run(run_id, restoration)
        if (marked := _finish(restoration)) is not None:
            _sign()
            return marked
    return None


def _not_marked(restoration: Restoration) -> RunQuerySet:
    """By equality, never by order: the clock of the server that was lost may have been ahead of this one's."""
    return Run.objects.open().exclude(restored_at=restoration.found_at)


def _mark_run(run_id: UUID, restoration: Restoration) -> None:
    """Locks: run, its dispatches, calls, requests."""
    with events.recording() as log:
        run = _not_marked(restoration).select_for_update(of=("self",), no_key=True).filter(pk=run_id).first()
        if run is None:
            return
        open_ones = Dispatch.objects.open().select_for_update(of=("self",)).filter(run=run)
        for dispatch in open_ones.order_by("number"):
            _mark_dispatch(log, dispatch)
        Run.objects.filter(pk=run.pk).update(restored_at=restoration.found_at)
        log.run(run.pk, "run_restored", checkpoint=restoration.database_number, lost_to=restoration.outside_number)


def _mark_dispatch(log: Record, dispatch: Dispatch) -> None:
    """Nobody holds it any more, whoever thinks so; what it does next is decided by its next holder."""
    for call in dispatch.calls.select_for_update().order_by("step", "position"):
        _mark_call(log, dispatch, call)
    unheld = {"lease_owner": "", "lease_until": None, "hand_deadline": None, "claims_without_progress": 0}
    Dispatch.objects.filter(pk=dispatch.pk).update(
        fence=F("fence") + FENCE_LEAP, rung_at=Now() - leases.lease_length(), **unheld
    )
    if dispatch.status == states.WORKING:
        lifecycle.move_dispatch(log, dispatch, states.QUEUED)


def _mark_call(log: Record, dispatch: Dispatch, call: ToolCall) -> None:
    told = IN_DOUBT, str(ErrorKind.LOST)
    if sent := call.attempts.filter(status=states.SENT).first():
        end = partial(AttemptEnd, call, sent, states.UNKNOWN)
        is_harmless = call.effect == Effect.PURE
        lifecycle.end_attempts(log, dispatch, [end(states.READY) if is_harmless else end(states.UNCERTAIN, *told)])
    if call.effect == Effect.PURE:
        return
    if call.status == states.READY:
        result, error_kind = told
        lifecycle.move_call(log, dispatch.run_id, call, states.UNCERTAIN, result=result, error_kind=error_kind)
    if call.status == states.UNCERTAIN:
        _nobody_saw_it_end(call)
    if call.status == states.AWAITING_APPROVAL:
        _ask_again(log, call)
    if call.status == states.DEFERRED:  # an approval of before may have been used since: it serves no more
        ToolCall.objects.filter(pk=call.pk).update(request=None)


def _nobody_saw_it_end(call: ToolCall) -> None:
    for attempt in call.attempts.all():
        Attempt.objects.filter(pk=attempt.pk).update(processes=[*attempt.processes, UNSEEN])


def _ask_again(log: Record, call: ToolCall) -> None:
    open_one = ApprovalRequest.objects.open().filter(call_id=call.pk, kind=TOOL_CALL_KIND).select_for_update().first()
    if open_one is not None:
        anew = requests.ask_again(log, open_one, why=ASK_REASON)
        ToolCall.objects.filter(pk=call.pk).update(request=anew)


def _finish(restoration: Restoration) -> Marked | None:
    """None when a run is not marked yet, or somebody else has finished."""
    with events.recording() as log:
        if not restorations.hold(restoration) or _not_marked(restoration).exists():
            return None
        marked = _count(restoration)
        roster.leap()
        restorations.end(log, restoration, **vars(marked))
    return marked


def _count(restoration: Restoration) -> Marked:
    runs = Run.objects.filter(restored_at=restoration.found_at)
    return Marked(
        runs=runs.count(),
        uncertain=ToolCall.objects.uncertain().filter(dispatch__run__in=runs).count(),
        asked_again=ApprovalRequest.objects.open().filter(
            run_id__in=runs.values("pk"), supersedes__isnull=False, reasons__contains=[ASK_REASON]
        ).count(),
    )  # fmt: skip


def _sign() -> None:
    """The next checkpoint declares the restore; what keeps it from being made now, does not keep the work."""
    try:
        checkpoints.make()
        second_place.copy()
    except (signing.KeyUnusable, OSError) as error:
        logger.error("the restore is marked, and not signed yet: %s", error)
