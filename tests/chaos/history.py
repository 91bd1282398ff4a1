"""What the platform's own rows say, written out as JSON lines {table, row}: the checker reads nothing else of it."""

import json
from pathlib import Path

import psycopg
from psycopg import sql

TABLES = (
    "agents_agent",
    "agents_manifest",
    "runs_run",
    "runs_dispatch",
    "runs_account",
    "runs_allotment",
    "runs_budgetperiod",
    "runs_route",
    "runs_step",
    "runs_toolcall",
    "runs_attempt",
    "runs_handoff",
    "runs_node",
    "runs_edge",
    "runs_plan",
    "approvals_approvalrequest",
    "approvals_decision",
    "approvals_assent",
    "approvals_standingapproval",
    "approvals_standinguse",
    "core_event",
)


def write(database: psycopg.Connection, path: Path) -> int:
    """One snapshot of all tables; how many rows."""
    count = 0
    with path.open("w") as out, database.transaction():
        database.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        for table in TABLES:
            query = sql.SQL("SELECT to_json(t) FROM {} t").format(sql.Identifier(table))
            for (row,) in database.execute(query):
                out.write(json.dumps({"table": table, "row": row}) + "\n")
                count += 1
    return count
