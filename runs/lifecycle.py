"""The only writer of a status: every move, with its event, in the caller's transaction."""

from typing import Any

from django.db.models.functions import Now

from orchestrator_site.core.events import SYSTEM, Record
from runs import states
from runs.models import Attempt, Dispatch, Handoff, Run, Step, ToolCall
from runs.states import StopReason


def move_run(log: Record, run: Run, to: str, *, actor: str = SYSTEM, **changes: Any) -> None:
    """The caller holds the run's row."""
    if to in states.RUN.final:
        changes["finished_at"] = Now()
    states.RUN.move(run, to, **changes)
    told = {name: changes[name] for name in ("stop_reason", "waiting_on") if changes.get(name)}
    log.run(run.pk, f"run_{to}", actor=actor, **told)


def move_dispatch(log: Record, dispatch: Dispatch, to: str, *, actor: str = SYSTEM, **changes: Any) -> None:
    """The caller holds the dispatch's row, and if it is a worker, its fence."""
    states.DISPATCH.move(dispatch, to, **changes)
    told = {name: changes[name] for name in ("stop_reason", "message", "waiting_on") if changes.get(name)}
    log.run(dispatch.run_id, f"dispatch_{to}", actor=actor, dispatch=str(dispatch.pk), **told)


def end_dispatch(
    log: Record, dispatch: Dispatch, reason: StopReason, message: str, *, output: str = "", actor: str = SYSTEM
) -> None:
    """End with exactly one stop reason; the lease goes with it."""
    move_dispatch(
        log,
        dispatch,
        states.status_for(reason),
        actor=actor,
        stop_reason=reason,
        message=message[:500],
        output=output,
        waiting_on="",
        lease_owner="",
        lease_until=None,
        hand_deadline=None,
        due_at=None,
        unheeded=True,
        finished_at=Now(),
    )


def move_step(log: Record, dispatch: Dispatch, step: Step, to: str, **changes: Any) -> None:
    states.STEP.move(step, to, ended_at=Now(), **changes)
    told = {name: str(changes[name]) for name in ("stop_reason", "failure", "error", "cost_usd") if changes.get(name)}
    log.run(dispatch.run_id, f"step_{to}", dispatch=str(dispatch.pk), step=step.number, model=step.model, **told)


def move_call(log: Record, run_id: Any, call: ToolCall, to: str, *, actor: str = SYSTEM, **changes: Any) -> None:
    """The caller holds the row of the call's dispatch."""
    if to in states.TOOL_CALL.final:
        changes["ended_at"] = Now()
    states.TOOL_CALL.move(call, to, **changes)
    told = {"error_kind": changes["error_kind"]} if changes.get("error_kind") else {}
    log.run(
        run_id,
        f"tool_call_{to}",
        actor=actor,
        call=str(call.pk),
        dispatch=str(call.dispatch_id),
        tool=call.tool,
        **told,
    )


def move_attempt(log: Record, run_id: Any, attempt: Attempt, to: str, **changes: Any) -> None:
    states.ATTEMPT.move(attempt, to, ended_at=Now(), **changes)
    told = {"error_kind": changes["error_kind"]} if changes.get("error_kind") else {}
    log.run(run_id, f"attempt_{to}", call=str(attempt.call_id), attempt=attempt.number, **told)


def move_handoff(log: Record, run_id: Any, handoff: Handoff, to: str, *, actor: str = SYSTEM, **changes: Any) -> None:
    states.HANDOFF.move(handoff, to, **changes)
    log.run(run_id, f"handoff_{to}", actor=actor, handoff=str(handoff.pk), target=handoff.target.slug)
