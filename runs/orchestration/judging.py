"""A judge scores what a plan came to; below the bar the planner is sent for, a bounded number of times."""

import json
from dataclasses import dataclass
from typing import Any

from agents.models import Agent
from agents.values import AgentKind
from runs import states
from runs.models import Node, Plan
from runs.orchestration import nodes, results
from runs.orchestration.nodes import Moves, Place
from runs.planning.values import Judge

VERDICT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "score": {"type": "number", "minimum": 0, "maximum": 1, "description": "1: nothing is missing"},
        "feedback": {"type": "string", "description": "what is missing or wrong, for whoever plans what comes next"},
    },
    "required": ["score", "feedback"],
    "additionalProperties": False,
}
TASK = "Judge whether the results below answer the request, from 0 to 1.\n\nThe request:\n{request}"
AGAIN = (
    "The results below were judged {score:.2f}, and {bar:.2f} is wanted. The judge says:\n{feedback}\n\n"
    "Plan the nodes that are still needed; they may wait for, and read, the nodes that are there: {keys}.\n\n"
    "The request:\n{request}"
)


@dataclass(frozen=True)
class Verdict:
    score: float
    feedback: str


def read(text: str) -> Verdict | None:
    """None for what is no verdict. Pure."""
    try:
        said = json.loads(text[text.find("{") : text.rfind("}") + 1])
        return Verdict(float(said["score"]), str(said.get("feedback", "")))
    except (ValueError, KeyError, TypeError):
        return None


def judge(moves: Moves, node: Node, plan: Plan, rule: Judge, answers: list[Node]) -> str | None:
    """Sends for the judge, or for the planner, within the node. None while one of them is to come; else what is to be
    said of the result: nothing, where it has passed."""
    asked = Node.objects.filter(within=node, plan=plan, role="judge", superseded=False).select_related("answered_by")
    last = asked.order_by("number").last()
    if last is None:
        _send_for_judge(moves, node, plan, rule, answers)
        return None
    verdict = read(results.text(last)) if last.status == states.SUCCEEDED else None
    if verdict is None:
        return f"It was not judged: {last.message or 'the judge gave no score'}"
    sent = Node.objects.filter(within=node, plan=plan, role="planner", superseded=False)
    planned = list(sent.values_list("number", flat=True))
    if not planned or max(planned) < last.number:
        moves.log.run(moves.run.pk, "judged", node=str(node.pk), score=verdict.score, bar=rule.bar, round=plan.round)
    if verdict.score >= rule.bar:
        return ""
    effort = f"Best effort: judged {verdict.score:.2f} where {rule.bar:.2f} is wanted. {verdict.feedback}"
    planner = _planner(node, rule)
    if planned or planner is None or plan.round > rule.rounds:
        return effort
    _send_for_planner(moves, node, plan, rule, verdict, planner, answers)
    return None


def _send_for_judge(moves: Moves, node: Node, plan: Plan, rule: Judge, answers: list[Node]) -> None:
    agent = Agent.objects.select_related("published__agent").get(slug=rule.agent)
    task = TASK.format(request=moves.run.input)
    key, reads = f"judge-{plan.round}", [each.pk for each in answers]
    nodes.add(
        moves,
        node,
        [Place(key, task, agent=agent, role="judge", spec={"output_schema": VERDICT}, reads=reads)],
        plan,
    )


def _send_for_planner(
    moves: Moves, node: Node, plan: Plan, rule: Judge, verdict: Verdict, planner: Agent, answers: list[Node]
) -> None:
    there = Node.objects.filter(within=node, role="", superseded=False).order_by("number")
    task = AGAIN.format(
        score=verdict.score,
        bar=rule.bar,
        feedback=verdict.feedback,
        keys=", ".join(there.values_list("key", flat=True)),
        request=moves.run.input,
    )
    key, reads = f"plan-{plan.round + 1}", [each.pk for each in answers]
    nodes.add(moves, node, [Place(key, task, agent=planner, role="planner", reads=reads)], plan)


def _planner(node: Node, rule: Judge) -> Agent | None:
    """Whom the judge's rule names, else whoever made the plan, if that was a planner."""
    planners = Agent.objects.at_work().filter(published__kind=AgentKind.PLANNER).select_related("published__agent")
    return planners.filter(slug=rule.planner or (node.agent.slug if node.agent else "")).first()
