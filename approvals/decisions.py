"""The verdict on a request: the only writer of one. Identity and permission are checked here, whoever calls.

Locks: what the request is about (run → dispatch → call, by its kind), then the request, the chain head last.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User

from approvals import batches, closing, eligibility, kinds, quorum, requests, states
from approvals import standing as beforehand
from approvals.errors import (
    AlreadyDecided,
    AnswerNeeded,
    DeadlinePassed,
    DigestMismatch,
    InvalidEdit,
    InvalidVerdict,
    NotAllowedToDecide,
    OverrideReasonNeeded,
    ReasonNeeded,
)
from approvals.kinds import Kind, ReRuled
from approvals.models import CLOCK, SESSION, TOKEN, ApprovalRequest, Assent, Decision
from approvals.standing import Terms
from orchestrator_site.core import canonical, events
from orchestrator_site.core.clock import database_now
from orchestrator_site.core.events import Record
from tools.values import Risk


@dataclass(frozen=True)
class Outcome:
    """`successor`: the edit needs another person, who is asked there; then there is no decision.

    `assent`: this approval was kept, and more people have to approve before it is decided. `calls`: how many requests
    it decided, where they were asked together.
    """

    decision: Decision | None
    successor: ApprovalRequest | None = None
    assent: Assent | None = None
    calls: int = 1


@dataclass(frozen=True)
class Posted:
    """What a person sent."""

    by: User
    verdict: str
    digest: str
    via: str
    edit: Mapping[str, Any] | None
    answer: str | None
    reason: str
    stop: bool
    override: bool
    standing: Terms | None = None


def decide(
    request_id: UUID,
    *,
    by: User,
    verdict: str,
    digest: str,
    via: str,
    edit: Mapping[str, Any] | None = None,
    answer: str | None = None,
    reason: str = "",
    stop: bool = False,
    override: bool = False,
    standing: Terms | None = None,
) -> Outcome:
    """Decide an open request. `digest` is the one that was shown: its own, or that of all it is asked together with,
    which are decided with it (`batches.digest`); `via` is `session` or `token`; `stop` goes with
    `rejected` and ends the agent's part; `override` permits it against what stands in its way, with a reason.
    `standing` goes with `approved`: what is approved beforehand with it.

    Raises ApprovalRequest.DoesNotExist or an errors.NotDecided; then nothing was written.
    """
    if via not in (SESSION, TOKEN):
        raise ValueError(f"A person decides by session or token, not by {via!r}.")
    posted = Posted(by, verdict, digest, via, edit, answer, reason.strip(), stop, override, standing)
    with events.recording() as log:
        asked = ApprovalRequest.objects.get(pk=request_id)
        if asked.batch is not None and digest != asked.digest:
            return _decide_together(log, asked, posted)
        request, kind = _locked(asked)
        _check(request, kind, posted)
        if verdict == states.MODIFIED:
            return _modify(log, request, kind, posted)
        return _give(log, request, kind, posted)


def _give(log: Record, request: ApprovalRequest, kind: Kind, posted: Posted) -> Outcome:
    if posted.verdict == states.APPROVED and request.approvers > 1:
        if request.batch is not None:  # whoever decides the others together has to find the same approvals on each
            batches.take_out(log, request, by=posted.by, via=posted.via)
        return _assent(log, request, kind, posted)
    return _decided(log, request, kind, posted)


def _decide_together(log: Record, asked: ApprovalRequest, posted: Posted) -> Outcome:
    """One verdict on all that is asked together, each bound by its own digest."""
    together, kind = batches.lock(asked), kinds.get(asked.kind)
    asked.refresh_from_db()
    if asked.status != states.OPEN or asked.batch is None:
        _check(asked, kind, posted)  # tells who was first, or that what was seen is not what is asked
    for each in together:
        _check_person_and_time(each, posted)
    if batches.digest(together) != posted.digest:
        raise DigestMismatch
    if posted.verdict not in (states.APPROVED, states.REJECTED) or posted.standing:
        raise InvalidVerdict("Calls asked about together are approved or rejected; take one out to say more of it.")
    own = [(each, replace(posted, digest=each.digest)) for each in together]
    for each, its in own:
        _check(each, kind, its)
    batches.tell_decided(log, together, posted.verdict, by=posted.by, via=posted.via)
    give = _assent if posted.verdict == states.APPROVED and asked.approvers > 1 else _decided
    outcomes = {each.pk: give(log, each, kind, its) for each, its in own}
    return replace(outcomes[asked.pk], calls=len(together))


def expire(request_id: UUID) -> Decision | None:
    """Close a request whose deadline has passed by the database's clock; None when there is nothing to close."""
    with events.recording() as log:
        request, kind = _locked(ApprovalRequest.objects.get(pk=request_id))
        if request.status != states.OPEN or database_now() < request.deadline_at:
            return None
        reason = "Nobody decided before the deadline."
        decision = closing.close(log, request, states.EXPIRED, event="approval_expired", via=CLOCK, reason=reason)
        kind.on_decided(request, decision, log)
        return decision


def _locked(request: ApprovalRequest) -> tuple[ApprovalRequest, Kind]:
    # It was read without a lock to learn what it is about: that never changes, the status is read under the lock.
    kind = kinds.get(request.kind)
    kind.lock(request)
    return ApprovalRequest.objects.select_for_update().get(pk=request.pk), kind


def _check(request: ApprovalRequest, kind: Kind, posted: Posted) -> None:
    _check_person_and_time(request, posted)
    if posted.digest != request.digest:
        raise DigestMismatch
    if posted.verdict == states.APPROVED and (objection := eligibility.already(request, posted.by)):
        raise NotAllowedToDecide(objection)
    _check_verdict(kind, posted)


def _check_person_and_time(request: ApprovalRequest, posted: Posted) -> None:
    if objection := eligibility.why_not(request, posted.by, posted.verdict):
        raise NotAllowedToDecide(objection)
    if request.status != states.OPEN:
        raise AlreadyDecided(Decision.objects.get(request=request))
    # The wall clock, not the transaction's start: this one may have waited for its locks past the deadline.
    if request.deadline_at <= database_now():
        raise DeadlinePassed


def _check_verdict(kind: Kind, posted: Posted) -> None:
    verdict = posted.verdict
    if verdict not in kind.verdicts:
        raise InvalidVerdict(f"This can be {_either(kind.verdicts)}, not {verdict}.")
    if posted.edit is not None and verdict != states.MODIFIED:
        raise InvalidVerdict("Changes come with the verdict “modified” only.")
    if posted.answer and verdict != states.ANSWERED:
        raise InvalidVerdict("An answer comes with the verdict “answered” only.")
    if posted.stop and verdict != states.REJECTED:
        raise InvalidVerdict("Only a rejection can also stop the agent.")
    if posted.override and not (kind.overridable and verdict in states.PERMITTING):
        raise InvalidVerdict("There is nothing to override here: leave `override` away.")
    if posted.standing and verdict != states.APPROVED:
        raise InvalidVerdict("Other calls are approved beforehand with the verdict “approved” only.")
    if posted.override and not posted.reason:
        raise OverrideReasonNeeded
    if verdict == states.REJECTED and not posted.reason:
        raise ReasonNeeded
    if verdict == states.ANSWERED and not (posted.answer or "").strip():
        raise AnswerNeeded
    if verdict == states.MODIFIED and posted.edit is None:
        raise InvalidEdit({"": "Say what to change."})


def _either(verdicts: frozenset[str]) -> str:
    *others, last = sorted(verdicts)
    return f"{', '.join(others)} or {last}" if others else last


def _decide(
    log: Record, request: ApprovalRequest, kind: Kind, posted: Posted, *, answer: str | None = None, **fields: Any
) -> Decision:
    decision = closing.close(
        log,
        request,
        posted.verdict,
        event="approval_decided",
        via=posted.via,
        by=posted.by,
        digest=posted.digest,
        reason=posted.reason,
        stop=posted.stop,
        override=posted.override,
        answer=answer if posted.verdict == states.ANSWERED else None,
        **fields,
    )
    kind.on_decided(request, decision, log)
    return decision


def _decided(log: Record, request: ApprovalRequest, kind: Kind, posted: Posted) -> Outcome:
    if posted.standing is not None:
        beforehand.check(request, posted.standing)
    decision = _decide(log, request, kind, posted, answer=posted.answer)
    if posted.standing is not None:
        beforehand.give(log, request, decision, posted.standing)
    return Outcome(decision)


def _assent(log: Record, request: ApprovalRequest, kind: Kind, posted: Posted) -> Outcome:
    """One of several approvals. The last one decides: of those given, only who may still decide counts."""
    if posted.standing is not None:
        beforehand.check(request, posted.standing)  # raises: each such call has to be approved for itself
    assent = quorum.assent(log, request, by=posted.by, via=posted.via, reason=posted.reason)
    given = quorum.standing(request)
    if len(given) < request.approvers:
        return Outcome(None, assent=assent)
    return Outcome(_decide(log, request, kind, posted, told={"approved_by": [each.by_name for each in given]}))


def _modify(log: Record, request: ApprovalRequest, kind: Kind, posted: Posted) -> Outcome:
    assert posted.edit is not None
    try:
        arguments = canonical.dumps(posted.edit)
        ruled = kind.re_rule(request, posted.edit, posted.by)
        frozen = canonical.dumps(ruled.frozen)
    except canonical.NotCanonical as error:
        raise InvalidEdit({"": f"The edit holds a value that cannot be kept exactly: {error}."}) from error
    if _needs_another(request, ruled, posted.by):
        return Outcome(None, _hand_on(log, request, kind, ruled, posted, arguments, not_by=[posted.by.pk]))
    if max(request.approvers, ruled.approvers) > 1:
        return _ask_the_others(log, request, kind, ruled, posted, arguments)
    edited = (frozen, canonical.digest(frozen))
    return Outcome(_decide(log, request, kind, posted, arguments=arguments, edited=edited))


def _needs_another(request: ApprovalRequest, ruled: ReRuled, by: User) -> bool:
    rises = ruled.risk.rank > Risk(request.risk).rank
    other_group = ruled.group not in ("", request.group)
    return ruled.another_person or rises or other_group or (ruled.four_eyes and by.pk == request.requester_id)


def _ask_the_others(
    log: Record, request: ApprovalRequest, kind: Kind, ruled: ReRuled, posted: Posted, arguments: str
) -> Outcome:
    """What was approved of the old content says nothing of the new one: all are asked anew, the editor being the first
    to approve it."""
    successor = _hand_on(log, request, kind, ruled, posted, arguments, not_by=[])
    assent = quorum.assent(log, successor, by=posted.by, via=posted.via, reason=posted.reason)
    return Outcome(None, successor, assent)


def _hand_on(
    log: Record,
    old: ApprovalRequest,
    kind: Kind,
    ruled: ReRuled,
    posted: Posted,
    arguments: str,
    *,
    not_by: list[int],
) -> ApprovalRequest:
    """Supersede the request by one that asks for the edited content, which those `not_by` may not decide either.

    The next person is given as long as the first was.
    """
    closing.close(
        log,
        old,
        states.SUPERSEDED,
        event="approval_modified_needs_another",
        via=posted.via,
        by=posted.by,
        digest=posted.digest,
        reason=posted.reason or "The edit needs another person.",
        arguments=arguments,
        told={"risk": ruled.risk, "risk_before": old.risk},
    )
    new = requests.ask(
        log,
        kind=old.kind,
        run_id=old.run_id,
        dispatch_id=old.dispatch_id,
        call_id=old.call_id,
        title=old.title if ruled.title is None else ruled.title,
        reasoning=old.reasoning,
        reasons=ruled.reasons,
        frozen=ruled.frozen,
        risk=ruled.risk,
        policy_version=old.policy_version if ruled.policy_version is None else ruled.policy_version,
        requester_id=old.requester_id,
        addressed_to=old.addressed_to,
        four_eyes=old.four_eyes or ruled.four_eyes,
        not_by=[*old.not_by, *not_by],
        approvers=max(old.approvers, ruled.approvers),
        group=ruled.group or old.group,
        supersedes=old,
        deadline_seconds=(old.deadline_at - old.created_at).total_seconds(),
        actor=closing.actor_of(posted.by, posted.via),
    )
    kind.on_superseded(old, new, log)
    return new
