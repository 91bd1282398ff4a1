"""Who may act on runs; which ones somebody sees is `Run.objects.visible_to(user)`."""

from django.contrib.auth.models import AnonymousUser, User

from runs.models.pacing import MAY_THROW

Person = User | AnonymousUser


def may_start(user: Person) -> bool:
    return user.has_perm("runs.start_run")


def may_cancel(user: Person) -> bool:
    """Of the runs they see: operators all, an application its own."""
    return user.has_perm("runs.cancel_run")


def may_teach(user: Person) -> bool:
    """Saying whose a request is, for the next one."""
    return user.has_perms(["agents.add_exemplar", "agents.add_routingrule"])


def may_resolve(user: Person) -> bool:
    """Saying whether an uncertain call happened."""
    return user.has_perm("runs.resolve_uncertain")


def may_look_after(user: Person) -> bool:
    """The health of the installation: operators and auditors."""
    return user.has_perm("agents.view_workerroster")


def may_see_budgets(user: Person) -> bool:
    return user.has_perm("runs.view_budget")


def may_throw(user: Person) -> bool:
    """Stopping everything, an app, an agent, a tool or a credential, and letting it go on."""
    return user.has_perm(MAY_THROW)
