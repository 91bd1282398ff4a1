"""One measured pass of one system over one piece of work."""

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import psutil

from benchmarks.measure import Cost, Meter
from benchmarks.platform import Model, Servers
from benchmarks.sampling import Sampler
from benchmarks.systems import System
from benchmarks.work import Work


@dataclass(frozen=True)
class Round:
    """`preparing` is what accepting the work cost, where that is apart; `most_under_way` counts calls at the model."""

    work: Work
    preparing: Cost
    carrying: Cost
    most_under_way: int

    @property
    def steps_per_second(self) -> float:
        return self.work.steps / self.carrying.seconds

    @property
    def cpu_milliseconds(self) -> float:
        """CPU a step of everything but the model server and who gave the order."""
        return 1000 * sum(self.carrying.cpu_seconds.values()) / self.work.steps

    @property
    def wal_bytes(self) -> float:
        """Bytes a step written to the log, full-page images aside."""
        return (self.carrying.wal_bytes - self.carrying.full_page_bytes) / self.work.steps

    @property
    def accepting_milliseconds(self) -> float:
        """CPU a run that accepting it took, here and in the services, before the clock started."""
        spent = sum(self.preparing.cpu_seconds.values()) + self.preparing.beside_seconds["driver"]
        return 1000 * spent / self.work.runs

    @property
    def commits(self) -> float:
        return self.carrying.commits / self.work.steps


class Track:
    """Where rounds are run: one PostgreSQL, one Redis, one model server, and systems of which one moves at a time."""

    def __init__(self, servers: Servers, model: Model) -> None:
        self._servers, self._model = servers, model
        self._meters: dict[str, Meter] = {}

    def enter(self, system: System) -> System:
        """Take a freshly started system in; it stands still from here on."""
        shared = {name: [self._servers.children[name].pid] for name in ("postgres", "redis")}
        self._meters[system.name] = Meter(
            self._servers.postgres_host, {"app": system.pids} | shared, {"model": [self._model.child.pid]}
        )
        send(system.pids, signal.SIGSTOP)
        return system

    def run(self, system: System, work: Work, sampler: Sampler | None = None) -> Round:
        meter = self._meters[system.name]
        meter.checkpoint()
        self._model.counts()
        before = meter.read()
        system.prepare(work)
        start = meter.read()
        with moving(system), sampler.of(system.pids[0]) if sampler else nullcontext():
            system.carry(work)
            end = meter.read()
        counted = self._model.counts()
        if counted["calls"] != work.steps:
            raise SystemExit(f"{system.name}: {work.steps} model calls were due, {counted['calls']} came.")
        return Round(work, meter.cost(before, start), meter.cost(start, end), counted["most_under_way"])

    def idle(self, system: System, seconds: float) -> Cost:
        """What a system costs while there is nothing to do."""
        meter = self._meters[system.name]
        with moving(system):
            start = meter.read()
            time.sleep(seconds)
            return meter.cost(start, meter.read())

    def leave(self, system: System) -> None:
        self._meters.pop(system.name).close()
        send(system.pids, signal.SIGCONT)
        system.stop()


@contextmanager
def moving(system: System) -> Iterator[None]:
    """The processes of a system, stopped by the kernel before and after, run during the block."""
    send(system.pids, signal.SIGCONT)
    try:
        yield
    finally:
        send(system.pids, signal.SIGSTOP)


def send(pids: Sequence[int], signum: signal.Signals) -> None:
    """To every process of these trees."""
    for pid in pids:
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            try:
                process.send_signal(signum)
            except psutil.NoSuchProcess:
                continue
