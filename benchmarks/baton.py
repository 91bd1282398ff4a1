"""The platform under a piece of work: real workers, PostgreSQL with fsync on, Redis, the fake model server.

    python -m benchmarks.baton --runs 200 --k 10 --payload 100 --effect pure --workers 2 --in-flight 64

Runs are accepted while the workers are held still; the clock runs from their release to the end of the last run.
Printed per step (one model call, with the tool call that follows it): steps/s, CPU by kind of process, WAL, commits.
"""

import argparse
import os
from collections.abc import Sequence
from decimal import Decimal

from benchmarks import installation, sampling
from benchmarks.measure import Cost, spread
from benchmarks.platform import LONGEST_SECONDS, Model, Servers, Workers, wait_for
from benchmarks.rounds import Round, Track
from benchmarks.systems import Host
from benchmarks.work import EFFECT, READ, Work

BUDGET_USD = Decimal(100)  # a cap of its own on every run: budgets are reserved and settled as in real work


class Baton:
    """A production installation. `installation.enter` comes first, once in a process."""

    name = "Baton"

    def __init__(self, servers: Servers, host: Host, budget_usd: Decimal | None = BUDGET_USD) -> None:
        self.budget_usd = budget_usd
        self._workers = Workers(servers, count=host.processes, threads=host.each)

    @property
    def pids(self) -> Sequence[int]:
        return self._workers.pids

    def prepare(self, work: Work) -> None:
        installation.submit(work, budget_usd=self.budget_usd)

    def carry(self, work: Work) -> None:
        wait_for(lambda: not installation.open_runs(), seconds=LONGEST_SECONDS)
        if failed := installation.failed_runs():
            raise SystemExit(f"Not all runs succeeded: {failed}")

    def stop(self) -> None:
        self._workers.stop()


def report(rounds: list[Round], idle: Cost) -> str:
    """The figures of some rounds of the same work, per step, as lines to read."""
    work = rounds[0].work
    idle_commits = idle.commits / idle.seconds
    lines = [f"steps/s            {spread([each.steps_per_second for each in rounds])}"]
    lines.append(f"CPU ms/step        {spread([each.cpu_milliseconds for each in rounds])}")
    for kind in rounds[0].carrying.cpu_seconds:
        used = [1000 * each.carrying.cpu_seconds[kind] / work.steps for each in rounds]
        lines.append(f"  {kind:<16} {spread(used)}")
    lines.append(f"WAL bytes/step     {spread([each.wal_bytes for each in rounds])}")
    images = [each.carrying.full_page_bytes / work.steps for each in rounds]
    lines.append(f"  full-page images {spread(images)} beside")
    commits = [each.commits - idle_commits * each.carrying.seconds / work.steps for each in rounds]
    lines.append(f"commits/step       {spread(commits)}")
    lines.append(f"at the model       {max(each.most_under_way for each in rounds)} calls at once, at most")
    accepting = spread([each.accepting_milliseconds for each in rounds])
    lines.append(f"accepting a run    {accepting} ms CPU, before the clock starts")
    strangers = [100 * each.carrying.share_of_strangers for each in rounds]
    lines.append(f"strangers          {spread(strangers)} % of the machine's CPU went to other people's processes")
    percent = 100 * sum(idle.cpu_seconds.values()) / idle.seconds
    lines.append(f"idle               {idle_commits:.3g} commits/s, {percent:.2g} % of a core")
    return "\n".join(lines)


def wal_table(cost: Cost, steps: int) -> str:
    rows = sorted(cost.wal_by_record.items(), key=lambda row: -row[1])[:15]
    return "\n".join(f"  {size / steps:8.0f} B/step  {kind}" for kind, size in rows)


def run(options: argparse.Namespace, servers: Servers, model: Model) -> None:
    work = Work(options.runs, options.k, options.payload, READ if options.effect == "pure" else EFFECT)
    track = Track(servers, model)
    host = Host(options.workers, options.in_flight)
    baton = Baton(servers, host, None if options.no_budget else BUDGET_USD)
    track.enter(baton)
    try:
        track.run(baton, Work(2 * options.in_flight, min(4, options.k), options.payload, work.tool))
        rounds = [track.run(baton, work) for _ in range(options.rounds)]
        print(f"\n{work}, {host}, {options.rounds} rounds")
        print(report(rounds, track.idle(baton, 3)))
        if options.wal:
            print(wal_table(rounds[-1].carrying, work.steps))
        if options.statements:
            with sampling.statements(servers.database("baton"), work.steps):
                track.run(baton, work)
        if options.profile:
            sampler = sampling.Sampler(servers.folder / "profile.txt")
            track.run(baton, work, sampler)
            print(sampler.table())
    finally:
        track.leave(baton)


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
    parser.add_argument("--nice", type=int, default=0, help="negative: take the machine from others (as root)")
    options = parser.parse_args()
    os.nice(options.nice)
    with Servers.in_new_folder(statements=options.statements) as servers:
        model = servers.start_model(options.latency)
        installation.enter(servers, model)
        run(options, servers, model)


if __name__ == "__main__":
    main()
