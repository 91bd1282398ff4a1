"""Our own processes: web, worker, beat. The same ones on one machine, on many, and under test."""

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from django.conf import settings

from .child import Child

REPOSITORY = Path(__file__).resolve().parents[2]
GRACEFUL_SECONDS = 5  # what open streams get on a stop before uvicorn closes them
LEAVING_SECONDS = 5  # what a worker gets after its grace time, to hand back what it still holds


def web(*, host: str = "127.0.0.1", port: int, env: Mapping[str, str], logs: Path, name: str = "web") -> Child:
    address = "127.0.0.1" if host in {"0.0.0.0", "::", ""} else host
    argv = ["uvicorn", "orchestrator_site.asgi:application", "--host", host, "--port", str(port)]
    argv += ["--timeout-graceful-shutdown", str(GRACEFUL_SECONDS), "--no-server-header"]
    return Child(
        name=name,
        argv=_python(*argv),
        log=logs / f"{name}.log",
        env=_named(env, name),
        ready=lambda child: _answers(f"http://{address}:{port}/api/v1/health/live/"),
        folder=REPOSITORY,
    )


def worker(name: str, *, env: Mapping[str, str], logs: Path) -> Child:
    ready_file = logs / f"{name}.ready"
    argv = ["celery", "-A", "orchestrator_site", "worker", "--pool", "threads", "--hostname", f"{name}@%h"]
    argv += ["--loglevel", "INFO", "--without-mingle", "--without-gossip"]
    return Child(
        name=name,
        argv=_python(*argv),
        log=logs / f"{name}.log",
        env=_named(env, name) | {"BATON_READY_FILE": str(ready_file)},
        ready=lambda child: ready_file.exists() and ready_file.read_text() == str(child.pid),
        stop_seconds=settings.BATON_GRACE_SECONDS + LEAVING_SECONDS,
        folder=REPOSITORY,
        is_never_given_up=True,
    )


def beat(*, env: Mapping[str, str], logs: Path) -> Child:
    """It decides nothing: every sweep runs in the workers; see docs/decisions/beat-decides-nothing.md.

    Its schedule is kept in memory: the file of Celery's own scheduler does not survive a kill in mid-write.
    """
    argv = ["celery", "-A", "orchestrator_site", "beat", "--loglevel", "INFO", "--pidfile", ""]
    return Child(
        name="beat",
        argv=_python(*argv, "--scheduler", "celery.beat:Scheduler"),
        log=logs / "beat.log",
        env=_named(env, "beat"),
        folder=REPOSITORY,
    )


def _python(*argv: str) -> list[str]:
    return [sys.executable, "-m", *argv]


def _named(env: Mapping[str, str], name: str) -> dict[str, str]:
    """The whole environment of a process: ours, what was asked for, and the name the supervisor calls it by."""
    return os.environ | dict(env) | {"BATON_PROCESS_NAME": name, "PYTHONUNBUFFERED": "1"}


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500
    except (OSError, ValueError):
        return False
