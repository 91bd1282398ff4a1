"""Reading rows for the event loop: in a few threads, each giving its connection back at once."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import connection

from orchestrator_site.core import events
from orchestrator_site.core.models import ChainHead, Event
from runs import states
from runs.live import messages
from runs.live.messages import Message
from runs.models import Run

P = ParamSpec("P")
R = TypeVar("R")

# As many connections as all watchers of this process may use at one time.
THREADS = ThreadPoolExecutor(max_workers=4, thread_name_prefix="live-rows")

_NEWS = """
SELECT event.*
FROM unnest(%s::varchar[], %s::bigint[]) AS watched (chain, seq),
     LATERAL (SELECT e.chain, e.seq, e.type, e.at, e.data FROM core_event e
              WHERE e.chain = watched.chain AND e.seq > watched.seq AND e.chain = ANY(%s::varchar[])
              ORDER BY e.seq LIMIT %s) AS event
ORDER BY event.chain, event.seq LIMIT %s
"""


async def off_loop(question: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Ask the database in a thread of ours."""

    def ask() -> R:
        try:
            return question(*args, **kwargs)
        finally:
            connection.close()

    return await sync_to_async(ask, thread_sensitive=False, executor=THREADS)()


def head(chain: str) -> int:
    """The newest seq of a chain, 0 before its first event."""
    return ChainHead.objects.filter(chain=chain).values_list("seq", flat=True).first() or 0


def after(chain: str, seq: int, limit: int) -> list[Message]:
    rows = Event.objects.filter(chain=chain, seq__gt=seq).order_by("seq")[:limit]
    return [messages.event(*row) for row in rows.values_list("seq", "type", "at", "data")]


def news(seqs: Mapping[str, int], limit: int) -> list[tuple[str, Message]]:
    """The events after each chain's seq, in one query for all chains; those of one chain are in order.

    Chain by chain inside, whatever the planner thinks of their lengths; named once more as constants, so that it leaves
    out the partitions that hold none of them.
    """
    chains = list(seqs)
    with connection.cursor() as cursor:
        cursor.execute(_NEWS, [chains, list(seqs.values()), chains, limit, limit])
        return [(chain, messages.event(*rest)) for chain, *rest in cursor.fetchall()]


def all_told(run_id: UUID, seq: int) -> bool:
    """Whether the run has ended and `seq` is the last of its events."""
    ended = Run.objects.filter(pk=run_id, status__in=sorted(states.RUN.final))
    return ended.exists() and head(events.run_chain(run_id)) <= seq
