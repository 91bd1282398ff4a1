"""Who gets a run, and how the decisions of a router or a supervisor become nodes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from agents import roster
from agents.models import Agent
from agents.values import AgentKind
from orchestrator_site.core import canonical
from runs import routing as routings
from runs import states
from runs.models import Dispatch, Node, Route, Routing, Run, ToolCall
from runs.orchestration import nodes, results
from runs.orchestration.nodes import Moves, Place
from runs.platform_tools import ASK_HUMAN, QUESTION_KIND


def first_agent(run: Run) -> Agent | None:
    """The agent the run names, else the router: the first by slug, where an installation has several."""
    if run.agent is not None:
        return run.agent
    routers = Agent.objects.at_work().filter(published__kind=AgentKind.ROUTER)
    return routers.select_related("published__agent").order_by("slug").first()


def first_briefing(run: Run, routing: Routing | None) -> str:
    """What travels along to who gets the run; a router is told what the stages before it found. Nothing to who is
    named."""
    if routing is None:
        return ""
    return routings.facts(run, routing) if routing.decided_by else routings.candidates_told(routing)


def decided(moves: Moves, node: Node, source: Dispatch, routing: Routing | None) -> list[Route]:
    """A router's decisions that have no node yet, in the order in which they are carried out."""
    waiting = source.routes.filter(node__isnull=True).select_related("agent__published__agent")
    routes = ordered(list(waiting))
    if routing is not None and node.within_id is None:
        routings.note(moves.log, routing, *_said(source, routes), **_decision(source, routes))
    return routes


def expand(moves: Moves, node: Node, route: Route, routing: Routing | None) -> None:
    """The one decision of a router becomes a node within its own."""
    told = _joined(_briefing(moves.run, routing, route), results.done_before(node))
    place = Place(key=route.agent.slug, task=route.task, agent=route.agent, briefing=told)
    _put(moves, node, [route], [place])


def as_plan(routes: Sequence[Route]) -> dict[str, Any]:
    """Several decisions as a `PlanSpec`: each waits for the one before it, unless the router said that it goes
    alongside; what all of them come to is the answer."""
    keys = [route.key for route in routes]
    nodes = [
        {"key": route.key, "agent": route.agent.slug, "task": route.task, "depends_on": [keys[n] for n in after]}
        for route, after in ((route, _after(index, routes)) for index, route in enumerate(routes))
    ]
    return {"nodes": nodes, "answer": keys}


def briefed(moves: Moves, router: Node, places: Sequence[Place]) -> list[Place]:
    """The places of a router's plan, told what travels along with its decisions."""
    by_key, routing = {route.key: route for route in _undone(router)}, routings.of(moves.run)
    told = [_briefing(moves.run, routing, by_key.get(each.key)) for each in places]
    return [replace(each, briefing=_joined(said, each.briefing)) for each, said in zip(places, told, strict=True)]


def begun(moves: Moves, router: Node, added: Sequence[Node]) -> None:
    """A router's plan was accepted: its decisions have their nodes, as far as nobody has planned them away."""
    by_key = {node.key: node for node in added}
    _link(moves, [(route, by_key[route.key]) for route in _undone(router) if route.key in by_key])


def _undone(router: Node) -> list[Route]:
    return list(Route.objects.filter(source=router.dispatch_id, node__isnull=True).select_related("agent"))


def _briefing(run: Run, routing: Routing | None, route: Route | None) -> str:
    request = f"The request, in the person's own words:\n{run.input}"
    return f"{request}\n\n{routings.facts(run, routing, route.query if route else '')}"


def _joined(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)


def _said(router: Dispatch, routes: Sequence[Route]) -> list[dict[str, Any]]:
    """The stages of a router's part: what it asked, what it chose, and the person who chose in its place."""
    slug = router.manifest.agent.slug
    calls = list(router.calls.select_related("request__decision__by").order_by("step", "position"))
    stages = [_question(slug, call) for call in calls if call.tool == ASK_HUMAN and _is_question(call)]
    chose = [each for each in routes if not _by_person(each)]
    unsure = [call for call in calls if call.status == states.FAILED and roster.slug_of(call.tool)]
    stages.append(
        {
            "stage": "classifier",
            "router": slug,
            "chose": [{"agent": each.agent.slug, "confidence": each.confidence} for each in chose],
            "unsure": [_unsure(call) for call in unsure],
        }
    )
    stages += [{"stage": "person", "by": r.decided_by, "chose": r.agent.slug} for r in routes if _by_person(r)]
    return stages


def _is_question(call: ToolCall) -> bool:
    return call.request is not None and call.request.kind == QUESTION_KIND and hasattr(call.request, "decision")


def _question(slug: str, call: ToolCall) -> dict[str, Any]:
    assert call.request is not None
    decision = call.request.decision
    return {
        "stage": "question",
        "asked_by": slug,
        "question": call.request.content["question"],
        "candidates": call.request.content["candidates"],
        "verdict": decision.verdict,
        "answer": decision.answer or "",
        "by": f"user:{decision.by.get_username()}" if decision.by else decision.via,
    }


def _unsure(call: ToolCall) -> dict[str, Any]:
    confidence = canonical.loads(call.arguments).get("confidence")
    return {"agent": roster.slug_of(call.tool), "confidence": confidence}


def _by_person(route: Route) -> bool:
    return route.decided_by.startswith("user:")


def _decision(router: Dispatch, routes: Sequence[Route]) -> dict[str, Any]:
    """Who decided in the end, and how that reads in one line."""
    slug = router.manifest.agent.slug
    if not routes:
        return {"line": f"{slug} gave it to nobody", "actor": f"agent:{slug}"}
    chosen = ", then ".join(route.agent.slug for route in routes)
    sure = [route.confidence for route in routes if route.confidence is not None]
    changes = {"agent": routes[0].agent.slug, "confidence": min(sure, default=None), "actor": routes[0].decided_by}
    if _by_person(routes[0]):
        name = routes[0].decided_by.partition(":")[2]
        return changes | {"decided_by": "person", "line": f"{name} chose {chosen}"}
    if router.calls.filter(tool=ASK_HUMAN, status=states.DONE).exists():
        return changes | {"decided_by": "question", "line": f"{slug} asked, and chose {chosen}"}
    said = f", {min(sure):.2f} sure" if sure else ""
    return changes | {"decided_by": "classifier", "line": f"{slug} chose {chosen}{said}"}


def expand_children(moves: Moves, node: Node, source: Dispatch) -> None:
    """A supervisor's: side by side, while it goes on itself."""
    routes = list(source.routes.filter(node__isnull=True).select_related("agent__published__agent"))
    if routes:
        told = results.done_before(node)
        places = [Place(route.key, route.task, agent=route.agent, briefing=told) for route in routes]
        _put(moves, node, routes, places)


def _put(moves: Moves, node: Node, routes: Sequence[Route], places: Sequence[Place]) -> None:
    _link(moves, list(zip(routes, nodes.add(moves, node, places), strict=True)))


def _link(moves: Moves, begun: Sequence[tuple[Route, Node]]) -> None:
    for route, node in begun:
        route.node = node
        told = {"agent": node.agent.slug if node.agent else route.agent.slug, "node": str(node.pk)}
        moves.log.run(moves.run.pk, "routed", actor=route.decided_by, **told)
    Route.objects.bulk_update([route for route, _ in begun], ["node", "told"])


def pass_on(moves: Moves, taken: Sequence[tuple[Node, Node]]) -> None:
    """The second of each pair takes the place of the first: whoever decided for it waits for that, and is told."""
    places = {old.pk: new for old, new in taken}
    found = list(Route.objects.filter(node__in=places).select_related("agent"))
    for route in found:
        route.told = False
    _link(moves, [(route, places[route.node_id]) for route in found if route.node_id])


def _after(index: int, routes: Sequence[Route]) -> list[int]:
    """The ones that it waits for: the one before it, or those that an ordering rule names where it goes alongside."""
    if not routes[index].alongside:
        return [index - 1] if index else []
    rules = _rules()
    slug = routes[index].agent.slug
    return [n for n, before in enumerate(routes[:index]) if (before.agent.slug, slug) in rules]


def ordered(routes: Sequence[Route]) -> list[Route]:
    """Call order, except where an ordering rule says that one agent comes before another."""
    rules = _rules()
    remaining, placed = sorted(routes, key=lambda route: route.number), []
    while remaining:
        slugs = [route.agent.slug for route in remaining]
        free = [route for route in remaining if not any((other, route.agent.slug) in rules for other in slugs)]
        # Rules that contradict each other order nothing: the call order stands.
        following = (free or remaining)[0]
        remaining.remove(following)
        placed.append(following)
    return placed


def elsewhere(moves: Moves, node: Node) -> str | None:
    """Who else the work of a node that failed may go to; None where nobody is found.

    Within the run's transaction: where the embedder may be a server, likeness is what was found when the run came.
    """
    routing = routings.of(moves.run)
    agent, line = routings.elsewhere(moves.run, routing, node)
    if not agent:
        return None
    told: dict[str, Any] = {"tried": list(node.tried), "chose": agent, "line": line}
    moves.log.run(moves.run.pk, "rerouted", node=str(node.pk), key=node.key, **told)
    if routing is not None and node.within_id is None:
        stage = {"stage": "reroute", "node": node.key, **told}
        routings.note(moves.log, routing, stage, line=f"{line}, after {node.tried[-1]} had failed", agent=agent)
    return agent


def _rules() -> set[tuple[str, str]]:
    return {(rule.before, rule.after) for rule in roster.current(min_epoch=roster.database_epoch()).rules}
