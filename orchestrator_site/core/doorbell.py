"""Doorbells: Redis messages that carry ids and nothing else. Losing, repeating or reordering one is harmless."""

import json
import logging
from functools import cache
from typing import Any

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from orchestrator_site.core.breaker import Breaker

logger = logging.getLogger(__name__)

EVENTS = "events"
LIVE_TEXT = "text"
WATCHED = "watched"

# The broker is the same Redis: whoever finds it away spares the others both.
breaker = Breaker(pause_seconds=5)


@cache
def _client() -> redis.Redis:
    retry = Retry(NoBackoff(), 0)
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2, retry=retry)


def channel(name: str) -> str:
    """The name on the wire: Redis publishes across its numbered databases, so each installation has its prefix."""
    return f"{settings.REDIS_CHANNEL_PREFIX}{name}"


def ring(name: str, **message: Any) -> None:
    """Never raises; while Redis hangs, one caller in five seconds waits for two. The rows tell who does not hear it."""
    if not breaker.may_ask():
        return
    try:
        _client().publish(channel(name), json.dumps(message))
        breaker.worked()
    except redis.RedisError as error:
        breaker.failed()
        logger.warning("doorbell %s not rung: %s", name, error)
