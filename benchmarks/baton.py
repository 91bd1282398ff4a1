"""The platform under a piece of work: real workers, PostgreSQL with fsync on, Redis, the fake model server.

    python -m benchmarks.baton --runs 200 --k 10 --payload 100 --effect pure --workers 2 --in-flight 64

Runs are accepted while the workers are held still; the clock runs from their release to the end of the last run.
Printed per step (one model call, with the tool call that follows it): steps/s, CPU by kind of process, WAL, commits.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from statistics import median

from benchmarks import installation, sampling
from benchmarks.measure import Cost, Meter, spread
from benchmarks.platform import Model, Servers, Workers, wait_for
from benchmarks.work import EFFECT, READ, Work

LONGEST_SECONDS = 600
BUDGET_USD = Decimal(100)  # a cap of its own on every run: budgets are reserved and settled as in real work


@dataclass(frozen=True)
class Round:
    """One measured pass: what accepting the runs cost, and what carrying them to their end did."""

    work: Work
    accepting: Cost
    carrying: Cost
    most_under_way: int

    @property
    def steps_per_second(self) -> float:
        return self.work.steps / self.carrying.seconds


class Baton:
    """A production installation on given servers. `enter` it once in a process."""

    def __init__(self, servers: Servers, model: Model, workers: Workers) -> None:
        self.model, self.workers = model, workers
        postgres, redis = servers.children["postgres"].pid, servers.children["redis"].pid
        self.meter = Meter(servers.postgres_host, {"workers": workers.pids, "postgres": [postgres], "redis": [redis]})

    def do(
        self, work: Work, *, budget_usd: Decimal | None = BUDGET_USD, sampler: sampling.Sampler | None = None
    ) -> Round:
        self.model.counts()
        self.meter.checkpoint()
        with self.workers.held():
            before = self.meter.read()
            installation.submit(work, budget_usd=budget_usd)
            start = self.meter.read()
        with sampler.of(self.workers.pids[0]) if sampler else _nothing():
            wait_for(lambda: not installation.open_runs(), seconds=LONGEST_SECONDS)
            end = self.meter.read()
        counted = self.model.counts()
        self._check(work, counted["calls"])
        costs = self.meter.cost(before, start), self.meter.cost(start, end)
        return Round(work, *costs, counted["most_under_way"])

    def idle(self, seconds: float) -> Cost:
        """What the workers cost while there is nothing to do."""
        import time

        start = self.meter.read()
        time.sleep(seconds)
        return self.meter.cost(start, self.meter.read())

    def stop(self) -> None:
        self.meter.close()
        self.workers.stop()

    def _check(self, work: Work, calls: int) -> None:
        """A fast wrong answer is no answer."""
        if wrong := installation.failed_runs():
            raise SystemExit(f"Not all runs succeeded: {wrong}")
        if calls != work.steps:
            raise SystemExit(f"{work.steps} model calls were due, the model server saw {calls}.")


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def report(rounds: list[Round], idle: Cost) -> str:
    """The figures of some rounds of the same work, per step, as lines to read."""
    steps = rounds[0].work.steps
    idle_commits = idle.commits / idle.seconds

    def per_step(figure) -> str:
        return spread([figure(each) / steps for each in rounds])

    lines = [f"steps/s            {spread([each.steps_per_second for each in rounds])}"]
    lines.append(f"CPU ms/step        {per_step(lambda r: 1000 * sum(r.carrying.cpu_seconds.values()))}")
    kinds = rounds[0].carrying.cpu_seconds
    lines += [f"  {kind:<16} {per_step(lambda r, kind=kind: 1000 * r.carrying.cpu_seconds[kind])}" for kind in kinds]
    lines.append(f"WAL bytes/step     {per_step(lambda r: r.carrying.wal_bytes - r.carrying.full_page_bytes)}")
    lines.append(f"  full-page images {per_step(lambda r: r.carrying.full_page_bytes)}")
    lines.append(f"commits/step       {per_step(lambda r: r.carrying.commits - idle_commits * r.carrying.seconds)}")
    lines.append(f"at the model       {max(each.most_under_way for each in rounds)} calls at once, at most")
    runs = rounds[0].work.runs
    accept = [1000 * each.accepting.cpu_seconds["postgres"] / runs for each in rounds]
    lines.append(f"accepting one run  {1000 * median(r.accepting.seconds for r in rounds) / runs:.3g} ms, ")
    lines[-1] += f"of it {spread(accept)} ms CPU in PostgreSQL"
    lines.append(f"idle               {idle_commits:.3g} commits/s, {_cpu_percent(idle):.2g} % of a core")
    return "\n".join(lines)


def wal_table(cost: Cost, steps: int) -> str:
    rows = sorted(cost.wal_by_record.items(), key=lambda row: -row[1])[:15]
    return "\n".join(f"  {size / steps:8.0f} B/step  {kind}" for kind, size in rows)


def _cpu_percent(cost: Cost) -> float:
    return 100 * sum(cost.cpu_seconds.values()) / cost.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--k", type=int, default=10, help="model calls a run")
    parser.add_argument("--payload", type=int, default=100, help="bytes a tool call returns")
    parser.add_argument("--effect", choices=["pure", "keyed"], default="pure")
    parser.add_argument("--workers", type=int, default=2, help="worker processes")
    parser.add_argument("--in-flight", type=int, default=64, help="threads of all workers together")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds the model takes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-budget", action="store_true", help="runs without a cap of their own")
    parser.add_argument("--profile", action="store_true", help="one more round, one worker under a sampling profiler")
    parser.add_argument("--statements", action="store_true", help="one more round with statements counted")
    parser.add_argument("--wal", action="store_true", help="show which records the WAL is made of")
    options = parser.parse_args()
    work = Work(options.runs, options.k, options.payload, READ if options.effect == "pure" else EFFECT)
    budget = None if options.no_budget else BUDGET_USD
    with Servers.in_new_folder(statements=options.statements) as servers:
        model = servers.start_model(options.latency)
        installation.enter(servers, model)
        threads = options.in_flight // options.workers
        baton = Baton(servers, model, Workers(servers, count=options.workers, threads=threads))
        try:
            baton.do(Work(2 * options.in_flight, min(4, options.k), options.payload, work.tool), budget_usd=budget)
            rounds = [baton.do(work, budget_usd=budget) for _ in range(options.rounds)]
            print(f"\n{work} in flight {options.in_flight} on {options.workers} workers, {options.rounds} rounds")
            print(report(rounds, baton.idle(3)))
            if options.wal:
                print(wal_table(rounds[-1].carrying, work.steps))
            if options.statements:
                with sampling.statements(servers.database("baton"), work.steps):
                    baton.do(work, budget_usd=budget)
            if options.profile:
                sampler = sampling.Sampler(servers.folder / "profile.txt")
                baton.do(work, budget_usd=budget, sampler=sampler)
                print(sampler.table())
        finally:
            baton.stop()


if __name__ == "__main__":
    main()
