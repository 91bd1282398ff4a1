"""Workers are killed again and again while random plans are carried out: nothing of the outcome changes."""

import os
import random
import signal
import time

import pytest
from django.contrib.auth.models import User
from hypothesis import Phase, given, settings

from runs import states
from runs.models import Run
from tests.model_fixtures import ScriptedModel
from tests.plans import dags
from tests.runs import cast
from tests.stack import Stack
from tests.waiting import eventually

pytestmark = [pytest.mark.crash, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("model")]

RUNS = 8
LEASE = {"BATON_LEASE_SECONDS": "3", "BATON_RECONCILE_SECONDS": "0.5"}


def some(count: int, seed: int) -> list[list[dags.Spot]]:
    """DAGs drawn from a seed, the larger ones."""
    found: list[list[dags.Spot]] = []

    @settings(max_examples=count * 4, database=None, phases=[Phase.generate], derandomize=True, deadline=None)
    @given(dags.dags(most=10))
    def draw(spots: list[dags.Spot]) -> None:
        if len(spots) > 4:
            found.append(spots)

    draw()
    random.Random(seed).shuffle(found)
    return found[:count]


def test_killed_workers_change_nothing_in_the_outcome(stack: Stack, ann: User, model: ScriptedModel) -> None:
    cast.agent("worker")
    plans = some(RUNS, seed=7)
    workers = [stack.start_worker(LEASE) for _ in range(2)]
    runs: list[Run] = []
    for first in range(0, RUNS, 2):
        wave = [
            cast.start(ann, "x", agent=None, plan=dags.plan_of(spots, delay_seconds=1))
            for spots in plans[first : first + 2]
        ]
        time.sleep(0.7)
        assert Run.objects.filter(pk__in=[run.pk for run in wave]).open().exists(), "nothing was at work"
        os.kill(workers.pop(0).pid, signal.SIGKILL)
        workers.append(stack.start_worker(LEASE))
        runs += wave

    moving = Run.objects.filter(pk__in=[run.pk for run in runs]).exclude(status__in=states.RUN.final)
    eventually(lambda: not moving.exists())
    assert {str(run.pk): dags.faults(run, spots) for run, spots in zip(runs, plans, strict=True)} == {
        str(run.pk): [] for run in runs
    }
