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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from django.db import connection
from django.db.models import Max

from agents import roster
from agents.roster import Roster
from approvals import requests
from approvals.errors import NotConsumable
from approvals.models import ApprovalRequest
from orchestrator_site.core import canonical, crashpoints, events
from orchestrator_site.core.events import Record
from runs import artifacts, leases, lifecycle, states
from runs.engine import binding, deferring, doubt, persistence, proposing, rulings, spilling, standing
from runs.engine.offer import Offered, Offers, offer
from runs.engine.proposing import Ruled
from runs.engine.spilling import Spilled
from runs.engine.waiting import hold_up
from runs.errors import LostLease
from runs.lifecycle import AttemptEnd
from runs.models import Attempt, Dispatch, ToolCall
from runs.models.pacing import TOOL
from runs.pacing import admitting, breakers, deeds, switches
from runs.pacing.deeds import Held
from runs.values import Lease, ProposedCall, Waiting
from tools import executors, registry
from tools.values import (
    STRICTNESS,
    Absent,
    Allow,
    CallContext,
    CannotTell,
    Defer,
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
ASKS = "Today a person has to approve it."
SENT_BEFORE = "It was sent before, and nobody can say whether it happened."
_VERDICTS = {"Allow": Allow, "NeedsApproval": NeedsApproval}
# Failures after which nobody can say whether the effect happened.
_IN_DOUBT = {ErrorKind.LOST, ErrorKind.TIMEOUT}


@dataclass(frozen=True)
class Intent:
    """A committed attempt and all that is needed to send it. `since`: when it was made, in monotonic seconds."""

    attempt: Attempt
    call: ToolCall
    spec: ToolSpec
    arguments: Mapping[str, object]
    timeout_seconds: float
    result_limit_bytes: int
    context: CallContext
    may_spill: bool = False
    since: float = field(default_factory=time.monotonic)

    @property
    def seconds_left(self) -> float:
        """Until the attempt's deadline, which is counted from its intent; in tenths, as it is told when it passes."""
        left = self.timeout_seconds - (time.monotonic() - self.since)
        return min(math.ceil(left * 10) / 10, self.timeout_seconds)


@dataclass(frozen=True)
class Sent:
    """What came of an intent, and what its agent is told of a long result; not recorded yet."""

    intent: Intent
    result: ToolResult
    spilled: Spilled | None = None


@dataclass(frozen=True)
class Looked:
    """`found` is what a lookup said of a verifiable call in doubt; `spilled` belongs to what it found."""

    sent: Sent
    found: Found | Absent | CannotTell | None
    spilled: Spilled | None = None

    @property
    def brought(self) -> Spilled | None:
        return self.spilled if isinstance(self.found, Found) else self.sent.spilled


@dataclass(frozen=True)
class Beforehand:
    """A person would be asked, were it not for the standing approval that `ruling` rests on."""

    asks: NeedsApproval
    ruling: Allow


@dataclass(frozen=True)
class Going:
    """A call that may run by today's ruling; what it needs beside that is taken with its intent."""

    call: ToolCall
    offered: Offered
    ruling: Ruling
    beforehand: Beforehand | None = None


# -- intent ------------------------------------------------------------------------------------------------------
def intend(lease: Lease, dispatch: Dispatch, call_ids: Sequence) -> list[Intent] | Waiting:
    """Commit the intent of each ready call that may still run today; the others move to where their ruling says.

    What a switch or a limit holds up stays ready; where nothing but that is left, the dispatch waits.
    `dispatch` is as it was read before; it is locked and brought up to date. Raises LostLease.
    """
    # Before the row is locked: a worker's first call starts its fork server, and nobody renews a locked row's lease.
    processes = executors.process_identities()
    with events.recording() as log:
        leases.hold_known(lease, dispatch, hand_seconds=None)
        calls = list(
            ToolCall.objects.select_for_update(of=("self",))
            .filter(pk__in=call_ids, status=states.READY)
            .select_related("request")
            .order_by("step", "position")
        )
        offers = offer(dispatch, dispatch.epoch)
        facts = rulings.gather(dispatch, offers, [call.tool for call in calls], without=[call.pk for call in calls])
        if facts.cancel_requested:
            return []
        facts = facts.let_through()
        ruled = []
        for call in calls:
            ruled.append(_still(log, dispatch, call, facts, offers))
            facts = facts if call.status == states.REFUSED else facts.after(call.tool)
        asking = [each for each in ruled if isinstance(each, Ruled)]
        going = [each for each in ruled if isinstance(each, Going)]
        going, left = _without_left_alone(log, dispatch, going, offers.served)
        done = [deeds.of_call(dispatch, each.offered.spec) for each in going]
        nothing_moved = len(going) + len(left) == len(ruled)
        held = admitting.admit(dispatch, offers.served, done, waits=nothing_moved)
        if (going or left) and nothing_moved and all(held):
            return hold_up(log, dispatch, admitting.foremost([each for each in [*held, *left] if each]))
        admitted = [each for each, stop in zip(going, held, strict=True) if stop is None]
        made = [_intend(log, dispatch, each, processes) for each in admitted]
        asking += [each for each in made if isinstance(each, Ruled)]
        intents = [each for each in made if isinstance(each, Intent)]
        if asking:
            proposing.ask(log, dispatch, [*asking, *asked_beside(log, dispatch, asking, offers)])
        if intents:
            longest = max(intent.timeout_seconds for intent in intents) + GRACE_SECONDS
            leases.note(dispatch, hand_deadline=dispatch.now + dt.timedelta(seconds=longest))
        crashpoints.reach("before_intent_commit")
    if intents:
        crashpoints.reach("after_intent")
    return intents


def intend_at_once(dispatch: Dispatch, ready: Sequence[tuple[ToolCall, Offered]], processes: list[str]) -> list[Intent]:
    """The intents of calls that were ruled in this very transaction, and are not written yet: they start executing.

    The caller writes the calls, and then the attempts.
    """
    intents = []
    for call, offered in ready:
        states.TOOL_CALL.check_path(call.status, states.EXECUTING)
        call.status = states.EXECUTING
        carriers = [] if call.effect == Effect.PURE else processes
        intents.append(_intent(dispatch, call, offered, _attempt(dispatch, call, offered, carriers, number=1)))
    return intents


def may_act(proposed: Sequence[ProposedCall], offers: Offers) -> bool:
    """Whether one of these calls may have an effect in the world, were it let through."""
    return any(each.tool in offers and offers[each.tool].spec.effect != Effect.PURE for each in proposed)


def longest_seconds(proposed: Sequence[ProposedCall], offers: Offers) -> float | None:
    """How long the slowest of these calls may be under way, were it let through; None without any."""
    asked = [offers[each.tool] for each in proposed if each.tool in offers]
    return max((each.grant.timeout_for(each.spec) + GRACE_SECONDS for each in asked), default=None)


def _still(
    log: Record, dispatch: Dispatch, call: ToolCall, facts: rulings.Facts, offers: Offers
) -> Going | Ruled | None:
    """A call that today's ruling lets through, with what is offered for it, or that a person is to be asked about; the
    others move to where it says."""
    current = offers.at_version(call.tool, call.tool_version_id)
    ruled = rulings.rule_again(call, current, facts)
    ruling = standing.relaxed(ruled, current, dispatch, call)
    if isinstance(ruling, Defer):
        deferring.defer(log, dispatch, call, ruling)
        return None
    if stop := why_not_today(call, ruling):
        doubt.refuse(log, dispatch, call, *stop, ruling)
        return None
    if isinstance(ruling, NeedsApproval) and call.request is None:
        return to_be_asked(log, dispatch, call, ruling, current)
    assert current is not None
    if isinstance(ruled, NeedsApproval) and isinstance(ruling, Allow):
        return Going(call, current, ruling, Beforehand(ruled, ruling))
    return Going(call, current, ruling)


def asked_beside(log: Record, dispatch: Dispatch, asking: Sequence[Ruled], offers: Offers) -> list[Ruled]:
    """Further ready calls of the same tools that a person has to be asked about as well: they wait for their turn
    meanwhile, and are in the same question."""
    tools, known = {each.call.tool for each in asking}, [each.call.pk for each in asking]
    rows = ToolCall.objects.select_for_update(of=("self",)).filter(dispatch=dispatch, status=states.READY)
    rows = rows.filter(tool__in=tools, request=None).exclude(pk__in=known).order_by("step", "position")
    calls = list(rows.select_related("request"))
    facts = rulings.gather(dispatch, offers, tools, without=[*known, *(call.pk for call in calls)]).let_through()
    for each in asking:
        facts = facts.after(each.call.tool)
    beside = []
    for call in calls:
        current = offers.at_version(call.tool, call.tool_version_id)
        ruling = standing.relaxed(rulings.rule_again(call, current, facts), current, dispatch, call)
        facts = facts if isinstance(ruling, Refuse) else facts.after(call.tool)
        if isinstance(ruling, NeedsApproval):
            beside.append(to_be_asked(log, dispatch, call, ruling, current))
    return [each for each in beside if each is not None]


def _without_left_alone(
    log: Record, dispatch: Dispatch, going: Sequence[Going], served: Roster
) -> tuple[list[Going], list[Held]]:
    """Calls of a tool whose breaker is open fail at once, and nothing is sent; one that is in doubt waits for it."""
    refused, waiting = set(), {}
    for each in sorted(going, key=lambda each: each.call.tool):
        row = breakers.shut(served, TOOL, each.call.tool)
        if row is None or switches.stopping(served, deeds.of_call(dispatch, each.offered.spec)):
            continue
        if not breakers.is_to_be_left(row, dispatch.now) and breakers.take_probe(log, TOOL, row.name, each.call.pk):
            continue
        if doubt.is_in_doubt(each.call):
            waiting[each.call.pk] = breakers.held(row, dispatch.now)
        else:
            doubt.refuse(log, dispatch, each.call, ErrorKind.BREAKER_OPEN, breakers.sentence(row))
            refused.add(each.call.pk)
    still = [each for each in going if each.call.pk not in waiting and each.call.pk not in refused]
    return still, list(waiting.values())


def _intend(log: Record, dispatch: Dispatch, going: Going, processes: list[str]) -> Intent | Ruled | None:
    call, offered, ruling, beforehand = going.call, going.offered, going.ruling, going.beforehand
    if beforehand is not None and not standing.use(log, beforehand.ruling, dispatch, call):
        return to_be_asked(log, dispatch, call, beforehand.asks, offered)
    number = (call.attempts.aggregate(last=Max("number"))["last"] or 0) + 1
    were_told = number > 1 and (call.request is not None or canonical.loads(call.ruling).get("notify", False))
    kept = rulings.kept(call, ruling)
    call.ruling, call.risk = kept.get("ruling", call.ruling), kept.get("risk", call.risk)
    attempt = _attempt(dispatch, call, offered, processes, number)
    if call.request is not None and not may_use_approval(log, dispatch, call, attempt.digest):
        return None
    lifecycle.send_attempt(log, dispatch, call, attempt, **kept)
    if not were_told:
        proposing.tell_people(log, dispatch, call, ruling)
    return _intent(dispatch, call, offered, attempt)


def why_not_today(call: ToolCall, ruling: Ruling) -> tuple[ErrorKind, str] | None:
    """Today's ruling is worse than the one the call was let through with: then it does not run."""
    if isinstance(ruling, Refuse):
        return ErrorKind(ruling.kind), rulings.sentence(ruling)
    if call.request is not None:
        before = canonical.loads(call.ruling)
        worse = STRICTNESS[type(ruling)] > STRICTNESS[_VERDICTS[before["verdict"]]]
        if worse or Risk(ruling.risk).rank > Risk(before["risk"]).rank or _asks_more_people(ruling, call.request):
            return ErrorKind.DISABLED, "Refused: since it was approved, the rules for this call have become stricter."
    return None


def _asks_more_people(ruling: Ruling, request: ApprovalRequest) -> bool:
    """More, or others, than those who approved it."""
    return isinstance(ruling, NeedsApproval) and (
        ruling.approvers > request.approvers
        or ruling.group not in ("", request.group)
        or ruling.four_eyes > request.four_eyes
    )


def to_be_asked(
    log: Record, dispatch: Dispatch, call: ToolCall, ruling: NeedsApproval, offered: Offered | None
) -> Ruled | None:
    """A call that was let through, and of which today a person is to be asked (`proposing.ask`)."""
    if doubt.leave(log, dispatch, call, ASKS, ruling):
        return None
    lifecycle.move_call(log, dispatch.run_id, call, states.RULED, **rulings.made_again(call, ruling))
    return Ruled(call, offered, ruling)


def _attempt(dispatch: Dispatch, call: ToolCall, offered: Offered, processes: list[str], number: int) -> Attempt:
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
        doubt.refuse(log, dispatch, call, ErrorKind.NOT_GRANTED, f"Refused: {error}")
        return False
    return True


def _intent(dispatch: Dispatch, call: ToolCall, offered: Offered, attempt: Attempt) -> Intent:
    return Intent(
        attempt=attempt,
        call=call,
        spec=offered.spec,
        arguments=canonical.loads(call.arguments),
        timeout_seconds=offered.grant.timeout_for(offered.spec),
        result_limit_bytes=offered.grant.result_limit_for(offered.spec),
        context=CallContext(call.idempotency_key, dispatch.run_id, dispatch.pk, call.pk),
        may_spill=spilling.may_spill(dispatch),
    )


# -- send --------------------------------------------------------------------------------------------------------
def send(intent: Intent) -> Sent:
    """Runs in the carrier's thread or in a helper's: it only computes, and touches no row.

    Nothing is begun after the attempt's deadline: whoever stood still for so long may have lost the dispatch.
    """
    assert not connection.in_atomic_block
    connection.close()
    seconds_left = intent.seconds_left
    if seconds_left <= 0:
        return Sent(intent, ToolResult(TOO_LATE, ErrorKind.TIMEOUT, sent=False))
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
    return Sent(intent, result)


def spilled(sent: Sent) -> Sent:
    """With its result put by where that is long. No transaction is open."""
    return dataclasses.replace(sent, spilled=_spilled(sent.intent, sent.result))


def _spilled(intent: Intent, result: ToolResult) -> Spilled | None:
    if not result.ok or not intent.may_spill:
        return None
    return spilling.spill(intent.context.run_id, intent.call, kept(result.content))


# -- record ------------------------------------------------------------------------------------------------------
def record(lease: Lease, dispatch: Dispatch, sent: Sequence[Sent]) -> None:
    """Under the fence; what a worker brings after it lost its lease is kept as late evidence, and nothing moves.

    What is brought cannot be had again: while the database does not answer, it is held and tried again.
    """
    looked = look(sent)
    persistence.until_written(lambda: _record(lease, dispatch, looked))
    crashpoints.reach("after_record_commit")


def _record(lease: Lease, dispatch: Dispatch, looked: Sequence[Looked]) -> None:
    with keeping_late_evidence([each.sent for each in looked]), events.recording() as log:
        leases.hold_known(lease, dispatch, hand_seconds=None, claims_without_progress=0)
        settle(log, dispatch, _unrecorded(looked))
        crashpoints.reach("before_record_commit")


def _unrecorded(looked: Sequence[Looked]) -> list[Looked]:
    """Without those of an earlier try that was committed, and only the word of it was lost."""
    attempts = Attempt.objects.filter(pk__in=[each.sent.intent.attempt.pk for each in looked], status=states.SENT)
    under_way = set(attempts.values_list("pk", flat=True))
    return [each for each in looked if each.sent.intent.attempt.pk in under_way]


def is_in_doubt_after(sent: Sent) -> bool:
    """It was sent, and its result does not say whether it happened."""
    return sent.result.error in _IN_DOUBT and sent.result.sent


def look(sent: Sequence[Sent]) -> list[Looked]:
    """Ask what is verifiable and in doubt whether it happened. No transaction is open."""
    return [_looked(each) for each in sent]


def _looked(sent: Sent) -> Looked:
    found = _look(sent)
    return Looked(sent, found, _spilled(sent.intent, found.result) if isinstance(found, Found) else None)


def _look(sent: Sent) -> Found | Absent | CannotTell | None:
    intent = sent.intent
    if is_in_doubt_after(sent) and intent.spec.effect == Effect.VERIFIABLE:
        return executors.lookup(intent.spec, intent.context, intent.timeout_seconds)
    return None


def foresee(sent: Sequence[Sent]) -> None:
    """Give the calls, in memory alone, the ends that `settle` will write: of results that leave no doubt."""
    for each in sent:
        _end(Looked(each, None)).tell()


def settle(log: Record, dispatch: Dispatch, looked: Sequence[Looked]) -> None:
    """Attempts and their calls move together, in the caller's transaction. The caller holds the dispatch."""
    artifacts.write(log.writes, [each.brought.draft for each in looked if each.brought])
    _tell_breakers(log, dispatch, [each.sent for each in looked])
    lifecycle.end_attempts(log, dispatch, [_end(each) for each in looked])


def _tell_breakers(log: Record, dispatch: Dispatch, sent: Sequence[Sent]) -> None:
    served = roster.current(dispatch.epoch)
    for each in sorted(sent, key=lambda each: each.intent.call.tool):
        call, result = each.intent.call, each.result
        if result.is_outage:
            breakers.failed(log, TOOL, call.tool, call.pk, str(result.error))
        elif result.sent:
            breakers.worked(log, served, TOOL, call.tool, call.pk)
        else:
            breakers.unused(served, TOOL, call.tool, call.pk)


def _end(looked: Looked) -> AttemptEnd:
    intent, result = looked.sent.intent, looked.sent.result
    if isinstance(looked.found, Found):
        result = looked.found.result
    elif is_in_doubt_after(looked.sent):
        return _end_in_doubt(looked)
    if not result.ok and _was_lost_before(intent):
        return _end_with_old_doubt(intent, result)
    ended, to = (states.SUCCEEDED, states.DONE) if result.ok else (states.FAILED, states.FAILED)
    brought, error, nothing_sent = looked.brought, str(result.error or ""), not result.sent
    end = partial(AttemptEnd, intent.call, intent.attempt, ended, to, error_kind=error, nothing_sent=nothing_sent)
    if brought is not None:
        return end(brought.told, artifact=brought.draft.artifact)
    return end(kept(result.content))


def _end_in_doubt(looked: Looked) -> AttemptEnd:
    """Sent, and nobody can say how it ended. The carrier of the attempt is gone: it was killed, or it closed."""
    intent, result = looked.sent.intent, looked.sent.result
    said, error = kept(result.content), str(result.error)
    unknown = partial(AttemptEnd, intent.call, intent.attempt, states.UNKNOWN)
    effect, again = intent.spec.effect, intent.attempt.number < MOST_ATTEMPTS
    if effect == Effect.PURE:
        return unknown(states.FAILED, said, error)
    if (effect == Effect.KEYED and again) or (
        effect == Effect.VERIFIABLE and isinstance(looked.found, Absent) and again and _ended_here(intent, result)
    ):
        return unknown(states.READY, said=said)
    return unknown(states.UNCERTAIN, said, error, said)


def _was_lost_before(intent: Intent) -> bool:
    """A keyed call is repeated without knowing what became of its earlier attempt."""
    earlier = Attempt.objects.left_in_doubt().filter(call_id=intent.call.pk, number__lt=intent.attempt.number)
    return intent.spec.effect == Effect.KEYED and intent.attempt.number > 1 and earlier.exists()


def _end_with_old_doubt(intent: Intent, result: ToolResult) -> AttemptEnd:
    """This attempt certainly failed, which says nothing of the one before it."""
    said = kept(result.content)
    told = f"{SENT_BEFORE} The last try failed: {said}"
    end = partial(AttemptEnd, intent.call, intent.attempt, states.FAILED, states.UNCERTAIN)
    return end(told, str(ErrorKind.LOST), said, nothing_sent=not result.sent)


def _ended_here(intent: Intent, result: ToolResult) -> bool:
    """Whether the attempt ran in a process of ours that was seen to exit, so that its effect cannot come later."""
    return intent.spec.executor == "python" and not result.may_go_on


def kept(content: str) -> str:
    """PostgreSQL's text has no NUL; a result that holds one keeps its meaning with the escape."""
    return content.replace("\x00", "\\u0000")


@contextmanager
def keeping_late_evidence(sent: Sequence[Sent]) -> Iterator[None]:
    """Around the transaction that records what was sent: when the lease was lost, it stays as late evidence."""
    try:
        yield
    except LostLease:
        for each in sent:
            _keep_late_evidence(each.intent, each.result)
        raise


def _keep_late_evidence(intent: Intent, result: ToolResult) -> None:
    evidence = json.dumps({"content": result.content, "error": result.error, "at": str(dt.datetime.now(dt.UTC))})
    with events.recording() as log:
        first = Attempt.objects.filter(pk=intent.attempt.pk, late_evidence="")
        if not first.update(late_evidence=kept(evidence)):
            return
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
    found: Found | Absent | CannotTell | None = None
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
            told = kept(found.result.content), str(found.result.error or "")
            end = AttemptEnd(call, attempt, states.SUCCEEDED, states.DONE, *told)
        else:
            to = _after_crash(call, attempt, found, dead)
            end = AttemptEnd(call, attempt, states.UNKNOWN, to, WORKER_GONE if to == states.UNCERTAIN else "")
        lifecycle.end_attempts(log, dispatch, [end])


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


def is_dead(attempt: Attempt) -> bool:
    """True only when every process that may carry the attempt was seen to be gone, from this very host."""
    seen = [executors.is_dead(identity) for identity in attempt.processes]
    return bool(seen) and all(verdict is True for verdict in seen)
