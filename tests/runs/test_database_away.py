"""The connection breaks in mid-turn: what a tool brought is kept, and the dispatch is soon free for the next worker."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection

from runs import carrier, engine, leases, states
from runs.engine import asking, effects, persistence
from runs.models import Attempt, Dispatch
from tests.model_fixtures import Process, ScriptedModel
from tests.runs.cast import agent, call, carry_all, event_types, only_call, script, start, text, tool
from tests.runs.meanwhile import elsewhere
from tests.waiting import PATIENCE_SECONDS, eventually
from tools.models import Tool
from tools.values import Effect, Risk

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("model")]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(persistence, "PAUSES_SECONDS", (0.05,) * 40)


@pytest.fixture
def acting(model: ScriptedModel) -> None:
    tool("act", "tests.effect", Effect.UNSAFE, Risk.LOW)
    Tool.objects.update(confirmation="never")
    agent("worker", "act")


def end_our_session() -> None:
    end_session_of(connection.connection.info.backend_pid)


def stand_still() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 50")
    time.sleep(0.3)


def take_no_writes() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL transaction_read_only = on")


Trouble = Callable[[], None]


def cut_at(
    monkeypatch: pytest.MonkeyPatch, module: Any, point: str, times: int = 1, trouble: Trouble = end_our_session
) -> None:
    """There is trouble with the database when this point is reached, as often as said."""
    original, left = module.crashpoints.reach, [times]

    def reached(name: str) -> None:
        original(name)
        if name == point and left[0]:
            left[0] -= 1
            trouble()

    monkeypatch.setattr(module.crashpoints, "reach", reached)


def end_session_of(pid: int) -> None:
    def end() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [pid])

    elsewhere(end).result(timeout=PATIENCE_SECONDS)


def lose_the_word_of(monkeypatch: pytest.MonkeyPatch, is_ours: Callable[[], bool]) -> None:
    """The commit of one transaction arrives, and the connection breaks before we hear of it."""
    commit = connection._commit  # type: ignore[attr-defined]
    lost: list[bool] = []

    def committed() -> Any:
        ours = not lost and is_ours()
        answer = commit()
        if ours:
            lost.append(True)
            connection.connection.close()
            raise OperationalError("the word was lost on its way")
        return answer

    monkeypatch.setattr(connection, "_commit", committed)


@pytest.mark.parametrize("trouble", [end_our_session, stand_still, take_no_writes])
def test_what_a_tool_brought_is_written_once_the_database_is_back(
    acting: None, ann: User, ledger: Process, monkeypatch: pytest.MonkeyPatch, trouble: Trouble
) -> None:
    run = start(ann, script(call(("act", {})), text("Done.")))
    cut_at(monkeypatch, effects, "before_record_commit", times=3, trouble=trouble)

    run = carry_all(run)

    assert (run.status, only_call(run).status) == (states.SUCCEEDED, states.DONE)
    assert event_types(run).count("tool_call_done") == 1
    assert Attempt.objects.count() == 1


def test_a_commit_of_which_the_word_was_lost_is_not_written_twice(
    acting: None, ann: User, ledger: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start(ann, script(call(("act", {})), text("Done.")))
    lose_the_word_of(monkeypatch, lambda: Attempt.objects.filter(status=states.SUCCEEDED).exists())

    run = carry_all(run)

    assert (run.status, only_call(run).status) == (states.SUCCEEDED, states.DONE)
    assert event_types(run).count("tool_call_done") == 1


def test_control_without_holding_on_to_it_the_call_would_be_in_doubt(
    acting: None, ann: User, ledger: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(persistence, "PAUSES_SECONDS", ())
    run = start(ann, script(call(("act", {})), text("Done.")))
    cut_at(monkeypatch, effects, "before_record_commit", times=2)
    carrier.carry(run.dispatches.get().pk)
    eventually(lambda: Dispatch.objects.forgotten().exists())

    carry_all(run)

    assert only_call(run).status == states.UNCERTAIN


def test_a_dispatch_that_had_to_be_dropped_is_soon_free_and_the_claim_does_not_count(
    ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent()
    run = start(ann, script(text("Hello.")))
    for _ in range(leases.QUARANTINE_AFTER + 1):
        cut_at(monkeypatch, asking, "before_reply_commit")
        assert carrier.carry(run.dispatches.get().pk)
        assert run.dispatches.get().status == states.WORKING
        eventually(lambda: Dispatch.objects.forgotten().exists())

    run = carry_all(run)

    assert (run.status, run.output) == (states.SUCCEEDED, "Hello.")


def test_control_what_the_database_refuses_by_itself_is_left_to_its_lease_and_counts(
    ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent()
    run = start(ann, script(text("Hello.")))

    def refused(point: str) -> None:
        if point == "before_reply_commit":
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL statement_timeout = 50")
                cursor.execute("SELECT pg_sleep(10)")

    monkeypatch.setattr(asking.crashpoints, "reach", refused)
    carrier.carry(run.dispatches.get().pk)

    dispatch = run.dispatches.get()
    assert not leases.keeper._dropped
    assert dispatch.claims_without_progress == 1
    assert not Dispatch.objects.forgotten().exists()


def test_a_recorded_call_is_progress(acting: None, ann: User, ledger: Process) -> None:
    run = start(ann, script(call(("act", {})), text("Done.")))
    Dispatch.objects.update(claims_without_progress=leases.QUARANTINE_AFTER - 1)
    lease = leases.claim(run.dispatches.get().pk)
    assert lease is not None
    engine.advance(lease)  # the model's answer
    Dispatch.objects.update(claims_without_progress=leases.QUARANTINE_AFTER)
    engine.advance(lease)  # the call

    assert run.dispatches.get().claims_without_progress == 0
