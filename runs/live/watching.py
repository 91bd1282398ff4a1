"""Who is watched: web processes say so again and again, and workers stream a model's words for those runs alone.

A doorbell like the others: one that is lost costs a viewer the words as they come, never the reply.
"""

import json
import logging
import threading
import time
from collections.abc import Iterable
from uuid import UUID

import redis
from django.conf import settings

from orchestrator_site.core import doorbell

logger = logging.getLogger(__name__)

# A run counts as watched this long after it was last said to be: thrice as long as web processes stay silent.
WATCHED_SECONDS = 15.0
PAUSE_SECONDS = 2.0

_watched: dict[str, float] = {}


def say(chains: Iterable[str]) -> None:
    """Tell the workers whose chains somebody follows. Never raises."""
    if runs := [chain.removeprefix("run:") for chain in chains if chain.startswith("run:")]:
        doorbell.ring(doorbell.WATCHED, runs=runs)


def is_watched(run_id: UUID) -> bool:
    """As far as this process has heard."""
    return _watched.get(str(run_id), 0.0) > time.monotonic()


def listen() -> None:
    """Hear from now on, in a thread of its own."""
    threading.Thread(target=_listen, name="watched", daemon=True).start()


def _listen() -> None:
    while True:
        try:
            _hear_all()
        except (redis.RedisError, OSError) as error:
            logger.info("who watches is not heard: %s", error)
        time.sleep(PAUSE_SECONDS)


def _hear_all() -> None:
    client = redis.Redis.from_url(settings.REDIS_URL, decode_responses=True, health_check_interval=10)
    with client, client.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe(doorbell.channel(doorbell.WATCHED))
        for message in pubsub.listen():
            _hear(json.loads(message["data"])["runs"])


def _hear(runs: Iterable[str]) -> None:
    now = time.monotonic()
    for gone in [run for run, until in _watched.items() if until < now]:
        del _watched[gone]
    _watched.update(dict.fromkeys(runs, now + WATCHED_SECONDS))
