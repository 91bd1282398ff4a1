"""Nobody could say whose a run is: the person who started it is asked once, and then a person who works here.

What waits is the run's first node, which has no agent yet.
"""

from collections.abc import Mapping
from typing import Any

from django.conf import settings

from agents import roster
from agents.models import Agent
from approvals import requests
from approvals.models import OPERATOR, REQUESTER
from runs import routing as routings
from runs import states
from runs.models import Node, Routing
from runs.orchestration import dispatching, nodes, plans
from runs.orchestration.nodes import Moves
from runs.planning import asking
from runs.planning.checking import NotAPlan
from runs.platform_tools import ROUTING_KIND
from runs.routing import Judged
from runs.states import StopReason
from tools.values import Risk

CLARIFY_KIND = "clarify"
QUESTION = "Which of these is it about?"
NOBODY = "No router is at work, and the request names no agent."
JUDGED_AGAIN = "whom it is for, judged by your answer"


def ask(moves: Moves, node: Node, routing: Routing | None) -> None:
    """Expects the first node at work, and nobody on it."""
    found = routings.owned_by([each["slug"] for each in routing.candidates]) if routing else {}
    if not found:
        ask_operator(moves, node, routing)
        return
    asked = {"node": str(node.pk), "question": QUESTION, "candidates": list(found), "explained": found}
    _ask(moves, node, CLARIFY_KIND, QUESTION, asked, REQUESTER)
    nodes.move(moves, node, states.WAITING, waiting_on=f"an answer: {QUESTION}")


def ask_operator(moves: Moves, node: Node, routing: Routing | None) -> None:
    """Of everybody who is at work, the likeliest first."""
    likely = [each["slug"] for each in routing.candidates] if routing else []
    at_work = sorted(roster.today().entries)
    if not at_work:
        nodes.fail(moves, node, StopReason.NEEDS_HUMAN, NOBODY)
        return
    candidates = [slug for slug in likely if slug in at_work] + [slug for slug in at_work if slug not in likely]
    asked = {"node": str(node.pk), "request": moves.run.input, "question": _answered(routing), "candidates": candidates}
    _ask(moves, node, ROUTING_KIND, "Who should take this request?", asked, OPERATOR)
    waiting_on = "a person to say who takes it"
    if node.status == states.WAITING:
        nodes.change(node, waiting_on=waiting_on)
    else:
        nodes.move(moves, node, states.WAITING, waiting_on=waiting_on)


def _answered(routing: Routing | None) -> str:
    """What the requester said when they were asked."""
    asked = [stage for stage in routing.stages if stage["stage"] == "question"] if routing else []
    return asked[-1]["answer"] if asked else ""


def _ask(moves: Moves, node: Node, kind: str, title: str, frozen: Mapping[str, Any], to: str) -> None:
    requests.ask(
        moves.log,
        kind=kind,
        run_id=moves.run.pk,
        title=title,
        frozen=frozen,
        risk=Risk.LOW,
        reasons=["Neither the rules nor what requests are like says whose this is."],
        requester_id=moves.run.owner_id,
        addressed_to=to,
        deadline_seconds=settings.BATON_APPROVAL_SECONDS,
    )


# -- answered ----------------------------------------------------------------------------------------------------
def answered(moves: Moves, node: Node, routing: Routing, stage: Mapping[str, Any], *, actor: str) -> bool:
    """One of the candidates gets it; words of their own are judged with the request: then True, and the caller has
    `orchestration.route_again` called once its transaction is committed. `stage` is the question's."""
    said = stage["answer"].strip()
    chosen = next((slug for slug in stage["candidates"] if slug == said.lower()), None)
    if chosen and (agent := at_work(chosen)):
        changes = {"decided_by": "question", "agent": agent.slug, "line": f"asked, and the answer was {agent.slug}"}
        routings.note(moves.log, routing, stage, actor=actor, confidence=None, **changes)
        give(moves, node, routing, agent)
        return False
    routings.note(moves.log, routing, stage, actor=actor, again=said)
    nodes.change(node, waiting_on=JUDGED_AGAIN)
    return True


def judged_again(moves: Moves, node: Node, routing: Routing, judged: Judged) -> None:
    """The second judgement decides, or a person who works here does: there is no second question."""
    routings.note_again(moves.log, routing, judged)
    if judged.plan is not None:
        _give_to_plan(moves, node, judged.plan)
    elif routing.agent and judged.agent is not None and judged.agent.slug == routing.agent:
        give(moves, node, routing, judged.agent)
    else:
        ask_operator(moves, node, routing)


def decided_by_person(moves: Moves, node: Node, routing: Routing | None, agent: Agent, *, actor: str) -> None:
    if routing is not None:
        name = actor.partition(":")[2]
        stage = {"stage": "person", "by": actor, "chose": agent.slug}
        changes = {"decided_by": "person", "agent": agent.slug, "line": f"{name} chose {agent.slug}"}
        routings.note(moves.log, routing, stage, actor=actor, confidence=None, **changes)
    give(moves, node, routing, agent)


def give(moves: Moves, node: Node, routing: Routing | None, agent: Agent) -> None:
    briefing = routings.facts(moves.run, routing)
    nodes.change(node, agent=agent, briefing=briefing)
    dispatching.start(moves, node, origin="route", briefing=briefing)


def _give_to_plan(moves: Moves, node: Node, plan: Mapping[str, Any]) -> None:
    """The template as it stands now, or a planner that starts from it. What became of it since is a person's to see."""
    run = moves.run
    run.plan = dict(plan)
    run.save(update_fields=["plan"])
    try:
        asked = plans.requested(run)
    except NotAPlan as error:
        nodes.fail(moves, node, StopReason.NEEDS_HUMAN, f"The plan {plan['template']} cannot be carried out. {error}")
        return
    if asked.planner is not None:
        nodes.change(node, agent=asked.planner, **asking.start_from(asked.spec))
        dispatching.start(moves, node, origin="route", briefing=node.briefing)
        return
    nodes.change(node, kind="plan")
    nodes.move(moves, node, states.WORKING, waiting_on="")
    plans.propose(moves, node, asked.spec, source=asked.source, made_by=asked.made_by, ask=asked.ask)


def at_work(slug: str) -> Agent | None:
    return Agent.objects.at_work().select_related("published__agent").filter(slug=slug).first()
