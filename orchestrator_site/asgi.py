"""What uvicorn serves: Django's views, the websockets, and an orderly end for both."""

import os
import signal
import threading
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orchestrator_site.settings")
_views = get_asgi_application()  # first: what follows reads models

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402

from orchestrator_site import websocket_urls  # noqa: E402
from orchestrator_site.core import memory  # noqa: E402
from runs.live import hub  # noqa: E402


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    """Said by the server when it begins and when all connections have ended."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            _end_streams_when_asked_to_stop()
            memory.settle()
        else:
            await hub.here().stop()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def _end_streams_when_asked_to_stop() -> None:
    """A server that is asked to stop waits for its streams, which would never end by themselves."""
    here = hub.here()

    def end_streams_too(before: Any) -> Any:
        def handle(signum: int, frame: Any) -> None:
            here.loop.call_soon_threadsafe(here.close)
            before(signum, frame)

        return handle

    if threading.current_thread() is not threading.main_thread():
        return  # only there can signals be heard
    for signum in (signal.SIGTERM, signal.SIGINT):
        if callable(before := signal.getsignal(signum)):
            signal.signal(signum, end_streams_too(before))


application = ProtocolTypeRouter(
    {
        "http": _views,
        "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(websocket_urls.urlpatterns))),
        "lifespan": lifespan,
    }
)
