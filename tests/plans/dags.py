"""Random DAGs, what becomes of them when each node is known to succeed or fail, and whether that is what happened."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from orchestrator_site.core import canonical, events
from runs.models import Run
from tests.runs.cast import script, text

JOINS = ("all", "any", "always", "quorum(2)")


@dataclass(frozen=True)
class Spot:
    """A node: the indexes of its parents, which all come before it, its join rule, and whether its agent succeeds."""

    parents: tuple[int, ...]
    join: str
    good: bool


@st.composite
def dags(draw: Any, most: int = 12) -> list[Spot]:
    count = draw(st.integers(1, most))
    return [_spot(draw, n) for n in range(count)]


def _spot(draw: Any, n: int) -> Spot:
    parents = tuple(sorted(draw(st.sets(st.integers(0, n - 1), max_size=4)))) if n else ()
    joins = [join for join in JOINS if join != "quorum(2)" or len(parents) >= 2]
    return Spot(parents, draw(st.sampled_from(joins)), draw(st.booleans()))


def plan_of(spots: Sequence[Spot], **turn: Any) -> dict[str, Any]:
    """`turn`: what each model call has beside its words, such as delay_seconds."""
    return {"nodes": [_node(n, spot, turn) for n, spot in enumerate(spots)]}


def _node(n: int, spot: Spot, turn: dict[str, Any]) -> dict[str, Any]:
    cut = {} if spot.good else {"stop_reason": "max_tokens"}
    said = script(text(f"n{n} done") | cut | turn)
    after = [f"n{parent}" for parent in spot.parents]
    return {"key": f"n{n}", "agent": "worker", "task": said, "depends_on": after, "join": spot.join}


def expected(spots: Sequence[Spot]) -> dict[str, str]:
    """By key, the status in which each node ends."""
    came: list[str] = []
    for spot in spots:
        good = sum(came[parent] == "succeeded" for parent in spot.parents)
        wanted = {"all": len(spot.parents), "any": 1, "always": 0, "quorum(2)": 2}[spot.join]
        starts = not spot.parents or good >= wanted
        came.append(("succeeded" if spot.good else "failed") if starts else "skipped")
    return {f"n{n}": status for n, status in enumerate(came)}


def faults(run: Run, spots: Sequence[Spot]) -> list[str]:
    """What did not happen as it should have; by the rows, and by the order of the run's own log."""
    nodes = {node.key: node for node in run.nodes.filter(number__gt=1)}
    wanted = expected(spots)
    found = [f"{key} is {node.status}, not {wanted[key]}" for key, node in nodes.items() if node.status != wanted[key]]
    tries = dict.fromkeys(nodes, 0)
    begun: dict[str, int] = {}
    ended: dict[str, int] = {}
    keys = {str(node.pk): key for key, node in nodes.items()}
    for event in events.of_run(run.pk):
        key = keys.get(canonical.loads(event.data).get("node", ""))
        if key and event.type == "dispatch_queued":
            tries[key] += 1
            begun[key] = event.seq
        elif key and event.type in ("node_succeeded", "node_failed", "node_skipped"):
            ended[key] = event.seq
    for n, spot in enumerate(spots):
        key = f"n{n}"
        if tries[key] != (wanted[key] != "skipped"):
            found.append(f"{key} was dispatched {tries[key]} times")
        early = [parent for parent in spot.parents if key in begun and begun[key] < ended.get(f"n{parent}", 1 << 60)]
        found += [f"{key} began before n{parent} had ended" for parent in early]
    return found
