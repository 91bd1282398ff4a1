"""What is published is fitted by a worker, and in nobody's way."""

import threading

import pytest

from agents import roster
from agents.models import RoutingFit
from agents.routing import embedders
from agents.routing.embedders import WordVectors
from runs import reconcile
from runs.reconcile import Reconciler
from tests.agents import cast
from tests.agents.routing import desk
from tests.waiting import PATIENCE_SECONDS, eventually

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def reconciler(settings):
    settings.BATON_RECONCILE_SECONDS = 0.05
    roster.forget()
    cast.entry()
    for route in desk.table().routes:
        cast.at_work(route.slug, owns=route.description, exemplars=route.exemplars)
    made = Reconciler()
    yield made
    made.stop()
    for thread in made._threads:
        thread.join(timeout=PATIENCE_SECONDS)
    roster.forget()


def test_a_worker_fits_what_was_published(reconciler):
    reconciler.start()

    fit = eventually(RoutingFit.objects.first)
    assert set(fit.thresholds) == {"accounts", "jobs", "orders", "refunds"}


class Slow(WordVectors):
    """An embedder that stands still until it is released."""

    name = "slow"
    entered, release = threading.Event(), threading.Event()

    def embed(self, texts):
        self.entered.set()
        self.release.wait(timeout=PATIENCE_SECONDS)
        return super().embed(texts)


def test_a_fit_that_takes_its_time_holds_up_no_sweep(reconciler, settings, monkeypatch):
    settings.BATON_EMBEDDER = f"{__name__}.Slow"
    embedders.configured.cache_clear()
    sweeps = []
    monkeypatch.setattr(reconcile, "wake_due", lambda: sweeps.append(Slow.release.is_set()))

    reconciler.start()
    assert Slow.entered.wait(timeout=PATIENCE_SECONDS)
    before = len(sweeps)
    eventually(lambda: len(sweeps) > before + 3)
    Slow.release.set()

    assert not any(sweeps[: before + 3])
    assert eventually(RoutingFit.objects.first).embedder == "slow"
    embedders.configured.cache_clear()
