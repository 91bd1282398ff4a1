"""The effect ledger: intent committed before a call is sent, its result recorded only under the same fence.

intend()   one transaction: rule again, check the approval's digest, use it up, write the Attempt
send()     no transaction open: the executor runs the call
record()   one transaction under the fence: the attempt and its call move together
recover()  after a crash: what the effect class says of an attempt whose end nobody recorded
"""

import dataclasses
import datetime as dt
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django.db import connection
from django.db.models import Max

from approvals import requests
from approvals.errors import NotConsumable
from orchestrator_site.core import canonical, crashpoints, events
from orchestrator_site.core.events import Record
from runs import leases, lifecycle, states
from runs.engine import binding, persistence, proposing, rulings
from runs.engine.offer import Offered
from runs.errors import LostLease
from runs.models import Attempt, Dispatch, ToolCall
from runs.values import Lease
from tools import executors, registry
from tools.values import (
    STRICTNESS,
    Absent,
    Allow,
    CallContext,
    CannotTell,
    Effect,
    ErrorKind,
    Found,
    NeedsApproval,
    Refuse,
    Risk,
    Ruling,
    ToolResult,
    ToolSpec,
)

# Sends of one call, the first included, before a call that may be repeated becomes a person's question.
MOST_ATTEMPTS = 3
# Past a call's own deadline its executor has this long to kill it and tell.
GRACE_SECONDS = 5
TOO_LATE = "The call's deadline passed before it was sent, so it was not."
WORKER_GONE = "The worker went away while the call was under way."
SENT_BEFORE = "It was sent before, and nobody can say whether it happened."
IN_DOUBT = "It was sent before, nobody can say whether it happened, and it may not be sent again."
_VERDICTS = {"Allow": Allow, "NeedsApproval": NeedsApproval}
# Failures after which nobody can say whether the effect happened.
_IN_DOUBT = {ErrorKind.LOST, ErrorKind.TIMEOUT}
# What a lookup said, None where nobody looked.
Looked = Found | Absent | CannotTell | None


@dataclass(frozen=True)
class Intent:
    """A committed attempt and all that is needed to send it. `since`: when it was committed, in monotonic seconds."""

    attempt: Attempt
    call: ToolCall
    spec: ToolSpec
    arguments: Mapping[str, object]
    timeout_seconds: float
    result_limit_bytes: int
    context: CallContext
    since: float = field(default_factory=time.monotonic)

    @property
    def seconds_left(self) -> float:
        """Until the attempt's deadline, which is counted from its intent; in tenths, as it is told when it passes."""
        left = self.timeout_seconds - (time.monotonic() - self.since)
        return min(math.ceil(left * 10) / 10, self.timeout_seconds)


# -- intent ------------------------------------------------------------------------------------------------------
def intend(lease: Lease, call_ids: Sequence, offered: Mapping[str, Offered]) -> list[Intent]:
    """Commit the intent of each ready call that may still run today; the others move to where their ruling says."""
    # Before the row is locked: a worker's first call starts its fork server, and nobody renews a locked row's lease.
    processes = executors.process_identities()
    with events.recording() as log:
        dispatch = leases.hold(lease)
        calls = list(
            ToolCall.objects.select_for_update(of=("self",))
            .filter(pk__in=call_ids, status=states.READY)
            .select_related("request")
            .order_by("step", "position")
        )
        facts = rulings.gather(dispatch, [call.tool for call in calls], without=[call.pk for call in calls])
        if facts.cancel_requested:
            return []
        # What is ready was let through since the database was restored, or a person said that it had not happened.
        facts = dataclasses.replace(facts, restored=False)
        intents = [
            intent
            for call in calls
            if (intent := _intend(log, dispatch, call, facts, offered.get(call.tool), processes))
        ]
        if intents:
            longest = max(intent.timeout_seconds for intent in intents) + GRACE_SECONDS
            leases.note(dispatch, hand_deadline=dispatch.now + dt.timedelta(seconds=longest))
        crashpoints.reach("before_intent_commit")
    if intents:
        crashpoints.reach("after_intent")
    return intents


def _intend(
    log: Record,
    dispatch: Dispatch,
    call: ToolCall,
    facts: rulings.Facts,
    offered: Offered | None,
    processes: list[str],
) -> Intent | None:
    current = offered and offered.at_version(call.tool_version_id)
    ruling = rulings.rule(current, call.arguments, facts, call.tool)
    if stop := why_not_today(call, ruling):
        refuse(log, dispatch, call, *stop)
        return None
    if isinstance(ruling, NeedsApproval) and call.request is None:
        _ask_after_all(log, dispatch, call, ruling, current)
        return None
    assert current is not None
    attempt = _attempt(dispatch, call, current, processes)
    if call.request is not None and not may_use_approval(log, dispatch, call, attempt.digest):
        return None
    attempt.save(force_insert=True)
    lifecycle.move_call(log, dispatch.run_id, call, states.EXECUTING)
    _told_of(log, dispatch, attempt)
    return _intent(dispatch, call, current, attempt)


def why_not_today(call: ToolCall, ruling: Ruling) -> tuple[ErrorKind, str] | None:
    """Today's ruling is worse than the one the call was let through with: then it does not run."""
    if isinstance(ruling, Refuse):
        return ErrorKind(ruling.kind), rulings.sentence(ruling)
    if call.request is not None:
        before = canonical.loads(call.ruling)
        worse = STRICTNESS[type(ruling)] > STRICTNESS[_VERDICTS[before["verdict"]]]
        if worse or Risk(ruling.risk).rank > Risk(before["risk"]).rank:
            return ErrorKind.DISABLED, "Refused: since it was approved, the rules for this call have become stricter."
    return None


def _ask_after_all(
    log: Record, dispatch: Dispatch, call: ToolCall, ruling: NeedsApproval, offered: Offered | None
) -> None:
    assert offered is not None
    lifecycle.move_call(log, dispatch.run_id, call, states.RULED, risk=ruling.risk, ruling=rulings.stored(ruling))
    proposing.ask_approval(log, dispatch, call, ruling, offered, reasoning="")


def _attempt(dispatch: Dispatch, call: ToolCall, offered: Offered, processes: list[str]) -> Attempt:
    number = (call.attempts.aggregate(last=Max("number"))["last"] or 0) + 1
    timeout = offered.grant.timeout_for(offered.spec)
    arguments = canonical.loads(call.arguments)
    return Attempt(
        call=call,
        number=number,
        fence=dispatch.fence,
        idempotency_key=call.idempotency_key,
        digest=digest_from_rows(dispatch, call, offered.spec),
        endpoint=binding.target(offered.spec, arguments)[:500],
        worker=dispatch.lease_owner,
        processes=processes,
        deadline_at=dispatch.now + dt.timedelta(seconds=timeout),
    )


def digest_from_rows(dispatch: Dispatch, call: ToolCall, spec: ToolSpec) -> str:
    """The digest of what is about to run, made anew from the rows and never copied from the request."""
    ruled = canonical.loads(call.ruling)
    policy = ruled["facts"]["policy"]
    return binding.digest(binding.frozen(dispatch, spec, call, call.arguments, call.risk, policy))


def may_use_approval(log: Record, dispatch: Dispatch, call: ToolCall, digest: str) -> bool:
    """Use the approval up for this call; a repeated send of the same call rides on the same approval.

    `digest` is of what is about to run. Where the approval permits something else, the call is refused.
    """
    request = call.request
    assert request is not None
    try:
        if request.consumed_by_attempt == str(call.pk) and request.effective_digest == digest:
            return True
        requests.consume(request.pk, digest, call.pk)
    except NotConsumable as error:
        log.run(
            dispatch.run_id,
            "approval_binding_refused",
            call=str(call.pk),
            request=str(request.pk),
            digest=digest,
            approved_digest=request.effective_digest,
            why=str(error),
        )
        refuse(log, dispatch, call, ErrorKind.NOT_GRANTED, f"Refused: {error}")
        return False
    return True


def is_in_doubt(call: ToolCall) -> bool:
    """Ready to be sent again, and nobody knows whether an earlier send of it had its effect."""
    # A person who said "run it again" said that it did not happen; a lookup said so of a verifiable one.
    return (
        call.effect == Effect.KEYED
        and call.status == states.READY
        and call.attempts.filter(status=states.UNKNOWN).exists()
    )


def refuse(log: Record, dispatch: Dispatch, call: ToolCall, kind: ErrorKind, sentence: str) -> None:
    if is_in_doubt(call):
        lifecycle.move_call(
            log, dispatch.run_id, call, states.UNCERTAIN, result=f"{IN_DOUBT} {sentence}", error_kind=ErrorKind.LOST
        )
        return
    lifecycle.move_call(log, dispatch.run_id, call, states.REFUSED, result=sentence, error_kind=kind)


def _told_of(log: Record, dispatch: Dispatch, attempt: Attempt) -> None:
    log.run(
        dispatch.run_id,
        "attempt_sent",
        actor=f"worker:{attempt.worker}",
        call=str(attempt.call_id),
        attempt=attempt.number,
        digest=attempt.digest,
        endpoint=attempt.endpoint,
    )


def _intent(dispatch: Dispatch, call: ToolCall, offered: Offered, attempt: Attempt) -> Intent:
    return Intent(
        attempt=attempt,
        call=call,
        spec=offered.spec,
        arguments=canonical.loads(call.arguments),
        timeout_seconds=offered.grant.timeout_for(offered.spec),
        result_limit_bytes=offered.grant.result_limit_for(offered.spec),
        context=CallContext(call.idempotency_key, dispatch.run_id, dispatch.pk, call.pk),
    )


# -- send --------------------------------------------------------------------------------------------------------
def send(intent: Intent) -> ToolResult:
    """Runs in the carrier's thread or in a helper's: it only computes, and touches no row.

    Nothing is begun after the attempt's deadline: whoever stood still for so long may have lost the dispatch.
    """
    assert not connection.in_atomic_block
    connection.close()
    seconds_left = intent.seconds_left
    if seconds_left <= 0:
        return ToolResult(TOO_LATE, ErrorKind.TIMEOUT, sent=False)
    try:
        result = executors.run(
            intent.spec,
            dict(intent.arguments),
            timeout_seconds=seconds_left,
            result_limit_bytes=intent.result_limit_bytes,
            call=intent.context,
        )
    finally:
        connection.close()
    crashpoints.reach("after_send")
    return result


# -- record ------------------------------------------------------------------------------------------------------
def record(lease: Lease, results: Sequence[tuple[Intent, ToolResult]]) -> None:
    """Under the fence; what a worker brings after it lost its lease is kept as late evidence, and nothing moves.

    What is brought cannot be had again: while the database does not answer, it is held and tried again.
    """
    lookups = [_look(intent, result) for intent, result in results]
    persistence.until_written(lambda: _record(lease, results, lookups))
    crashpoints.reach("after_record_commit")


def _record(lease: Lease, results: Sequence[tuple[Intent, ToolResult]], lookups: Sequence[Looked]) -> None:
    try:
        with events.recording() as log:
            dispatch = leases.hold(lease)
            leases.note(dispatch, hand_deadline=None, claims_without_progress=0)
            for (intent, result), found in zip(results, lookups, strict=True):
                _settle(log, dispatch, intent, result, found)
            crashpoints.reach("before_record_commit")
    except LostLease:
        _keep_late_evidence(results)
        raise


def _look(intent: Intent, result: ToolResult) -> Looked:
    if result.error in _IN_DOUBT and result.sent and intent.spec.effect == Effect.VERIFIABLE:
        return executors.lookup(intent.spec, intent.context, intent.timeout_seconds)
    return None


def _settle(log: Record, dispatch: Dispatch, intent: Intent, result: ToolResult, found: Looked) -> None:
    call = ToolCall.objects.select_for_update().get(pk=intent.call.pk)
    if call.status != states.EXECUTING:
        return  # an earlier try was committed, and only the word of it was lost
    intent.attempt.status = states.SENT  # as in the row, whatever a try that was rolled back has left here
    if isinstance(found, Found):
        result = found.result
    if result.error in _IN_DOUBT and result.sent:
        _settle_doubt(log, dispatch, call, intent, result, found)
        return
    if not result.ok and _was_lost_before(intent):
        _settle_old_doubt(log, dispatch, call, intent, result)
        return
    ended = states.SUCCEEDED if result.ok else states.FAILED
    error = str(result.error or "")
    lifecycle.move_attempt(
        log,
        dispatch.run_id,
        intent.attempt,
        ended,
        result=_kept(result.content),
        error_kind=error,
        nothing_sent=not result.sent,
    )
    to = states.DONE if result.ok else states.FAILED
    lifecycle.move_call(log, dispatch.run_id, call, to, result=_kept(result.content), error_kind=error)


def _settle_doubt(
    log: Record, dispatch: Dispatch, call: ToolCall, intent: Intent, result: ToolResult, found: object
) -> None:
    """Sent, and nobody can say how it ended. The carrier of the attempt is gone: it was killed, or it closed."""
    error = str(result.error)
    lifecycle.move_attempt(
        log, dispatch.run_id, intent.attempt, states.UNKNOWN, result=_kept(result.content), error_kind=error
    )
    effect, again = intent.spec.effect, intent.attempt.number < MOST_ATTEMPTS
    if effect == Effect.PURE:
        lifecycle.move_call(log, dispatch.run_id, call, states.FAILED, result=result.content, error_kind=error)
    elif (effect == Effect.KEYED and again) or (
        effect == Effect.VERIFIABLE and isinstance(found, Absent) and again and _ended_here(intent, result)
    ):
        lifecycle.move_call(log, dispatch.run_id, call, states.READY)
    else:
        lifecycle.move_call(log, dispatch.run_id, call, states.UNCERTAIN, result=result.content, error_kind=error)


def _was_lost_before(intent: Intent) -> bool:
    """A keyed call is repeated without knowing what became of its earlier attempt."""
    earlier = Attempt.objects.filter(call_id=intent.call.pk, number__lt=intent.attempt.number, status=states.UNKNOWN)
    return intent.spec.effect == Effect.KEYED and intent.attempt.number > 1 and earlier.exists()


def _settle_old_doubt(log: Record, dispatch: Dispatch, call: ToolCall, intent: Intent, result: ToolResult) -> None:
    """This attempt certainly failed, which says nothing of the one before it."""
    error, told = str(result.error), _kept(result.content)
    lifecycle.move_attempt(
        log,
        dispatch.run_id,
        intent.attempt,
        states.FAILED,
        result=told,
        error_kind=error,
        nothing_sent=not result.sent,
    )
    doubt = f"{SENT_BEFORE} The last try failed: {told}"
    lifecycle.move_call(log, dispatch.run_id, call, states.UNCERTAIN, result=doubt, error_kind=ErrorKind.LOST)


def _ended_here(intent: Intent, result: ToolResult) -> bool:
    """Whether the attempt ran in a process of ours that was seen to exit, so that its effect cannot come later."""
    return intent.spec.executor == "python" and not result.may_go_on


def _kept(content: str) -> str:
    """PostgreSQL's text has no NUL; a result that holds one keeps its meaning with the escape."""
    return content.replace("\x00", "\\u0000")


def _keep_late_evidence(results: Sequence[tuple[Intent, ToolResult]]) -> None:
    for intent, result in results:
        evidence = json.dumps({"content": result.content, "error": result.error, "at": str(dt.datetime.now(dt.UTC))})
        with events.recording() as log:
            kept = Attempt.objects.filter(pk=intent.attempt.pk, late_evidence="").update(late_evidence=_kept(evidence))
            if not kept:
                continue
            log.run(
                intent.context.run_id,
                "late_evidence_kept",
                call=str(intent.call.pk),
                attempt=intent.attempt.number,
                error_kind=str(result.error or ""),
            )


# -- recover -----------------------------------------------------------------------------------------------------
def recover(lease: Lease, call: ToolCall) -> None:
    """An executing call whose worker is gone: decide by its effect class. Raises LostLease."""
    attempt = call.attempts.get(status=states.SENT)
    dead = is_dead(attempt)  # asked first: what is absent may still come while its process lives
    found: Looked = None
    if call.effect == Effect.VERIFIABLE:
        assert call.tool_version_id is not None
        spec = registry.version_spec(call.tool_version_id)
        context = CallContext(call.idempotency_key, lease.run_id, lease.dispatch_id, call.pk)
        connection.close()
        found = executors.lookup(spec, context, spec.timeout_seconds)
    with events.recording() as log:
        dispatch = leases.hold(lease)
        call = ToolCall.objects.select_for_update().get(pk=call.pk)
        if isinstance(found, Found):
            _recovered(log, dispatch, call, attempt, found.result)
            return
        lifecycle.move_attempt(log, dispatch.run_id, attempt, states.UNKNOWN)
        to = _after_crash(call, attempt, found, dead)
        unclear = {"result": WORKER_GONE} if to == states.UNCERTAIN else {}
        lifecycle.move_call(log, dispatch.run_id, call, to, **unclear)


def _after_crash(call: ToolCall, attempt: Attempt, found: object, dead: bool) -> str:
    match call.effect:
        case Effect.PURE:
            return states.READY
        case Effect.KEYED:
            return states.READY
        case Effect.VERIFIABLE if isinstance(found, Absent) and dead and attempt.number < MOST_ATTEMPTS:
            return states.READY
        case _:
            return states.UNCERTAIN


def _recovered(log: Record, dispatch: Dispatch, call: ToolCall, attempt: Attempt, result: ToolResult) -> None:
    error = str(result.error or "")
    lifecycle.move_attempt(log, dispatch.run_id, attempt, states.SUCCEEDED, result=result.content, error_kind=error)
    lifecycle.move_call(log, dispatch.run_id, call, states.DONE, result=result.content, error_kind=error)


def is_dead(attempt: Attempt) -> bool:
    """True only when every process that may carry the attempt was seen to be gone, from this very host."""
    seen = [executors.is_dead(identity) for identity in attempt.processes]
    return bool(seen) and all(verdict is True for verdict in seen)
