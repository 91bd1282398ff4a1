"""The arithmetic of docs/scaling.md: what a rate of steps takes, from what was measured and what is assumed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from benchmarks import record
from benchmarks.record import Measured
from benchmarks.report import table

PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"
BEGIN, END = "<!-- arithmetic: written by `make bench ARGS='--case limits'` -->", "<!-- end of arithmetic -->"
RATES = (100, 1_000, 10_000)  # steps a second
DAY = 86_400


@dataclass(frozen=True)
class Inputs:
    """Of one step, unless the name says otherwise. The first block is measured, the second assumed."""

    app_ms: float
    postgres_ms: float
    redis_ms: float
    wal_bytes: float
    image_bytes: float
    commits: float
    kept_bytes: float
    event_bytes: float
    events: float
    fsync_ms: float
    commits_by_64: float  # a second, by 64 connections, of one row each
    connections: float  # a worker process

    model_seconds: float = 5.0
    threads: int = 100  # a worker process
    busy: float = 0.6  # the share of a core that is planned with
    events_kept_days: int = 90


MEASURED = {
    "app_ms": "CPU of a worker, ms",
    "postgres_ms": "CPU of PostgreSQL, ms",
    "redis_ms": "CPU of Redis, ms",
    "wal_bytes": "WAL, B, full-page images aside",
    "image_bytes": "full-page images, B",
    "commits": "commits",
    "kept_bytes": "kept in tables and indexes, B",
    "event_bytes": "of it the event log, B",
    "events": "events",
    "fsync_ms": "one fsync, ms",
    "commits_by_64": "commits/s that PostgreSQL does from 64 connections",
    "connections": "connections a worker process opens",
}
ASSUMED = {
    "model_seconds": "a model call with its tool, s",
    "threads": "threads of a worker process",
    "busy": "share of a core planned with",
    "events_kept_days": "days the event log is kept in the database",
}


def write(kept: Mapping[str, Measured]) -> None:
    """Put both tables into the page; nothing where the case `limits` was never measured."""
    if (found := kept.get("limits")) is None:
        return
    numbers = {name: value for section in found.sections for name, value in section.inputs.items()}
    measured: dict[str, Any] = {name: numbers[name] for name in MEASURED}
    inputs = Inputs(**measured)
    record.between(PAGE, BEGIN, END, text(inputs, found))


def text(inputs: Inputs, found: Measured) -> str:
    rows = [(told, f"{getattr(inputs, name):,.4g}", "measured") for name, told in MEASURED.items()]
    rows += [(told, f"{getattr(inputs, name):,.4g}", "assumed") for name, told in ASSUMED.items()]
    return "\n\n".join(
        [
            f"At commit `{found.commit}` by `{found.command}`: {found.machine}.",
            table(("a step takes", "", ""), rows),
            table(("steps a second", *[f"{rate:,}" for rate in RATES]), list(reckoned(inputs, RATES))),
        ]
    )


def reckoned(inputs: Inputs, rates: Sequence[float]) -> list[Sequence[str]]:
    """A line for everything that has to be there, with a column for each rate."""
    columns = [_needs(inputs, rate) for rate in rates]
    return [(name, *[column[name] for column in columns]) for name in columns[0]]


def _needs(i: Inputs, rate: float) -> dict[str, str]:
    in_flight = rate * i.model_seconds
    worker_cores = rate * i.app_ms / 1000 / i.busy
    processes = max(ceil(worker_cores), ceil(in_flight / i.threads))
    commits = rate * i.commits
    return {
        "calls in flight": f"{in_flight:,.0f}",
        "cores for workers": f"{worker_cores:,.1f}",
        "worker processes (by cores, or by threads)": f"{processes:,}",
        "connections they open": f"{processes * i.connections:,.0f}",
        "cores for PostgreSQL": f"{rate * i.postgres_ms / 1000 / i.busy:,.1f}",
        "cores for Redis": f"{rate * i.redis_ms / 1000 / i.busy:,.2f}",
        "commits a second": f"{commits:,.0f}",
        "to what one connection could flush": f"{commits * i.fsync_ms / 1000:,.1f} ×",
        "to what 64 connections commit here": f"{commits / i.commits_by_64:,.2f} ×",
        "WAL, MB/s": f"{rate * i.wal_bytes / 1e6:,.1f}",
        "WAL with images, MB/s": f"{rate * (i.wal_bytes + i.image_bytes) / 1e6:,.1f}",
        "WAL a day, GB": f"{rate * i.wal_bytes * DAY / 1e9:,.0f}",
        "kept a day, GB": f"{rate * i.kept_bytes * DAY / 1e9:,.0f}",
        "of it events, GB": f"{rate * i.event_bytes * DAY / 1e9:,.0f}",
        "events a day, million": f"{rate * i.events * DAY / 1e6:,.0f}",
        "event log in the database, TB": f"{rate * i.event_bytes * DAY * i.events_kept_days / 1e12:,.1f}",
        "a month's event partition, TB": f"{rate * i.event_bytes * DAY * 30 / 1e12:,.2f}",
    }
