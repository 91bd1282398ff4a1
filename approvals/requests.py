"""Asking a person, taking the question back, and using up the answer."""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.db.models.functions import Now

from approvals import closing, kinds, states
from approvals.errors import NotConsumable
from approvals.models import (
    APPROVER,
    REQUESTER,
    SYSTEM,
    TITLE_LIMIT,
    ApprovalRequest,
    ApprovalRequestQuerySet,
)
from orchestrator_site.core import canonical
from orchestrator_site.core.clock import database_now
from orchestrator_site.core.events import Record
from tools.values import Risk


def ask(
    log: Record,
    *,
    kind: str,
    run_id: UUID,
    title: str,
    frozen: Mapping[str, Any],
    risk: Risk,
    reasons: Iterable[str],
    deadline_seconds: float,
    dispatch_id: UUID | None = None,
    call_id: UUID | None = None,
    reasoning: str = "",
    policy_version: str = "",
    requester_id: int | None = None,
    addressed_to: str = APPROVER,
    four_eyes: bool = False,
    not_by: Iterable[int] = (),
    approvers: int = 1,
    group: str = "",
    batch: UUID | None = None,
    place: int = 0,
    supersedes: ApprovalRequest | None = None,
    actor: str = SYSTEM,
) -> ApprovalRequest:
    """Open a request in the caller's transaction, which holds the locks of what it is about.

    `approvers`: so many different people have to approve it, each a member of the group named `group`, if any is.
    `batch`: asked together with the others that bear it, in the order of `place`; all are of one dispatch and kind.
    Raises canonical.NotCanonical, kinds.UnknownKind; IntegrityError when the call has an open request already.
    """
    if not kinds.get(kind).together_template and batch is not None:
        raise ValueError(f"Requests of kind {kind} are asked alone.")
    if addressed_to == REQUESTER and (four_eyes or approvers > 1 or group):
        raise ValueError("A question to the requester cannot need a second person.")
    text = canonical.dumps(frozen)
    request = ApprovalRequest.objects.create(
        kind=kind,
        run_id=run_id,
        dispatch_id=dispatch_id,
        call_id=call_id,
        title=_one_line(title),
        reasoning=reasoning,
        reasons=list(reasons),
        frozen=text,
        digest=canonical.digest(text),
        risk=risk,
        policy_version=policy_version,
        requester_id=requester_id,
        addressed_to=addressed_to,
        four_eyes=four_eyes,
        not_by=sorted(set(not_by)),
        approvers=approvers,
        group=group,
        batch=batch,
        place=place,
        supersedes=supersedes,
        deadline_at=database_now() + dt.timedelta(seconds=deadline_seconds),
    )
    log.run(run_id, "approval_requested", actor=actor, **_facts(request))
    return request


def supersede(log: Record, requests: ApprovalRequestQuerySet, *, why: str) -> list[ApprovalRequest]:
    """Take back those of `requests` that are open, in the caller's transaction, and return them.

    The caller holds the locks of what they are about and moves it itself: no kind is told.
    """
    taken = list(requests.open().order_by("pk").select_for_update(of=("self",)))
    for request in taken:
        closing.close(log, request, states.SUPERSEDED, event="approval_superseded", via=SYSTEM, reason=why)
    return taken


def ask_again(log: Record, old: ApprovalRequest, *, why: str) -> ApprovalRequest:
    """Supersede an open request by the same one with a reason more, in the caller's transaction, which holds it.

    The next person is given as long as the first was. The caller points what the request is about at the new one.
    """
    closing.close(log, old, states.SUPERSEDED, event="approval_superseded", via=SYSTEM, reason=why)
    return ask(
        log,
        kind=old.kind,
        run_id=old.run_id,
        dispatch_id=old.dispatch_id,
        call_id=old.call_id,
        title=old.title,
        reasoning=old.reasoning,
        reasons=[why, *old.reasons],
        frozen=old.content,
        risk=Risk(old.risk),
        policy_version=old.policy_version,
        requester_id=old.requester_id,
        addressed_to=old.addressed_to,
        four_eyes=old.four_eyes,
        not_by=old.not_by,
        approvers=old.approvers,
        group=old.group,
        batch=old.batch,
        place=old.place,
        supersedes=old,
        deadline_seconds=(old.deadline_at - old.created_at).total_seconds(),
    )


def consume(request_id: UUID, digest: str, attempt_id: UUID | int) -> None:
    """Use up an approval for one attempt, in the transaction that writes the attempt's intent.

    `digest` is recomputed by the caller from what is about to run. Raises NotConsumable: then nothing may be sent.
    """
    as_decided = Q(edited_digest=digest) | Q(edited_digest__isnull=True, digest=digest)
    usable = ApprovalRequest.objects.filter(
        as_decided, pk=request_id, status__in=states.PERMITTING, consumed_at__isnull=True
    )
    if not usable.update(consumed_at=Now(), consumed_by_attempt=str(attempt_id)):
        raise NotConsumable(_why_not_consumable(request_id, digest))


def _why_not_consumable(request_id: UUID, digest: str) -> str:
    request = ApprovalRequest.objects.filter(pk=request_id).first()
    if request is None:
        return "There is no such approval."
    if request.status not in states.PERMITTING:
        return f"The request is {request.status}, which permits nothing."
    if request.effective_digest != digest:
        return "What is about to run is not what was approved."
    return f"The approval was used up by attempt {request.consumed_by_attempt}."


def _one_line(title: str) -> str:
    line = " ".join(title.split())
    return line if len(line) <= TITLE_LIMIT else line[: TITLE_LIMIT - 1] + "…"


def _facts(request: ApprovalRequest) -> dict[str, Any]:
    return {
        "request": str(request.pk),
        "kind": request.kind,
        "call": str(request.call_id) if request.call_id else None,
        "title": request.title,
        "digest": request.digest,
        "risk": request.risk,
        "reasons": request.reasons,
        "addressed_to": request.addressed_to,
        **({"approvers": request.approvers} if request.approvers > 1 else {}),
        **({"group": request.group} if request.group else {}),
        **({"batch": str(request.batch)} if request.batch else {}),
        "supersedes": str(request.supersedes_id) if request.supersedes_id else None,
        "deadline_at": request.deadline_at.isoformat(),
    }
