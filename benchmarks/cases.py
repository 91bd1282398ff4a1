"""The cases of the comparison: what is run, and what the figures say of the targets."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from statistics import median

from benchmarks.baton import Baton
from benchmarks.measure import spread
from benchmarks.platform import Model, Servers
from benchmarks.rounds import Round, Track
from benchmarks.systems import BareCelery, Host, Peer, System
from benchmarks.work import EFFECT, READ, Work

SMALL, LARGE = 100, 4096  # bytes a tool call returns


@dataclass(frozen=True)
class Target:
    """`is_met` None: this run did not measure what it takes."""

    text: str
    figure: str
    is_met: bool | None


@dataclass
class Section:
    """One case's part of the report: a table, and the targets it speaks of."""

    title: str
    head: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)


@dataclass(frozen=True)
class Bench:
    """Where the cases run, and how much of them: `rounds` of `runs` runs each; `is_quick` shortens the long ones.

    only: names of the peers that are wanted; empty = all.
    """

    servers: Servers
    model: Model
    track: Track
    rounds: int
    runs: int
    is_quick: bool
    processes: int = 2
    only: frozenset[str] = frozenset()

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


def _median(rounds: Sequence[Round], figure: Callable[[Round], float]) -> float:
    return median(figure(each) for each in rounds)


def speed(each: Round) -> float:
    return each.steps_per_second


def cpu(each: Round) -> float:
    return each.cpu_milliseconds


# The peers

BATON, KEYED, FLOOR, SDK = "Baton", "Baton, keyed tool", "floor", "SDK alone"
LANGGRAPH, DBOS, CELERY, POSTED = "LangGraph", "DBOS", "Celery, bare loop", "Celery, bare loop, posted bytes"
DELTA, MERGED = "LangGraph, DeltaChannel (beta)", "DBOS, one step a turn"
PEERS = (LANGGRAPH, DELTA, DBOS, MERGED, FLOOR, CELERY, POSTED, SDK)


def peers(bench: Bench) -> Iterator[Section]:
    """All systems at 64 in flight and no model latency, in turns, K = 10."""
    host = Host(bench.processes, in_flight=64)
    makers: dict[str, Callable[[], System]] = {
        BATON: lambda: bench.baton(host),
        LANGGRAPH: lambda: bench.peer(LANGGRAPH, "on_langgraph", host),
        DELTA: lambda: bench.peer(DELTA, "on_langgraph", host, "delta"),
        DBOS: lambda: bench.peer(DBOS, "on_dbos", host),
        MERGED: lambda: bench.peer(MERGED, "on_dbos", host, "merged"),
        FLOOR: lambda: bench.peer(FLOOR, "floor", host),
        CELERY: lambda: BareCelery(CELERY, "created", bench.servers, host),
        POSTED: lambda: BareCelery(POSTED, "posted", bench.servers, host),
        SDK: lambda: bench.peer(SDK, "sdk_alone", host),
    }
    wanted = [make for name, make in makers.items() if name == BATON or not bench.only or name in bench.only]
    with bench.entered(*wanted) as systems:
        for payload in (SMALL,) if bench.is_quick else (SMALL, LARGE):
            yield _peers_section(host, payload, _in_turns(bench, systems, payload))


def _in_turns(bench: Bench, systems: Sequence[System], payload: int) -> Rounds:
    entries = [(system.name, system, READ) for system in systems]
    entries.insert(1, (KEYED, systems[0], EFFECT))
    print(f"warming up, P = {payload}", flush=True)
    for name, system, tool in entries:
        bench.run(name, system, Work(64, 4, payload, tool))
    found: dict[str, list[Round]] = {name: [] for name, _, _ in entries}
    for number in range(1, bench.rounds + 1):
        print(f"round {number} of {bench.rounds}, P = {payload}", flush=True)
        for name, system, tool in entries:
            found[name].append(bench.run(name, system, Work(bench.runs, 10, payload, tool)))
    return found


def _peers_section(host: Host, payload: int, found: Rounds) -> Section:
    head = ("", "steps/s", "Baton's speed to it", "CPU ms/step", "of it PostgreSQL", "WAL B/step", "commits/step")
    section = Section(f"K = 10, P = {payload} B, {host.in_flight} in flight on {host.processes} processes", head)
    for name, rounds in found.items():
        section.rows.append(
            (
                name,
                spread([each.steps_per_second for each in rounds]),
                f"{_times(found[BATON], rounds, speed):.2f} ×",
                spread([each.cpu_milliseconds for each in rounds]),
                f"{_median(rounds, _postgres_milliseconds):.2f}",
                f"{_median(rounds, lambda each: each.wal_bytes):,.0f}",
                f"{_median(rounds, lambda each: each.commits):.2f}",
            )
        )
    accepting = _median(found[BATON], lambda each: each.accepting_milliseconds)
    strangers = median(each.carrying.share_of_strangers for rounds in found.values() for each in rounds)
    section.remarks += [
        f"Accepting a run cost Baton {accepting:.1f} ms of CPU ahead of the clock: {accepting / 10:.2f} ms a step.",
        f"Other people's processes took {100 * strangers:.0f} % of the machine's CPU (median of the rounds).",
    ]
    section.targets += peer_targets(payload, found)
    return section


def _times(ours: Sequence[Round], theirs: Sequence[Round], figure: Callable[[Round], float]) -> float:
    """How many times theirs ours is: the median of the rounds' own ratios, since each round saw one weather."""
    return median(figure(our) / figure(their) for our, their in zip(ours, theirs, strict=True))


def _postgres_milliseconds(each: Round) -> float:
    return 1000 * each.carrying.cpu_seconds["postgres"] / each.work.steps


def peer_targets(payload: int, found: Rounds) -> Iterator[Target]:
    baton, keyed = found[BATON], found[KEYED]
    for peer, least, stretch in ((LANGGRAPH, 3, 4), (DBOS, 2, 3), (CELERY, 0.6, None), (POSTED, 0.6, None)):
        if peer in found:
            ratio, less = _times(baton, found[peer], speed), 1 / _times(baton, found[peer], cpu)
            further = f" (stretch {stretch} ×)" if stretch else ""
            text = f"P = {payload}: steps/s ≥ {least} × {peer}{further}"
            yield Target(text, f"{ratio:.2f} × ({less:.2f} × by CPU)", ratio >= least)
    if SDK in found:
        beyond = median(our.cpu_milliseconds - sdk.cpu_milliseconds for our, sdk in zip(baton, found[SDK], strict=True))
        yield Target(f"P = {payload}: CPU beyond the SDK's own ≤ 4 ms (stretch 2.5)", f"{beyond:.2f} ms", beyond <= 4)
    most = 5000 + 1.5 * payload
    wal = _median(baton, lambda each: each.wal_bytes)
    yield Target(f"P = {payload}: WAL a step ≤ {most:,.0f} B", f"{wal:,.0f} B", wal <= most)
    for rounds, what, limit in ((baton, "pure", 2), (keyed, "keyed", 3)):
        commits = _median(rounds, lambda each: each.commits)
        yield Target(f"P = {payload}: commits a step, {what} ≤ {limit}", f"{commits:.2f}", commits <= limit)


# Flat in K


def flat(bench: Bench) -> Iterator[Section]:
    """The cost of a step must not grow with the length of its run: Baton and the floor at growing K."""
    host = Host(processes=2, in_flight=16)
    lengths = (10, 160) if bench.is_quick else (10, 40, 160, 320)
    section = Section(
        f"Flatness in K: P = {SMALL} B, 16 in flight on 2 processes",
        ("K", "runs", "Baton CPU ms/step", "floor CPU ms/step", "Baton − floor", "Baton WAL B/step", "commits/step"),
    )
    beyond, wal = {}, {}
    with bench.entered(lambda: bench.baton(host), lambda: bench.peer(FLOOR, "floor", host)) as (baton, floor):
        for system in (baton, floor):
            bench.run(system.name, system, Work(32, 4, SMALL))
        for turns in lengths:
            work = Work(max(16, (320 if bench.is_quick else 1920) // turns), turns, SMALL)
            ours, theirs = [], []
            for _ in range(bench.rounds):
                ours.append(bench.run(f"{baton.name}, K = {turns}", baton, work))
                theirs.append(bench.run(f"{floor.name}, K = {turns}", floor, work))
            beyond[turns] = _median(ours, cpu) - _median(theirs, cpu)
            wal[turns] = _median(ours, lambda each: each.wal_bytes)
            section.rows.append(
                (
                    str(turns),
                    str(work.runs),
                    spread([each.cpu_milliseconds for each in ours]),
                    spread([each.cpu_milliseconds for each in theirs]),
                    f"{beyond[turns]:.2f}",
                    f"{wal[turns]:,.0f}",
                    f"{_median(ours, lambda each: each.commits):.2f}",
                )
            )
    first, last = lengths[0], lengths[-1]
    growth = beyond[last] / beyond[first]
    text = f"(Baton − floor) CPU at K = {last} ≤ 1.5 × that at K = {first}"
    section.targets.append(Target(text, f"{growth:.2f} ×", growth <= 1.5))
    widest = max(wal.values()) / min(wal.values())
    text = f"WAL a step flat in K from {first} to {last} (largest within 1.25 × the smallest)"
    section.targets.append(Target(text, f"{widest:.2f} ×", widest <= 1.25))
    yield section


# Many at once


def burst(bench: Bench) -> Iterator[Section]:
    """500 runs at once (quick: 100), K = 4, a model that takes a second: how much longer than the floor."""
    runs = 100 if bench.is_quick else 500
    host = Host(processes=2, in_flight=runs)
    section = Section(
        f"{runs} runs at once, K = 4, 1 s model latency, 2 processes (ideal 4.0 s)",
        ("", "wall s", "CPU ms/step", "most calls at the model at once"),
    )
    walls: dict[str, float] = {}
    with bench.entered(lambda: bench.baton(host), lambda: bench.peer(FLOOR, "floor", host)) as systems:
        for system in systems:
            bench.run(f"{system.name}, warming up", system, Work(runs, 2, SMALL))
        bench.model.set_latency(1.0)
        try:
            done: dict[str, list[Round]] = {system.name: [] for system in systems}
            for _ in range(bench.rounds):
                for system in systems:
                    done[system.name].append(bench.run(system.name, system, Work(runs, 4, SMALL)))
        finally:
            bench.model.set_latency(0.0)
    for name, rounds in done.items():
        walls[name] = _median(rounds, lambda each: each.carrying.seconds)
        section.rows.append(
            (
                name,
                spread([each.carrying.seconds for each in rounds]),
                spread([each.cpu_milliseconds for each in rounds]),
                str(max(each.most_under_way for each in rounds)),
            )
        )
    ratio = walls[BATON] / walls[FLOOR]
    section.targets.append(
        Target(f"{runs} at once: wall ≤ 2 × the floor's (stretch 1.3)", f"{ratio:.2f} ×", ratio <= 2)
    )
    yield section


# Scaling out


def scale(bench: Bench) -> Iterator[Section]:
    """Worker process sets, each capped at 50 calls in flight with a model that takes a second: one, then two."""
    cap, runs = 50, 100 if bench.is_quick else 150
    section = Section(
        f"Worker process sets, each capped at {cap} calls in flight, 1 s model latency, {runs} runs, K = 4",
        ("sets", "wall s", "steps/s", "CPU ms/step"),
    )
    speeds = {}
    for sets in (1, 2):
        with bench.entered(partial(bench.baton, Host(sets, sets * cap))) as (baton,):
            bench.run("warming up", baton, Work(2 * cap * sets, 2, SMALL))
            bench.model.set_latency(1.0)
            try:
                rounds = [bench.run(f"{sets} sets", baton, Work(runs, 4, SMALL)) for _ in range(min(2, bench.rounds))]
            finally:
                bench.model.set_latency(0.0)
        speeds[sets] = _median(rounds, speed)
        section.rows.append(
            (
                str(sets),
                spread([each.carrying.seconds for each in rounds]),
                spread([each.steps_per_second for each in rounds]),
                spread([each.cpu_milliseconds for each in rounds]),
            )
        )
    ratio = speeds[2] / speeds[1]
    section.targets.append(Target("two worker process sets ≥ 1.8 × one", f"{ratio:.2f} ×", ratio >= 1.8))
    yield section


CASES: Mapping[str, Callable[[Bench], Iterator[Section]]] = {
    "peers": peers,
    "flat": flat,
    "burst": burst,
    "scale": scale,
}
