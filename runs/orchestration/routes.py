"""Who gets a run, and how a router's decisions become nodes. The caller holds the run's row."""

from collections.abc import Sequence

from agents import roster
from agents.models import Agent
from agents.values import AgentKind
from orchestrator_site.core.events import Record
from runs import states
from runs.models import Dispatch, Route, Run
from runs.orchestration import nodes


def first_agent(run: Run) -> Agent | None:
    """The agent the run names, else the router: the first by slug, where an installation has several."""
    if run.agent is not None:
        return run.agent
    return Agent.objects.at_work().filter(published__kind=AgentKind.ROUTER).order_by("slug").first()


def expand(log: Record, run: Run) -> None:
    """Turn routes without a node into nodes, each after the one before it, with a reference to its result."""
    waiting = Route.objects.filter(source__run=run, source__status=states.SUCCEEDED, node__isnull=True)
    by_source: dict[Dispatch, list[Route]] = {}
    for route in waiting.select_related("source", "agent__published__agent"):
        by_source.setdefault(route.source, []).append(route)
    for source, routes in by_source.items():
        _expand(log, run, source, ordered(routes))


def _expand(log: Record, run: Run, source: Dispatch, routes: Sequence[Route]) -> None:
    before: Dispatch | None = None
    briefing = f"The request, in the person's own words:\n{run.input}"
    for route in routes:
        parents = [before] if before is not None else []
        node = nodes.add(
            log, run, route.agent, route.task, origin="route", parents=parents, depth=source.depth, briefing=briefing
        )
        Route.objects.filter(pk=route.pk).update(node=node)
        log.run(run.pk, "routed", actor=route.decided_by, agent=route.agent.slug, dispatch=str(node.pk))
        before = node


def ordered(routes: Sequence[Route]) -> list[Route]:
    """Call order, except where an ordering rule says that one agent comes before another."""
    rules = {(rule.before, rule.after) for rule in roster.current(min_epoch=roster.database_epoch()).rules}
    remaining, placed = sorted(routes, key=lambda route: route.number), []
    while remaining:
        slugs = [route.agent.slug for route in remaining]
        free = [route for route in remaining if not any((other, route.agent.slug) in rules for other in slugs)]
        # Rules that contradict each other order nothing: the call order stands.
        following = (free or remaining)[0]
        remaining.remove(following)
        placed.append(following)
    return placed
