"""Walk a chain and name the first row that is not what was written."""

from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator_site.core.events import link_hash
from orchestrator_site.core.models import ChainHead, Event


@dataclass(frozen=True)
class Fault:
    """`seq` is the first row of the chain that cannot be trusted."""

    chain: str
    seq: int
    sentence: str

    def __str__(self) -> str:
        return f"{self.chain} #{self.seq}: {self.sentence}"


def chain(name: str) -> Fault | None:
    """None when every row, and the head, is as it was written."""
    previous, seq = "", 0
    for event in Event.objects.filter(chain=name).order_by("seq").iterator(chunk_size=2000):
        seq += 1
        if event.seq != seq:
            return Fault(name, seq, f"row {seq} is missing; the next row found is {event.seq}")
        if event.previous_hash != previous:
            return Fault(name, seq, "it does not follow the row before it: inserted, reordered or restamped")
        written = link_hash(previous, name, seq, event.type, event.actor, event.at, event.data)
        if written != event.hash:
            return Fault(name, seq, "its content is not what was hashed: edited")
        previous = event.hash
    return _head_fault(name, seq, previous)


def _head_fault(name: str, seq: int, last_hash: str) -> Fault | None:
    head = ChainHead.objects.filter(chain=name).first()
    if head is None:
        return Fault(name, seq, "the chain has no head") if seq else None
    if head.seq > seq:
        return Fault(name, seq + 1, f"the head knows {head.seq} rows and only {seq} are here: cut off")
    if head.seq < seq:
        return Fault(name, head.seq + 1, f"the head knows {head.seq} rows and {seq} are here: added outside")
    if head.hash != last_hash:
        return Fault(name, seq, "the head holds another hash: the chain was restamped")
    return None


def all_chains() -> Iterator[tuple[str, Fault | None]]:
    """Every chain that has a head or a row."""
    names = ChainHead.objects.values_list("chain", flat=True).union(Event.objects.values_list("chain", flat=True))
    for name in names.order_by("chain"):
        yield name, chain(name)
