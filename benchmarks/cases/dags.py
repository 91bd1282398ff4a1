"""Plans of several agents."""

from collections.abc import Iterator

from benchmarks.cases.bench import Bench
from benchmarks.cases.latency import working
from benchmarks.latency.figures import section
from benchmarks.measure import counting_strangers
from benchmarks.report import Section


def dags(bench: Bench) -> Iterator[Section]:
    """Three wide and three deep beside its critical path, and what a node costs in a plan of 1,000."""
    from benchmarks.latency import dags as measured

    with counting_strangers() as strangers, working(bench.servers) as workers:
        found = measured.measure(bench.model, workers, runs=1 if bench.options.is_quick else 5)
    yield section("Plans", found, strangers[0])
