"""The event chains: the only writer of `Event`.

An event is recorded in the transaction that changes what it tells of. The chain's head is locked when that
transaction is about to commit, after every other lock, so that writers of one run queue for an instant only.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from orchestrator_site.core import canonical, doorbell, observers
from orchestrator_site.core.commits import after_commit
from orchestrator_site.core.models import Event
from orchestrator_site.core.statements import Writes

PLATFORM = "platform"
SYSTEM = "system"


def run_chain(run_id: UUID) -> str:
    return f"run:{run_id}"


class BrokenChain(Exception):
    """Our mistake, or somebody writes to the chains past this file."""


@dataclass(frozen=True)
class Draft:
    """An event that waits for its place in the chain."""

    type: str
    actor: str
    data: str
    run_id: UUID | None


@dataclass
class Record:
    """What one transaction has to say; written at its end.

    `at` is the database's time, where the transaction has read it already; it becomes the time of its events.
    `writes` are the changes of rows that go with the events.
    """

    drafts: dict[str, list[Draft]] = field(default_factory=lambda: defaultdict(list))
    at: dt.datetime | None = None
    writes: Writes = field(default_factory=Writes)
    beginning: set[str] = field(default_factory=set)
    ends: dict[tuple[str, ...], Callable[[], None]] = field(default_factory=dict)

    def begins(self, run_id: UUID, at: dt.datetime) -> None:
        """This transaction inserts the run, at the database's time `at`: nobody else can write to its chain."""
        self.beginning.add(run_chain(run_id))
        self.at = at

    def run(self, run_id: UUID, type: str, *, actor: str = SYSTEM, **data: Any) -> None:
        """`data` must be canonical JSON material; raises NotCanonical at once, before anything is locked."""
        draft = Draft(type, actor, canonical.dumps(data), run_id)
        self.drafts[run_chain(run_id)].append(draft)

    def platform(self, type: str, *, actor: str = SYSTEM, **data: Any) -> None:
        self.drafts[PLATFORM].append(Draft(type, actor, canonical.dumps(data), None))

    def at_end(self, key: tuple[str, ...], act: Callable[[], None]) -> None:
        """Done once a key, in the order of the keys, when the transaction holds all its locks but the chains' heads.

        For rows that many runs share: they are locked for an instant only, and by all in one order.
        """
        self.ends.setdefault(key, act)

    def come_to_end(self) -> None:
        if self.ends:
            self.writes.send()
        while self.ends:
            self.ends.pop(min(self.ends))()


@contextmanager
def recording(*, together: bool = False) -> Iterator[Record]:
    """A transaction whose events are appended, chain by chain, as its last act.

    `together`: what it gives to `writes` is sent then too, and in one statement with the events.
    """
    with transaction.atomic():
        record = Record(writes=Writes(together=together))
        yield record
        record.come_to_end()
        for chain in sorted(record.drafts):
            _append(chain, record)
        record.writes.send()


def link_hash(previous: str, chain: str, seq: int, type: str, actor: str, at: dt.datetime, data: str) -> str:
    """The hash of one link. `at` enters as microseconds since 1970, so that no formatting can change it."""
    moment = str(round(at.timestamp() * 1_000_000))
    return canonical.digest(canonical.dumps([previous, chain, seq, type, actor, moment, data]))


def _append(chain: str, record: Record) -> None:
    """Link the drafts to the chain's end, and move its head, in one statement where this process wrote there last."""
    drafts = record.drafts[chain]
    known = _NO_HEAD if chain in record.beginning else _heads.get(chain)
    links = _linked(chain, known, drafts, record.at) if record.at else None
    if links is None or not _write(chain, links, record.writes):
        record.writes.send()
        head, now = _locked_head(chain)
        links = _linked(chain, head, drafts, now)
        if links is None or not _write(chain, links, Writes()):
            raise BrokenChain(f"the head of {chain} moved while it was locked")
    after_commit(_appended, chain, links.head)


@dataclass(frozen=True)
class Head:
    seq: int
    hash: str


@dataclass(frozen=True)
class Links:
    """Rows to write after `before`; `head` is what the chain's head becomes with them."""

    before: Head
    head: Head
    rows: list[tuple[Any, ...]]


_NO_HEAD = Head(0, "")


def _linked(chain: str, before: Head | None, drafts: list[Draft], at: dt.datetime) -> Links | None:
    if before is None:
        return None
    rows = []
    seq, previous = before.seq, before.hash
    for draft in drafts:
        seq += 1
        hash = link_hash(previous, chain, seq, draft.type, draft.actor, at, draft.data)
        rows.append((chain, seq, draft.run_id, draft.type, draft.actor, at, draft.data, previous, hash))
        previous = hash
    return Links(before, Head(seq, previous), rows)


def _write(chain: str, links: Links, beside: Writes) -> bool:
    """With all that waits `beside`. False when the head is not where the links begin; then no link was written.

    The head is moved first: whoever else appends to the chain waits for it, and then finds it elsewhere.
    """
    written: list[int] = []
    before, after = links.before, links.head
    with beside.as_one():
        if before is _NO_HEAD:
            head = beside.add(_FIRST_HEAD, [chain, after.seq, after.hash])
        else:
            head = beside.add(_MOVE_HEAD, [after.seq, after.hash, chain, before.seq, before.hash])
        rows = ", ".join([_ROW] * len(links.rows))
        values = [value for row in links.rows for value in row]
        beside.add(_ADD_LINKS.format(head=head, rows=rows), values, returning="id", then=written.extend)
    if not written:
        return False
    observers.owe((id, row[3]) for id, row in zip(written, links.rows, strict=True))
    return True


_ROW = "(%s::text, %s::bigint, %s::uuid, %s::text, %s::text, %s::timestamptz, %s::text, %s::text, %s::text)"
_MOVE_HEAD = "UPDATE core_chainhead SET seq = %s, hash = %s, moved = true WHERE chain = %s AND seq = %s AND hash = %s"
_FIRST_HEAD = "INSERT INTO core_chainhead (chain, seq, hash, moved) VALUES (%s, %s, %s, true) ON CONFLICT DO NOTHING"
_ADD_LINKS = """
INSERT INTO core_event (chain, seq, run_id, type, actor, at, data, previous_hash, hash)
SELECT link.* FROM {head}, (VALUES {rows}) AS link
"""
# Heads as this process last left them. A guess: what another process appended since shows when it is used.
_heads: dict[str, Head] = {}
MOST_HEADS = 10_000


def _appended(chain: str, head: Head) -> None:
    if len(_heads) >= MOST_HEADS:
        _heads.clear()
    _heads[chain] = head
    doorbell.ring(doorbell.EVENTS, chain=chain, seq=head.seq)


def _locked_head(chain: str) -> tuple[Head, dt.datetime]:
    """The head, locked, and the database's time after that; a new chain begins here."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK, [chain])
        if (row := cursor.fetchone()) is None:
            cursor.execute(_BEGIN, [chain])
            cursor.execute(_LOCK, [chain])
            row = cursor.fetchone()
    return Head(row[0], row[1]), row[2]


_LOCK = "SELECT seq, hash, clock_timestamp() FROM core_chainhead WHERE chain = %s FOR NO KEY UPDATE"
_BEGIN = "INSERT INTO core_chainhead (chain, seq, hash) VALUES (%s, 0, '') ON CONFLICT DO NOTHING"


def of_run(run_id: UUID, *, after: int = 0, limit: int | None = None) -> list[Event]:
    """A run's events in order, those after `after`."""
    events = Event.objects.filter(chain=run_chain(run_id), seq__gt=after).order_by("seq")
    return list(events[:limit])
