"""What somebody else does meanwhile, forced to the very step: in a thread and a transaction of its own."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, connections

from runs import carrier, states
from runs.engine import effects
from runs.models import Dispatch, Run
from tests.waiting import PATIENCE_SECONDS, eventually

Job = Callable[[], Any]


class Vanished(BaseException):
    """A worker that dies in the middle of something."""


def elsewhere(job: Job) -> Future:
    """Begin a job in a thread with a connection of its own."""

    def run() -> Any:
        try:
            return job()
        finally:
            connections.close_all()

    thread = ThreadPoolExecutor(1)
    begun = thread.submit(run)
    thread.shutdown(wait=False)
    return begun


def just_before(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, job: Job) -> None:
    """Once, when a function is reached, somebody else does a job and commits it; then the function begins."""
    original = getattr(module, name)

    def reached(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(module, name, original)
        elsewhere(job).result(timeout=PATIENCE_SECONDS)
        return original(*args, **kwargs)

    monkeypatch.setattr(module, name, reached)


def just_after(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, job: Job) -> None:
    """Once, when a function has ended, somebody else does a job and commits it; then the function's caller goes on."""
    original = getattr(module, name)

    def reached(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(module, name, original)
        answer = original(*args, **kwargs)
        elsewhere(job).result(timeout=PATIENCE_SECONDS)
        return answer

    monkeypatch.setattr(module, name, reached)


def run_into_us(job: Job) -> Future:
    """Begin a job elsewhere; returns once it waits for a lock that our transaction in hand holds."""
    begun = elsewhere(job)
    wait_until_somebody_waits_for_us()
    return begun


def wait_until_somebody_waits_for_us() -> None:
    """For a lock that our transaction in hand holds."""
    eventually(_somebody_waits_for_us)


def _somebody_waits_for_us() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid)))"
        )
        return cursor.fetchone()[0]


def leave_to_others(run: Run) -> None:
    """The lease that a worker holds on the run's dispatch ran out."""
    Dispatch.objects.filter(run=run, status=states.WORKING).update(lease_until="2020-01-01T00:00Z")


def die_before_the_send(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run's worker commits the intent of its call, and nobody ever learns whether it was sent."""

    def vanish(intent: Any) -> None:
        raise Vanished

    with monkeypatch.context() as patch:
        patch.setattr(effects, "send", vanish)
        with pytest.raises(Vanished):
            carrier.carry(run.dispatches.get().pk)
    leave_to_others(run)
