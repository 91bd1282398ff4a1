"""What follows from nodes that have ended, until nothing more does: others start, are skipped, or are joined."""

from django.db.models import Q
from django.db.models.functions import Now

from runs import lifecycle, states
from runs.models import Node
from runs.orchestration import (
    dispatching,
    failures,
    fan_out,
    groups,
    nodes,
    reducing,
    results,
    stopping,
    supervision,
    tries,
)
from runs.orchestration.nodes import Moves
from runs.states import StopReason


def run_on(moves: Moves) -> None:
    """Costs what has ended and what starts, whatever else the run has."""
    while moves.ended or moves.stillborn or moves.to_start:
        while moves.stillborn:
            tries.settle(moves, moves.stillborn.pop())
        while moves.ended:
            _pass_on(moves, moves.ended.popleft())
        if moves.to_start:
            _, outer = moves.to_start.popitem()
            _start_ready(moves, outer)
    nodes.write_counts(moves)


def _pass_on(moves: Moves, node: Node) -> None:
    if node.inner_open:
        stopping.stop_inner(moves, node, f"{node.key} ended before them.")
    if not node.superseded:  # what comes after one that is has been superseded with it
        nodes.tell_children(moves, node)
    outer = moves.outer(node)
    if outer is None:
        _finish(moves, node)
    elif supervision.tell(moves, outer):
        pass
    elif not outer.inner_open and outer.status == states.WORKING:
        moves.to_start.pop(outer.pk, None)
        groups.complete(moves, outer)


def _start_ready(moves: Moves, outer: Node) -> None:
    """As many as there are free places, in their order."""
    if moves.is_stopping or moves.run.paused_at is not None:
        return
    ready = Node.objects.ready().filter(Q(due_at__isnull=True) | Q(due_at__lte=Now()), within=outer)
    free = outer.inner_limit - outer.inner_at_work if outer.inner_limit else None
    if free is not None and free <= 0:
        return
    for found in ready.select_related("agent__published__agent").order_by("number")[:free]:
        start(moves, moves.hold(found))


def start_due(moves: Moves) -> None:
    """Nodes that waited for their next try, and may begin it."""
    if moves.run.paused_at is not None:
        return
    for found in moves.run.nodes.filter(status=states.READY, due_at__lte=Now()).select_related(
        "agent__published__agent"
    ):
        node = moves.hold(found)
        if outer := moves.outer(node):
            moves.to_start[outer.pk] = outer
        else:
            start(moves, node)


def start_all(moves: Moves) -> None:
    """Whatever is ready anywhere in the run: it was paused while that became so."""
    for node in moves.run.nodes.filter(status=states.READY, within__isnull=False):
        if outer := moves.outer(node):
            moves.to_start[outer.pk] = outer


def start(moves: Moves, node: Node) -> None:
    """Expects a node that is ready."""
    match node.kind:
        case "agent" if node.tried:
            failures.start_again(moves, node)
        case "agent":
            origin = "plan" if node.plan_id else "route"
            dispatching.start(moves, node, origin=origin, briefing=results.briefing(node))
        case "map" | "ensemble":
            fan_out.begin(moves, node)
        case "reduce":
            reducing.begin(moves, node)


def _finish(moves: Moves, node: Node) -> None:
    """The first node has ended, and the run with it."""
    status, reason = node.status, node.stop_reason
    if moves.is_stopping:
        status, reason = states.CANCELLED, StopReason.CANCELLED
    output = results.text(node)
    lifecycle.move_run(moves.log, moves.run, status, stop_reason=reason, output=output, waiting_on="")
