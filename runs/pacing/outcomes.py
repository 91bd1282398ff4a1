"""How much of a model, a tool or an agent went well of late. Read from their own rows: no success is counted while
all goes well."""

import datetime as dt

from django.db import connection

from runs import states
from runs.models.pacing import AGENT, MODEL, TOOL

# Rows of all names that are looked through at most, from the newest begun back.
FURTHEST = 10_000

# Of a tool the attempts, not the calls: a call may be sent days after it was proposed, and be sent again.
_ROWS = {
    MODEL: f"""
        (SELECT model AS name, status, ended_at FROM runs_step ORDER BY id DESC LIMIT {FURTHEST}) rows""",  # noqa: S608
    TOOL: f"""
        (SELECT c.tool AS name, a.status, a.ended_at
            FROM (SELECT * FROM runs_attempt ORDER BY id DESC LIMIT {FURTHEST}) a
            JOIN runs_toolcall c ON c.id = a.call_id) rows""",  # noqa: S608
    AGENT: f"""
        (SELECT g.slug AS name, d.status, d.finished_at AS ended_at
            FROM (SELECT * FROM runs_dispatch ORDER BY id DESC LIMIT {FURTHEST}) d
            JOIN agents_manifest m ON m.id = d.manifest_id JOIN agents_agent g ON g.id = m.agent_id) rows""",  # noqa: S608
}
_WELL = {MODEL: states.ANSWERED, TOOL: states.SUCCEEDED, AGENT: states.SUCCEEDED}


def went_well(kind: str, name: str, since: dt.datetime, most: int) -> int:
    """How many ended well since that moment, whenever they were begun; no more than `most` are looked for."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT count(*) FROM (SELECT FROM {_ROWS[kind]}"  # noqa: S608
            " WHERE status = %s AND name = %s AND ended_at >= %s LIMIT %s) well",
            [_WELL[kind], name, since, most],
        )
        return cursor.fetchone()[0]
