"""The labels of all that something was made of. What follows from them the gate says (`tools/flow.py`).

They ride on every result, artifact, message and entry, and along every edge; nothing takes one away.
"""

from typing import Any
from uuid import UUID

from django.db import connection

from runs import states
from runs.artifacts import NAMED
from runs.models import BoardEntry, Dispatch, Node
from tools import flow

# Roles of nodes that read whatever lies within the node around them.
_READS_ALL_WITHIN = ["judge", "planner", "reducer", "summariser"]
_NOT_BROUGHT = [states.REFUSED, states.CANCELLED]

# Beside what an agent may read (artifacts.readable_by): whoever planned it, whom it takes the place of, and for who
# serves a group, the whole of it. What it reads is looked up by key: PostgreSQL takes a list in JSON to be of a
# hundred, and makes room for all that could come of so many, which takes nine tenths of the time.
_BEFORE = f"""
WITH RECURSIVE up(id, whole) AS (
    SELECT n.id, true FROM runs_node n WHERE n.id = %(node)s
  UNION
    SELECT further.id, further.whole FROM up JOIN runs_node n ON n.id = up.id CROSS JOIN LATERAL (
        SELECT e.parent_id AS id, true AS whole FROM runs_edge e WHERE e.child_id = n.id
      UNION ALL
        SELECT n.within_id, false WHERE n.within_id IS NOT NULL
      UNION ALL
        SELECT told.id, true FROM runs_node told
        WHERE told.id = ANY(ARRAY(SELECT jsonb_array_elements_text(n.reads)::uuid))
      UNION ALL
        SELECT other.id, true FROM runs_node other
        WHERE other.superseded AND other.run_id = n.run_id AND other.key = n.key AND other.id <> n.id
          AND other.within_id IS NOT DISTINCT FROM n.within_id
      UNION ALL
        SELECT other.id, true FROM runs_node other
        WHERE other.role = 'planner' AND other.within_id = n.within_id AND other.id <> n.id
      UNION ALL
        SELECT other.id, true FROM runs_node other
        WHERE n.role = ANY(%(roles)s) AND other.within_id = n.within_id AND other.id <> n.id
    ) AS further
), down(id) AS (
    SELECT id FROM up WHERE whole
  UNION
    SELECT n.id FROM down JOIN runs_node n ON n.within_id = down.id
), before AS (
    SELECT d.id, d.labels FROM runs_dispatch d WHERE d.node_id IN (SELECT id FROM up UNION SELECT id FROM down)
)
SELECT labels FROM before WHERE labels <> ''
UNION
SELECT a.labels FROM up JOIN runs_node n ON n.id = up.id CROSS JOIN LATERAL ({NAMED}) AS named
JOIN runs_artifact a ON a.id = named.id
WHERE a.labels <> ''
UNION
SELECT c.labels FROM runs_toolcall c JOIN before b ON b.id = c.dispatch_id
WHERE c.labels <> '' AND c.status <> ALL(%(not_brought)s)
"""  # noqa: S608 - a constant


def before(node_id: UUID) -> str:
    """Of all that comes before a node, and of what was tried at it. Its row, and its edges, are written."""
    return _asked(_BEFORE, node=node_id, roles=_READS_ALL_WITHIN)


def of_nodes(nodes: list[Node]) -> str:
    """Of what these nodes came to."""
    return flow.joined(*(before(node.pk) for node in nodes))


def of_dispatch(dispatch: Dispatch) -> str:
    """Of what it has read, and of what its last calls brought, whether it read that or not."""
    brought = dispatch.calls.exclude(status__in=_NOT_BROUGHT).exclude(labels="").values_list("labels", flat=True)
    return flow.joined(dispatch.labels, *brought)


def of_board(run_id: UUID) -> str:
    return flow.joined(*BoardEntry.objects.filter(run=run_id).exclude(labels="").values_list("labels", flat=True))


def _asked(sql: str, **parameters: Any) -> str:
    with connection.cursor() as cursor:
        cursor.execute(sql, {"not_brought": _NOT_BROUGHT, **parameters})
        return flow.joined(*(labels for (labels,) in cursor.fetchall()))
