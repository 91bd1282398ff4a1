from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured

from orchestrator_site.core import signing
from tools.egress import rules


@register
def workers_use_threads(**kwargs: Any) -> list[CheckMessage]:
    if settings.CELERY_WORKER_POOL == "threads":
        return []
    return [
        Error(
            f"CELERY_WORKER_POOL is {settings.CELERY_WORKER_POOL!r}; Baton's workers run in the threads pool only.",
            hint="Roster reload, draining and the database pool count on one process with many threads.",
            id="orchestrator_site.E001",
        )
    ]


@register
def checkpoints_can_be_signed(**kwargs: Any) -> list[CheckMessage]:
    """Production alone: in development the key is made when it is first needed."""
    given = settings.BATON_CHECKPOINT_KEY_FILE
    if given is None and settings.BATON_CHECKPOINT_KEY_MADE_AT:
        return []
    try:
        signing.private_key()
        assert given is not None
    except signing.KeyUnusable as error:
        told = str(error).removesuffix(signing.WAY_OUT).strip()
        return [Error(told, hint=signing.WAY_OUT, id="orchestrator_site.E002")]
    if Path(given).stat().st_mode & 0o077:
        told = f"{given}, which signs the audit's checkpoints, can be read by others than its owner."
        return [Warning(told, hint=f"chmod 600 {given}", id="orchestrator_site.W003")]
    return []


@register
def rules_of_egress_can_be_read(**kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for written in settings.BATON_EGRESS:
        try:
            rules.parsed(written)
        except rules.BadRule as error:
            found.append(Error(f"BATON_EGRESS: {error}", id="orchestrator_site.E005"))
    return found


@register
def the_embedder_can_be_made(**kwargs: Any) -> list[CheckMessage]:
    """Made once more than needed; that of a fresh clone is known to work, and spares every command the import."""
    if settings.BATON_EMBEDDER == "agents.routing.embedders.WordVectors":
        return []
    from agents.routing import embedders

    try:
        embedders.configured()
    except ImproperlyConfigured as error:
        return [Error(str(error), hint="docs/routing.md lists what each embedder needs.", id="orchestrator_site.E004")]
    return []
