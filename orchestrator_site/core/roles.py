"""Who may do what: four groups and their permissions, put there after every migration.

What you may not see = 404: operators and auditors see all, an approver the runs in which a person is asked,
an app its own. What you may see but not do = 403. The querysets' `visible_to(user)` ask the first question.
"""

from fnmatch import fnmatch
from typing import Any

from django.apps import AppConfig
from django.contrib.auth.models import Group, Permission
from django.db.models.signals import post_migrate

OPERATOR, APPROVER, AUDITOR, APP = "Operator", "Approver", "Auditor", "App"

# `app.codename`, with wildcards. `runs.view_run` means every run; one's own are seen without it.
ROLES: dict[str, tuple[str, ...]] = {
    OPERATOR: (
        "*.view_*",
        "agents.add_*",
        "agents.change_*",
        "tools.add_*",
        "tools.change_*",
        "tools.publish_policy",
        "core.change_token",
        "core.change_observation",
        "approvals.decide_approvalrequest",
        "runs.add_plantemplate",
        "runs.change_plantemplate",
        "runs.add_watchrule",
        "runs.change_watchrule",
        "runs.add_budget",
        "runs.change_budget",
        "runs.add_ratelimit",
        "runs.change_ratelimit",
        "runs.add_placelimit",
        "runs.change_placelimit",
        "runs.add_appshare",
        "runs.change_appshare",
        "runs.prioritise_run",
        "runs.start_run",
        "runs.cancel_run",
        "runs.resolve_uncertain",
        "runs.throw_switch",
        "runs.move_breaker",
    ),
    APPROVER: (
        "approvals.view_approvalrequest",
        "approvals.view_decision",
        "approvals.decide_approvalrequest",
    ),
    AUDITOR: ("*.view_*",),
    APP: (
        "runs.start_run",
        "runs.cancel_run",
    ),
}

# A wildcard reaches the platform's own rooms, never Django's users and sessions.
ROOMS = ("core", "tools", "agents", "approvals", "runs")


def grant(sender: AppConfig, using: str, **kwargs: Any) -> None:
    """Give each group what the table says of one app. It adds what is missing and takes away nothing."""
    if sender.label not in ROOMS:
        return
    permissions = Permission.objects.using(using).filter(content_type__app_label=sender.label)
    by_name = {f"{sender.label}.{each.codename}": each for each in permissions}
    for role, patterns in ROLES.items():
        group, _ = Group.objects.using(using).get_or_create(name=role)
        group.permissions.add(
            *(each for name, each in by_name.items() if any(fnmatch(name, pattern) for pattern in patterns))
        )


def connect() -> None:
    """After Django's own receiver, which makes the permissions of the same app."""
    post_migrate.connect(grant, dispatch_uid="core.roles")


def is_app(user: Any) -> bool:
    """Whether the user is an application: it starts work and answers its own questions, and decides nothing."""
    return user.groups.filter(name=APP).exists()
