"""Requests that several people have to approve: each approval is kept, and the one that completes them decides."""

from collections.abc import Iterable

from django.contrib.auth.models import User
from django.db.models import QuerySet, prefetch_related_objects

from approvals import closing, eligibility, kinds
from approvals.models import BACKEND, MAY_DECIDE, ApprovalRequest, Assent
from orchestrator_site.core.clock import database_now
from orchestrator_site.core.events import Record


def assent(log: Record, request: ApprovalRequest, *, by: User, via: str, reason: str) -> Assent:
    """Keep one person's approval of an open request, whose row the caller has locked, and which they may decide."""
    given = Assent(
        request=request,
        by=by,
        by_name=closing.name_of(by, via),
        via=via,
        digest=request.digest,
        reason=reason,
        at=database_now(),
    )
    given.save(force_insert=True)
    log.run(
        request.run_id,
        "approval_assented",
        actor=closing.actor_of(by, via),
        assent=str(given.pk),
        request=str(request.pk),
        call=str(request.call_id) if request.call_id else None,
        by=given.by_name,
        via=via,
        digest=given.digest,
        reason=reason,
        needed=request.approvers,
    )
    return given


def fetch(requests: Iterable[ApprovalRequest]) -> None:
    """Read the approvals of a list's requests at once, where there can be any."""
    prefetch_related_objects([each for each in requests if each.approvers > 1], "assents")


def standing(request: ApprovalRequest) -> list[Assent]:
    """The approvals given so far by those who may still decide, the first one first. Everybody is read anew."""
    given = request.assents.select_related("by")
    return [each for each in given if eligibility.why_not(request, each.by) is None]


def electorate(request: ApprovalRequest) -> QuerySet[User]:
    """Who may decide it: active people with the permission, in its group, not excluded from this one."""
    people = User.objects.with_perm(MAY_DECIDE, backend=BACKEND).exclude(pk__in=request.not_by)
    if request.group:
        people = people.filter(groups__name=request.group)
    if further := kinds.get(request.kind).permission:
        people = people.filter(pk__in=User.objects.with_perm(further, backend=BACKEND).values("pk"))
    return people.exclude(pk__in=[request.requester_id]) if request.four_eyes else people


def shortage(request: ApprovalRequest) -> str:
    """A sentence when too few people may decide for it ever to be approved; else empty."""
    if request.approvers == 1 and not request.group:
        return ""
    there = electorate(request).distinct().count()
    if there >= request.approvers:
        return ""
    whose = f" of the group {request.group}" if request.group else ""
    asked = f"{request.approvers} people{whose} have" if request.approvers > 1 else f"A person{whose} has"
    may = f"only {there}" if there else "nobody"
    return f"{asked} to approve this, and {may} may: somebody has to be added, or it cannot be approved."
