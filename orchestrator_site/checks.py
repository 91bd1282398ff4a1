from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register


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
