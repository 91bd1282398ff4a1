"""Move a run on by its rows: one short transaction under the run's row."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from django.db import connection

from agents import roster
from orchestrator_site.core import events
from orchestrator_site.core.events import Record
from orchestrator_site.core.prepared import Prepared
from runs import lifecycle, states
from runs import routing as routings
from runs.models import Dispatch, Routing, Run
from runs.models.pacing import AGENT
from runs.orchestration import clarifying, dispatching, documents, flow, nodes, plans, routes, tries, watching
from runs.orchestration.nodes import Moves
from runs.pacing import breakers
from runs.planning import asking
from runs.routing import Judged
from runs.states import StopReason
from runs.values import RESUMED, Continue, Ended, Outcome, Waiting

# Ends that say that an agent does not work as it should.
AT_FAULT = frozenset({
    StopReason.MODEL_FAILED, StopReason.QUARANTINED, StopReason.TIMEOUT, StopReason.CONTRACT_VIOLATED,
})  # fmt: skip


def advance(run_id: UUID) -> Outcome:
    """Safe to call at any time, any number of times. Locks: run, then nothing that a worker holds for long."""
    with events.recording() as log:
        (run,) = _LOCKED(run_id)
        return advance_locked(log, run)


_LOCKED = Prepared(lambda run_id: Run.objects.filter(pk=run_id).select_for_update(no_key=True).order_by(), UUID(int=1))


def advance_locked(log: Record, run: Run) -> Outcome:
    """For callers that hold the run's row already."""
    moves = Moves(log, run)
    _heed(moves)
    return _follow(moves)


@contextmanager
def moving(log: Record, run: Run) -> Iterator[Moves]:
    """For whoever holds the run's row and moves something in it: what follows is done at the end."""
    moves = Moves(log, run)
    _heed(moves)
    yield moves
    _follow(moves)


def start_due(run_id: UUID) -> None:
    """Nodes whose next try is due begin, and those whose document was to be read first. No transaction is open."""
    read = documents.ahead(run_id)
    with events.recording() as log:
        (run,) = _LOCKED(run_id)
        if run.is_final:
            return
        with moving(log, run) as moves:
            moves.documents = read
            flow.start_due(moves)


def begin(log: Record, run: Run, judged: Judged | None = None) -> Outcome:
    """Set the first node of a run going that has none, for whoever holds its row. `judged`: whose it was found to be,
    where it names neither an agent nor a plan."""
    lifecycle.move_run(log, run, states.WORKING)
    routing = routings.keep(log, run, judged) if judged is not None else None
    if run.plan is not None:
        return _begin_plan(log, run)
    agent = judged.agent if judged is not None else routes.first_agent(run)
    if agent is None:
        return _begin_by_asking(log, run, routing)
    briefing = routes.first_briefing(run, routing)
    dispatching.begin(log, nodes.first(run, agent=agent, briefing=briefing), agent, briefing)
    return Continue()


def _begin_by_asking(log: Record, run: Run, routing: Routing | None) -> Outcome:
    log.writes.at_once()
    moves, node = Moves(log, run), nodes.first(run)
    log.writes.insert([node])
    clarifying.ask(moves, moves.hold(node), routing)
    return _follow(moves)


def route_again(run_id: UUID) -> None:
    """What a person answered in their own words is judged with the request, with no transaction open; then who it is
    found to be for gets the run, or a person is asked. Any number of times is harmless."""
    asked = Routing.objects.select_related("run__owner").exclude(again="").filter(run_id=run_id).first()
    if asked is None:
        return
    judged = routings.judge_again(asked)
    with events.recording() as log:
        (run,) = _LOCKED(run_id)
        routing = Routing.objects.exclude(again="").filter(run_id=run_id).first()
        if routing is None:
            return
        with moving(log, run) as moves:
            node = run.nodes.filter(within__isnull=True, status=states.WAITING).order_by("number").last()
            if node is None:  # the run was cancelled
                Routing.objects.filter(run_id=run_id).update(again="")
            else:
                clarifying.judged_again(moves, moves.hold(node), routing, judged)


def _begin_plan(log: Record, run: Run) -> Outcome:
    """By a plan that came with the request, or by a template, or by a planner that starts from a template."""
    asked = plans.requested(run)
    if asked.planner is not None:
        node = nodes.first(run, agent=asked.planner, **asking.start_from(asked.spec))
        dispatching.begin(log, node, asked.planner, node.briefing)
        return Continue()
    log.writes.at_once()
    moves, node = Moves(log, run), nodes.first(run, kind="plan")
    log.writes.insert([node])
    plans.propose(moves, moves.hold(node), asked.spec, source=asked.source, made_by=asked.made_by, ask=asked.ask)
    return _follow(moves)


def _heed(moves: Moves) -> None:
    """What its dispatches have ended with is taken into account. They count as seen first of all: one that ends from
    here on is not among those we look at, and stays unheeded for the next to come. What they posted comes before their
    ends: whom a rule has dispatched is waited for."""
    ended = _unheeded(moves.run)
    watching.look(moves)
    for dispatch_id in ended:
        dispatch = _ENDED.first(dispatch_id)
        assert dispatch is not None
        dispatch.node.run = moves.run
        _tell_breaker(moves.log, dispatch)
        tries.settle(moves, dispatch)
    if moves.is_stopping:
        nodes.cancel_not_started(moves)


def _tell_breaker(log: Record, dispatch: Dispatch) -> None:
    slug = dispatch.manifest.agent.slug
    if dispatch.status == states.SUCCEEDED:
        breakers.worked(log, roster.current(), AGENT, slug, dispatch.pk)
    elif dispatch.stop_reason in AT_FAULT:
        breakers.failed(log, AGENT, slug, dispatch.pk, dispatch.stop_reason)


def _unheeded(run: Run) -> list[UUID]:
    with connection.cursor() as cursor:
        cursor.execute(_HEED, [run.pk])
        return sorted(id for (id,) in cursor.fetchall())


_HEED = "UPDATE runs_dispatch SET unheeded = false WHERE run_id = %s AND unheeded RETURNING id"
_ENDED = Prepared(
    lambda id: Dispatch.objects.filter(pk=id).select_related("manifest__agent", "node").order_by(), UUID(int=1)
)


def _follow(moves: Moves) -> Outcome:
    run = moves.run
    if run.status == states.ACCEPTED:
        return begin(moves.log, run)
    flow.run_on(moves)
    if run.is_final:
        return Ended(StopReason(run.stop_reason))
    return _follow_nodes(moves)


def _follow_nodes(moves: Moves) -> Outcome:
    """The run works while a dispatch does, and waits, with a sentence, while all of them wait."""
    log, run = moves.log, moves.run
    if run.paused_at is not None:
        return Waiting(RESUMED)
    if moves.has_started or _is_at_work(run):
        if run.status != states.WORKING:
            lifecycle.move_run(log, run, states.WORKING, waiting_on="")
        return Continue()
    on = _waiting_on(run)
    if run.status == states.WORKING:
        lifecycle.move_run(log, run, states.WAITING, waiting_on=on)
    elif run.waiting_on != on:
        Run.objects.filter(pk=run.pk).update(waiting_on=on)
    return Waiting(on)


def _is_at_work(run: Run) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_AT_WORK, [run.pk])
        return cursor.fetchone()[0]


# The statuses stand in the statement, so that its index of open dispatches is of use however long the run is.
_AT_WORK = "SELECT EXISTS (SELECT FROM runs_dispatch WHERE run_id = %s AND status IN ('queued', 'working'))"


def _waiting_on(run: Run) -> str:
    """On a person who decides of a node, else on what its first waiting agent waits for, itself or by others, else on
    the next try of a node."""
    nodes_now = run.nodes.filter(status__in=[states.WAITING, states.READY]).exclude(waiting_on="").order_by("number")
    agents = run.dispatches.filter(status=states.WAITING).order_by("wake_on", "number")
    first = nodes_now.filter(status=states.WAITING).first() or agents.first() or nodes_now.first()
    return first.waiting_on if first else "its next step"
