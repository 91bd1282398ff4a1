"""Move a run on by its rows: one short transaction under the run's row."""

from uuid import UUID

from orchestrator_site.core import events
from orchestrator_site.core.events import Record
from orchestrator_site.core.prepared import Prepared
from runs import lifecycle, states
from runs.models import Handoff, Run
from runs.orchestration import aggregation, handoffs, nodes, overview, routes
from runs.orchestration.overview import Overview
from runs.states import StopReason
from runs.values import Continue, Ended, Outcome, Waiting


def advance(run_id: UUID) -> Outcome:
    """Safe to call at any time, any number of times. Locks: run, then nothing that a worker holds for long."""
    with events.recording() as log:
        (run,) = _LOCKED(run_id)
        return advance_locked(log, run)


_LOCKED = Prepared(lambda run_id: Run.objects.filter(pk=run_id).select_for_update(no_key=True).order_by(), UUID(int=1))


def advance_locked(log: Record, run: Run) -> Outcome:
    """For callers that hold the run's row already."""
    nodes_now = overview.heed(run)
    if run.is_final:
        return Ended(StopReason(run.stop_reason))
    if not nodes_now.total:
        return begin(log, run)
    if nodes_now.may_grow:
        _grow(log, run)
        nodes_now = overview.look(run)
    if nodes_now.is_done:
        return _finish(log, run)
    return _follow_nodes(log, run, nodes_now)


def _grow(log: Record, run: Run) -> None:
    handoffs.continue_accepted(log, run)
    if run.cancel_requested_at is None:
        routes.expand(log, run)
        nodes.unblock(log, run)


def begin(log: Record, run: Run) -> Outcome:
    """Set the first node of a run going that has none, for whoever holds its row."""
    agent = routes.first_agent(run)
    lifecycle.move_run(log, run, states.WORKING)
    if agent is None:
        message = "No router is at work, and the request names no agent."
        log.writes.send()  # of this row, too
        lifecycle.move_run(log, run, states.FAILED, stop_reason=StopReason.NEEDS_HUMAN, output=message)
        return Ended(StopReason.NEEDS_HUMAN)
    nodes.add(log, run, agent, run.input, origin="run", number=1)
    return Continue()


def _finish(log: Record, run: Run) -> Outcome:
    result = aggregation.aggregate(run)
    lifecycle.move_run(log, run, result.status, stop_reason=result.stop_reason, output=result.output, waiting_on="")
    return Ended(StopReason(result.stop_reason))


def _follow_nodes(log: Record, run: Run, nodes_now: Overview) -> Outcome:
    """The run works while a node does, and waits, with a sentence, while all of them wait."""
    if nodes_now.at_work:
        if run.status != states.WORKING:
            lifecycle.move_run(log, run, states.WORKING, waiting_on="")
        return Continue()
    on = _waiting_on(run)
    if run.status == states.WORKING:
        lifecycle.move_run(log, run, states.WAITING, waiting_on=on)
    elif run.waiting_on != on:
        Run.objects.filter(pk=run.pk).update(waiting_on=on)
    return Waiting(on)


def _waiting_on(run: Run) -> str:
    handoff = Handoff.objects.filter(source__run=run, status=states.PROPOSED).select_related("target").first()
    if handoff is not None:
        return f"a person to accept the handoff to {handoff.target.slug}"
    waiting = run.dispatches.filter(status=states.WAITING).order_by("number").first()
    return waiting.waiting_on if waiting else "its next step"
