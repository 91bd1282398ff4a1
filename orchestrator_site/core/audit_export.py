"""The audit log as records that `orchestrator_site/offline/verify_export.py` reads without the platform.

First the header, then the checkpoints, the heads, the rows chain by chain in their order; last the count of rows.
Checkpoints are read first and rows last, so that what a checkpoint lists is among the rows.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet

from orchestrator_site.core import checkpoints, clock, merkle, second_place
from orchestrator_site.core.models import ChainHead, Checkpoint, Event

FORMAT = "baton audit export"
ALL = "all"
Record = dict[str, Any]


def whole() -> Iterator[Record]:
    """Every chain, with every checkpoint. Outside a transaction it opens its own and holds it until the last row."""
    header, newest = _began(ALL)
    yield header
    with _one_moment():
        for checkpoint in Checkpoint.objects.filter(number__lte=newest).order_by("number").iterator(chunk_size=50):
            yield second_place.as_record(checkpoint)
        yield from rows(ChainHead.objects.all(), Event.objects.all())


def of_chain(chain: str) -> Iterator[Record]:
    """One chain, with the proof that the newest checkpoint which lists it gives, and the newest checkpoint of all."""
    header, newest = _began(chain)
    yield header
    with _one_moment():
        heads = ChainHead.objects.filter(chain=chain)
        yield from _proofs(chain, heads.first(), newest)
        yield from rows(heads, Event.objects.filter(chain=chain))


def rows(heads: QuerySet[ChainHead], events: QuerySet[Event]) -> Iterator[Record]:
    """Heads and rows, and at the end how many rows that were."""
    for head in heads.order_by("chain").iterator(chunk_size=2000):
        yield {"kind": "head", "chain": head.chain, "seq": head.seq, "hash": head.hash}
    count = 0
    for event in events.order_by("chain", "seq").iterator(chunk_size=2000):
        count += 1
        yield event_record(event)
    yield {"kind": "end", "rows": count}


def event_record(event: Event) -> Record:
    """`at` is in microseconds since 1970, as it enters the hash."""
    return {
        "kind": "event",
        "chain": event.chain,
        "seq": event.seq,
        "run_id": str(event.run_id) if event.run_id else None,
        "type": event.type,
        "actor": event.actor,
        "at": str(round(event.at.timestamp() * 1_000_000)),
        "data": event.data,
        "previous": event.previous_hash,
        "hash": event.hash,
    }


def _began(scope: str) -> tuple[Record, int]:
    """The header, and the number of the newest checkpoint at its moment: one that is being made is waited for."""
    with transaction.atomic():
        checkpoints.hold_off()
        last = checkpoints.newest()
        header = {
            "kind": FORMAT,
            "version": 1,
            "scope": scope,
            "log": str(last.log) if last else None,
            "made_at": clock.database_now().isoformat(),
            "newest_checkpoint": last.number if last else 0,
        }
    return header, last.number if last else 0


def _proofs(chain: str, head: ChainHead | None, newest: int) -> Iterator[Record]:
    wanted = {newest, head.checkpoint if head and head.checkpoint else newest}
    for checkpoint in Checkpoint.objects.filter(number__in=wanted).order_by("number"):
        entries: list[merkle.Entry] = [tuple(entry) for entry in json.loads(checkpoint.entries)]
        own = [index for index, entry in enumerate(entries) if entry[0] == chain]
        yield second_place.as_record(checkpoint) | {
            "entries": [list(entries[index]) for index in own],
            "path": merkle.path(entries, own[0]) if own else [],
        }


@contextmanager
def _one_moment() -> Iterator[None]:
    """Heads and rows as they stood at one moment; inside a caller's transaction, as that one sees them."""
    is_outermost = not connection.in_atomic_block
    with transaction.atomic():
        if is_outermost:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                cursor.execute("SET LOCAL statement_timeout = 0")  # a long log takes as long as it takes
        yield
