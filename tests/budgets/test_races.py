"""16 real processes against one cap, a thousand times: never above it, and nothing to speak of left below it."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db.models import Max, Sum

from runs.models import BudgetPeriod
from tests.budgets.cast import budget, sums_agree
from tests.budgets.racers import BASE, CENT
from tests.runs.cast import agent, start
from tests.stack import database_url

pytestmark = [pytest.mark.crash, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("model")]

PROCESSES = 16
CAP = Decimal("0.25")
LARGEST = 4 * CENT


def race(**what: Any) -> float:
    """Until all have come to their ends; how many seconds that took."""
    env = os.environ | {
        "DJANGO_SETTINGS_MODULE": "orchestrator_site.settings",
        "DATABASE_URL": database_url(),
        "REDIS_URL": settings.REDIS_URL,
        "BATON_DATA_DIR": str(settings.DATA_DIR),
    }
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "tests.budgets.racers", json.dumps(what)], env=env, check=True, timeout=500)
    return time.monotonic() - began


@contextmanager
def redis_is_flushed() -> Iterator[list[int]]:
    """Again and again, while it lasts."""
    ended, times = threading.Event(), [0]

    def flush() -> None:
        with redis.Redis.from_url(settings.REDIS_URL) as server:
            while not ended.wait(0.05):
                server.flushdb()
                times[0] += 1

    thread = threading.Thread(target=flush)
    thread.start()
    try:
        yield times
    finally:
        ended.set()
        thread.join()


@pytest.fixture
def racing(ann: Any) -> dict[str, Any]:
    agent()
    runs = [start(ann, f"run {n}") for n in range(PROCESSES)]
    return {"budget": budget(cap=CAP).pk, "dispatches": [str(run.dispatches.get().pk) for run in runs]}


def test_a_thousand_trials(racing: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    quiet = race(**racing, trials=[*range(400)])
    with redis_is_flushed() as flushed:
        loud = race(**racing, trials=[*range(400, 800)])
        loud += race(**racing, trials=[*range(800, 1000)], settles="part")

    days = list(BudgetPeriod.objects.annotate(spent=Sum("allotments__spent_usd"), largest=Max("allotments__spent_usd")))
    assert len(days) == 1000
    assert all(day.spent <= CAP for day in days)
    sums_agree()
    whole = [day for day in days if (day.begins_at - BASE).days < 799]
    unspent = [CAP - day.spent for day in whole]
    # Whoever was refused last wanted more than there was, and nothing else was left anywhere.
    assert all(left < LARGEST for left in unspent)
    assert flushed[0] > 100
    with capsys.disabled():
        print(
            f"\n1,000 trials of {PROCESSES} processes in {quiet + loud:.0f} s, Redis flushed {flushed[0]} times: "
            f"most spent {max(day.spent for day in days):.4f} of {CAP} USD, most left {max(unspent):.4f} USD "
            f"(reservations of up to {LARGEST}), {sum(left == 0 for left in unspent)} caps used to the cent"
        )


def test_control_who_reads_and_then_writes_overshoots(racing: dict[str, Any]) -> None:
    day = BudgetPeriod.objects.create(budget_id=racing["budget"], begins_at=BASE, cap_usd=CAP)

    race(**racing, trials=[0], careless=True)

    day.refresh_from_db()
    assert day.granted_usd > CAP
