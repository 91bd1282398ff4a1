"""A try has failed: again after a pause, by another agent, by a person's word, or on without it, as the rules say."""

import datetime as dt
from dataclasses import dataclass

from django.conf import settings

from agents import roster
from agents.models import Agent, FailureRule
from approvals import requests
from orchestrator_site.core.clock import database_now
from runs import states
from runs.models import Dispatch, Node, ToolCall
from runs.models.pacing import AGENT
from runs.orchestration import dispatching, handoffs, nodes, results, routes
from runs.orchestration.nodes import Moves
from runs.pacing import breakers
from runs.states import StopReason
from tools.values import Risk

NODE_KIND = "node"
LONGEST_PAUSE_SECONDS = 3600
# Ends that a person brought about are nobody's to try again.
_BY_PERSON = frozenset({StopReason.CANCELLED, StopReason.REJECTED, StopReason.BUDGET})


@dataclass(frozen=True)
class Rule:
    """What is done when an agent's try fails: the node's own words come before the agent's row."""

    tries: int = 1
    backoff_seconds: float = 2
    fallbacks: tuple[str, ...] = ()
    reroute: bool = False
    ask_person: bool = False
    skip: bool = False


@dataclass(frozen=True)
class Part:
    """What is tried again of a node: all of it as it was meant, or what a person had handed over or sent back, as it
    was told then. `agent` is whose it is first, `tried` who tried it since."""

    agent: Agent | None
    tried: list[str]
    task: str
    briefing: str
    depth: int = 0
    is_handed_over: bool = False


def part_of(node: Node) -> Part:
    by_person = node.dispatches.filter(origin__in=["handoff", "guidance"]).order_by("number")
    begun = list(by_person.select_related("manifest__agent__published__agent")) if len(node.tried) > 1 else []
    if not begun:
        return Part(node.agent, node.tried, node.task, results.briefing(node))
    last = begun[-1]
    since = node.dispatches.filter(number__gte=last.number).exclude(origin="closing").count()
    is_handed_over = any(each.origin == "handoff" for each in begun)
    return Part(last.manifest.agent, node.tried[-since:], last.task, last.briefing, last.depth, is_handed_over)


def rule_of(node: Node, part: Part) -> Rule:
    """What was said of the node, and of its first agent, does not hold for whom it was handed over to."""
    row = FailureRule.objects.filter(agent=part.agent).first() if part.agent else None
    said = {name: getattr(row, name) for name in vars(Rule())} if row is not None else {}
    if part.is_handed_over:
        return Rule(**said | {"reroute": False})
    said |= node.spec.get("retry", {})
    if "fallback" in node.spec:
        said["fallbacks"] = node.spec["fallback"]
    return Rule(**said)


def follow(moves: Moves, node: Node, dispatch: Dispatch) -> None:
    """Expects a dispatch that has ended, and did not succeed."""
    reason = StopReason(dispatch.stop_reason)
    if moves.is_stopping or reason == StopReason.CANCELLED:
        nodes.answer(moves, node, dispatch)
        return
    part = part_of(node)
    rule = rule_of(node, part)
    if reason not in _BY_PERSON and not has_acted(node) and _again(moves, node, dispatch, part, rule):
        return
    if rule.ask_person and reason not in _BY_PERSON:
        _ask(moves, node, dispatch)
    elif rule.skip:
        leave_out(moves, node, dispatch.message or dispatch.stop_reason)
    else:
        handoffs.answer(moves, node, dispatch)


def has_acted(node: Node) -> bool:
    """Something was sent at it, or within it, that cannot simply be repeated: the machine gives it to nobody else."""
    return ToolCall.objects.with_effect_at(node).exists()


def _again(moves: Moves, node: Node, dispatch: Dispatch, part: Part, rule: Rule) -> bool:
    """The same agent once more, then each fallback agent in turn, then whom routing finds; False when none is left.

    An agent whose breaker is open comes last.
    """
    first = part.tried[0]
    tries = part.tried.count(first)
    may_retry = part.tried[-1] == first and tries < rule.tries
    left_alone = breakers.shut(roster.current(), AGENT, first) if may_retry else None
    other = None if may_retry and left_alone is None else _next_agent(moves, node, rule)
    if other is None:
        if may_retry:
            pause = min(rule.backoff_seconds * 2 ** (tries - 1), LONGEST_PAUSE_SECONDS)
            due_at = database_now() + dt.timedelta(seconds=pause)
            if left_alone is not None and left_alone.tries_at is not None:
                due_at = max(due_at, left_alone.tries_at)
            nodes.move(moves, node, states.READY, due_at=due_at, waiting_on=f"its next try: {dispatch.message}"[:300])
        return may_retry
    origin = "fallback" if other.slug in rule.fallbacks else "reroute"
    _start(moves, node, part, origin=origin, agent=other)
    return True


def _next_agent(moves: Moves, node: Node, rule: Rule) -> Agent | None:
    at_work = Agent.objects.at_work().select_related("published__agent")
    by_slug = {agent.slug: agent for agent in at_work.filter(slug__in=rule.fallbacks)}
    for slug in rule.fallbacks:
        if slug in by_slug and slug not in node.tried:
            return by_slug[slug]
    if not rule.reroute:
        return None
    target = routes.elsewhere(moves, node)
    return at_work.filter(slug=target).first() if target else None


def start_again(moves: Moves, node: Node) -> None:
    """The same agent's next try is due."""
    part = part_of(node)
    _start(moves, node, part, origin="retry", agent=part.agent)


def _start(moves: Moves, node: Node, part: Part, *, origin: str, agent: Agent | None, task: str | None = None) -> None:
    """Another try is told what came before the node, how the earlier tries ended, and what they did."""
    told = "\n\n".join(each for each in [part.briefing, results.earlier_tries(node)] if each)
    task = part.task if task is None else task
    dispatching.start(moves, node, origin=origin, agent=agent, task=task, briefing=told, depth=part.depth)


def leave_out(moves: Moves, node: Node, why: str) -> None:
    """The others go on as if it had succeeded, and are told that it is missing."""
    nodes.end(moves, node, states.SKIPPED, left_out=True, message=f"Left out: {why}")


# -- a person ----------------------------------------------------------------------------------------------------
def _ask(moves: Moves, node: Node, dispatch: Dispatch) -> None:
    requests.ask(
        moves.log,
        kind=NODE_KIND,
        run_id=moves.run.pk,
        dispatch_id=dispatch.pk,
        title=f"{dispatch.manifest.agent.slug} could not do {node.key}. What now?",
        frozen={
            "node": str(node.pk),
            "key": node.key,
            "agent": dispatch.manifest.agent.slug,
            "task": dispatch.task,
            "stop_reason": dispatch.stop_reason,
            "message": dispatch.message,
            "acted": has_acted(node),
            "tried": node.tried,
        },
        risk=Risk.MEDIUM if has_acted(node) else Risk.LOW,
        reasons=["Nobody is left that it may be given to without a person's word."],
        requester_id=moves.run.owner_id,
        deadline_seconds=settings.BATON_APPROVAL_SECONDS,
    )
    nodes.move(moves, node, states.WAITING, waiting_on=f"a person to say what becomes of {node.key}")


def try_again(moves: Moves, node: Node, *, agent: Agent | None = None, task: str | None = None) -> None:
    """A person's word: the same agent or another one, with the same task or another one."""
    part = part_of(node)
    _start(moves, node, part, origin="retry", agent=agent or part.agent, task=task)


def give_up(moves: Moves, node: Node) -> None:
    """Nobody said anything in time: it ends as its last try did."""
    assert node.dispatch_id is not None
    dispatch = Dispatch.objects.select_related("manifest__agent").get(pk=node.dispatch_id)
    handoffs.answer(moves, node, dispatch)
