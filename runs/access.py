"""Who may act on runs; which ones somebody sees is `Run.objects.visible_to(user)`."""

from django.contrib.auth.models import AnonymousUser, User

Person = User | AnonymousUser


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
