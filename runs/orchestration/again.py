"""A node is done again, with what a person says of its result; and with it all that was made of it.

The old nodes stay as they are, and are marked superseded; others take their places.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db.models import Max

from runs import lifecycle, states
from runs.models import Edge, Node
from runs.orchestration import bounds, nodes, results, routes, stopping
from runs.orchestration.nodes import Moves, Place

WHY = "Another takes its place: what it was made of is done again."
DONE = "This was done before, and is done again since what came before it has changed. What was done for it then:"
SAID = "A person has read what was made of this task before, and says:\n{comment}\n\nThat was ({reference}): {text}"


def comment(moves: Moves, node: Node, said: str) -> Node:
    """Expects a node that has ended and is not superseded, in a run whose row is held. The run goes on."""
    if moves.run.is_final:
        lifecycle.move_run(moves.log, moves.run, states.WORKING, finished_at=None, stop_reason="")
    outer = moves.outer(node)
    if outer is None:
        return _first_anew(moves, node, said)
    following = [node, *_after(node)]
    _reopen(moves, outer)
    _supersede(moves, [*following, *_made_of(outer, following)])
    return _anew(moves, outer, following, said)[0]


def _first_anew(moves: Moves, node: Node, said: str) -> Node:
    """A run of one agent: another first node."""
    _supersede(moves, [node])
    first = nodes.add_first(moves, _place(node, briefing=_briefing(node, said)))
    bounds.pass_on([(node, first)])
    return first


def _anew(moves: Moves, outer: Node, following: Sequence[Node], said: str = "") -> list[Node]:
    added = nodes.add(moves, outer, _places(following, said))
    taken = list(zip(following, added, strict=True))
    bounds.pass_on(taken)
    routes.pass_on(moves, taken)
    return added


def _after(node: Node) -> list[Node]:
    """All nodes that come after it within the same one, in their order."""
    found = Node.objects.filter(pk__in=Node.objects.after(node.pk))
    return list(found.select_related("agent", "plan").order_by("number"))


def _made_of(outer: Node, changed: Sequence[Node]) -> list[Node]:
    """Whoever reduced or judged what lies within, and whoever was to better it by a plan that nobody has accepted:
    they are sent for again."""
    roles = ["judge", "planner", "reducer"]
    made = Node.objects.filter(within=outer, superseded=False, role__in=roles).select_related("plan")
    newest = outer.plans.filter(status=states.ACCEPTED).aggregate(last=Max("round"))["last"] or 0
    ids = {each.pk for each in changed}
    return [each for each in made if each.pk not in ids and not _has_planned(each, newest)]


def _has_planned(node: Node, newest: int) -> bool:
    return node.role == "planner" and node.plan is not None and node.plan.round < newest


def _supersede(moves: Moves, changed: Iterable[Node]) -> None:
    held = list(map(moves.hold, changed))
    stopping.stop_all(moves, [node for node in held if not node.is_final], WHY)
    for node in held:
        node.superseded = True
        moves.log.run(moves.run.pk, "node_superseded", node=str(node.pk), key=node.key)
    Node.objects.filter(pk__in=[node.pk for node in held]).update(superseded=True)


def _places(following: Sequence[Node], said: str) -> list[Place]:
    """The same nodes once more; those among them wait for each other as the old ones did."""
    index = {node.pk: n for n, node in enumerate(following)}
    parents, done = _parents(following), results.done(following)
    places: list[Place] = []
    for n, node in enumerate(following):
        reads = [places[index[read]].id if read in index else read for read in map(UUID, node.reads)]
        places.append(
            _place(
                node,
                briefing=_briefing_behind(node, done[node.pk]) if n or not said else _briefing(node, said),
                reads=reads,
                after=[index[each.pk] for each in parents[node.pk] if each.pk in index],
                parents=[each for each in parents[node.pk] if each.pk not in index],
            )
        )
    return places


def _parents(children: Sequence[Node]) -> dict[UUID, list[Node]]:
    """By child, in their order."""
    found: dict[UUID, list[Node]] = defaultdict(list)
    edges = Edge.objects.filter(child__in=[node.pk for node in children])
    for edge in edges.select_related("parent").order_by("parent__number"):
        found[edge.child_id].append(edge.parent)
    return found


def _place(node: Node, **changes: Any) -> Place:
    return Place(
        key=node.key,
        task=node.task,
        kind=node.kind,
        agent=node.agent,
        role=node.role,
        spec=node.spec,
        plan=node.plan,
        **changes,
    )


def _briefing(node: Node, said: str) -> str:
    quoted = results.text(node)[: results.PREVIEW_CHARACTERS]
    told = SAID.format(comment=said, reference=results.reference(node), text=quoted)
    return "\n\n".join(part for part in [node.briefing, told, results.earlier_tries(node)] if part)


def _briefing_behind(node: Node, done: Sequence[str]) -> str:
    """Of one that is done again since what it is made of is."""
    return "\n\n".join(part for part in [node.briefing, "\n".join([DONE, *done]) if done else ""] if part)


def _reopen(moves: Moves, outer: Node) -> None:
    """A node that has ended is at work again, and all that was made of it is done again. Of one that waits for a
    person, what they were asked is taken back."""
    if outer.status == states.WAITING:
        stopping.take_back(moves, outer, WHY)
        nodes.move(moves, outer, states.WORKING, waiting_on="")
    if not outer.is_final:
        return
    following = _after(outer)
    above = moves.outer(outer)
    if above is not None:
        _reopen(moves, above)
        changed = [*following, *_made_of(above, following)]
        _supersede(moves, changed)
    nodes.reopen(moves, outer)
    if above is not None and following:
        _anew(moves, above, following)
