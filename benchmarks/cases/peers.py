"""All systems beside each other, in one run on one machine."""

from collections.abc import Callable, Iterator, Sequence
from statistics import median

from benchmarks.cases.bench import (
    BATON,
    CELERY,
    DBOS,
    DELTA,
    FLOOR,
    KEYED,
    LANGGRAPH,
    LARGE,
    MERGED,
    POSTED,
    SDK,
    SMALL,
    Bench,
    Rounds,
    cpu,
    middle,
    speed,
)
from benchmarks.measure import spread
from benchmarks.report import Section, Target
from benchmarks.rounds import Round
from benchmarks.systems import BareCelery, Host, System
from benchmarks.work import EFFECT, READ, Work


def peers(bench: Bench) -> Iterator[Section]:
    """All systems at 64 in flight and no model latency, in turns, K = 10."""
    host = Host(bench.options.processes, in_flight=64)
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
    wanted = [
        make for name, make in makers.items() if name == BATON or not bench.options.peers or name in bench.options.peers
    ]
    with bench.entered(*wanted) as systems:
        for payload in (SMALL,) if bench.options.is_quick else (SMALL, LARGE):
            yield _peers_section(host, payload, _in_turns(bench, systems, payload))


def _in_turns(bench: Bench, systems: Sequence[System], payload: int) -> Rounds:
    entries = [(system.name, system, READ) for system in systems]
    entries.insert(1, (KEYED, systems[0], EFFECT))
    print(f"warming up, P = {payload}", flush=True)
    for name, system, tool in entries:
        bench.run(name, system, Work(64, 4, payload, tool))
    found: dict[str, list[Round]] = {name: [] for name, _, _ in entries}
    for number in range(1, bench.options.rounds + 1):
        print(f"round {number} of {bench.options.rounds}, P = {payload}", flush=True)
        for name, system, tool in entries:
            found[name].append(bench.run(name, system, Work(bench.options.runs, 10, payload, tool)))
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
                f"{middle(rounds, _postgres_milliseconds):.2f}",
                f"{middle(rounds, lambda each: each.wal_bytes):,.0f}",
                f"{middle(rounds, lambda each: each.commits):.2f}",
            )
        )
    accepting = middle(found[BATON], lambda each: each.accepting_milliseconds)
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
    weight = f"P = {payload}"
    for peer, least, stretch in ((LANGGRAPH, 3, 4), (DBOS, 2, 3), (CELERY, 0.6, None), (POSTED, 0.6, None)):
        if peer in found:
            ratio, less = _times(baton, found[peer], speed), 1 / _times(baton, found[peer], cpu)
            limit = f"≥ {least} ×" + (f" (stretch {stretch} ×)" if stretch else "")
            said = f"{ratio:.2f} × ({less:.2f} × by CPU)"
            yield Target(f"{weight}: steps/s to {peer}", limit, said, ratio >= least)
    if SDK in found:
        beyond = median(our.cpu_milliseconds - sdk.cpu_milliseconds for our, sdk in zip(baton, found[SDK], strict=True))
        what = f"{weight}: CPU a step beyond the SDK's own"
        yield Target(what, "≤ 4 ms (stretch 2.5)", f"{beyond:.2f} ms", beyond <= 4)
    most = 5000 + 1.5 * payload
    wal = middle(baton, lambda each: each.wal_bytes)
    yield Target(f"{weight}: WAL a step", f"≤ {most:,.0f} B", f"{wal:,.0f} B", wal <= most)
    for rounds, tool, most_commits in ((baton, "pure", 2), (keyed, "keyed", 3)):
        commits = middle(rounds, lambda each: each.commits)
        yield Target(
            f"{weight}: commits a step, {tool}", f"≤ {most_commits}", f"{commits:.2f}", commits <= most_commits
        )
