"""A log with checkpoints, and ways to read it as an auditor would."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings

from orchestrator_site.core import audit_export, checkpoints, events, second_place, signing
from orchestrator_site.core.events import PLATFORM, run_chain
from orchestrator_site.core.ids import new_id
from orchestrator_site.core.models import Checkpoint
from orchestrator_site.offline import verify_export
from orchestrator_site.offline.verify_export import Report


def say(chain: str, number: int, **data: Any) -> None:
    """So many rows more in a chain, each in a transaction of its own."""
    for count in range(number):
        with events.recording() as log:
            if chain == PLATFORM:
                log.platform("test_happened", count=count, **data)
            else:
                log.run(UUID(chain.removeprefix("run:")), "test_happened", actor="user:ann", count=count, **data)


def new_chain() -> str:
    return run_chain(new_id())


def checkpoint() -> Checkpoint:
    made = checkpoints.make()
    assert made is not None
    assert second_place.copy() is None
    return made


class Log:
    """Seven runs and the platform over four checkpoints, and rows that are younger than the last.

    `covered` says for each chain how many of its rows the newest checkpoint that lists it signs.
    """

    def __init__(self) -> None:
        self.chains = [PLATFORM, *(new_chain() for _ in range(7))]
        self.rows = dict.fromkeys(self.chains, 0)
        self.covered: dict[str, int] = {}
        for turn in range(4):
            for place, chain in enumerate(self.chains):
                if turn == 0 or (place + turn) % 3:
                    self.say(chain, 2 + (place * turn) % 4)
            checkpoint()
            self.covered |= self.rows
        for chain in self.chains[2:5]:
            self.say(chain, 2)

    def say(self, chain: str, number: int) -> None:
        say(chain, number)
        self.rows[chain] += number


def verified(
    records: Iterable[dict[str, Any]] | None = None,
    *,
    outside: bool = False,
    archives: Iterable[Iterable[dict[str, Any]]] = (),
) -> Report:
    """What the offline verifier says of the database as it is, or of these records."""
    place = Path(settings.BATON_CHECKPOINT_DIR)
    return verify_export.verify(
        list(audit_export.whole()) if records is None else records,
        [signing.private_key().public_key()],
        outside=verify_export.read_outside(place) if outside else (),
        archives=archives,
    )
