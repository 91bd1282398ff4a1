"""The deterministic program behind the demo model: a conversation in, the next assistant turn out."""

from orchestrator_site.demo.model_server import conversation, router, worker
from orchestrator_site.demo.model_server.protocol import Body, Reply


def think(body: Body) -> Reply:
    """Router when `dispatch_to_*` tools are offered, worker otherwise."""
    talk = conversation.parse(body)
    return router.route(talk) if router.is_router(talk) else worker.work(talk)


async def mind(body: Body) -> Reply:
    return think(body)
