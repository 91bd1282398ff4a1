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
    """None when every row, and the head, is as it was written. Others may append while it is read."""
    head = ChainHead.objects.filter(chain=name).first()
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
        if head is not None and head.seq == seq and head.hash != event.hash:
            return Fault(name, seq, "the head holds another hash: the chain was restamped")
        previous = event.hash
    return _end_fault(name, seq, head)


def _end_fault(name: str, seq: int, before: ChainHead | None) -> Fault | None:
    """`before` is the head from before the rows were read: they reach it, and a head of today reaches them."""
    if before is not None and before.seq > seq:
        return Fault(name, seq + 1, f"the head knows {before.seq} rows and only {seq} are here: cut off")
    head = ChainHead.objects.filter(chain=name).first()
    if head is None:
        return Fault(name, seq, "the chain has no head") if seq else None
    if head.seq < seq:
        return Fault(name, head.seq + 1, f"the head knows {head.seq} rows and {seq} are here: added outside")
    return None


def all_chains() -> Iterator[tuple[str, Fault | None]]:
    """Every chain that has a head or a row."""
    names = ChainHead.objects.values_list("chain", flat=True).union(Event.objects.values_list("chain", flat=True))
    for name in names.order_by("chain"):
        yield name, chain(name)
