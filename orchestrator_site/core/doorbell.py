"""Doorbells: Redis messages that carry ids and nothing else. Losing, repeating or reordering one is harmless."""

import json
import logging
from functools import cache
from typing import Any

import redis
from django.conf import settings

logger = logging.getLogger(__name__)

EVENTS = "events"
LIVE_TEXT = "text"
WATCHED = "watched"


@cache
def _client() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2)


def channel(name: str) -> str:
    """The name on the wire: Redis publishes across its numbered databases, so each installation has its prefix."""
    return f"{settings.REDIS_CHANNEL_PREFIX}{name}"


def ring(name: str, **message: Any) -> None:
    """Never raises and never waits longer than the socket's two seconds: the rows will tell who does not hear it."""
    try:
        _client().publish(channel(name), json.dumps(message))
    except redis.RedisError as error:
        logger.warning("doorbell %s not rung: %s", name, error)
