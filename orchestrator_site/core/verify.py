"""Walk the chains and the checkpoints, and name the first row of each that is not what was written.

`orchestrator_site/offline/verify_export.py` asks the same of an export, and shares no line with this.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from orchestrator_site.core import canonical, drops, merkle, second_place, signing
from orchestrator_site.core.events import link_hash
from orchestrator_site.core.models import ChainHead, Checkpoint, Event

# In a fault's place where a chain stands otherwise: then `seq` is a checkpoint's number.
CHECKPOINTS = "checkpoints"

# One by one they cost more in statements than in hashing.
CHAINS_AT_ONCE = 500


@dataclass(frozen=True)
class Fault:
    """`seq` is the first row of the chain that cannot be trusted."""

    chain: str
    seq: int
    sentence: str

    def __str__(self) -> str:
        return f"{self.chain} #{self.seq}: {self.sentence}"


@dataclass(frozen=True)
class Listed:
    """Where a checkpoint says that a chain stood."""

    seq: int
    hash: str
    number: int


# -- rows --------------------------------------------------------------------------------------------------------
def chain(name: str, listed: Sequence[Listed] = ()) -> Fault | None:
    """None when every row, and the head, is as it was written. Others may append while it is read.

    `listed`, oldest first, is where checkpoints say the chain stood; without it a chain that was restamped as a whole,
    its head with it, is not found.
    """
    head = ChainHead.objects.filter(chain=name).first()
    rows = Event.objects.filter(chain=name).order_by("seq").iterator(chunk_size=2000)
    fault, seq = walk(name, rows, listed, head)
    return fault or _end_fault(name, seq, head, ChainHead.objects.filter(chain=name).first())


def walk(
    name: str, rows: Iterable[Event], listed: Sequence[Listed], head: ChainHead | None
) -> tuple[Fault | None, int]:
    """What is wrong with the rows, in their order, and how many there were. `head` was read before them."""
    due = {seq: list(same) for seq, same in groupby(listed, key=lambda each: each.seq)}
    previous, seq, covered = "", 0, 0
    for event in rows:
        seq += 1
        if sentence := _wrong(event, name, seq, previous):
            return Fault(name, seq, sentence), seq
        if head is not None and head.seq == seq and head.hash != event.hash:
            return Fault(name, seq, "the head holds another hash: the chain was restamped"), seq
        for each in due.get(seq, ()):
            if each.hash != event.hash:
                told = f"rows {covered + 1} to {seq} are not those that checkpoint {each.number} signed: restamped"
                return Fault(name, covered + 1, told), seq
            covered = seq
        previous = event.hash
    if listed and listed[-1].seq > seq:
        told = f"checkpoint {listed[-1].number} signed {listed[-1].seq} rows and only {seq} are here: cut off"
        return Fault(name, seq + 1, told), seq
    return None, seq


def _wrong(event: Event, name: str, seq: int, previous: str) -> str | None:
    if event.seq != seq:
        return f"row {seq} is missing; the next row found is {event.seq}"
    if name != (f"run:{event.run_id}" if event.run_id else "platform"):
        return f"it is filed under the run {event.run_id}: edited"
    if event.previous_hash != previous:
        return "it does not follow the row before it: inserted, reordered or restamped"
    if link_hash(previous, name, seq, event.type, event.actor, event.at, event.data) != event.hash:
        return "its content is not what was hashed: edited"
    return None


def _end_fault(name: str, seq: int, before: ChainHead | None, head: ChainHead | None) -> Fault | None:
    """`before` is the head from before the rows were read: they reach it, and `head`, read after them, reaches them."""
    if before is not None and before.seq > seq:
        return Fault(name, seq + 1, f"the head knows {before.seq} rows and only {seq} are here: cut off")
    if head is None:
        return Fault(name, seq, "the chain has no head") if seq else None
    if head.seq < seq:
        return Fault(name, head.seq + 1, f"the head knows {head.seq} rows and {seq} are here: added outside")
    return None


def all_chains(listed: Mapping[str, Sequence[Listed]]) -> Iterator[tuple[str, Fault | None]]:
    """Every chain that has a head or a row, or that a checkpoint lists and no declared drop took."""
    heads = ChainHead.objects.values_list("chain", flat=True)
    here = {*heads.union(Event.objects.values_list("chain", flat=True))}
    absent = {name: (name, each[-1].seq, each[-1].hash) for name, each in listed.items() if name not in here}
    names = sorted((here | absent.keys()) - drops.explain(absent, drops.declared()))
    for first in range(0, len(names), CHAINS_AT_ONCE):
        yield from _neighbours(names[first : first + CHAINS_AT_ONCE], listed)


def _neighbours(names: Sequence[str], listed: Mapping[str, Sequence[Listed]]) -> Iterator[tuple[str, Fault | None]]:
    """`chain` of several that follow one another in byte order, as the log lies, with three statements for all."""
    before = _heads(names)
    walked = {name: walk(name, (), listed.get(name, ()), None) for name in names}  # as they are without a row
    rows = Event.objects.filter(chain__gte=names[0], chain__lte=names[-1]).order_by("chain", "seq")
    for name, own in groupby(rows.iterator(chunk_size=2000), key=lambda event: event.chain):
        if name in walked:  # else it has begun meanwhile
            walked[name] = walk(name, own, listed.get(name, ()), before.get(name))
    after = _heads(names)
    for name, (fault, seq) in walked.items():
        yield name, fault or _end_fault(name, seq, before.get(name), after.get(name))


def _heads(names: Sequence[str]) -> dict[str, ChainHead]:
    return {head.chain: head for head in ChainHead.objects.filter(chain__in=names)}


# -- checkpoints -------------------------------------------------------------------------------------------------
@dataclass
class Checkpoints:
    """What they list of each chain, oldest first, and what is wrong with them; `restores` are sentences."""

    listed: dict[str, list[Listed]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    restores: list[str] = field(default_factory=list)
    newest: Checkpoint | None = None


def checkpoints() -> Checkpoints:
    """Check every checkpoint of the database, and against the second place of this host. Raises KeyUnusable."""
    keys, found = signing.trusted(), Checkpoints()
    lost: list[tuple[int, int]] = []
    for each in Checkpoint.objects.order_by("number").iterator(chunk_size=50):
        faults = [Fault(CHECKPOINTS, each.number, sentence) for sentence in _faults_of(each, found.newest, keys)]
        found.faults += faults
        found.newest = each
        if not faults:
            for name, seq, digest in json.loads(each.entries):
                found.listed.setdefault(name, []).append(Listed(seq, digest, each.number))
            for entry in json.loads(each.body).get("restored", []):
                lost.append((entry["back_to"], entry["lost_to"]))
                found.restores.append(_told(each, entry))
    if found.newest is not None:
        found.faults += _against_second_place(found.newest.log, lost)
    return found


def listed_in(numbers: Iterable[int]) -> dict[str, Listed]:
    """What these checkpoints, as far as they are genuine, list of each chain last. Raises KeyUnusable."""
    keys, found = signing.trusted(), dict[str, Listed]()
    for each in Checkpoint.objects.filter(number__in=numbers).order_by("number").iterator(chunk_size=50):
        if _unsigned(each, keys) is None:
            found |= {name: Listed(seq, digest, each.number) for name, seq, digest in json.loads(each.entries)}
    return found


def newest_of(name: str) -> Listed | None:
    """Where the newest checkpoint that lists a chain says it stood; None when none does, or when it is not genuine.

    Raises KeyUnusable.
    """
    number = ChainHead.objects.filter(chain=name).values_list("checkpoint", flat=True).first()
    found = Checkpoint.objects.filter(number=number).first() if number else None
    if found is None or _unsigned(found, signing.trusted()):
        return None
    entries = {entry[0]: entry for entry in json.loads(found.entries)}
    return Listed(entries[name][1], entries[name][2], found.number) if name in entries else None


def _faults_of(each: Checkpoint, before: Checkpoint | None, keys: dict[str, Ed25519PublicKey]) -> Iterator[str]:
    if sentence := _unsigned(each, keys):
        yield sentence
        return
    body = json.loads(each.body)
    last = before.number if before else 0
    follows = min([entry["back_to"] for entry in body.get("restored", [])], default=each.number - 1)
    if follows != last:
        yield f"it follows checkpoint {follows}, and the one before it here is {last}: taken out or put in"
    elif body["previous"] != (before.hash if before else ""):
        yield "it does not follow the one before it: put in, or made anew"


def _unsigned(each: Checkpoint, keys: dict[str, Ed25519PublicKey]) -> str | None:
    """What is wrong with one checkpoint by itself."""
    try:
        body: dict[str, Any] = json.loads(each.body)
        key, entries = keys.get(body["key"]), [tuple(entry) for entry in json.loads(each.entries)]
    except (ValueError, KeyError, TypeError):
        return "it cannot be read: edited"
    if key is None:
        return f"it is signed with the key {body['key']}, which is not ours"
    if not signing.is_signed(each.body, each.signature, key) or canonical.digest(each.body) != each.hash:
        return "its signature does not fit what it says: edited, or signed with another key"
    if (body["number"], body["log"], body["at"]) != (each.number, str(each.log), each.at.isoformat()):
        return "its number, its log or its time is not what was signed: edited"
    if len(entries) != body["chains"] or merkle.root(entries) != body["root"]:
        return "the heads it lists are not those that were signed: edited"
    return None


def _told(each: Checkpoint, entry: dict[str, Any]) -> str:
    return (
        f"checkpoint {each.number} declares a restore from a backup ({entry['by']}, {entry['at']}): "
        f"what was signed after checkpoint {entry['back_to']} up to {entry['lost_to']} is lost"
    )


def _against_second_place(log: UUID, lost: Sequence[tuple[int, int]]) -> Iterator[Fault]:
    """Every checkpoint that this host has seen is here as it was, unless a declared restore has lost it."""
    seen = [(record["number"], canonical.digest(record["body"])) for record in second_place.records(log)]
    kept = dict(Checkpoint.objects.values_list("number", "hash"))  # read after: the second place is never ahead
    for number, digest in seen:
        if kept.get(number) == digest or any(back < number <= to for back, to in lost):
            continue
        told = "is another one in the second place: made anew" if number in kept else "is in the second place alone"
        yield Fault(CHECKPOINTS, number, f"it {told}")
