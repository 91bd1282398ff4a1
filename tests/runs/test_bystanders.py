"""One that hangs, fails, is locked or was retired: the others get their turn all the same."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction

from agents import manifests
from agents.models import Agent
from agents.values import AgentKind
from orchestrator_site.core import observers
from orchestrator_site.core.models import Event, Observation
from runs import carrier, doorbells, leases, orchestration, reconcile, states
from runs.engine import effects, settling
from runs.models import Attempt, Dispatch
from runs.orchestration import flow
from runs.reconcile import Reconciler
from runs.states import StopReason
from tests.runs.cast import agent, at_once, call, carry_all, claim, script, scripts, start, text, tool
from tests.runs.meanwhile import elsewhere, just_before
from tests.waiting import PATIENCE_SECONDS, eventually
from tools import executors
from tools.values import Effect, ToolResult

pytestmark = pytest.mark.django_db(transaction=True)

DONE = text("Done.")
FINE = ToolResult('"fine"')
LONG_AGO = "2020-01-01T00:00Z"


class TestAPlanOfSeveral:
    @pytest.fixture
    def run(self, model, ann):
        agent("orders")
        agent("refunds")
        agent("router", kind=AgentKind.ROUTER)
        both = call(*[(f"dispatch_to_{slug}", {"task": "Do it.", "confidence": 0.9}) for slug in ("orders", "refunds")])
        return start(ann, scripts(router=[both], orders=[text("1")], refunds=[text("2")]), agent=None)

    def test_goes_on_when_the_worker_dies_between_the_end_of_a_node_and_the_next(self, run, monkeypatch):
        carrier.carry(run.dispatches.get().pk)
        with monkeypatch.context() as patch:
            patch.setattr(orchestration, "advance", lambda run_id: None)
            carrier.carry(run.dispatches.get(number=2).pk)
        assert run.nodes.get(number=3).status == states.BLOCKED

        reconcile.sweep()

        assert run.dispatches.get(number=3).status == states.QUEUED
        assert carry_all(run).status == states.SUCCEEDED

    def test_loses_only_the_node_of_an_agent_retired_before_the_plan_was_made(self, run, monkeypatch):
        refunds = Agent.objects.get(slug="refunds")
        just_before(monkeypatch, orchestration, "advance", lambda: manifests.retire(refunds, by=None))

        carry_all(run)

        _, orders, refunds = run.dispatches.order_by("number")
        assert (orders.status, refunds.stop_reason) == (states.SUCCEEDED, StopReason.REFUSED)
        assert (run.status, run.stop_reason) == (states.FAILED, StopReason.REFUSED)


class TestARunThatCannotBeMoved:
    """An error of ours, met whenever this run's plan is looked at."""

    @pytest.fixture
    def runs(self, model, ann, monkeypatch):
        agent()
        runs = [start(ann, script(DONE)) for _ in range(3)]
        original = flow.run_on

        def run_on(moves):
            if moves.run.pk == runs[1].pk:
                raise RuntimeError("poison")
            return original(moves)

        monkeypatch.setattr(flow, "run_on", run_on)
        return runs

    def test_does_not_keep_others_from_being_woken(self, runs):
        Dispatch.objects.update(status=states.WAITING, due_at=LONG_AGO)

        reconcile.sweep()

        assert [run.dispatches.get().status for run in runs] == [states.QUEUED, states.WAITING, states.QUEUED]

    def test_does_not_keep_others_from_being_finished(self, runs, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(orchestration, "advance", lambda run_id: None)
            for run in runs:
                carrier.carry(run.dispatches.get().pk)

        reconcile.sweep()

        for run in runs:
            run.refresh_from_db()
        assert [run.status for run in runs] == [states.SUCCEEDED, states.WORKING, states.SUCCEEDED]


def test_a_broker_that_is_away_is_asked_once_a_sweep_and_not_for_each_dispatch(model, ann, monkeypatch):
    agent()
    runs = [start(ann, script(DONE)) for _ in range(3)]
    Dispatch.objects.update(rung_at=LONG_AGO)
    rung: list[UUID] = []
    monkeypatch.setattr(doorbells, "ring", rung.append)

    with ThreadPoolExecutor(1) as fallback:
        assert reconcile.call_forgotten(fallback) == 3

    assert len(rung) == 1
    for run in runs:
        run.refresh_from_db()
    assert [run.status for run in runs] == [states.SUCCEEDED] * 3


class TestObservers:
    @pytest.fixture
    def observe(self):
        """Register observers for one test."""
        names = []

        def observe(name, type, observer):
            names.append(name)
            observers.observe(name, type)(observer)

        yield observe
        for name in names:
            observers.forget(name)

    def test_one_whose_error_cannot_be_stored_as_it_is_blocks_nobody(self, observe, model, ann):
        def fail(event):
            raise ValueError("half a \ud800 and a \x00")

        told: list[Event] = []
        observe("tests.unsayable", "run_accepted", fail)
        observe("tests.good", "run_succeeded", told.append)
        agent()
        carry_all(start(ann, script(DONE)))

        observers.tell()

        owed = Observation.objects.get()
        assert (owed.observer, owed.failures) == ("tests.unsayable", 1)
        assert owed.last_error.startswith("ValueError: half a ")
        assert [event.type for event in told] == ["run_succeeded"]

    @pytest.fixture
    def reconciler(self, settings, monkeypatch):
        settings.BATON_RECONCILE_SECONDS = 0.05
        monkeypatch.setattr(doorbells, "ring", lambda dispatch_id: False)
        reconciler = Reconciler()
        yield reconciler
        reconciler.stop()
        for thread in reconciler._threads:
            thread.join(timeout=PATIENCE_SECONDS)
        reconciler._fallback.shutdown()

    def test_one_that_hangs_holds_up_nobody_elses_work(self, observe, reconciler, model, ann):
        entered, leave = threading.Event(), threading.Event()

        def hang(event):
            entered.set()
            leave.wait(timeout=PATIENCE_SECONDS)

        observe("tests.hanging", "run_accepted", hang)
        agent()
        start(ann, "the one it hangs on")
        reconciler.start()
        assert entered.wait(timeout=PATIENCE_SECONDS)

        try:
            run = start(ann, script(DONE))
            Dispatch.objects.filter(run=run).update(rung_at=LONG_AGO)
            eventually(lambda: run.dispatches.get().is_final)
            assert not leave.is_set()
        finally:
            leave.set()


class TestLeases:
    def test_one_locked_row_does_not_stop_the_renewal_of_the_others(self, model, ann):
        agent()
        locked, other = (claim(start(ann, script(DONE))) for _ in range(2))

        with leases.keeper.keeping(locked), leases.keeper.keeping(other):
            Dispatch.objects.update(lease_until=LONG_AGO)
            with transaction.atomic():
                Dispatch.objects.select_for_update().get(pk=locked.dispatch_id)
                renewed = elsewhere(leases.keeper.renew).result(timeout=PATIENCE_SECONDS)

        assert renewed == 1
        assert not Dispatch.objects.forgotten().filter(pk=other.dispatch_id).exists()

    def test_pure_calls_that_are_sent_together_all_begin_at_once(self, model, ann, monkeypatch):
        """One that waited for a free thread would outlive the deadline up to which its lease is renewed."""
        tool("read", "tests.echo")
        agent("worker", "read", limits={"tool_calls_per_turn": 16})
        reads = call(*[("read", {"n": n}) for n in range(2 * settling.PARALLEL)])
        runs = [start(ann, script(reads, DONE)) for _ in range(5)]
        sent: list[Any] = []
        begun: list[Any] = []
        intend = effects.intend

        def count_sent(*args):
            intents = intend(*args)
            assert isinstance(intents, list)
            sent.extend(intents)
            return intents

        def begin(*args, **kwargs):
            begun.append(kwargs["call"])
            expected = len(sent)
            eventually(lambda: len(begun) >= expected)
            return FINE

        monkeypatch.setattr(effects, "intend", count_sent)
        monkeypatch.setattr(executors, "run", begin)
        dispatches = iter([run.dispatches.get().pk for run in runs])
        at_once(lambda: carrier.carry(next(dispatches)), len(runs))

        assert {dispatch.stop_reason for dispatch in Dispatch.objects.all()} == {StopReason.FINISHED}
        assert Attempt.objects.filter(status=states.SUCCEEDED).count() == len(runs) * 2 * settling.PARALLEL
        assert Attempt.objects.count() == len(runs) * 2 * settling.PARALLEL

    def test_a_turn_of_many_calls_over_many_slices_is_not_set_aside(self, model, ann, settings, monkeypatch):
        settings.BATON_SLICE_TURNS = 2
        many = 2 * (leases.QUARANTINE_AFTER + 2)
        tool("act", "tests.effect", Effect.KEYED)
        agent("worker", "act", limits={"tool_calls_per_turn": many})
        monkeypatch.setattr(executors, "run", lambda *args, **kwargs: FINE)

        run = carry_all(start(ann, script(call(*[("act", {"n": n}) for n in range(many)]), DONE)))

        assert run.dispatches.get().stop_reason == StopReason.FINISHED
        assert run.dispatches.get().fence > leases.QUARANTINE_AFTER
