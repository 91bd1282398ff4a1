"""The one Redis subscription of a web process. It ends by raising; whoever listens begins again."""

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import redis.asyncio
from django.conf import settings
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from orchestrator_site.core import doorbell

logger = logging.getLogger(__name__)

# After this much silence Redis is asked whether it is still there, and has this long to answer.
SILENCE_SECONDS = 5.0
ANSWER_SECONDS = 2.0

GONE = (redis.RedisError, OSError, TimeoutError)

Rung = tuple[str, dict[str, Any]]


@asynccontextmanager
async def heard() -> AsyncIterator[AsyncIterator[Rung]]:
    """Subscribed to both doorbells: (name, message) as they ring. Raises one of `GONE`."""
    names = {doorbell.channel(name): name for name in (doorbell.EVENTS, doorbell.LIVE_TEXT)}
    client = redis.asyncio.Redis.from_url(
        settings.REDIS_URL,
        decode_responses=True,
        socket_timeout=ANSWER_SECONDS,
        socket_connect_timeout=ANSWER_SECONDS,
        client_name="baton-live",
        retry=Retry(NoBackoff(), 0),  # a connection mended unseen would hide what was lost meanwhile
    )
    async with client, client.pubsub() as pubsub:
        await pubsub.subscribe(*names)
        for _ in names:
            if await pubsub.get_message(timeout=ANSWER_SECONDS) is None:
                raise TimeoutError("Redis did not confirm the subscription")
        yield _rings(pubsub, names)


async def _rings(pubsub: Any, names: dict[str, str]) -> AsyncIterator[Rung]:
    asked = False
    while True:
        message = await pubsub.get_message(timeout=ANSWER_SECONDS if asked else SILENCE_SECONDS)
        if message is not None:
            asked = False
            if message["type"] == "message" and (body := _body(message["data"])):
                yield names[message["channel"]], body
        elif asked:
            raise TimeoutError(f"Redis did not answer within {ANSWER_SECONDS:g} s")
        else:
            await pubsub.ping()
            asked = True


def _body(text: str) -> dict[str, Any] | None:
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        logger.warning("not a doorbell's message: %.100s", text)
        return None
    return body
