"""When rows were committed, by the server's own record of it."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import connection

from orchestrator_site.core.events import run_chain


def of_chain(run_id: UUID) -> list[tuple[str, float]]:
    """Type and moment of commit, in seconds since 1970, of every event of a run."""
    return [(type, at) for _, type, at in of_chains([run_id])]


def of_chains(run_ids: Sequence[UUID]) -> list[tuple[UUID, str, float]]:
    """The same of many runs, run by run."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT run_id, type, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float FROM core_event
               WHERE chain = ANY(%s) ORDER BY chain, seq""",
            [[run_chain(run_id) for run_id in run_ids]],
        )
        return cursor.fetchall()


def following(rows: Sequence[tuple[Any, ...]], first: str, then: str) -> list[float]:
    """Milliseconds from each run's last event of type `first` to the next one whose type begins with `then`."""
    waited: list[float] = []
    began: dict[UUID, float] = {}
    for run_id, type, at in rows:
        if type == first:
            began[run_id] = at
        elif type.startswith(then) and run_id in began:
            waited.append(1000 * (at - began.pop(run_id)))
    return waited
