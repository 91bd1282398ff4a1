"""The verdict on a request: the only writer of one. Identity and permission are checked here, whoever calls.

Locks: what the request is about (run → dispatch → call, by its kind), then the request, the chain head last.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User

from approvals import closing, eligibility, kinds, requests, states
from approvals.errors import (
    AlreadyDecided,
    AnswerNeeded,
    DeadlinePassed,
    DigestMismatch,
    InvalidEdit,
    InvalidVerdict,
    NotAllowedToDecide,
    ReasonNeeded,
)
from approvals.kinds import Kind, ReRuled
from approvals.models import CLOCK, SESSION, TOKEN, ApprovalRequest, Decision
from orchestrator_site.core import canonical, events
from orchestrator_site.core.clock import database_now
from orchestrator_site.core.events import Record
from tools.values import Risk


@dataclass(frozen=True)
class Outcome:
    """`successor`: the edit needs another person, who is asked there; then there is no decision."""

    decision: Decision | None
    successor: ApprovalRequest | None = None


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
) -> Outcome:
    """Decide an open request. `digest` is the one that was shown; `via` is `session` or `token`; `stop` goes with
    `rejected` and ends the agent's part.

    Raises ApprovalRequest.DoesNotExist or an errors.NotDecided; then nothing was written.
    """
    if via not in (SESSION, TOKEN):
        raise ValueError(f"A person decides by session or token, not by {via!r}.")
    posted = Posted(by, verdict, digest, via, edit, answer, reason.strip(), stop)
    with events.recording() as log:
        request, kind = _locked(request_id)
        _check(request, kind, posted)
        if verdict == states.MODIFIED:
            return _modify(log, request, kind, posted)
        return Outcome(_decide(log, request, kind, posted, answer=answer))


def expire(request_id: UUID) -> Decision | None:
    """Close a request whose deadline has passed by the database's clock; None when there is nothing to close."""
    with events.recording() as log:
        request, kind = _locked(request_id)
        if request.status != states.OPEN or database_now() < request.deadline_at:
            return None
        reason = "Nobody decided before the deadline."
        decision = closing.close(log, request, states.EXPIRED, event="approval_expired", via=CLOCK, reason=reason)
        kind.on_decided(request, decision, log)
        return decision


def _locked(request_id: UUID) -> tuple[ApprovalRequest, Kind]:
    # Read without a lock to learn what it is about: that never changes, the status is read again under the lock.
    request = ApprovalRequest.objects.get(pk=request_id)
    kind = kinds.get(request.kind)
    kind.lock(request)
    return ApprovalRequest.objects.select_for_update().get(pk=request_id), kind


def _check(request: ApprovalRequest, kind: Kind, posted: Posted) -> None:
    if objection := eligibility.why_not(request, posted.by, posted.verdict):
        raise NotAllowedToDecide(objection)
    if request.status != states.OPEN:
        raise AlreadyDecided(Decision.objects.get(request=request))
    # The wall clock, not the transaction's start: this one may have waited for its locks past the deadline.
    if request.deadline_at <= database_now():
        raise DeadlinePassed
    if posted.digest != request.digest:
        raise DigestMismatch
    _check_verdict(kind, posted)


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
        answer=answer if posted.verdict == states.ANSWERED else None,
        **fields,
    )
    kind.on_decided(request, decision, log)
    return decision


def _modify(log: Record, request: ApprovalRequest, kind: Kind, posted: Posted) -> Outcome:
    assert posted.edit is not None
    try:
        arguments = canonical.dumps(posted.edit)
        ruled = kind.re_rule(request, posted.edit, posted.by)
        frozen = canonical.dumps(ruled.frozen)
    except canonical.NotCanonical as error:
        raise InvalidEdit({"": f"The edit holds a value that cannot be kept exactly: {error}."}) from error
    if _needs_another(request, ruled, posted.by):
        return Outcome(None, _hand_on(log, request, kind, ruled, posted, arguments))
    edited = (frozen, canonical.digest(frozen))
    return Outcome(_decide(log, request, kind, posted, arguments=arguments, edited=edited))


def _needs_another(request: ApprovalRequest, ruled: ReRuled, by: User) -> bool:
    rises = ruled.risk.rank > Risk(request.risk).rank
    return ruled.another_person or rises or (ruled.four_eyes and by.pk == request.requester_id)


def _hand_on(
    log: Record, old: ApprovalRequest, kind: Kind, ruled: ReRuled, posted: Posted, arguments: str
) -> ApprovalRequest:
    """Supersede the request by one that asks for the edited content, which its editor may not decide.

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
        not_by=[*old.not_by, posted.by.pk],
        supersedes=old,
        deadline_seconds=(old.deadline_at - old.created_at).total_seconds(),
        actor=closing.actor_of(posted.by, posted.via),
    )
    kind.on_superseded(old, new, log)
    return new
