"""What a run's nodes are at, in one look. The caller holds the run's row."""

from dataclasses import dataclass

from django.db import connection

from runs import states
from runs.models import Run


@dataclass(frozen=True)
class Overview:
    """Numbers of nodes: all, those not ended, those queued or working. `proposed` and `accepted` are handoffs that wait
    for a person and for their node, `routed` the decisions of routers that have none yet."""

    total: int
    open: int
    at_work: int
    blocked: int
    proposed: int
    accepted: int
    routed: int

    @property
    def may_grow(self) -> bool:
        """Something may begin, or be skipped, now that another has ended."""
        return bool(self.blocked or self.accepted or self.routed)

    @property
    def is_done(self) -> bool:
        return not (self.open or self.proposed)


def look(run: Run) -> Overview:
    with connection.cursor() as cursor:
        cursor.execute(_LOOK, [_OPEN, _AT_WORK, run.pk])
        return Overview(*cursor.fetchone())


def heed(run: Run) -> Overview:
    """Its nodes that have ended count as seen. Written first of all: one that ends from here on is not among those we
    look at, and stays unheeded for the next to come."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE runs_dispatch SET unheeded = false WHERE run_id = %s AND unheeded", [run.pk])
    return look(run)


_OPEN = list(states.DISPATCH.open)
_AT_WORK = [states.QUEUED, states.WORKING]
_LOOK = """
SELECT count(*),
       count(*) FILTER (WHERE node.status = ANY(%s)),
       count(*) FILTER (WHERE node.status = ANY(%s)),
       count(*) FILTER (WHERE node.status = 'blocked'),
       count(*) FILTER (WHERE handoff.status = 'proposed'),
       count(*) FILTER (WHERE handoff.status = 'accepted' AND handoff.continued_by_id IS NULL),
       count(*) FILTER (WHERE EXISTS (SELECT FROM runs_route r WHERE r.source_id = node.id AND r.node_id IS NULL))
FROM runs_dispatch node LEFT JOIN runs_handoff handoff ON handoff.source_id = node.id
WHERE node.run_id = %s
"""
