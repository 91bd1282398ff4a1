"""Rows the roster is made of, and those its agents depend on: saving or deleting one bumps the epoch."""

from typing import Any

from django.db.models.signals import post_delete, post_migrate, post_save

from agents import roster
from agents.models import Agent, Manifest, ModelEntry, OrderingRule
from tools.models import Tool, ToolVersion

WATCHED = (Agent, Manifest, ModelEntry, OrderingRule, Tool, ToolVersion)


def bump_the_roster(**kwargs: Any) -> None:
    roster.bump()


def connect() -> None:
    for model in WATCHED:
        uid = f"agents.roster.{model._meta.label_lower}"
        post_save.connect(bump_the_roster, sender=model, dispatch_uid=uid)
        post_delete.connect(bump_the_roster, sender=model, dispatch_uid=uid)
    post_migrate.connect(roster.forget, dispatch_uid="agents.roster.forget")
