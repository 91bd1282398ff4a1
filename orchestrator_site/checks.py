from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from orchestrator_site.core import signing


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
