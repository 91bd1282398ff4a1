"""What a supervisor is offered beside its grants: wait for whom it dispatched, and finish."""

from collections.abc import Mapping, Sequence
from typing import Any

from runs import contracts, lineage
from runs.models import Node, Route
from runs.orchestration import results
from runs.platform_tools import FINISH, WAIT, PlatformCall
from runs.values import Answer, Fault, NotYet, PlatformAnswer
from tools import registry


def register() -> None:
    """Put them into the registry; called once, when the app is ready."""
    registry.register_platform(
        WAIT,
        "Wait until agents that you dispatched have ended, and read what they came to. Waiting costs nothing.",
        {
            "type": "object",
            "properties": {
                "until": {"type": "string", "enum": ["all", "any"], "description": "all is the default"},
                "of": {"type": "array", "items": {"type": "string"}, "description": "only these, by their names"},
            },
            "additionalProperties": False,
        },
        wait,
    )
    registry.register_platform(
        FINISH,
        "End your part with the answer to the request.",
        {
            "type": "object",
            "properties": {
                "answer": {"type": "string", "minLength": 1},
                "stop_others": {"type": "boolean", "description": "stop whoever of yours is still at work"},
            },
            "required": ["answer"],
            "additionalProperties": False,
        },
        finish,
    )


def wait(asked: PlatformCall, arguments: Mapping[str, Any]) -> PlatformAnswer:
    """Answers with every result that was not told before; NotYet while there is too little to tell."""
    routes = list(
        asked.dispatch.routes.select_related("node__answered_by__manifest__agent", "agent").order_by("number")
    )
    if not routes:
        return Fault("You have dispatched nobody yet.")
    if wanted := arguments.get("of"):
        if unknown := sorted(set(wanted) - {route.key for route in routes}):
            return Fault(f"You dispatched nobody by the name {unknown[0]!r}: {', '.join(r.key for r in routes)}.")
        routes = [route for route in routes if route.key in wanted]
    open_ones = [route for route in routes if not _has_ended(route)]
    news = [route for route in routes if _has_ended(route) and not route.told]
    until = arguments.get("until", "all")
    if open_ones and (until == "all" or not news):
        return NotYet(_on(open_ones), wake_on="any" if wanted or until == "any" else "all")
    # By their nodes: one that another has taken the place of in this moment was not told.
    Route.objects.filter(node__in=[route.node_id for route in news]).update(told=True)
    return Answer(_told(news, open_ones), lineage.of_nodes([route.node for route in news if route.node is not None]))


def finish(asked: PlatformCall, arguments: Mapping[str, Any]) -> PlatformAnswer:
    """The engine ends the dispatch when it finds this call done; what lies within its node is stopped then."""
    open_ones = [route for route in asked.dispatch.routes.select_related("node") if not _has_ended(route)]
    if open_ones and not arguments.get("stop_others"):
        named = ", ".join(route.key for route in open_ones)
        return Fault(f"Still at work: {named}. Wait for them, or finish with stop_others.")
    contract = asked.dispatch.contract
    if contract and (found := contracts.faults_of(asked.dispatch, contract, arguments["answer"])):
        return Fault(f"{contracts.MISFIT} {' '.join(contracts.told(found))}")
    return Answer("It is finished.")


def _has_ended(route: Route) -> bool:
    """One without a node has not begun."""
    return route.node is not None and route.node.is_final


def _on(open_ones: Sequence[Route]) -> str:
    named = ", ".join(route.key for route in open_ones[:3])
    return f"{named} and {len(open_ones) - 3} more" if len(open_ones) > 3 else named


def _told(news: Sequence[Route], open_ones: Sequence[Route]) -> str:
    nodes: list[Node] = [route.node for route in news if route.node is not None]
    told = results.references(nodes) or "Nothing that you have not read already."
    still = f"\n\nStill at work: {_on(open_ones)}." if open_ones else ""
    return told + still
