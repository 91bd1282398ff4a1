"""The listener in a process of its own, over the database of this test."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.db import connection

from agents import roster
from agents.models import WorkerRoster
from tests.agents.cast import at_work, entry, write_garbage
from tests.stack import database_url
from tests.waiting import PATIENCE_SECONDS, eventually
from tools.executors import isolation

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def process() -> Iterator[subprocess.Popen[str]]:
    """It polls too seldom for a test: what it knows, it was told."""
    yield from serving(poll_seconds=2 * PATIENCE_SECONDS)


@pytest.fixture
def polling_process() -> Iterator[subprocess.Popen[str]]:
    yield from serving(poll_seconds=0.5)


def serving(poll_seconds: float) -> Iterator[subprocess.Popen[str]]:
    entry()
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "orchestrator_site.settings",
        "DATABASE_URL": database_url(),
        "BATON_ROSTER_POLL_SECONDS": str(poll_seconds),
    }
    command = [sys.executable, "-m", "tests.agents.serving_process", "worker-1"]
    with subprocess.Popen(
        command, cwd=settings.BASE_DIR, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        eventually(lambda: WorkerRoster.objects.filter(pid=process.pid).exists())
        yield process
        end(process)


def end(process: subprocess.Popen[str]) -> int:
    assert process.stdin is not None
    process.stdin.close()
    return process.wait(timeout=PATIENCE_SECONDS)


def epoch_is_served() -> bool:
    return WorkerRoster.objects.filter(worker="worker-1", epoch=roster.database_epoch()).exists()


def next_line_with(process: subprocess.Popen[str], word: str) -> str:
    assert process.stdout is not None
    return next(line for line in process.stdout if word in line.split())


def execute(statement: str, *values: str | int) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def listening_pids() -> list[int]:
    found = execute("SELECT pid FROM pg_stat_activity WHERE application_name = %s", "baton roster")
    return [pid for (pid,) in found]


def test_another_process_is_told_of_a_new_agent(process):
    at_work("order-desk")

    eventually(epoch_is_served)
    epoch, *slugs = next_line_with(process, "order-desk").split()
    assert int(epoch) <= roster.database_epoch()  # it may have heard of the agent before its last change
    assert slugs == ["order-desk"]


def test_a_change_without_its_signal_is_found_by_the_poll(polling_process):
    at_work("order-desk")
    eventually(epoch_is_served)

    execute("UPDATE agents_rosterepoch SET epoch = epoch + 1")

    eventually(epoch_is_served)


def test_an_epoch_that_went_back_is_followed_too(polling_process):
    at_work("order-desk")
    eventually(epoch_is_served)

    execute("UPDATE agents_rosterepoch SET epoch = 3")

    eventually(epoch_is_served)


def test_a_listener_whose_connection_is_cut_comes_back_with_what_it_missed(process):
    [pid] = eventually(listening_pids)
    execute("SELECT pg_terminate_backend(%s)", pid)
    at_work("order-desk")

    eventually(epoch_is_served)

    [another] = eventually(listening_pids)
    assert another != pid
    at_work("courier")
    eventually(epoch_is_served)


def test_what_it_cannot_read_stands_in_its_row_until_it_is_mended(process):
    at_work("order-desk")
    write_garbage("order-desk")

    row = eventually(lambda: WorkerRoster.objects.exclude(error="").first())
    assert row.error.startswith("order-desk: version 2 cannot be read")

    at_work("order-desk")
    eventually(lambda: WorkerRoster.objects.filter(error="").exists() and epoch_is_served())


def test_its_row_beats_and_goes_with_it(process):
    row = WorkerRoster.objects.get()
    first = row.seen_at
    assert row.isolates is isolation.is_possible()

    eventually(lambda: WorkerRoster.objects.filter(seen_at__gt=first).exists())
    assert WorkerRoster.objects.seen_within(10).exists()

    assert end(process) == 0
    assert not WorkerRoster.objects.exists()
