"""Who may see a run, and who may act on one; asked by every page before it reads."""

from typing import Any

from django.contrib.auth.models import AnonymousUser, User

from approvals.models import MAY_DECIDE, ApprovalRequest
from runs.models import Run
from runs.models.runs import RunQuerySet

Person = User | AnonymousUser


def visible_runs(user: Person) -> RunQuerySet:
    """All of them for who may view runs; an approver's own and those somebody was asked about; else one's own."""
    runs: Any = Run.objects.all()
    if hasattr(runs, "visible_to"):
        return runs.visible_to(user)
    if user.has_perm("runs.view_run"):
        return runs
    if user.has_perm(MAY_DECIDE):
        return runs.filter(pk__in=ApprovalRequest.objects.values("run_id")) | runs.filter(owner_id=user.pk)
    return runs.filter(owner_id=user.pk)


def may_start(user: Person) -> bool:
    return user.has_perm("runs.start_run")


def may_cancel(user: Person) -> bool:
    """Of the runs they see: operators all, an application its own."""
    return user.has_perm("runs.cancel_run")


def may_resolve(user: Person) -> bool:
    """Saying whether an uncertain call happened."""
    return user.has_perm("runs.resolve_uncertain")


def may_look_after(user: Person) -> bool:
    """The health of the installation: operators and auditors."""
    return user.has_perm("agents.view_workerroster")
