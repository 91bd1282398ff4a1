"""The cases of the benchmark: what is run, and what the figures say of the targets. Each has a process of its own."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from benchmarks.cases import burst, dags, flat, history, latency, limits, peers, replay, scale, waiting
from benchmarks.cases.bench import Bench
from benchmarks.report import Section


@dataclass(frozen=True)
class Case:
    """What it asks of PostgreSQL costs something, so that only those have it who need it.

    statements: `pg_stat_statements`; commit_times: every transaction's moment of commit.
    """

    run: Callable[[Bench], Iterator[Section]]
    statements: bool = False
    commit_times: bool = False


CASES: Mapping[str, Case] = {
    "peers": Case(peers.peers),
    "flat": Case(flat.flat),
    "burst": Case(burst.burst),
    "scale": Case(scale.scale),
    "latency": Case(latency.latency, commit_times=True),
    "waiting": Case(waiting.waiting, statements=True, commit_times=True),
    "dags": Case(dags.dags),
    "history": Case(history.history),
    "limits": Case(limits.limits),
    "replay": Case(replay.replay),
}
