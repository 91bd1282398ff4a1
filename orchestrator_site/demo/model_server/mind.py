"""The deterministic program behind the demo model: a conversation in, the next assistant turn out."""

from collections.abc import Callable

from orchestrator_site.demo.model_server import conducting, conversation, router, worker
from orchestrator_site.demo.model_server.conversation import Conversation
from orchestrator_site.demo.model_server.protocol import Body, Reply


def think(body: Body) -> Reply:
    """By what is offered and asked for: a supervisor waits and finishes, a router dispatches, a planner answers with a
    plan, an adviser with one of several answers; a worker otherwise."""
    talk = conversation.parse(body)
    for plays, part in PARTS:
        if plays(talk):
            return part(talk)
    return worker.work(talk)


PARTS: list[tuple[Callable[[Conversation], bool], Callable[[Conversation], Reply]]] = [
    (conducting.is_supervisor, conducting.supervise),
    (router.is_router, router.route),
    (conducting.is_planner, conducting.plan),
    (conducting.is_adviser, conducting.advise),
]


async def mind(body: Body) -> Reply:
    return think(body)
