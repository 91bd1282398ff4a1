"""Months of the event log that were dropped, as the platform's chain declares them.

A declaration names the chains by what they have in common, runs that began before a moment and are not here, and by a
digest over where each of them ended. So it explains exactly those chains and hides no other.
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from orchestrator_site.core import canonical, events
from orchestrator_site.core.models import ChainHead, Event

TYPE = "history_dropped"

# Where a chain ended: its name, its last seq, the hash of that row.
End = tuple[str, int, str]


@dataclass(frozen=True)
class Drop:
    """`archive` is the name of the file that was kept, empty where none was; `at` when it was dropped."""

    partition: str
    before: dt.datetime
    chains: int
    digest: str
    archive: str
    at: dt.datetime

    def __str__(self) -> str:
        kept = f"kept in {self.archive}" if self.archive else "not kept"
        return f"{self.partition}: {self.chains} chains were dropped on {self.at:%Y-%m-%d}, and {kept}"

    def is_older(self, chain: str) -> bool:
        began = began_at(chain)
        return began is not None and began < self.before


def declared() -> list[Drop]:
    """The oldest month first."""
    told = Event.objects.filter(chain=events.PLATFORM, type=TYPE).order_by("seq")
    return sorted(map(_read, told), key=lambda drop: drop.before)


def _read(event: Event) -> Drop:
    data = canonical.loads(event.data)
    before = dt.datetime.fromisoformat(data["before"])
    return Drop(data["partition"], before, data["chains"], data["digest"], data["archive"], event.at)


def digest(ends: Iterable[End]) -> str:
    """Over where chains ended, sorted by name."""
    return canonical.digest(canonical.dumps([list(end) for end in sorted(ends)]))


def of_chain(chain: str) -> Drop | None:
    """The drop that took a chain; None while it is here, or when none did."""
    if ChainHead.objects.filter(chain=chain).exists():
        return None
    return next((drop for drop in declared() if drop.is_older(chain)), None)


def explain(absent: Mapping[str, End], drops: Iterable[Drop]) -> set[str]:
    """Those of the absent chains that the drops declare: each drop all that it should have taken, or nothing."""
    left, explained = dict(absent), set[str]()
    for drop in drops:
        own = {chain: end for chain, end in left.items() if drop.is_older(chain)}
        if (len(own), digest(own.values())) == (drop.chains, drop.digest):
            explained |= own.keys()
        left = {chain: end for chain, end in left.items() if chain not in own}
    return explained


def began_at(chain: str) -> dt.datetime | None:
    """When a run's chain began, by its UUIDv7; None for another chain."""
    try:
        id = UUID(chain.removeprefix("run:"))
    except ValueError:
        return None
    return dt.datetime.fromtimestamp((id.int >> 80) / 1000, dt.UTC) if id.version == 7 else None
