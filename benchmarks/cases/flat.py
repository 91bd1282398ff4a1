"""The cost of a step in long runs."""

from collections.abc import Iterator

from benchmarks.cases.bench import FLOOR, SMALL, Bench, cpu, middle
from benchmarks.measure import spread
from benchmarks.report import Section, Target
from benchmarks.systems import Host
from benchmarks.work import Work


def flat(bench: Bench) -> Iterator[Section]:
    """The cost of a step must not grow with the length of its run: Baton and the floor at growing K."""
    host = Host(processes=2, in_flight=16)
    lengths = (10, 160) if bench.options.is_quick else (10, 40, 160, 320)
    section = Section(
        f"Flatness in K: P = {SMALL} B, 16 in flight on 2 processes",
        ("K", "runs", "Baton CPU ms/step", "floor CPU ms/step", "Baton − floor", "Baton WAL B/step", "commits/step"),
    )
    beyond, wal = {}, {}
    with bench.entered(lambda: bench.baton(host), lambda: bench.peer(FLOOR, "floor", host)) as (baton, floor):
        for system in (baton, floor):
            bench.run(system.name, system, Work(32, 4, SMALL))
        for turns in lengths:
            work = Work(max(16, (320 if bench.options.is_quick else 1920) // turns), turns, SMALL)
            ours, theirs = [], []
            for _ in range(bench.options.rounds):
                ours.append(bench.run(f"{baton.name}, K = {turns}", baton, work))
                theirs.append(bench.run(f"{floor.name}, K = {turns}", floor, work))
            beyond[turns] = middle(ours, cpu) - middle(theirs, cpu)
            wal[turns] = middle(ours, lambda each: each.wal_bytes)
            section.rows.append(
                (
                    str(turns),
                    str(work.runs),
                    spread([each.cpu_milliseconds for each in ours]),
                    spread([each.cpu_milliseconds for each in theirs]),
                    f"{beyond[turns]:.2f}",
                    f"{wal[turns]:,.0f}",
                    f"{middle(ours, lambda each: each.commits):.2f}",
                )
            )
    first, last = lengths[0], lengths[-1]
    growth = beyond[last] / beyond[first]
    what = f"(Baton − floor) CPU a step at K = {last} to that at K = {first}"
    section.targets.append(Target(what, "≤ 1.5 ×", f"{growth:.2f} ×", growth <= 1.5))
    widest = max(wal.values()) / min(wal.values())
    what = f"WAL a step flat in K from {first} to {last}: the largest to the smallest"
    section.targets.append(Target(what, "≤ 1.25 ×", f"{widest:.2f} ×", widest <= 1.25))
    yield section
