"""State machines as tables: one table a machine, moved by one conditional UPDATE."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from django.db import models

from orchestrator_site.core.statements import Writes


class IllegalTransition(Exception):
    """Our mistake: the table has no such arrow."""


class StaleRow(Exception):
    """Somebody else moved the row first, or its fence has grown: whoever holds it now is right, and we stop."""


@dataclass(frozen=True)
class Machine:
    """`table` maps every status to the statuses that may follow it; `final` are those in which a row has ended."""

    name: str
    table: Mapping[str, frozenset[str]]
    final: frozenset[str]

    @property
    def statuses(self) -> list[str]:
        return list(self.table)

    @property
    def open(self) -> frozenset[str]:
        return frozenset(self.table) - self.final

    def constraint(self) -> models.CheckConstraint:
        """Refuses, in the database, any status outside the table."""
        return models.CheckConstraint(name=f"{self.name}_status_known", condition=models.Q(status__in=self.statuses))

    def choices(self) -> list[tuple[str, str]]:
        return [(status, status.replace("_", " ")) for status in self.table]

    def check_path(self, *path: str) -> str:
        """The last status of a path that a new row takes before it is first written; raises IllegalTransition."""
        for before, after in pairwise(path):
            if after not in self.table[before]:
                raise IllegalTransition(f"{self.name}: {before} -> {after}")
        return path[-1]

    def move(self, row: models.Model, to: str, *, by: Writes | None = None, **changes: Any) -> str:
        """Move one row and return the status it left. `by`: what else its transaction writes.

        Matches on (pk, the status we read): raises StaleRow when another writer was first, IllegalTransition when
        the table has no such arrow. The caller holds the row's owner lock or fence and records the event.
        """
        before = row.status  # type: ignore[attr-defined]
        if to not in self.table[before]:
            raise IllegalTransition(f"{self.name}: {before} -> {to}")
        stale = StaleRow(f"{self.name} {row.pk} is no longer {before}")
        changes = {"status": to, **changes}
        (by or Writes()).update(type(row), {"pk": row.pk, "status": before}, changes, otherwise=stale)
        for field, value in changes.items():
            setattr(row, field, value)
        return before


def machine(name: str, table: Mapping[str, Iterable[str]], *, final: Iterable[str] | None = None) -> Machine:
    """`final`: where rows may be taken up again; else those that nothing follows.

    Raises IllegalTransition at import when an arrow leads to a status the table does not have.
    """
    frozen = {status: frozenset(following) for status, following in table.items()}
    unknown = {target for following in frozen.values() for target in following} - frozen.keys()
    if unknown:
        raise IllegalTransition(f"{name}: arrows to unknown statuses {sorted(unknown)}")
    ends = frozenset(status for status, following in frozen.items() if not following) if final is None else final
    return Machine(name, frozen, frozenset(ends))
