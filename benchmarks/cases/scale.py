"""More workers."""

from collections.abc import Iterator
from functools import partial

from benchmarks.cases.bench import SMALL, Bench, middle, speed
from benchmarks.measure import spread
from benchmarks.report import Section, Target
from benchmarks.systems import Host
from benchmarks.work import Work


def scale(bench: Bench) -> Iterator[Section]:
    """Worker process sets, each capped at 50 calls in flight with a model that takes a second: one, then two."""
    # Both kinds have full hands until the end: the runs go evenly into one set's and into two sets' hands.
    cap, runs = 50, 100 if bench.options.is_quick else 200
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
                rounds = [
                    bench.run(f"{sets} sets", baton, Work(runs, 4, SMALL)) for _ in range(min(2, bench.options.rounds))
                ]
            finally:
                bench.model.set_latency(0.0)
        speeds[sets] = middle(rounds, speed)
        section.rows.append(
            (
                str(sets),
                spread([each.carrying.seconds for each in rounds]),
                spread([each.steps_per_second for each in rounds]),
                spread([each.cpu_milliseconds for each in rounds]),
            )
        )
    ratio = speeds[2] / speeds[1]
    what = f"two worker process sets, each capped at {cap} calls, to one"
    section.targets.append(Target(what, "≥ 1.8 ×", f"{ratio:.2f} ×", ratio >= 1.8))
    yield section
