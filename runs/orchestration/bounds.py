"""What a node may spend together with all that lies within it: children draw from what their parent has left.

Three nodes have a bound of their own: one whose plan gives it a share, by all its tries and whatever it goes over; one
on which a supervisor works, by its limit; and one whose agent has a summariser write for it, by what that agent has
left. The bound is an allotment that every dispatch at or within the node reserves from beside everything else.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal

from django.db.models import F

from agents.values import AgentKind
from runs.models import Allotment, Dispatch, Node
from runs.models.nodes import SUMMARISER
from runs.orchestration.nodes import Moves


def of(moves: Moves, node: Node) -> list[int]:
    """The allotments that a dispatch at this node draws on, beside its own as a supervisor. No query where none of the
    nodes around it can have one."""
    around = list(_around(moves, node))
    if not any(_may_be_bound(each, node) for each in around):
        return []
    found = dict(Allotment.objects.filter(node__in=[each.pk for each in around]).values_list("node_id", "pk"))
    for each in around:
        if each.pk not in found and (share := _share(each)) is not None:
            found[each.pk] = _open(each, share).pk
    # A node's own is drawn on for its share, and else by a supervisor alone.
    wanted = [each for each in around if each.pk in found and (each.pk != node.pk or _share(each) is not None)]
    return [found[each.pk] for each in wanted]


def of_supervisor(node: Node, cap_usd: Decimal) -> int:
    """Of a node at which a supervisor begins: its cap holds for all that it dispatches, at every try anew."""
    bound = Allotment.objects.filter(node=node).first()
    if bound is None:
        return _open(node, cap_usd).pk
    if _share(node) is None:
        Allotment.objects.filter(pk=bound.pk).update(granted_usd=F("spent_usd") + F("reserved_usd") + cap_usd)
    return bound.pk


def of_summarised(node: Node, dispatch: Dispatch) -> None:
    """Whoever summarises for a dispatch draws from what that has left, and so does the dispatch from here on, which
    waits or has ended."""
    bound = Allotment.objects.filter(node=node).first()
    if bound is None:
        bound = _open(node, dispatch.cost_cap_usd, spent=dispatch.cost_usd)
    draws_on = dispatch.terms.get("draws_on", [])
    if not dispatch.is_final and bound.pk not in draws_on:
        dispatch.terms = dispatch.terms | {"draws_on": [*draws_on, bound.pk]}
        Dispatch.objects.filter(pk=dispatch.pk).update(terms=dispatch.terms)


def pass_on(taken: Sequence[tuple[Node, Node]]) -> None:
    """The second of each pair takes the place of the first, and has what that left of its share."""
    places = {old.pk: new for old, new in taken if _share(old) is not None}
    bounds = list(Allotment.objects.filter(node__in=places)) if places else []
    for bound in bounds:
        assert bound.node_id is not None
        bound.node = places[bound.node_id]
    Allotment.objects.bulk_update(bounds, ["node"])


def _around(moves: Moves, node: Node) -> Iterator[Node]:
    each: Node | None = node
    while each is not None:
        yield each
        each = moves.outer(each)


def _may_be_bound(each: Node, node: Node) -> bool:
    if _share(each) is not None or node.role == SUMMARISER:
        return True
    published = each.agent.published if each.agent else None
    return each.pk != node.pk and published is not None and published.kind == AgentKind.SUPERVISOR


def _share(node: Node) -> Decimal | None:
    share = node.spec.get("budget_usd")
    return None if share is None else Decimal(str(share))


def _open(node: Node, granted: Decimal, *, spent: Decimal = Decimal(0)) -> Allotment:
    return Allotment.objects.create(run_id=node.run_id, node=node, granted_usd=granted, spent_usd=spent)
