"""The event chains: the only writer of `Event`.

An event is recorded in the transaction that changes what it tells of. The chain's head is locked when that
transaction is about to commit, after every other lock, so that writers of one run queue for an instant only.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction

from orchestrator_site.core import canonical, clock, doorbell, observers
from orchestrator_site.core.models import ChainHead, Event

PLATFORM = "platform"
SYSTEM = "system"


def run_chain(run_id: UUID) -> str:
    return f"run:{run_id}"


@dataclass(frozen=True)
class Draft:
    """An event that waits for its place in the chain."""

    type: str
    actor: str
    data: str
    run_id: UUID | None


@dataclass
class Record:
    """What one transaction has to say; written at its end."""

    drafts: dict[str, list[Draft]] = field(default_factory=lambda: defaultdict(list))

    def run(self, run_id: UUID, type: str, *, actor: str = SYSTEM, **data: Any) -> None:
        """`data` must be canonical JSON material; raises NotCanonical at once, before anything is locked."""
        draft = Draft(type, actor, canonical.dumps(data), run_id)
        self.drafts[run_chain(run_id)].append(draft)

    def platform(self, type: str, *, actor: str = SYSTEM, **data: Any) -> None:
        self.drafts[PLATFORM].append(Draft(type, actor, canonical.dumps(data), None))


@contextmanager
def recording() -> Iterator[Record]:
    """A transaction whose events are appended, chain by chain, as its last act."""
    with transaction.atomic():
        record = Record()
        yield record
        for chain in sorted(record.drafts):
            _append(chain, record.drafts[chain])


def link_hash(previous: str, chain: str, seq: int, type: str, actor: str, at: dt.datetime, data: str) -> str:
    """The hash of one link. `at` enters as microseconds since 1970, so that no formatting can change it."""
    moment = str(round(at.timestamp() * 1_000_000))
    return canonical.digest(canonical.dumps([previous, chain, seq, type, actor, moment, data]))


def _append(chain: str, drafts: list[Draft]) -> None:
    head = _locked_head(chain)
    at = clock.database_now()
    rows = []
    for draft in drafts:
        previous, head.seq = head.hash, head.seq + 1
        head.hash = link_hash(previous, chain, head.seq, draft.type, draft.actor, at, draft.data)
        rows.append(
            Event(
                chain=chain,
                seq=head.seq,
                run_id=draft.run_id,
                type=draft.type,
                actor=draft.actor,
                at=at,
                data=draft.data,
                previous_hash=previous,
                hash=head.hash,
            )
        )
    Event.objects.bulk_create(rows)
    observers.owe(rows)
    head.moved = True
    head.save(update_fields=["seq", "hash", "moved"])
    transaction.on_commit(partial(doorbell.ring, doorbell.EVENTS, chain=chain, seq=head.seq), robust=True)


def _locked_head(chain: str) -> ChainHead:
    locked = ChainHead.objects.select_for_update().filter(chain=chain)
    if (head := locked.first()) is None:
        ChainHead.objects.bulk_create([ChainHead(chain=chain)], ignore_conflicts=True)
        head = locked.get()
    return head


def of_run(run_id: UUID, *, after: int = 0, limit: int | None = None) -> list[Event]:
    """A run's events in order, those after `after`."""
    events = Event.objects.filter(chain=run_chain(run_id), seq__gt=after).order_by("seq")
    return list(events[:limit])
