"""A made-up next version of what a dispatch stores: who takes what, and what is brought up when."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.contrib.auth.models import User

from agents.values import AgentKind
from runs import carrier, leases, reconcile, state_versions, states
from runs.models import Dispatch, Run
from runs.states import StopReason
from tests.model_fixtures import ScriptedModel
from tests.runs.cast import agent, call, carry_all, claim, event_types, events_of, script, scripts, start, text

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("model")]


def put_the_task_into_an_envelope(dispatch: Dispatch) -> None:
    dispatch.task = json.dumps({"text": dispatch.task})
    dispatch.save(update_fields=["task"])


@contextmanager
def next_release(*upgrades: state_versions.Upgrade) -> Iterator[None]:
    """In this block we are a process of it."""
    for work in upgrades or [put_the_task_into_an_envelope]:
        state_versions.upgrade(work)
    try:
        yield
    finally:
        del state_versions._upgrades[-len(upgrades or [None]) :]


@pytest.fixture
def newer(ann: User) -> Run:
    """A run that a process of the next release started."""
    agent()
    with next_release():
        return start(ann, script(text("Hello.")))


class TestAnOlderProcess:
    def test_does_not_claim_it(self, newer: Run) -> None:
        assert leases.claim(newer.dispatches.get().pk) is None

    def test_neither_calls_anybody_to_it_nor_wakes_it(self, newer: Run) -> None:
        before = Dispatch.objects.values().get()
        reconcile.sweep()
        Dispatch.objects.update(rung_at="2020-01-01T00:00Z")
        reconcile.sweep()
        assert Dispatch.objects.values().get() == before | {"rung_at": Dispatch.objects.get().rung_at}
        assert Dispatch.objects.get().rung_at.year == 2020

        Dispatch.objects.update(status=states.WAITING, due_at="2020-01-01T00:00Z")
        reconcile.sweep()

        assert Dispatch.objects.get().status == states.WAITING

    def test_starts_what_comes_next_in_its_own_version_and_the_newer_brings_that_up(self, ann: User) -> None:
        agent()
        agent("router", kind=AgentKind.ROUTER)
        run = start(
            ann, scripts(router=[call(("dispatch_to_worker", {"task": "Do it.", "confidence": 0.9}))]), agent=None
        )
        carrier.carry(run.dispatches.get().pk)

        following = run.dispatches.get(number=2)
        assert following.state_version == 1
        with next_release():
            assert leases.claim(following.pk) is not None
        assert run.dispatches.get(number=2).state_version == 2

    def test_control_the_newer_takes_it(self, newer: Run) -> None:
        with next_release():
            assert leases.claim(newer.dispatches.get().pk) is not None
        assert "dispatch_state_upgraded" not in event_types(newer)


class TestANewerProcess:
    def test_brings_it_up_where_it_claims_it(self, ann: User) -> None:
        agent()
        run = start(ann, script(text("Hello.")))
        task = run.dispatches.get().task

        with next_release():
            claim(run)

        dispatch = run.dispatches.get()
        assert (dispatch.state_version, json.loads(dispatch.task)) == (2, {"text": task})
        assert events_of(run, "dispatch_state_upgraded") == [
            {"dispatch": str(dispatch.pk), "from_version": 1, "to_version": 2}
        ]

    def test_takes_every_step_in_between_in_order(self, ann: User) -> None:
        def number(dispatch: Dispatch) -> None:
            dispatch.briefing += f"{dispatch.state_version}"
            dispatch.save(update_fields=["briefing"])

        def add_three(dispatch: Dispatch) -> None:
            dispatch.briefing += "then"
            dispatch.save(update_fields=["briefing"])

        agent()
        run = start(ann, script(text("Hello.")))

        with next_release(number, add_three):
            claim(run)

        dispatch = run.dispatches.get()
        assert (dispatch.state_version, dispatch.briefing) == (3, "1then")

    def test_sets_aside_what_it_cannot_bring_up_and_serves_the_others(
        self, ann: User, model: ScriptedModel, caplog: pytest.LogCaptureFixture
    ) -> None:
        def refuse_the_first(dispatch: Dispatch) -> None:
            dispatch.task = "half done"
            dispatch.save(update_fields=["task"])
            if dispatch.run_id == first.pk:
                raise ValueError("what is this?")

        agent()
        first, second = start(ann, script(text("1"))), start(ann, script(text("2")))
        task = first.dispatches.get().task
        with next_release(refuse_the_first):
            claims = 0
            while not Run.objects.get(pk=first.pk).is_final:
                Dispatch.objects.filter(run=first).update(due_at=None)
                carrier.carry(first.dispatches.get().pk)
                claims += 1
            assert claim(second)

        first.refresh_from_db()
        assert (first.stop_reason, claims) == (StopReason.QUARANTINED, leases.QUARANTINE_AFTER + 1)
        assert (first.dispatches.get().task, first.dispatches.get().state_version) == (task, 1)
        assert second.dispatches.get().state_version == 2
        assert model.count() == 0


def test_control_who_reads_what_is_newer_reads_it_wrongly(ann: User, model: ScriptedModel) -> None:
    """Teeth: had an older process taken it, its model would have been sent the envelope."""
    agent()
    run = start(ann, script(text("Hello.")))
    with next_release():
        leases.hand_on(claim(run))
    Dispatch.objects.update(state_version=1)

    run = carry_all(run)

    assert run.status == states.FAILED
