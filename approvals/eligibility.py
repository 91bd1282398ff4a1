"""Who may decide a request: one question, asked by the decision itself and by every page that offers it."""

from django.contrib.auth.models import AnonymousUser, User

from approvals import kinds, states
from approvals.models import MAY_DECIDE, REQUESTER, ApprovalRequest, Assent


def why_not(request: ApprovalRequest, user: User | AnonymousUser | None, verdict: str | None = None) -> str | None:
    """A sentence that says why this user may not decide (or not give this verdict); None when they may.

    Whether the request is still open is not asked here, nor whether they approved it already (`already`).
    """
    if user is None or not user.is_authenticated or not user.is_active:
        return "Only an active, signed-in person may decide."
    if user.pk in request.not_by:
        return "You changed what is asked here yourself, so another person has to decide."
    if request.four_eyes and user.pk == request.requester_id:
        return "You started this run, and this decision needs a second person."
    if request.group and not user.groups.filter(name=request.group).exists():
        return f"Only members of the group {request.group} may decide this."
    if not user.has_perm(MAY_DECIDE) and (objection := _objection_to_requester(request, user, verdict)):
        return objection
    kind = kinds.get(request.kind)
    if kind.permission and not user.has_perm(kind.permission):
        return f"Deciding this takes the permission {kind.permission} too, which you do not have."
    return kind.may_decide(request, user)


def _objection_to_requester(request: ApprovalRequest, user: User, verdict: str | None) -> str | None:
    if request.addressed_to != REQUESTER:
        return "You do not have the permission to decide approval requests."
    if user.pk != request.requester_id:
        return "This question is asked of the person who started the run."
    # Who started a run may answer its questions or decline to; permitting something takes the permission.
    if verdict in states.PERMITTING:
        return "You may answer this, but not approve it: that takes the permission to decide."
    return None


def already(request: ApprovalRequest, user: User | AnonymousUser | None) -> str | None:
    """A sentence when this user is one of those who approved it, and others have to; they may still reject it."""
    if request.approvers == 1 or user is None or not user.is_authenticated:
        return None
    given = Assent.objects.filter(request=request, by=user).first()
    return f"You approved this at {given.at:%H:%M} UTC; another person has to approve it too." if given else None
