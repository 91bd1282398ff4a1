"""What the benchmark counts, held against known amounts of work."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import psycopg
import pytest
from django.db import connection

from benchmarks.measure import Meter, tree_cpu_seconds

BURN = "import time; ends = time.process_time() + 0.3\nwhile time.process_time() < ends: pass\n"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN!r}]); print('done', flush=True); input()"


embedded_server = pytest.mark.skipif("DATABASE_URL" in os.environ, reason="reads the log of the embedded server")


@pytest.fixture
def meter(db: None) -> Iterator[Meter]:
    found = Meter(connection.settings_dict["HOST"], groups={}, beside={})
    yield found
    found.close()


def test_the_time_of_a_child_that_has_ended_counts_with_its_parent() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()

        spent = tree_cpu_seconds(parent.pid)

        parent.communicate("\n")
    assert 0.3 <= spent < 3


@embedded_server
def test_commits_and_bytes_of_the_log_are_those_of_the_work(meter: Meter) -> None:
    """Other test processes may write beside us: their commits are why the count is held from below alone."""
    host = connection.settings_dict["HOST"]
    with psycopg.connect(host=host, user="postgres", dbname="postgres", autocommit=True) as own:
        own.execute("DROP TABLE IF EXISTS bench_probe")
        own.execute("CREATE TABLE bench_probe (text text)")
        meter.checkpoint()
        start = meter.read()
        for _ in range(20):
            own.execute("INSERT INTO bench_probe VALUES (repeat('x', 1000))")
            own.execute("SELECT count(*) FROM bench_probe")  # reads, and so leaves nothing in the log
        cost = meter.cost(start, meter.read())
        own.execute("DROP TABLE bench_probe")

    assert cost.commits >= 20
    inserted = sum(size for kind, size in cost.wal_by_record.items() if kind.startswith("Heap/INSERT"))
    assert inserted >= 20 * 1000
    assert cost.wal_bytes >= inserted + cost.full_page_bytes
    assert cost.seconds > 0


@embedded_server
def test_reading_alone_commits_nothing(meter: Meter) -> None:
    """The control: had reads been counted, the figure above would say nothing about durable commits."""
    host = connection.settings_dict["HOST"]
    best = None
    for _ in range(20):  # until nobody else writes for a moment
        start = meter.read()
        with psycopg.connect(host=host, user="postgres", dbname="postgres", autocommit=True) as own:
            for _ in range(20):
                own.execute("SELECT count(*) FROM pg_class")
        commits = meter.cost(start, meter.read()).commits
        best = commits if best is None else min(best, commits)
        if best < 20:
            break
        time.sleep(0.1)

    assert best is not None
    assert best < 20
