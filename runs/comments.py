"""A person comments on what a node came to: it is done again, and with it all that was made of it."""

from collections.abc import Sequence
from uuid import UUID

from django.contrib.auth.models import User

from orchestrator_site.core import drops, events
from runs import orchestration, states
from runs.errors import BadRequest, NotPossible
from runs.models import Node, Run
from runs.orchestration import again, flow

COMMENT_LIMIT = 10_000


def comment(run_id: UUID, node_id: UUID, said: str, by: User) -> Node:
    """The node that takes the place of the one commented on. Locks: run, and what it has to stop.

    Raises BadRequest for an empty comment, NotPossible where the node is not one that can be done again.
    """
    if not said.strip() or len(said) > COMMENT_LIMIT:
        raise BadRequest({"comment": f"Say what is to be done differently, in up to {COMMENT_LIMIT:,} characters."})
    with events.recording() as log:
        run = Run.objects.select_for_update(of=("self",), no_key=True).select_related("agent").get(pk=run_id)
        node = Node.objects.select_related("agent__published__agent", "run").get(pk=node_id, run=run)
        if objection := why_not(node, _around(node)) or _why_not_in(run):
            raise NotPossible(objection)
        told = {"node": str(node.pk), "key": node.key, "comment": said}
        log.run(run.pk, "node_commented", actor=f"user:{by.get_username()}", **told)
        with orchestration.moving(log, run) as moves:
            first = again.comment(moves, moves.hold(node), said)
            if first.within_id is None:
                flow.start(moves, first)
    return first


def why_not(node: Node, around: Sequence[Node]) -> str | None:
    """A sentence with the way out; None where a person may comment on it. `around`: the nodes that it lies within, the
    innermost first."""
    if node.superseded:
        return "Another node has taken its place: comment on that one."
    if not node.is_final:
        return "It has not ended yet."
    if objection := _why_not_within(around):
        return objection
    if node.role:
        return "It only serves the others: comment on what it judged, planned or reduced."
    if node.within_id is None and node.kind == "plan":
        return "It is the whole of the plan: comment on one of its nodes."
    if node.agent is not None and not (node.agent.active and node.agent.published_id):
        return f"{node.agent.slug} is not at work any more."
    return None


def _why_not_within(around: Sequence[Node]) -> str | None:
    for outer in around:
        if outer.superseded:
            return f"It lies within {outer.key}, which is done anew: comment on what took its place."
    for outer in reversed(around):
        if outer.status in (states.SKIPPED, states.CANCELLED):
            return f"It lies within {outer.key}, which was {outer.status}: comment on that."
    return None


def _around(node: Node) -> list[Node]:
    around: list[Node] = []
    while node.within is not None:
        node = node.within
        around.append(node)
    return around


def _why_not_in(run: Run) -> str | None:
    if run.cancel_requested_at is not None or run.status == states.CANCELLED:
        return "The run was cancelled: start a new one."
    if run.restored_at is not None and run.is_final:
        return "The database was restored from a backup during the run; start a new one that says what is left."
    if run.is_final and drops.of_chain(events.run_chain(run.pk)) is not None:
        return "The log of this run has left this server: start a new one."
    return None
