"""Rows the roster is made of, and those its agents depend on: saving or deleting one bumps the epoch."""

from typing import Any

from django.contrib.auth.models import User
from django.db.models.signals import m2m_changed, post_delete, post_migrate, post_save

from agents import roster
from agents.models import Agent, Exemplar, Manifest, ModelEntry, OrderingRule, RoutingFit, RoutingRule, Transition
from tools.models import DestinationList, EgressRule, Policy, Tool, ToolVersion

WATCHED = (
    *(Agent, Manifest, ModelEntry, OrderingRule, Transition, RoutingRule, Exemplar, RoutingFit),
    *(Tool, ToolVersion, Policy, DestinationList, EgressRule),
)


def bump_the_roster(**kwargs: Any) -> None:
    roster.bump()


def connect() -> None:
    for model in WATCHED:
        uid = f"agents.roster.{model._meta.label_lower}"
        post_save.connect(bump_the_roster, sender=model, dispatch_uid=uid)
        post_delete.connect(bump_the_roster, sender=model, dispatch_uid=uid)
    # Policies ask for the groups of who started a run.
    m2m_changed.connect(bump_the_roster, sender=User.groups.through, dispatch_uid="agents.roster.groups")
    post_migrate.connect(roster.forget, dispatch_uid="agents.roster.forget")
