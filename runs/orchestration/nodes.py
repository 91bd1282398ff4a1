"""The places of a run's DAG: added, moved and ended. What follows from it is noted in `Moves` and done by `flow`.

The caller holds the run's row, here and in every file of this package.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db.models import Max
from django.db.models.functions import Now

from agents.models import Agent
from orchestrator_site.core.events import Record
from orchestrator_site.core.ids import new_id
from runs import lifecycle, states
from runs.blobs import Unreadable
from runs.models import Dispatch, Edge, Node, Plan, Run, WatchRule
from runs.planning import checking, values
from runs.states import StopReason


@dataclass
class Moves:
    """What one advance of a run has in hand.

    `ended` are nodes whose ends are not passed on yet, `to_start` nodes within which others may begin now,
    `stillborn` dispatches that ended as they began. Each node is held once, and `counted` are those whose counters
    `write_counts` has to write. `over` are dispatches that are known to have ended. `has_started`: a dispatch is at
    work that was not before. `documents`: by reference, what was read ahead (`documents.ahead`).
    """

    log: Record
    run: Run
    ended: deque[Node] = field(default_factory=deque)
    to_start: dict[UUID, Node] = field(default_factory=dict)
    stillborn: list[Dispatch] = field(default_factory=list)
    held: dict[UUID, Node] = field(default_factory=dict)
    counted: dict[UUID, Node] = field(default_factory=dict)
    over: set[UUID] = field(default_factory=set)
    has_started: bool = False
    documents: dict[str, str | Unreadable] = field(default_factory=dict)

    def hold(self, node: Node) -> Node:
        node.run = self.run
        return self.held.setdefault(node.pk, node)

    def node(self, node_id: UUID) -> Node:
        found = self.held.get(node_id)
        return found or self.hold(Node.objects.select_related("agent__published__agent").get(pk=node_id))

    def outer(self, node: Node) -> Node | None:
        """The node that it lies within."""
        return self.node(node.within_id) if node.within_id else None

    def root(self) -> Node:
        """The first node of the run, or whatever took its place."""
        first = self.run.nodes.filter(within__isnull=True, superseded=False)
        return self.hold(first.select_related("agent__published__agent").get())

    @property
    def is_stopping(self) -> bool:
        return self.run.cancel_requested_at is not None


# -- added -------------------------------------------------------------------------------------------------------
def first(run: Run, *, kind: str = "agent", agent: Agent | None = None, **more: Any) -> Node:
    """The first node of a run, at work and not written yet."""
    return Node(
        id=new_id(),
        run=run,
        number=1,
        key="run",
        kind=kind,
        agent=agent,
        task=run.input,
        status=states.WORKING,
        **more,
    )


@dataclass(frozen=True)
class Place:
    """A node to be added; `after` are indexes of places in the same list, `parents` nodes that are there already.
    `plan`: where it is another one than what is added with it is of."""

    key: str
    task: str
    kind: str = "agent"
    agent: Agent | None = None
    role: str = ""
    briefing: str = ""
    spec: dict[str, Any] = field(default_factory=dict)
    reads: Sequence[UUID] = ()
    after: Sequence[int] = ()
    parents: Sequence[Node] = ()
    watch: WatchRule | None = None
    plan: Plan | None = None
    id: UUID = field(default_factory=new_id)


def add(moves: Moves, within: Node, places: Sequence[Place], plan: Plan | None = None) -> list[Node]:
    """Put nodes within a node, those without an open parent ready to start. Two statements, however many they are."""
    number = last_number(moves.run) + 1
    nodes = [_node(moves.run, within, place, plan, number + n) for n, place in enumerate(places)]
    edges = []
    for node, place in zip(nodes, places, strict=True):
        parents = [*place.parents, *(nodes[index] for index in place.after)]
        edges += [Edge(parent=parent, child=node) for parent in parents]
        node.parents_open = sum(not parent.is_final for parent in parents)
        node.status = states.BLOCKED if parents else states.READY
    Node.objects.bulk_create(nodes)
    Edge.objects.bulk_create(edges)
    for node, place in zip(nodes, places, strict=True):
        told = [str(nodes[index].pk) for index in place.after] + [str(each.pk) for each in place.parents]
        _tell_added(moves, node, told)
        moves.hold(node)
    _count(moves, within, inner_open=len(nodes))
    moves.to_start[within.pk] = within
    for node in nodes:
        if node.status == states.BLOCKED and not node.parents_open:
            decide(moves, node)
    return nodes


def last_number(run: Run) -> int:
    """How many nodes a run has."""
    return run.nodes.aggregate(last=Max("number"))["last"] or 0


def left(run: Run) -> int:
    """How many more nodes a run may have."""
    return checking.NODE_LIMIT + 1 - last_number(run)


def add_first(moves: Moves, place: Place) -> Node:
    """Another first node of the run, in the place of one that is superseded, ready to start."""
    node = _node(moves.run, None, place, None, last_number(moves.run) + 1)
    node.status = states.READY
    node.save(force_insert=True)
    _tell_added(moves, node, [])
    return moves.hold(node)


def _node(run: Run, within: Node | None, place: Place, plan: Plan | None, number: int) -> Node:
    return Node(
        id=place.id,
        run=run,
        within=within,
        plan=place.plan or plan,
        number=number,
        key=place.key,
        kind=place.kind,
        agent=place.agent,
        role=place.role,
        task=place.task,
        briefing=place.briefing,
        spec=place.spec,
        reads=[str(each) for each in place.reads],
        watch=place.watch,
        depth=within.depth + 1 if within else 0,
    )


def _tell_added(moves: Moves, node: Node, parents: list[str]) -> None:
    told: dict[str, Any] = {"kind": node.kind, "parents": parents}
    if node.within_id:
        told["within"] = str(node.within_id)
    if node.agent is not None:
        told["agent"] = node.agent.slug
    if node.role:
        told["role"] = node.role
    moves.log.run(moves.run.pk, "node_added", node=str(node.pk), key=node.key, number=node.number, **told)


def _count(moves: Moves, node: Node, **by: int) -> None:
    for name, more in by.items():
        setattr(node, name, getattr(node, name) + more)
    moves.counted[node.pk] = node


def write_counts(moves: Moves) -> None:
    """Counters change often while what has ended is passed on, and are written once."""
    for node in moves.counted.values():
        Node.objects.filter(pk=node.pk).update(**{name: getattr(node, name) for name in _COUNTERS})
    moves.counted.clear()


_COUNTERS = ("parents_open", "inner_open", "inner_at_work")


def change(node: Node, **changes: Any) -> None:
    """Write what is no move."""
    for name, value in changes.items():
        setattr(node, name, value)
    Node.objects.filter(pk=node.pk).update(**changes)


# -- moved -------------------------------------------------------------------------------------------------------
def move(moves: Moves, node: Node, to: str, **changes: Any) -> None:
    """Every move of a node; it keeps the counters of the node that it lies within."""
    before = node.status
    lifecycle.move_node(moves.log, node, to, **changes)
    outer = moves.outer(node)
    if outer is None:
        return
    at_work = (to == states.WORKING) - (before == states.WORKING)
    ended = (to in states.NODE.final) - (before in states.NODE.final)
    if at_work or ended:
        _count(moves, outer, inner_at_work=at_work, inner_open=-ended)
    if at_work < 0 or to == states.READY:
        moves.to_start[outer.pk] = outer


def end(moves: Moves, node: Node, status: str, **changes: Any) -> None:
    """`changes` may name stop_reason, message, output and answered_by."""
    changes["message"] = changes.get("message", "")[:500]
    move(moves, node, status, waiting_on="", due_at=None, finished_at=Now(), **changes)
    moves.ended.append(node)


def reopen(moves: Moves, node: Node) -> None:
    """Something within a node that has ended is done again."""
    cleared: dict[str, Any] = {"output": "", "message": "", "stop_reason": "", "answered_by": None, "artifact": None}
    move(moves, node, states.WORKING, finished_at=None, **cleared)


def succeed(moves: Moves, node: Node, **changes: Any) -> None:
    end(moves, node, states.SUCCEEDED, stop_reason=StopReason.FINISHED, **changes)


def fail(moves: Moves, node: Node, reason: str, message: str, **changes: Any) -> None:
    end(moves, node, states.FAILED, stop_reason=reason, message=message, **changes)


def answer(moves: Moves, node: Node, dispatch: Dispatch, **changes: Any) -> None:
    """A dispatch of it came to its result, good or not."""
    status = states.status_for(StopReason(dispatch.stop_reason))
    changes = {"message": dispatch.message} | changes
    end(moves, node, status, stop_reason=dispatch.stop_reason, answered_by=dispatch, **changes)


def cancel_not_started(moves: Moves) -> None:
    """The run is being cancelled: what no agent works on ends at once."""
    waiting = [states.BLOCKED, states.READY, states.WAITING]
    for found in moves.run.nodes.filter(status__in=waiting).order_by("number"):
        node = moves.hold(found)
        if node.status in waiting:
            end(moves, node, states.CANCELLED, stop_reason=StopReason.CANCELLED, message="The run was cancelled.")


# -- once its parents have ended ---------------------------------------------------------------------------------
def tell_children(moves: Moves, node: Node) -> None:
    """One parent less is open; a child that waited for no other is ready, or skipped, by its join rule."""
    waiting = Node.objects.filter(edges_in__parent=node, status=states.BLOCKED, superseded=False)
    for found in waiting.select_related("agent__published__agent").order_by("number"):
        child = moves.hold(found)
        _count(moves, child, parents_open=-1)
        if not child.parents_open:
            decide(moves, child)


def decide(moves: Moves, node: Node) -> None:
    """All parents have ended: does the node start? Those that it only reads are waited for, and have no part in that.
    Expects a blocked node."""
    rule = node.spec.get("join", "all")
    before = node.parents.order_by("number").only("key", "status", "left_out")
    parents = [parent for parent in before if parent.key not in values.only_read(node.spec)]
    failed = [parent for parent in parents if parent.status != states.SUCCEEDED and not parent.left_out]
    if not parents or may_start(rule, len(parents) - len(failed), len(parents)):
        move(moves, node, states.READY)
        return
    names = ", ".join(parent.key for parent in failed[:5]) + (" …" if len(failed) > 5 else "")
    wants = "" if rule == "all" else f", and it asks for {rule}"
    message = f"Skipped: {names} before it did not succeed{wants}."
    end(moves, node, states.SKIPPED, message=message)


def may_start(rule: str, succeeded: int, parents: int) -> bool:
    """`rule`: all, any, always, or quorum(n): so many parents have to have succeeded. Pure."""
    match rule:
        case "all":
            return succeeded == parents
        case "any":
            return succeeded > 0
        case "always":
            return True
    return succeeded >= int(rule.removeprefix("quorum(").removesuffix(")"))
