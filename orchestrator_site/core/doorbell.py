"""Doorbells: Redis messages that carry ids and nothing else. Losing, repeating or reordering one is harmless.

A thread rings them, all that have gathered at once: nobody who writes rows ever waits for Redis.
"""

import json
import logging
import os
import threading
import time
from collections import deque
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
# How long what is rung waits for more: to publish one costs the ringing process more than to write its row.
GATHER_SECONDS = 0.02
# While Redis hangs the newest are kept: who comes back to it reads the rows anyway.
MOST_WAITING = 1000


def connect(patience_seconds: float) -> redis.Redis:
    """One try each time, and an answer, or RedisError, within that long."""
    limits = {"socket_timeout": patience_seconds, "socket_connect_timeout": patience_seconds}
    return redis.Redis.from_url(settings.REDIS_URL, **limits, retry=Retry(NoBackoff(), 0))


@cache
def _client() -> redis.Redis:
    return connect(patience_seconds=2)


def channel(name: str) -> str:
    """The name on the wire: Redis publishes across its numbered databases, so each installation has its prefix."""
    return f"{settings.REDIS_CHANNEL_PREFIX}{name}"


def ring(name: str, **message: Any) -> None:
    """Never raises and never waits: the rows will tell who does not hear it."""
    _ringer().ring(channel(name), json.dumps(message))


class _Ringer:
    def __init__(self) -> None:
        self._waiting: deque[tuple[str, str]] = deque(maxlen=MOST_WAITING)
        self._wake = threading.Event()
        threading.Thread(target=self._run, name="doorbells", daemon=True).start()

    def ring(self, channel: str, message: str) -> None:
        self._waiting.append((channel, message))
        self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            time.sleep(GATHER_SECONDS)
            self._wake.clear()
            gathered = [self._waiting.popleft() for _ in range(len(self._waiting))]
            if not breaker.may_ask():
                continue
            try:
                self._publish(gathered)
                breaker.worked()
            except redis.RedisError as error:
                breaker.failed()
                logger.warning("%d doorbells not rung: %s", len(gathered), error)

    def _publish(self, gathered: list[tuple[str, str]]) -> None:
        with _client().pipeline(transaction=False) as pipeline:
            for channel, message in gathered:
                pipeline.publish(channel, message)
            pipeline.execute()


def _ringer() -> _Ringer:
    return _ringer_of(os.getpid())


@cache
def _ringer_of(pid: int) -> _Ringer:
    """A thread does not live on in a forked process."""
    return _Ringer()
