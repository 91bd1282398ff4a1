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
from tests.agents.cast import at_work, entry, eventually, write_garbage
from tests.stack import database_url

pytestmark = pytest.mark.django_db(transaction=True)

STARTING_SECONDS = 30


@pytest.fixture
def process() -> Iterator[subprocess.Popen[str]]:
    """It polls too seldom for a test: what it knows, it was told."""
    yield from serving(poll_seconds=60)


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
        eventually(lambda: WorkerRoster.objects.filter(pid=process.pid).exists(), within_seconds=STARTING_SECONDS)
        yield process
        end(process)


def end(process: subprocess.Popen[str]) -> int:
    assert process.stdin is not None
    process.stdin.close()
    return process.wait(timeout=10)


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


def test_another_process_serves_a_new_agent_within_a_second_of_its_publishing(process):
    at_work("order-desk")

    eventually(epoch_is_served, within_seconds=1)
    epoch, *slugs = next_line_with(process, "order-desk").split()
    assert int(epoch) <= roster.database_epoch()  # it may have heard of the agent before its last change
    assert slugs == ["order-desk"]


def test_a_change_without_its_signal_is_found_by_the_poll(polling_process):
    at_work("order-desk")
    eventually(epoch_is_served, within_seconds=1)

    execute("UPDATE agents_rosterepoch SET epoch = epoch + 1")

    eventually(epoch_is_served, within_seconds=3)


def test_an_epoch_that_went_back_is_followed_too(polling_process):
    at_work("order-desk")
    eventually(epoch_is_served, within_seconds=1)

    execute("UPDATE agents_rosterepoch SET epoch = 3")

    eventually(epoch_is_served, within_seconds=3)


def test_a_listener_whose_connection_is_cut_comes_back_with_what_it_missed(process):
    [pid] = eventually(listening_pids, within_seconds=5)
    execute("SELECT pg_terminate_backend(%s)", pid)
    at_work("order-desk")

    eventually(epoch_is_served, within_seconds=5)

    [another] = eventually(listening_pids, within_seconds=5)
    assert another != pid
    at_work("courier")
    eventually(epoch_is_served, within_seconds=1)


def test_what_it_cannot_read_stands_in_its_row_until_it_is_mended(process):
    at_work("order-desk")
    write_garbage("order-desk")

    row = eventually(lambda: WorkerRoster.objects.exclude(error="").first(), within_seconds=1)
    assert row.error.startswith("order-desk: version 2 cannot be read")

    at_work("order-desk")
    eventually(lambda: WorkerRoster.objects.filter(error="").exists() and epoch_is_served(), within_seconds=1)


def test_its_row_beats_and_goes_with_it(process):
    first = WorkerRoster.objects.get().seen_at

    eventually(lambda: WorkerRoster.objects.filter(seen_at__gt=first).exists(), within_seconds=10)
    assert WorkerRoster.objects.seen_within(10).exists()

    assert end(process) == 0
    assert not WorkerRoster.objects.exists()
