"""What a benchmark runs on: PostgreSQL as in production (fsync on), Redis, the model server, and workers.

    with Servers.in_new_folder() as servers:
        model = servers.start_model()
        installation.enter(servers, model)      # from here on Django models may be imported
        workers = Workers(servers, count=2, threads=32)

Everything is a child of this process, lives in one temporary folder and is gone at the end of the block.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from orchestrator_site.services import processes
from orchestrator_site.services.child import Child
from orchestrator_site.services.folder import DataFolder
from orchestrator_site.services.places import made, redis_socket, socket_folder
from orchestrator_site.services.postgres import create_database, postgres
from orchestrator_site.services.redis import redis

LONGEST_SECONDS = 900  # for one piece of work

# Keeps what was written readable for the measuring of it; changes nothing of what is written.
KEEP_WAL = {"wal_keep_size": "8GB"}
COMMIT_TIMES = {"track_commit_timestamp": "on"}  # so that a row can be asked when it was committed
STATEMENTS = {"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track_planning": "off"}


class Servers:
    """PostgreSQL and Redis in a data folder, and the model servers started beside them."""

    def __init__(self, folder: Path, *, statements: bool = False, commit_times: bool = False) -> None:
        self.folder = folder
        self.logs = folder / "log"
        self._held = DataFolder(folder)
        self._held.take()
        settings = KEEP_WAL | (STATEMENTS if statements else {}) | (COMMIT_TIMES if commit_times else {})
        self.children = {"postgres": postgres(self._held, settings=settings), "redis": redis(self._held)}
        for child in self.children.values():
            child.start()
        for child in self.children.values():
            child.wait_ready()

    @classmethod
    @contextmanager
    def in_new_folder(cls, *, statements: bool = False, commit_times: bool = False) -> Iterator["Servers"]:
        signal.signal(signal.SIGTERM, end)  # asked to stop, a benchmark clears away what it started
        folder = made(Path(tempfile.gettempdir()) / f"baton-bench-{os.getpid()}")
        servers = None
        try:
            servers = cls(folder, statements=statements, commit_times=commit_times)
            yield servers
        finally:
            if servers:
                servers.stop()
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def postgres_host(self) -> str:
        """The folder of its socket."""
        return str(socket_folder(self.folder))

    @property
    def redis_url(self) -> str:
        return f"unix://{redis_socket(self.folder)}?db=0"

    def database(self, name: str) -> str:
        """The URL of a database on the one server, made at the first call."""
        create_database(self.postgres_host, name)
        return f"postgresql://postgres@/{name}?host={self.postgres_host}"

    def start_model(self, latency_seconds: float = 0.0) -> "Model":
        argv = ["benchmarks.model_server", "--latency", str(latency_seconds)]
        child = self.start("model", argv, ready=lambda child: " ready on http://" in child.log.read_text())
        return Model(child.log.read_text().split(" ready on ")[1].split()[0], child)

    def start(self, name: str, module: list[str], env: Mapping[str, str] | None = None, ready=None) -> Child:
        """A Python module as one more process, with these variables beside our own."""
        child = Child(
            name=name,
            argv=[sys.executable, "-m", *module],
            log=self.logs / f"{name}.log",
            env=os.environ | dict(env or {}),
            ready=ready,
            stop_seconds=5,
            folder=processes.REPOSITORY,
        )
        self.children[name] = child
        child.start()
        child.wait_ready()
        return child

    def stop(self) -> None:
        for name in reversed([*self.children]):
            self.children.pop(name).stop()
        self._held.release()


def end(signum: int, frame: object) -> None:
    """A signal's handler."""
    raise SystemExit(f"ended by signal {signum}")


class Model:
    """The fake model server's process as a client sees it."""

    def __init__(self, url: str, child: Child) -> None:
        self.url, self.child = url, child

    def counts(self) -> dict[str, int]:
        """`calls`, `received_bytes` and `most_under_way` since the last time it was asked."""
        with urllib.request.urlopen(f"{self.url}/count", timeout=10) as response:
            return json.load(response)

    def set_latency(self, seconds: float) -> None:
        request = urllib.request.Request(f"{self.url}/latency/{seconds}", data=b"", method="POST")
        urllib.request.urlopen(request, timeout=10).close()


class Workers:
    """Worker processes of the platform."""

    def __init__(self, servers: Servers, *, count: int, threads: int, env: Mapping[str, str] | None = None) -> None:
        own = {"BATON_WORKER_THREADS": str(threads), **(env or {})}
        self.children = [processes.worker(f"worker-{n}", env=own, logs=servers.logs) for n in range(1, count + 1)]
        for child in self.children:
            child.start()
        for child in self.children:
            child.wait_ready()

    @property
    def pids(self) -> list[int]:
        return [child.pid for child in self.children]

    def stop(self) -> None:
        for child in self.children:
            child.ask_to_stop()
        for child in self.children:
            child.wait_stopped(child.stop_seconds)


def wait_for(question: Callable[[], object], *, seconds: float, pause_seconds: float = 0.05) -> None:
    """Until the question is answered with something true; raises TimeoutError."""
    ends_at = time.monotonic() + seconds
    while not question():
        if time.monotonic() > ends_at:
            raise TimeoutError(f"not done after {seconds:g} s")
        time.sleep(pause_seconds)
