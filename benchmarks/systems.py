"""The systems that are compared, behind one shape."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import psycopg
from celery import Celery

from benchmarks import environments
from benchmarks.platform import LONGEST_SECONDS, Model, Servers, wait_for
from benchmarks.work import Work
from orchestrator_site.services import processes
from orchestrator_site.services.child import Child


@dataclass(frozen=True)
class Host:
    """How a system is spread out: its processes, and how many runs they have in flight together."""

    processes: int = 2
    in_flight: int = 64

    @property
    def each(self) -> int:
        return self.in_flight // self.processes


class System(Protocol):
    """`name` as the table calls it; `pids` are the roots of its process trees, which stand still while others work."""

    @property
    def name(self) -> str: ...

    @property
    def pids(self) -> Sequence[int]: ...

    def prepare(self, work: Work) -> None:
        """Pile the work up, before the clock starts, while its processes stand still."""

    def carry(self, work: Work) -> None:
        """Return when all of it is done; raise SystemExit when it cannot be. This is what the clock measures."""

    def stop(self) -> None: ...


class Peer:
    """A system in processes that take orders as lines of JSON (`benchmarks/peers/serving.py`)."""

    def __init__(self, name: str, module: str, servers: Servers, model: Model, host: Host, variant: str = "") -> None:
        self.name, self.host = name, host
        self.database = servers.database(f"{module}_{variant}".strip("_"))
        python = environments.python_of(module)
        argv = [str(python), "-m", f"benchmarks.peers.{module}", "--database", self.database, "--model", model.url]
        argv += ["--variant", variant, "--in-flight", str(host.each)]
        self._log = log = (servers.logs / f"{name.replace(' ', '-')}.log").open("ab")
        # One after the other, for the first makes the tables.
        self._processes = [_started(argv, log) for _ in range(host.processes)]

    @property
    def pids(self) -> Sequence[int]:
        return [process.pid for process in self._processes]

    def prepare(self, work: Work) -> None:
        pass

    def carry(self, work: Work) -> None:
        shares = [work.runs // len(self._processes)] * len(self._processes)
        shares[0] += work.runs - sum(shares)
        for process, share in zip(self._processes, shares, strict=True):
            order = {"runs": share, "turns": work.turns, "payload": work.payload, "tool": work.tool}
            _said(process, order | {"in_flight": self.host.each})
        for process, share in zip(self._processes, shares, strict=True):
            if _heard(process) != {"done": share}:
                raise SystemExit(f"{self.name} broke off: {_end_of(self._log)}")

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


def _started(argv: Sequence[str], log: BinaryIO) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        argv,
        cwd=processes.REPOSITORY,
        env=os.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    assert process.stdout is not None
    while (line := process.stdout.readline()) and line != "ready\n":
        pass
    if not line:
        raise SystemExit(f"{argv[2]} did not start: {_end_of(log)}")
    return process


def _end_of(log: BinaryIO) -> str:
    return Path(log.name).read_text()[-3000:]


def _said(process: "subprocess.Popen[str]", order: dict[str, Any]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(order) + "\n")
    process.stdin.flush()


def _heard(process: "subprocess.Popen[str]") -> dict[str, Any] | None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith('{"done"'):
            return json.loads(line)
    return None


class BareCelery:
    """The bare loop in Celery workers of threads. `way`: how they call the model (`benchmarks/peers/on_celery.py`)."""

    def __init__(self, name: str, way: str, servers: Servers, host: Host) -> None:
        self.name, self._way = name, way
        self._queue = f"bare-{way}"
        database = servers.database(f"on_celery_{way}")
        broker = servers.redis_url.replace("unix://", "redis+socket://").replace("?db=0", "?virtual_host=1")
        self._celery = Celery(broker=broker, set_as_current=False)  # whoever rings for Baton asks the current one
        env = os.environ | {"BENCH_DATABASE": database, "BENCH_BROKER": broker, "PYTHONUNBUFFERED": "1"}
        self._children = [self._worker(n, servers, host.each, env) for n in range(1, host.processes + 1)]
        self._done = psycopg.connect(database, autocommit=True)
        self._before = 0

    @property
    def pids(self) -> Sequence[int]:
        return [child.pid for child in self._children]

    def prepare(self, work: Work) -> None:
        self._before = self._ended()
        for _ in range(work.runs):
            arguments = [work.turns, work.payload, work.tool, self._way]
            self._celery.send_task("bare.carry", arguments, queue=self._queue)

    def carry(self, work: Work) -> None:
        wait_for(lambda: self._ended() == self._before + work.runs, seconds=LONGEST_SECONDS)

    def stop(self) -> None:
        self._done.close()
        for child in self._children:
            child.kill()

    def _ended(self) -> int:
        (ended,) = self._done.execute("SELECT count(*) FROM step WHERE is_last").fetchone() or (0,)
        return ended

    def _worker(self, number: int, servers: Servers, threads: int, env: Mapping[str, str]) -> Child:
        name = f"{self._queue}-{number}"
        argv = ["celery", "-A", "benchmarks.peers.on_celery", "worker", "--pool", "threads", "--queues", self._queue]
        argv += ["--concurrency", str(threads), "--hostname", f"{name}@%h", "--loglevel", "INFO"]
        child = Child(
            name=name,
            argv=[sys.executable, "-m", *argv, "--without-mingle", "--without-gossip"],
            log=servers.logs / f"{name}.log",
            env=env,
            ready=lambda child: " ready." in child.log.read_text(),
            folder=processes.REPOSITORY,
        )
        child.start()
        child.wait_ready()
        return child
