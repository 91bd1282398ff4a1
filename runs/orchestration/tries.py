"""A dispatch has ended: what its node comes to."""

from agents.values import AgentKind
from runs import states
from runs.models import Dispatch, Node
from runs.orchestration import failures, handoffs, nodes, plans, routes, stopping, summaries, supervision, watching
from runs.orchestration.nodes import Moves
from runs.states import StopReason


def settle(moves: Moves, dispatch: Dispatch) -> None:
    """Of an older try, and of a node that has ended, nothing is to be done. Expects manifest, agent and node joined."""
    node = moves.hold(dispatch.node)
    if node.is_final or node.dispatch_id != dispatch.pk:
        return
    is_stopped = moves.is_stopping or moves.run.is_final or dispatch.cancel_requested
    if not dispatch.is_final:
        if not is_stopped:
            routes.expand_children(moves, node, dispatch)
            summaries.send_for(moves, node, dispatch)
        return
    if node.inner_open and (_is_watched_for(dispatch) or supervision.is_done_again(dispatch)):
        return
    if node.inner_open and (is_stopped or dispatch.stop_reason != StopReason.HANDED_OFF):
        stopping.stop_inner(moves, node, f"{dispatch.manifest.agent.slug} ended before them.")
    if is_stopped:
        _end_stopped(moves, node, dispatch)
    elif dispatch.has_last_word:
        handoffs.close(moves, node, dispatch)
    elif dispatch.stop_reason == StopReason.HANDED_OFF:
        handoffs.follow(moves, node, dispatch)
    elif dispatch.status != states.SUCCEEDED:
        failures.follow(moves, node, dispatch)
    elif not _goes_on(moves, node, dispatch):
        handoffs.answer(moves, node, dispatch)


def _end_stopped(moves: Moves, node: Node, dispatch: Dispatch) -> None:
    """Where its worker came to a result all the same, that stands. Nothing follows from it: no handoff, no decision,
    no plan."""
    is_done = dispatch.has_last_word or dispatch.pinned.kind not in (AgentKind.ROUTER, AgentKind.PLANNER)
    if dispatch.stop_reason == StopReason.HANDED_OFF or (dispatch.status == states.SUCCEEDED and not is_done):
        stopping.end(moves, node, "It was stopped before others went on with it.")
    else:
        nodes.answer(moves, node, dispatch)


def _goes_on(moves: Moves, node: Node, dispatch: Dispatch) -> bool:
    """A router's decisions, or a planner's plan, are carried out within its node."""
    match dispatch.pinned.kind:
        case AgentKind.ROUTER:
            return plans.take_routes(moves, node, dispatch)
        case AgentKind.PLANNER:
            plans.take_answer(moves, node, dispatch)
            return True
        case AgentKind.WORKER:
            return moves.run.board_entries > 0 and watching.looks_again(moves, node, dispatch)
    return False


def _is_watched_for(dispatch: Dispatch) -> bool:
    """Within the node of a worker lies only what rules over the blackboard had dispatched: their work is waited for."""
    if dispatch.stop_reason != StopReason.FINISHED or dispatch.has_last_word:
        return False
    return dispatch.pinned.kind == AgentKind.WORKER
