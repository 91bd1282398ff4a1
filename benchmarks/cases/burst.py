"""Many runs at once."""

from collections.abc import Iterator

from benchmarks.cases.bench import BATON, FLOOR, SMALL, Bench, middle
from benchmarks.measure import spread
from benchmarks.report import Section, Target
from benchmarks.rounds import Round
from benchmarks.systems import Host
from benchmarks.work import Work


def burst(bench: Bench) -> Iterator[Section]:
    """500 runs at once (quick: 100), K = 4, a model that takes a second: how much longer than the floor."""
    runs = 100 if bench.options.is_quick else 500
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
            for _ in range(bench.options.rounds):
                for system in systems:
                    done[system.name].append(bench.run(system.name, system, Work(runs, 4, SMALL)))
        finally:
            bench.model.set_latency(0.0)
    for name, rounds in done.items():
        walls[name] = middle(rounds, lambda each: each.carrying.seconds)
        section.rows.append(
            (
                name,
                spread([each.carrying.seconds for each in rounds]),
                spread([each.cpu_milliseconds for each in rounds]),
                str(max(each.most_under_way for each in rounds)),
            )
        )
    ratio = walls[BATON] / walls[FLOOR]
    what = f"{runs} runs at once: wall to the floor's"
    section.targets.append(Target(what, "≤ 2 × (stretch 1.3)", f"{ratio:.2f} ×", ratio <= 2))
    yield section
