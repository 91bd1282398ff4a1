"""The state machines: the arrows of the table and no other, one writer, its event in the same transaction."""

import pytest
from django.db import IntegrityError, transaction

from orchestrator_site.core import events, verify
from orchestrator_site.core.events import run_chain
from orchestrator_site.core.models import Event
from orchestrator_site.core.transitions import IllegalTransition, StaleRow, machine
from runs import lifecycle, states
from runs.lifecycle import AttemptEnd
from runs.models import Attempt, Dispatch, Handoff, Node, Plan, Run, Step, ToolCall
from runs.states import StopReason
from tests.runs.cast import agent, call, carry_all, event_types, script, start, text, tool

MACHINES = {
    Run: states.RUN,
    Dispatch: states.DISPATCH,
    Step: states.STEP,
    ToolCall: states.TOOL_CALL,
    Attempt: states.ATTEMPT,
    Handoff: states.HANDOFF,
    Node: states.NODE,
    Plan: states.PLAN,
}
PAIRS = [(kind, before, after) for kind, each in MACHINES.items() for before in each.table for after in each.table]


@pytest.fixture
def rows(model, ann):
    """One row of every machine."""
    tool("echo", "tests.echo")
    target, _ = agent("target"), agent("worker", "echo")
    run = carry_all(start(ann, script(call(("echo", {})), text("Hello."))))
    dispatch = run.dispatches.get()
    handoff = Handoff.objects.create(source=dispatch, target=target.agent, reason="r", task="t")
    return {
        Run: run,
        Dispatch: dispatch,
        Step: Step.objects.first(),
        ToolCall: ToolCall.objects.get(),
        Attempt: Attempt.objects.get(),
        Handoff: handoff,
        Node: dispatch.node,
        Plan: Plan.objects.create(run=run, node=dispatch.node, source="template", proposed={}, content={}),
    }


@pytest.mark.django_db(transaction=True)
def test_every_arrow_of_every_table_is_a_move_and_nothing_else_is(rows):
    """All pairs in one test, because the rows are dear."""
    for kind, before, after in PAIRS:
        each, row = MACHINES[kind], rows[kind]
        with transaction.atomic():
            kind._base_manager.filter(pk=row.pk).update(status=before, **_needed(row, before))
            row.refresh_from_db()
            if after in each.table[before]:
                each.move(row, after, **_needed(row, after))
                assert status_of(row) == after, (each.name, before, after)
            else:
                with pytest.raises(IllegalTransition, match=f"{each.name}: {before} -> {after}"):
                    each.move(row, after)
            transaction.set_rollback(True)


def status_of(row):
    """As the table has it."""
    return type(row)._base_manager.values_list("status", flat=True).get(pk=row.pk)


def _needed(row, status):
    """A dispatch ends with a reason."""
    final = isinstance(row, Dispatch) and status in states.DISPATCH.final
    return {"stop_reason": StopReason.FINISHED} if final else {}


@pytest.mark.django_db(transaction=True)
def test_the_database_refuses_a_status_outside_the_table(rows):
    for row in rows.values():
        with pytest.raises(IntegrityError, match="status_known"), transaction.atomic():
            type(row)._base_manager.filter(pk=row.pk).update(status="dreaming")


@pytest.mark.django_db(transaction=True)
def test_the_database_refuses_an_end_without_a_reason_and_a_reason_nobody_knows(rows):
    for changes in ({"stop_reason": ""}, {"stop_reason": "bored"}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Dispatch.objects.update(**changes)


@pytest.mark.django_db(transaction=True)
def test_who_moves_a_row_somebody_moved_first_is_told(rows):
    run = rows[Run]
    Run.objects.update(status=states.WORKING)
    run.refresh_from_db()
    other = Run.objects.get()
    states.RUN.move(other, states.WAITING)

    with pytest.raises(StaleRow, match="no longer working"):
        states.RUN.move(run, states.SUCCEEDED)


def test_a_table_with_an_arrow_into_nothing_is_refused():
    with pytest.raises(IllegalTransition, match="nowhere"):
        machine("broken", {"here": {"nowhere"}})


def test_a_new_row_is_written_at_the_end_of_a_legal_path_only():
    assert states.TOOL_CALL.check_path(states.PROPOSED, states.RULED, states.READY) == states.READY
    with pytest.raises(IllegalTransition):
        states.TOOL_CALL.check_path(states.PROPOSED, states.READY)


@pytest.mark.parametrize("reason", list(StopReason))
def test_every_stop_reason_has_an_end_and_only_two_are_green(reason):
    green = {StopReason.FINISHED, StopReason.HANDED_OFF}

    assert (states.status_for(reason) == states.SUCCEEDED) == (reason in green)
    assert states.status_for(reason) in states.DISPATCH.final


@pytest.mark.parametrize("each", MACHINES.values(), ids=lambda each: each.name)
def test_every_status_can_be_reached_and_left_or_is_an_end(each):
    first = next(iter(each.table))
    seen: set[str] = set()
    following = {first}
    while following - seen:
        status = (following - seen).pop()
        seen.add(status)
        following |= each.table[status]

    assert seen == set(each.table)


MOVES = {
    "run": (Run, states.WORKING, lambda log, row: lifecycle.move_run(log, row, states.WAITING)),
    "dispatch": (Dispatch, states.QUEUED, lambda log, row: lifecycle.move_dispatch(log, row, states.WORKING)),
    "end": (
        Dispatch,
        states.WORKING,
        lambda log, row: lifecycle.end_dispatch(log, row, StopReason.TIMEOUT, "Too long."),
    ),
    "call": (ToolCall, states.READY, lambda log, row: lifecycle.move_call(log, row.dispatch.run_id, row, "executing")),
    "attempt": (
        Attempt,
        states.SENT,
        lambda log, row: lifecycle.end_attempts(
            log, row.call.dispatch, [AttemptEnd(row.call, row, states.FAILED, states.FAILED)]
        ),
    ),
    "step": (Step, states.ASKED, lambda log, row: lifecycle.move_step(log, row.dispatch, row, states.FAILED)),
    "handoff": (
        Handoff,
        states.PROPOSED,
        lambda log, row: lifecycle.move_handoff(log, row.source.run_id, row, states.DECLINED),
    ),
    "node": (Node, states.READY, lambda log, row: lifecycle.move_node(log, row, states.WORKING)),
    "plan": (Plan, states.PROPOSED, lambda log, row: lifecycle.move_plan(log, row, states.ACCEPTED)),
}


@pytest.mark.django_db(transaction=True)
def test_a_move_and_its_event_are_committed_together_or_not_at_all(rows):
    for name, (kind, before, move) in MOVES.items():
        row = rows[kind]
        kind._base_manager.filter(pk=row.pk).update(status=before)
        row.refresh_from_db()
        events_before = Event.objects.count()

        with transaction.atomic():
            with events.recording() as log:
                move(log, row)
            transaction.set_rollback(True)
        assert (status_of(row), Event.objects.count()) == (before, events_before), name

        row.refresh_from_db()
        with events.recording() as log:
            move(log, row)
        assert status_of(row) != before, name
        assert Event.objects.count() == events_before + 1, name


@pytest.mark.django_db(transaction=True)
def test_an_event_that_cannot_be_written_takes_its_move_with_it(rows, monkeypatch):
    run = rows[Run]
    Run.objects.update(status=states.WORKING)
    run.refresh_from_db()
    monkeypatch.setattr(events, "_append", lambda *args: 1 / 0)

    with pytest.raises(ZeroDivisionError), events.recording() as log:
        lifecycle.move_run(log, run, states.WAITING)

    assert Run.objects.get().status == states.WORKING


@pytest.mark.django_db(transaction=True)
def test_a_runs_log_tells_the_whole_story_in_order_and_stands_up_to_the_verifier(model, ann):
    tool("echo", "tests.echo")
    agent("worker", "echo")

    run = carry_all(start(ann, script(call(("echo", {})), text("Hello."))))

    assert event_types(run) == [
        "run_accepted",
        "run_working",
        "dispatch_queued",
        "dispatch_working",
        "step_asked",
        "step_answered",
        "tool_call_executing",
        "tool_call_done",
        "step_asked",
        "step_answered",
        "dispatch_succeeded",
        "node_succeeded",
        "run_succeeded",
    ]
    assert [event.seq for event in events.of_run(run.pk)] == list(range(1, 14))
    assert verify.chain(run_chain(run.pk)) is None
