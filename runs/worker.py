"""What runs beside Celery's pool in every worker process: the roster's listener and the reconciler."""

from agents import listener
from runs import carrier, leases
from runs.reconcile import Reconciler

_reconciler: Reconciler | None = None


def start() -> None:
    """Called once the worker is ready. Imports the model boundary now: it is slow, and must not be inside a task."""
    global _reconciler
    from agents import llm  # noqa: F401

    listener.start_listener(leases.this_worker())
    _reconciler = Reconciler()
    _reconciler.start()


def drain() -> None:
    """Told to stop: what is held is handed on at the next boundary."""
    carrier.draining.set()
    if _reconciler is not None:
        _reconciler.stop()
