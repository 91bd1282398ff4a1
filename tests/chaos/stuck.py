"""With a stuck run: its rows, who waits for which lock, and what every thread of every process does."""

import json
import signal
import time
from pathlib import Path

import psycopg

from tests.chaos.stage import Stage

STACKS_SECONDS = 1.0
ACTIVITY = """SELECT pid, application_name, state, wait_event_type, wait_event, xact_start, query_start,
              pg_blocking_pids(pid) AS blocked_by, left(query, 300) AS query
              FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"""
LOCKS = """SELECT pid, locktype, relation::regclass::text AS relation, mode, granted, transactionid::text
           FROM pg_locks WHERE pid <> pg_backend_pid() ORDER BY granted, pid"""
OPEN_RUNS = "SELECT id FROM runs_run WHERE status IN ('accepted', 'working', 'waiting', 'paused')"
ROWS = {
    "runs": f"SELECT * FROM runs_run WHERE id IN ({OPEN_RUNS})",
    "nodes": f"SELECT * FROM runs_node WHERE run_id IN ({OPEN_RUNS})",
    "dispatches": f"SELECT *, now() AS now FROM runs_dispatch WHERE run_id IN ({OPEN_RUNS})",
    "calls": f"""SELECT c.* FROM runs_toolcall c JOIN runs_dispatch d ON d.id = c.dispatch_id
                 WHERE d.run_id IN ({OPEN_RUNS})""",
    "requests": f"SELECT * FROM approvals_approvalrequest WHERE run_id IN ({OPEN_RUNS}) AND status = 'open'",
    "handoffs": f"""SELECT h.* FROM runs_handoff h JOIN runs_dispatch d ON d.id = h.source_id
                    WHERE d.run_id IN ({OPEN_RUNS})""",
    "events": f"""SELECT chain, seq, type, actor, at, data FROM core_event WHERE run_id IN ({OPEN_RUNS})
                  ORDER BY chain, seq""",
}


def dump(stage: Stage, path: Path) -> None:
    with path.open("w") as out:
        try:
            with stage.database() as database:
                for name, query in {**ROWS, "activity": ACTIVITY, "locks": LOCKS}.items():
                    _write(out, name, database, query)
        except psycopg.Error as error:
            out.write(f"the database does not answer: {error}\n")
        for name, stack in stacks(stage).items():
            out.write(f"\n=== stacks of {name}\n{stack}")


def _write(out, name: str, database: psycopg.Connection, query: str) -> None:
    out.write(f"\n=== {name}\n")
    for (row,) in database.execute(f"SELECT to_json(t) FROM ({query}) t"):
        out.write(json.dumps(row) + "\n")


def stacks(stage: Stage) -> dict[str, str]:
    """Each process writes its own to its log when it is asked by SIGUSR2."""
    names = [name for name in (*stage.workers(), "reconciler", "web") if stage.child(name).is_alive()]
    before = {name: stage.child(name).log.stat().st_size for name in names}
    for name in names:
        stage.child(name).send(signal.SIGUSR2)
    time.sleep(STACKS_SECONDS)
    return {name: stage.child(name).log.read_bytes()[before[name] :].decode(errors="replace") for name in names}
