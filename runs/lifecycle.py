"""The only writer of a status: every move, with its event, in the caller's transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Model
from django.db.models.functions import Now

from orchestrator_site.core.commits import after_commit
from orchestrator_site.core.events import SYSTEM, Record
from orchestrator_site.core.transitions import StaleRow
from runs import budgets, states
from runs.models import Artifact, Attempt, Dispatch, Handoff, Node, Plan, Run, Step, ToolCall
from runs.states import StopReason


def move_run(log: Record, run: Run, to: str, *, actor: str = SYSTEM, **changes: Any) -> None:
    """The caller holds the run's row."""
    if to in states.RUN.final:
        changes |= {"finished_at": Now(), "paused_at": None}
        if budgets.are_capped():
            after_commit(budgets.give_back, run.pk)
    states.RUN.move(run, to, by=log.writes, **changes)
    told = {name: changes[name] for name in ("stop_reason", "waiting_on") if changes.get(name)}
    log.run(run.pk, f"run_{to}", actor=actor, **told)


def move_node(log: Record, node: Node, to: str, *, actor: str = SYSTEM, **changes: Any) -> None:
    """The caller holds the run's row."""
    states.NODE.move(node, to, by=log.writes, **changes)
    told = {name: changes[name] for name in ("stop_reason", "message", "waiting_on") if changes.get(name)}
    log.run(node.run_id, f"node_{to}", actor=actor, node=str(node.pk), key=node.key, **told)


def move_dispatch(log: Record, dispatch: Dispatch, to: str, *, actor: str = SYSTEM, **changes: Any) -> None:
    """The caller holds the dispatch's row, and if it is a worker, its fence."""
    states.DISPATCH.move(dispatch, to, by=log.writes, **changes)
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
    states.STEP.move(step, to, by=log.writes, **{"ended_at": Now()} | changes)
    told = {name: str(changes[name]) for name in ("stop_reason", "failure", "error", "cost_usd") if changes.get(name)}
    log.run(dispatch.run_id, f"step_{to}", dispatch=str(dispatch.pk), step=step.number, model=step.model, **told)


def move_call(
    log: Record,
    run_id: Any,
    call: ToolCall,
    to: str,
    *,
    actor: str = SYSTEM,
    told: Mapping[str, Any] | None = None,
    **changes: Any,
) -> None:
    """The caller holds the row of the call's dispatch. `told`: what its event says beside the move."""
    if to in states.TOOL_CALL.final:
        changes["ended_at"] = Now()
    states.TOOL_CALL.move(call, to, by=log.writes, **changes)
    why = {"error_kind": changes["error_kind"]} if changes.get("error_kind") else {}
    log.run(
        run_id,
        f"tool_call_{to}",
        actor=actor,
        call=str(call.pk),
        dispatch=str(call.dispatch_id),
        tool=call.tool,
        **why,
        **(told or {}),
    )


def send_attempt(
    log: Record,
    dispatch: Dispatch,
    call: ToolCall,
    attempt: Attempt,
    *,
    told: Mapping[str, Any] | None = None,
    **changes: Any,
) -> None:
    """Commit the intent: the attempt is written and its call executes, in one event. The caller holds the dispatch."""
    attempt.save(force_insert=True)
    states.TOOL_CALL.move(call, states.EXECUTING, **changes)
    told_of_attempt(log, dispatch, call, attempt, **(told or {}))


def told_of_attempt(log: Record, dispatch: Dispatch, call: ToolCall, attempt: Attempt, **more: Any) -> None:
    log.run(
        dispatch.run_id,
        "tool_call_executing",
        actor=f"worker:{attempt.worker}",
        call=str(call.pk),
        dispatch=str(dispatch.pk),
        tool=call.tool,
        attempt=attempt.number,
        digest=attempt.digest,
        endpoint=attempt.endpoint,
        **more,
    )


@dataclass(frozen=True)
class AttemptEnd:
    """How an attempt ended (`ended`), and where its call goes (`to`) with what the model is told (`result`).

    `said` is what the attempt brought, where that is not the call's result; `nothing_sent`: nothing left the platform;
    `artifact` keeps the whole of a long result, and is written in the same transaction.
    """

    call: ToolCall
    attempt: Attempt
    ended: str
    to: str
    result: str = ""
    error_kind: str = ""
    said: str = ""
    nothing_sent: bool = False
    artifact: Artifact | None = None

    def writes(self) -> list[tuple[type[Model], dict[str, Any], dict[str, Any]]]:
        """What it changes: of which model, where, and to what."""
        attempt = {"call": self.call, "number": self.attempt.number, "status": states.SENT}
        ended = {"status": self.ended, "result": self.said, "error_kind": self.error_kind, "ended_at": Now()}
        call = {"pk": self.call.pk, "status": states.EXECUTING}
        moved: dict[str, Any] = {"status": self.to, "result": self.result, "error_kind": self.error_kind}
        if self.artifact is not None:
            moved["artifact"] = self.artifact
        return [
            (Attempt, attempt, ended | {"nothing_sent": self.nothing_sent}),
            (ToolCall, call, moved | ({"ended_at": Now()} if self.to in states.TOOL_CALL.final else {})),
        ]

    def tell(self) -> None:
        """The rows in memory become what `end_attempts` makes of those in the database."""
        self.attempt.status, self.call.status = self.ended, self.to
        self.call.result, self.call.error_kind = self.result, self.error_kind
        self.call.artifact = self.artifact


def end_attempts(log: Record, dispatch: Dispatch, ends: Sequence[AttemptEnd]) -> None:
    """Attempts end and their calls move on, with one event for each. The caller holds the dispatch.

    Raises StaleRow when one of them is not under way any more.
    """
    for end in ends:
        states.ATTEMPT.check_path(states.SENT, end.ended)
        states.TOOL_CALL.check_path(states.EXECUTING, end.to)
        stale = StaleRow(f"attempt {end.attempt.number} of call {end.call.pk} is not under way any more")
        for model, where, changes in end.writes():
            log.writes.update(model, where, changes, otherwise=stale)
        end.tell()
        told = {"error_kind": end.error_kind} if end.error_kind else {}
        if end.artifact is not None:
            told["artifact"] = str(end.artifact.pk)
        log.run(
            dispatch.run_id,
            f"tool_call_{end.to}",
            call=str(end.call.pk),
            dispatch=str(dispatch.pk),
            tool=end.call.tool,
            attempt=end.attempt.number,
            attempt_status=end.ended,
            **told,
        )


def move_plan(log: Record, plan: Plan, to: str, *, actor: str = SYSTEM, **changes: Any) -> None:
    states.PLAN.move(plan, to, **changes)
    log.run(plan.run_id, f"plan_{to}", actor=actor, plan=str(plan.pk), node=str(plan.node_id), round=plan.round)


def move_handoff(log: Record, run_id: Any, handoff: Handoff, to: str, *, actor: str = SYSTEM, **changes: Any) -> None:
    states.HANDOFF.move(handoff, to, **changes)
    log.run(run_id, f"handoff_{to}", actor=actor, handoff=str(handoff.pk), target=handoff.target.slug)
