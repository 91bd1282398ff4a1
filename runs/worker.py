"""What runs beside Celery's pool in every worker process: the roster's listener and the reconciler; and how it stops.

Told to stop, a worker claims nothing more, and each dispatch it carries is handed on at its next boundary. When the
grace time is over it hands back what has reached none, and is gone.
"""

import logging
import os
import threading
import time

from django.conf import settings

from agents import listener
from orchestrator_site.core import memory
from runs import carrier, leases, leaving
from runs.live import watching
from runs.reconcile import Reconciler
from tools import executors

logger = logging.getLogger(__name__)

_reconciler: Reconciler | None = None


def start() -> None:
    """Called once the worker is ready. What is slow begins now, so that it is not inside a task: the import of the
    model boundary, and, where it is not there yet, the process that tool calls are forked from.
    """
    global _reconciler
    threading.Thread(target=executors.process_identities, name="start of the fork server", daemon=True).start()
    from agents import llm  # noqa: F401

    listener.start_listener(leases.this_worker())
    watching.listen()
    memory.settle()
    _reconciler = Reconciler()
    _reconciler.start()


def drain() -> None:
    """Told to stop. Celery waits for the tasks under way, for however long; we do not."""
    if carrier.draining.is_set():
        return
    carrier.draining.set()
    threading.Thread(target=_leave_in_time, name="leaving", daemon=True).start()
    if _reconciler is not None:
        _reconciler.stop()


def leave() -> None:
    """All tasks have ended."""
    listener.stop_listener(timeout_seconds=2)


def _leave_in_time() -> None:
    time.sleep(settings.BATON_GRACE_SECONDS)
    try:
        leaving.hand_back()
        leave()
    except Exception:
        logger.exception("what was held is left to its leases")
    logger.warning("the grace time of %g s is over", settings.BATON_GRACE_SECONDS)
    logging.shutdown()
    os._exit(os.EX_OK)
