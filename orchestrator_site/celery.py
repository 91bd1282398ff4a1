"""The Celery application: messages are doorbells that carry ids, rows are the truth."""

import os
from pathlib import Path
from typing import Any

from celery import Celery
from celery.signals import worker_init, worker_ready, worker_shutdown, worker_shutting_down

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orchestrator_site.settings")

app = Celery("orchestrator_site")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_init.connect
def refuse_other_pools(sender: Any, **kwargs: Any) -> None:
    """Roster reload, draining and the connection pool all count on one process with many threads."""
    if "thread" not in sender.pool_cls.__module__:
        raise SystemExit("Baton's workers run in the threads pool: start them with `--pool threads`.")


@worker_init.connect
def prepare(**kwargs: Any) -> None:
    from tools import executors

    executors.prepare()


@worker_ready.connect
def start_beside_the_pool(**kwargs: Any) -> None:
    from runs import worker

    worker.start()


@worker_shutting_down.connect
def drain(**kwargs: Any) -> None:
    from runs import worker

    worker.drain()


@worker_shutdown.connect
def leave(**kwargs: Any) -> None:
    from runs import worker

    worker.leave()


@worker_ready.connect
def tell_the_supervisor(**kwargs: Any) -> None:
    """Whoever started this worker waits for the file; it holds the pid, so that an old one is not believed."""
    if path := os.environ.get("BATON_READY_FILE"):
        Path(path).write_text(str(os.getpid()))
