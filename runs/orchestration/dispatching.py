"""A dispatch: one agent's try at a node. It pins the agent's published manifest as it is now."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Max, OuterRef, QuerySet

from agents.models import Agent
from agents.values import AgentKind
from orchestrator_site.core.events import Record
from orchestrator_site.core.ids import new_id
from orchestrator_site.core.prepared import Prepared
from runs import doorbells, lifecycle, lineage, state_versions, states
from runs.models import Dispatch, Node, Run
from runs.models.runs import RETRY_OF
from runs.orchestration import bounds, nodes
from runs.orchestration.nodes import Moves
from runs.planning import asking
from runs.states import StopReason
from tools import flow

HISTORY_RUNS = 10
# How often a planner's answer is given back to it with what is wrong.
PLANS_RETURNED = 3


def begin(log: Record, node: Node, agent: Agent, briefing: str = "") -> None:
    """The first try of a run's first node. Neither is written before: both go with what else the transaction writes."""
    dispatch = row(log, node, agent, node.task, origin="run", number=1, briefing=briefing)
    node.dispatch, node.tried = dispatch, [agent.slug]
    log.writes.insert([node])
    log.writes.insert([dispatch])
    doorbells.ring_new_after_commit(dispatch.pk)


def start(
    moves: Moves,
    node: Node,
    *,
    origin: str,
    agent: Agent | None = None,
    task: str | None = None,
    briefing: str = "",
    depth: int = 0,
    has_last_word: bool = False,
) -> Dispatch:
    """The next try of a node, which works from here on."""
    agent = agent or node.agent
    assert agent is not None
    number = (moves.run.dispatches.aggregate(last=Max("number"))["last"] or 0) + 1
    task = node.task if task is None else task
    dispatch = row(
        moves.log,
        node,
        agent,
        task,
        origin=origin,
        number=number,
        briefing=briefing,
        depth=depth,
        has_last_word=has_last_word,
        draws_on=bounds.of(moves, node),
    )
    dispatch.labels = flow.joined(dispatch.labels, _labels(moves, node, origin))
    moves.log.writes.insert([dispatch])
    tries: dict[str, Any] = {"dispatch": dispatch}
    if origin != "closing":  # it tells what others came to
        tries["tried"] = [*node.tried, agent.slug]
    if node.status == states.WORKING:
        nodes.change(node, **tries)
    else:
        nodes.move(moves, node, states.WORKING, waiting_on="", due_at=None, **tries)
    moves.has_started = moves.has_started or agent.active
    if agent.active:
        doorbells.ring_new_after_commit(dispatch.pk)
    else:
        _end_at_once(moves, dispatch, f"{agent.slug} was retired before it could start.")
    return dispatch


def _labels(moves: Moves, node: Node, origin: str) -> str:
    moves.log.writes.send()  # the node, or an edge of it, may be new
    board = lineage.of_board(node.run_id) if node.role == "watch" or origin == "closing" else ""
    return flow.joined(lineage.before(node.pk), board)


def row(
    log: Record,
    node: Node,
    agent: Agent,
    task: str,
    *,
    origin: str,
    number: int,
    briefing: str = "",
    depth: int = 0,
    has_last_word: bool = False,
    draws_on: Sequence[int] = (),
) -> Dispatch:
    """A dispatch that is not written yet, and the event that tells of it. Expects `agent.published` to be joined."""
    manifest = agent.published
    assert manifest is not None
    kind = AgentKind.WORKER if has_last_word else manifest.kind
    cap = _cost_cap(node, manifest.spec().limits.cost_usd)
    if kind == AgentKind.SUPERVISOR:
        draws_on = sorted({*draws_on, bounds.of_supervisor(node, cap)})
    terms = _terms(node, kind) | ({"has_last_word": True} if has_last_word else {})
    terms |= {"draws_on": list(draws_on)} if draws_on else {}
    if kind == AgentKind.PLANNER:
        briefing = "\n\n".join(part for part in [asking.briefing(), briefing] if part)
    told, labels = history(node.run)
    dispatch = Dispatch(
        id=new_id(),
        run=node.run,
        node=node,
        manifest=manifest,
        number=number,
        origin=origin,
        task=task,
        briefing=briefing,
        depth=depth,
        app=node.run.owner_id,
        priority=node.run.priority,
        history=told,
        labels=flow.joined(node.run.labels, labels),
        terms=terms,
        cost_cap_usd=cap,
        cancel_requested=node.run.cancel_requested_at is not None,
        pause_requested=node.run.paused_at is not None,
        state_version=state_versions.current(),
    )
    log.run(
        node.run_id,
        "dispatch_queued",
        dispatch=str(dispatch.pk),
        number=number,
        node=str(node.pk),
        agent=agent.slug,
        manifest=manifest.number,
        origin=origin,
    )
    return dispatch


def _terms(node: Node, kind: str) -> dict[str, Any]:
    """What of its node stands in for the manifest; a planner's answer is always a plan."""
    terms = {name: node.spec[name] for name in ("timeout_seconds", "models") if node.spec.get(name)}
    if kind == AgentKind.PLANNER:
        terms["contract"] = {"schema": asking.schema(), "rules": asking.RULES, "returns": PLANS_RETURNED}
    elif schema := node.spec.get("output_schema"):
        terms["contract"] = {"schema": schema}
    return terms


def _cost_cap(node: Node, limit: Decimal) -> Decimal:
    share = node.spec.get("budget_usd")
    return limit if share is None else min(limit, Decimal(str(share)))


def _end_at_once(moves: Moves, dispatch: Dispatch, why: str) -> None:
    lifecycle.end_dispatch(moves.log, dispatch, StopReason.REFUSED, why)
    moves.stillborn.append(dispatch)


def history(run: Run) -> tuple[list[list[str]], str]:
    """The earlier [request, answer] pairs of the conversation, oldest first, and the labels of what they were made of;
    what is tried again is not among them."""
    if run.conversation_id is None:
        return [], ""
    newest: list[Any] = _EARLIER(run.conversation_id, run.created_at)
    told = [each for each in reversed(newest) if str(each.pk) != run.metadata.get(RETRY_OF)]
    labels = flow.joined(*(label for each in told for label in (each.labels, *each.read)))
    return [[each.input, each.output] for each in told], labels


def _earlier(conversation_id: UUID, before: datetime) -> QuerySet[Run]:
    """The newest runs of a conversation that came to something, with what their dispatches `read`."""
    read = Dispatch.objects.filter(run=OuterRef("pk")).exclude(labels="").values("labels").order_by("labels").distinct()
    runs = Run.objects.filter(conversation_id=conversation_id, created_at__lt=before).exclude(output="")
    return runs.annotate(read=ArraySubquery(read)).order_by("-created_at")[:HISTORY_RUNS]


_EARLIER = Prepared(_earlier, UUID(int=1), datetime(2000, 1, 1, tzinfo=UTC))
