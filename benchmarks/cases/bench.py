"""Where the cases run, and what they share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from benchmarks.baton import Baton
from benchmarks.platform import Model, Servers
from benchmarks.rounds import Round, Track
from benchmarks.systems import Host, Peer, System
from benchmarks.work import Work

SMALL, LARGE = 100, 4096  # bytes a tool call returns

# The systems by name
BATON, KEYED, FLOOR, SDK = "Baton", "Baton, keyed tool", "floor", "SDK alone"
LANGGRAPH, DBOS, CELERY, POSTED = "LangGraph", "DBOS", "Celery, bare loop", "Celery, bare loop, posted bytes"
DELTA, MERGED = "LangGraph, DeltaChannel (beta)", "DBOS, one step a turn"
PEERS = (LANGGRAPH, DELTA, DBOS, MERGED, FLOOR, CELERY, POSTED, SDK)


@dataclass(frozen=True)
class Options:
    """How much is done: `rounds` of `runs` runs each; `is_quick` shortens the long ones.

    `peers`, `parts`: names of the peers, and of the latencies, that are wanted; empty = all.
    """

    rounds: int
    runs: int
    is_quick: bool
    processes: int = 2
    peers: frozenset[str] = frozenset()
    parts: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Bench:
    servers: Servers
    model: Model
    track: Track
    options: Options

    @contextmanager
    def entered(self, *makers: Callable[[], System]) -> Iterator[list[System]]:
        """The systems, started one by one, standing still, and stopped at the end."""
        systems: list[System] = []
        try:
            for make in makers:
                systems.append(self.track.enter(make()))
                print(f"  {systems[-1].name} is up", flush=True)
            yield systems
        finally:
            for system in systems:
                self.track.leave(system)

    def run(self, name: str, system: System, work: Work) -> Round:
        done = self.track.run(system, work)
        said = f"{done.steps_per_second:7.1f} steps/s, {done.cpu_milliseconds:6.2f} ms CPU, {done.wal_bytes:7.0f} B WAL"
        strangers = 100 * done.carrying.share_of_strangers
        print(f"  {name:34} {said}, {done.commits:.2f} commits a step; strangers {strangers:2.0f} %", flush=True)
        return done

    def baton(self, host: Host) -> Baton:
        return Baton(self.servers, host)

    def peer(self, name: str, module: str, host: Host, variant: str = "") -> Peer:
        return Peer(name, module, self.servers, self.model, host, variant)


Rounds = Mapping[str, Sequence[Round]]  # by the system's name, in the order they were run


def middle(rounds: Sequence[Round], figure: Callable[[Round], float]) -> float:
    return median(figure(each) for each in rounds)


def speed(each: Round) -> float:
    return each.steps_per_second


def cpu(each: Round) -> float:
    return each.cpu_milliseconds
