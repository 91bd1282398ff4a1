"""What lies within a node is stopped: the node has ended without it, or another takes its place."""

from collections.abc import Iterable

from approvals import requests
from approvals.models import ApprovalRequest
from runs import lifecycle, states
from runs.engine import cancelling
from runs.models import Handoff, Node
from runs.orchestration import nodes
from runs.orchestration.nodes import Moves
from runs.states import StopReason


def stop_inner(moves: Moves, node: Node, why: str) -> None:
    """Locks: the dispatches within, their calls, then requests."""
    found = Node.objects.filter(within=node, status__in=states.NODE.open).order_by("number")
    stop_all(moves, list(map(moves.hold, found)), why)


def stop_all(moves: Moves, open_nodes: Iterable[Node], why: str) -> None:
    """In one statement for all that nobody has begun."""
    not_begun = []
    for node in open_nodes:
        if node.status in (states.BLOCKED, states.READY) and not node.inner_open:
            not_begun.append(node)
        else:
            stop(moves, node, why)
    with moves.log.writes.as_one():
        for node in not_begun:
            nodes.end(moves, node, states.CANCELLED, stop_reason=StopReason.CANCELLED, message=why)


def stop(moves: Moves, node: Node, why: str) -> None:
    """One whose dispatch a worker holds ends when that sees it; the others at once."""
    if node.inner_open:
        stop_inner(moves, node, why)
    may_be_asked = node.status == states.WAITING
    if node.dispatch_id is not None and node.status == states.WORKING:
        dispatch = cancelling.stop(moves.log, node.dispatch_id, why)
        if not dispatch.is_final:
            return
        may_be_asked = dispatch.stop_reason == StopReason.HANDED_OFF
    if may_be_asked:
        end(moves, node, why)
    elif not node.is_final:
        nodes.end(moves, node, states.CANCELLED, stop_reason=StopReason.CANCELLED, message=why)


def end(moves: Moves, node: Node, why: str) -> None:
    """And with it what a person is asked of it."""
    take_back(moves, node, why)
    nodes.end(moves, node, states.CANCELLED, stop_reason=StopReason.CANCELLED, message=why)


def take_back(moves: Moves, node: Node, why: str) -> None:
    """What a person is asked of it, or was to be asked, and the proposal that it is about."""
    for handoff in Handoff.objects.filter(source__node=node, status=states.PROPOSED).select_related("target"):
        lifecycle.move_handoff(moves.log, moves.run.pk, handoff, states.CANCELLED)
    asked = ApprovalRequest.objects.open().filter(run_id=moves.run.pk)
    own = [each.pk for each in asked if _is_about(each, node)]
    for plan in node.plans.filter(status=states.PROPOSED):
        lifecycle.move_plan(moves.log, plan, states.CANCELLED)
        own += [plan.request_id] if plan.request_id else []
    requests.supersede(moves.log, ApprovalRequest.objects.filter(pk__in=own), why=why)


def _is_about(request: ApprovalRequest, node: Node) -> bool:
    """By the node that it names, else by its newest try."""
    named = request.content.get("node")
    return named == str(node.pk) if named else request.dispatch_id == node.dispatch_id is not None
