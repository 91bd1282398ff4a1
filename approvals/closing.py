"""The one way a request is closed: its decision, its status and its event, and the doorbell when all is committed."""

from typing import Any

from django.contrib.auth.models import User

from approvals import states
from approvals.models import CLOCK, SYSTEM, ApprovalRequest, Decision
from approvals.signals import decision_made
from orchestrator_site.core.clock import database_now
from orchestrator_site.core.commits import after_commit
from orchestrator_site.core.events import Record


def close(
    log: Record,
    request: ApprovalRequest,
    verdict: str,
    *,
    event: str,
    via: str,
    by: User | None = None,
    edited: tuple[str, str] | None = None,
    told: dict[str, Any] | None = None,
    **posted: Any,
) -> Decision:
    """Close an open request whose row the caller has locked. `edited` is (canonical JSON, digest); `told` goes into the
    event; `posted` are further fields of the decision."""
    at = database_now()
    decision = Decision(request=request, verdict=verdict, via=via, by=by, by_name=name_of(by, via), at=at, **posted)
    decision.digest = decision.digest or request.digest
    decision.save(force_insert=True)
    changes: dict[str, Any] = {"edited_frozen": edited[0], "edited_digest": edited[1]} if edited else {}
    states.REQUEST.move(request, verdict, decided_at=at, **changes)
    log.run(request.run_id, event, actor=actor_of(by, via), **_facts(request, decision), **(told or {}))
    after_commit(decision_made.send_robust, sender=ApprovalRequest, request_id=request.pk)
    return decision


def name_of(by: User | None, via: str) -> str:
    if by is not None:
        return by.get_full_name() or by.get_username()
    return {CLOCK: "the clock", SYSTEM: "the system"}[via]


def actor_of(by: User | None, via: str) -> str:
    return via if by is None else f"user:{by.get_username()}"


def _facts(request: ApprovalRequest, decision: Decision) -> dict[str, Any]:
    return {
        "request": str(request.pk),
        "kind": request.kind,
        "call": str(request.call_id) if request.call_id else None,
        "verdict": decision.verdict,
        "by": decision.by_name,
        "via": decision.via,
        "reason": decision.reason,
        "stop": decision.stop,
        **({"override": True} if decision.override else {}),
        "digest": decision.digest,
        "effective_digest": request.effective_digest,
    }
