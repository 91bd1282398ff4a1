"""Runs that wait for a person."""

from collections.abc import Iterator

from benchmarks.cases.bench import Bench
from benchmarks.cases.latency import working
from benchmarks.latency.figures import section
from benchmarks.measure import counting_strangers
from benchmarks.report import Section


def waiting(bench: Bench) -> Iterator[Section]:
    """10,000 runs wait for approval (quick: 2,000): what they cost, and how soon a decision moves one."""
    from benchmarks.latency import waiting as measured

    runs, decided = (2_000, 60) if bench.options.is_quick else (10_000, 300)
    with counting_strangers() as strangers, working(bench.servers) as workers:
        found = measured.measure(bench.servers, workers, waiting=runs, decided=decided)
    yield section(f"{runs:,} runs wait for approval", found, strangers[0])
