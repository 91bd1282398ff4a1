"""What a plan may still promise to its nodes: the money that is left around it, less what others were promised."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from runs import states
from runs.budgets import remaining_usd
from runs.models import Allotment, Node


@dataclass(frozen=True)
class Spot:
    """A node, as far as money goes. `share`: None for one that was promised none, or needs none any more."""

    within: UUID | None
    share: Decimal | None


def left_usd(node: Node) -> Decimal | None:
    """For a plan within this node; None where nothing bounds it. Three queries, whatever there is."""
    spots = _spots(node.run_id)
    of_nodes = Allotment.objects.filter(run_id=node.run_id, node__isnull=False)
    granted = {each.node_id: each for each in of_nodes if each.node_id}
    used = {id: each.spent_usd + each.reserved_usd for id, each in granted.items()}
    path = list(_upwards(spots, node.pk))
    found = [] if (of_run := remaining_usd(node.run_id)) is None else [of_run - _promised(spots, used, path, None)]
    for id in path:
        grant = granted[id].granted_usd if id in granted else spots[id].share
        if grant is not None:
            found.append(grant - used.get(id, Decimal(0)) - _promised(spots, used, path, id))
    return max(min(found), Decimal(0)) if found else None


def _spots(run_id: UUID) -> dict[UUID, Spot]:
    rows = Node.objects.filter(run_id=run_id).values_list("pk", "within", "status", "superseded", "spec__budget_usd")
    return {pk: Spot(within, _share(*more)) for pk, within, *more in rows}


def _share(status: str, superseded: bool, said: Any) -> Decimal | None:
    return None if said is None or superseded or status in states.NODE.final else Decimal(str(said))


def _upwards(spots: Mapping[UUID, Spot], id: UUID | None) -> Iterator[UUID]:
    while id is not None:
        yield id
        id = spots[id].within


def _promised(
    spots: Mapping[UUID, Spot], used: Mapping[UUID, Decimal], path: Collection[UUID], within: UUID | None
) -> Decimal:
    """What the nodes within one, or within the run, may still spend of their shares. A share within another's is part
    of it; those around the plan are what it draws on itself."""
    total = Decimal(0)
    for id, spot in spots.items():
        if spot.share is None or id in path:
            continue
        around = list(_upwards(spots, spot.within))
        inside = around[: around.index(within)] if within in around else around
        if within is not None and within not in around:
            continue
        if not any(spots[each].share is not None and each not in path for each in inside):
            total += max(spot.share - used.get(id, Decimal(0)), Decimal(0))
    return total
