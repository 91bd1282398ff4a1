"""The nodes of a run as its page shows them: what each came to, in a list, and how they hang together, in a drawing."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

from django.utils import timezone

from orchestrator_site.core.templatetags.plain import distance
from runs import comments, drawing, states
from runs.drawing import Drawing, Vertex
from runs.models import Dispatch, Edge, Node, Run
from runs.orchestration import results
from runs.planning import values

# Up to so many dispatches a run is read from top to bottom: nothing of it is folded away.
OPEN_UP_TO = 4
# Lines of the nodes within one node; the event log has them all.
SHOWN_WITHIN = 200
FIRST_WORDS = 160


class Try(Protocol):
    """A dispatch as the page shows it."""

    @property
    def dispatch(self) -> Dispatch: ...

    @property
    def asks(self) -> bool: ...


@dataclass(eq=False)
class NodeView:
    """`after` are the nodes it waits for, `reads` those whose results it was told, as far as they are others.

    `earlier` are nodes within it that others have taken the place of; each names its successor in `replaced_by`.
    """

    node: Node
    tries: list[Any] = field(default_factory=list)
    inner: list["NodeView"] = field(default_factory=list)
    earlier: list["NodeView"] = field(default_factory=list)
    after: list["NodeView"] = field(default_factory=list)
    reads: list["NodeView"] = field(default_factory=list)
    replaced_by: "NodeView | None" = None
    outer: "NodeView | None" = None
    opens: bool = False

    @property
    def anchor(self) -> str:
        return f"node-{self.node.pk}"

    @property
    def name(self) -> str:
        """The first node of a run goes by its agent's name."""
        return self.node.key if self.node.within_id else self.agent

    @property
    def agent(self) -> str:
        """Whose it is, or what the platform does in an agent's place."""
        if self.tries:
            return self.tries[-1].dispatch.manifest.agent.slug
        if self.node.agent is not None:
            return self.node.agent.slug
        how = self.node.spec.get("reduce", {}).get("how", "concatenate")
        return {"reduce": f"the platform: {how}", "ensemble": "several agents"}.get(self.node.kind, "the platform")

    @property
    def asks(self) -> bool:
        return any(each.asks for each in self.tries)

    @property
    def status(self) -> str:
        """As people see it: what is at work only to wait, itself or with all that is open within it, waits."""
        if self.node.status != states.WORKING:
            return self.node.status
        inner = {each.status for each in self.inner if not each.node.is_final}
        if inner:
            return states.WAITING if states.WAITING in inner and inner <= _HELD_UP else self.node.status
        return states.WAITING if self.waiting_on else self.node.status

    @property
    def waiting_on(self) -> str:
        """What it, or its last try, waits for."""
        if self.node.waiting_on or not self.tries:
            return self.node.waiting_on
        last = self.tries[-1].dispatch
        return last.waiting_on if last.status == states.WAITING else ""

    @property
    def cost_usd(self) -> Decimal:
        own = sum((each.dispatch.cost_usd for each in self.tries), Decimal(0))
        return own + sum((each.cost_usd for each in (*self.inner, *self.earlier)), Decimal(0))

    @property
    def started_at(self) -> datetime | None:
        own = [each.dispatch.started_at for each in self.tries]
        return min((at for at in (*own, *(each.started_at for each in self.inner)) if at), default=None)

    @property
    def took(self) -> timedelta | None:
        """From its first try to its end, or until now."""
        if self.started_at is None:
            return None
        return max(timedelta(0), (self.node.finished_at or timezone.now()) - self.started_at)

    @property
    def is_folded(self) -> bool:
        return len(self.inner) > drawing.FOLDED_BEYOND and self.node.within_id is not None

    @property
    def shown(self) -> list["NodeView"]:
        return self.inner[:SHOWN_WITHIN]

    @property
    def not_shown(self) -> int:
        return max(0, len(self.inner) - SHOWN_WITHIN)

    @property
    def counted(self) -> str:
        """What became of the nodes within it: “12 of 50 done, 1 failed”. Those that serve the others do not count."""
        told = Counter(each.status for each in self.inner if not each.node.role)
        parts = [f"{told[states.SUCCEEDED]} of {told.total()} done"]
        parts += [f"{told[status]} {status}" for status in _COUNTED if told[status]]
        return ", ".join(parts)

    @property
    def result(self) -> str:
        return results.text(self.node)

    @property
    def own_result(self) -> str:
        """What it came to, where no dispatch of its own says it."""
        by = self.node.answered_by
        return self.node.output if by is None or by.node_id != self.node.pk else ""

    @property
    def said(self) -> str:
        """How it ended, where neither its last try nor its result says so."""
        known = self.own_result, self.tries[-1].dispatch.message if self.tries else ""
        return self.node.message if self.node.is_final and self.node.message not in known else ""

    @property
    def told(self) -> str:
        """One line: what it waits for, why it ended so, or the first words of its result."""
        node = self.node
        if node.status == states.BLOCKED:
            return f"after {', '.join(each.node.key for each in self.after if not each.node.is_final)}"
        if node.status == states.WORKING and self.inner:
            return self.counted
        if self.status == states.WAITING:
            return f"waits for {self.waiting_on}" if self.waiting_on else ""
        if node.status == states.WORKING:
            return ""
        if node.status == states.READY:
            return node.waiting_on or "waits for a free place"
        return node.message or self.result

    @property
    def first_words(self) -> str:
        line = " ".join(self.told.split())
        return line if len(line) <= FIRST_WORDS else line[: FIRST_WORDS - 1] + "…"

    @property
    def artifacts_read(self) -> list[str]:
        """Ids of the artifacts that its plan has told it of."""
        return [each.removeprefix("artifact:") for each in values.references(self.node.spec)]

    @property
    def may_be_commented(self) -> bool:
        return comments.why_not(self.node, [each.node for each in self.around]) is None

    @property
    def around(self) -> list["NodeView"]:
        return [self.outer, *self.outer.around] if self.outer is not None else []


_HELD_UP = {states.WAITING, states.BLOCKED}
_COUNTED = (states.WORKING, states.WAITING, states.FAILED, states.SKIPPED, states.CANCELLED)


@dataclass(frozen=True)
class NodeList:
    """`first`: the node of the run that is in force; `earlier`: first nodes that were superseded."""

    first: NodeView
    earlier: list[NodeView]
    drawing: Drawing | None
    is_too_large: bool

    @property
    def shown(self) -> list[NodeView]:
        """A plan's own node says nothing that the run does not say."""
        return self.first.shown if is_bare(self.first) else [self.first]

    @property
    def not_shown(self) -> int:
        return self.first.not_shown if is_bare(self.first) else 0

    @property
    def all_earlier(self) -> list[NodeView]:
        return [*self.earlier, *(self.first.earlier if is_bare(self.first) else [])]

    @property
    def partial(self) -> str:
        """What of it did not come to anything, in one line; empty where all did."""
        if self.first.node.message and self.first.inner:
            return self.first.node.message
        partly = [each for each in self.first.inner if each.node.message and _has_failed_within(each)]
        return " ".join(f"{each.node.key}: {each.node.message}" for each in partly)


def is_bare(view: NodeView) -> bool:
    return bool(view.inner) and not view.tries and view.node.agent_id is None


def _has_failed_within(view: NodeView) -> bool:
    return any(each.node.status in (states.FAILED, states.SKIPPED) for each in view.inner)


def of(run: Run, rows: Sequence[Node], tries: Iterable[Try]) -> NodeList:
    """Of a run that has more than one node, all of them in their order, their agents joined. One query."""
    views = _views(run, rows, tries)
    inside, earlier = _sorted_out(views)
    first = inside[None][-1]
    vertices = _vertices(first.inner) if is_bare(first) else [_vertex(first, never_folds=True)]
    drawn = drawing.draw(vertices)
    return NodeList(first, earlier[None], drawn, is_too_large=drawn is None)


def _views(run: Run, rows: Sequence[Node], tries: Iterable[Try]) -> dict[UUID, NodeView]:
    views = {row.pk: NodeView(row) for row in rows}
    answers: dict[Any, Dispatch] = {}
    for each in tries:
        views[each.dispatch.node_id].tries.append(each)
        answers[each.dispatch.pk] = each.dispatch
    is_short = len(answers) <= OPEN_UP_TO
    for view in views.values():
        row = view.node
        row.answered_by = answers.get(row.answered_by_id)
        view.reads = [views[id] for id in map(UUID, row.reads) if id in views]
        view.opens = view.asks or (is_short and bool(view.tries))
    for parent, child in Edge.objects.filter(child__run=run).order_by("parent__number").values_list("parent", "child"):
        views[child].after.append(views[parent])
    return views


def _sorted_out(views: Mapping[UUID, NodeView]) -> tuple[dict[Any, list[NodeView]], dict[Any, list[NodeView]]]:
    """By what they lie within, those in force and those superseded; the nodes around them are told."""
    inside: dict[Any, list[NodeView]] = defaultdict(list)
    earlier: dict[Any, list[NodeView]] = defaultdict(list)
    newest: dict[tuple[Any, str], NodeView] = {}
    for view in reversed(list(views.values())):
        place = (view.node.within_id, view.node.key)
        if view.node.superseded:
            view.replaced_by = newest.get(place)
        newest[place] = view
        (earlier if view.node.superseded else inside)[view.node.within_id].insert(0, view)
    for view in views.values():
        view.inner, view.earlier = inside[view.node.pk], earlier[view.node.pk]
        view.outer = views.get(view.node.within_id) if view.node.within_id else None
    return inside, earlier


# -- drawn -------------------------------------------------------------------------------------------------------
def _vertices(views: Sequence[NodeView]) -> list[Vertex]:
    return [_vertex(view, after) for view, after in zip(views, _drawn_after(views), strict=True)]


def _drawn_after(views: Sequence[NodeView]) -> list[list[NodeView]]:
    """Whom each is drawn behind: its parents; else whose results it reads, as a judge does; else, for what was planned
    later, the planner that was sent for, and for it the judge."""
    found = []
    first_plan = next((view.node.plan_id for view in views if view.node.plan_id), None)
    last: dict[str, NodeView] = {}
    for view in views:
        node, after = view.node, view.after or [each for each in view.reads if each in views]
        if node.role == "planner" and "judge" in last:
            after = [last["judge"]]
        elif "planner" in last and _begins_a_round(view, first_plan):
            after = [*after, last["planner"]]
        found.append(after)
        last[node.role] = view
    return found


def _begins_a_round(view: NodeView, first_plan: Any) -> bool:
    """It was planned later, and nothing that was planned with it comes before it."""
    node = view.node
    own = any(each.node.plan_id == node.plan_id for each in view.after)
    return not node.role and node.plan_id not in (None, first_plan) and not own


def _vertex(view: NodeView, after: Sequence[NodeView] = (), *, never_folds: bool = False) -> Vertex:
    took = distance(view.took.total_seconds()) if view.took is not None else ""
    who = view.agent if view.node.within_id else ""
    spoken = [view.name, who, view.status, took, view.first_words]
    spoken.append(f"after {', '.join(each.node.key for each in after)}" if after else "")
    return Vertex(
        id=str(view.node.pk),
        label=view.name,
        detail=" · ".join(part for part in (who, took) if part),
        status=view.status,
        spoken=", ".join(dict.fromkeys(part for part in spoken if part)),
        href=f"#{view.anchor}",
        summary=view.counted if view.inner else "",
        after=tuple(str(each.node.pk) for each in after),
        inner=tuple(_vertices(view.inner)),
        never_folds=never_folds,
    )


def proposed(content: Mapping[str, Any]) -> Drawing | None:
    """Of a plan as it was proposed: the JSON of a checked `PlanSpec`."""
    nodes = content["nodes"]
    vertices = [
        Vertex(
            id=each["key"],
            label=each["key"],
            detail=who(each),
            spoken=_spoken(each),
            after=tuple(each.get("depends_on", ())),
        )
        for each in nodes
    ]
    if judge := content.get("judge"):
        before = {key for each in nodes for key in each.get("depends_on", ())}
        ends = content.get("answer") or [each["key"] for each in nodes if each["key"] not in before]
        told = f"judge, by {judge['agent']}, after {', '.join(ends)}"
        vertices.append(Vertex("judge ", "judge", judge["agent"], spoken=told, after=tuple(ends)))
    return drawing.draw(vertices)


def who(node: Mapping[str, Any]) -> str:
    """Who does it, and for how many."""
    over = node.get("over")
    if over:
        items = over.get("items")
        return f"{node['agent']}, for {'each' if items is None else len(items)}"
    if node.get("agents"):
        return f"{len(node['agents'])} agents"
    if node.get("models"):
        return f"{node['agent']}, {len(node['models'])} models"
    return node.get("agent") or node.get("reduce", {}).get("how", "concatenate")


def _spoken(node: Mapping[str, Any]) -> str:
    after = node.get("depends_on")
    return f"{node['key']}, {who(node)}" + (f", after {', '.join(after)}" if after else "")
