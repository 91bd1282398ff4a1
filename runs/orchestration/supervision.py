"""A supervisor waits for the nodes within its own, and costs nothing while it does."""

from agents.values import AgentKind
from orchestrator_site.core import canonical
from runs import doorbells, lifecycle, states
from runs.models import Dispatch, Node
from runs.orchestration.nodes import Moves
from runs.platform_tools import FINISH
from runs.states import StopReason


def tell(moves: Moves, node: Node) -> bool:
    """A node within this one has ended. Wakes the supervisor where it waited for that; False where none is at work."""
    if node.dispatch_id is None or node.dispatch_id in moves.over:
        return False
    at_work = Dispatch.objects.open().select_for_update(of=("self",)).filter(pk=node.dispatch_id)
    dispatch = at_work.order_by("pk").first()
    if dispatch is None:
        moves.over.add(node.dispatch_id)
        return False
    is_due = dispatch.wake_on == "any" or (dispatch.wake_on == "all" and not node.inner_open)
    if dispatch.status == states.WAITING and is_due:
        lifecycle.move_dispatch(moves.log, dispatch, states.QUEUED, waiting_on="", wake_on="", due_at=None)
        doorbells.ring_after_commit(dispatch.pk)
    return True


def is_done_again(dispatch: Dispatch) -> bool:
    """A supervisor finished when all whom it had sent for had ended; a person commented on one of them before its end
    was heeded. That is waited for, and the supervisor has another look. Expects a dispatch that has ended."""
    if dispatch.stop_reason != StopReason.FINISHED or dispatch.pinned.kind != AgentKind.SUPERVISOR:
        return False
    words = dispatch.calls.filter(tool=FINISH, status=states.DONE, error_kind="").values_list("arguments", flat=True)
    waited = any(not canonical.loads(each).get("stop_others") for each in words)
    return waited and dispatch.routes.filter(node__status__in=states.NODE.open).exists()
