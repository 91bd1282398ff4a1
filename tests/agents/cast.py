"""The standing cast of this folder's tests."""

from decimal import Decimal
from typing import Any

from django.db.models.functions import Now

from agents import manifests, roster
from agents.models import Agent, Manifest, ModelEntry
from agents.values import ManifestSpec


def spec(**changes: Any) -> ManifestSpec:
    content = {
        "title": "Order desk",
        "owns": "questions about orders",
        "system_prompt": "You answer questions about orders.",
        "models": ("small",),
    }
    return ManifestSpec(**content | changes)


def entry(name: str = "small", **changes: Any) -> ModelEntry:
    content: dict[str, Any] = {
        "provider_model": "claude-small-1",
        "context_window": 200_000,
        "output_limit": 8192,
        "input_price": Decimal("1"),
        "output_price": Decimal("5"),
        "cache_read_price": Decimal("0.1"),
        "cache_write_price": Decimal("1.25"),
    }
    return ModelEntry.objects.create(name=name, **content | changes)


def at_work(slug: str, **changes: Any) -> Manifest:
    """An agent with this manifest published."""
    return manifests.publish(manifests.draft(slug, spec(**changes), by=None), by=None)


def write_garbage(slug: str) -> None:
    """What no verb would publish: a version whose columns do not make a manifest."""
    draft = manifests.draft(slug, spec(), by=None)
    Manifest.objects.filter(pk=draft.pk).update(models={"not": "a list"}, published_at=Now())
    Agent.objects.filter(slug=slug).update(published=draft)
    roster.bump()


def agent(slug: str) -> Agent:
    return Agent.objects.get(slug=slug)
