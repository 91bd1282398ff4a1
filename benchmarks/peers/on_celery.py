"""The bare loop in a Celery worker of threads: the platform's transport of the SDK, one INSERT and COMMIT a step.

No gate, no ledger, no events, no lease. Started as a worker, `celery -A benchmarks.peers.on_celery worker`, and fed
through the same kind of broker as the platform.
"""

import json
import os
from typing import Any
from uuid import uuid4

from celery import Celery
from celery.signals import worker_init
from psycopg_pool import ConnectionPool

from benchmarks.peers import boundary
from benchmarks.peers.serving import POOL
from benchmarks.work import Work

TABLE = """
    CREATE TABLE IF NOT EXISTS step (run uuid, number int, added text NOT NULL, is_last bool, PRIMARY KEY (run, number))
"""
INSERT = "INSERT INTO step (run, number, added, is_last) VALUES (%s, %s, %s, %s)"
TURNS = {"created": boundary.created, "posted": boundary.posted}  # how the model is called

app = Celery("bare", broker=os.environ["BENCH_BROKER"])
app.conf.update(
    worker_pool="threads",
    worker_disable_prefetch=True,
    task_ignore_result=True,
    worker_hijack_root_logger=False,
)
pool = ConnectionPool(os.environ["BENCH_DATABASE"], min_size=2, max_size=POOL, kwargs={"autocommit": True}, open=False)


@worker_init.connect
def prepare(**kwargs: Any) -> None:
    pool.open()
    with pool.connection() as connection:
        connection.execute(TABLE)


@app.task(name="bare.carry")
def carry(turns: int, payload: int, tool: str, way: str) -> None:
    run_id = uuid4()
    for number, added in enumerate(TURNS[way](Work(1, turns, payload, tool)), start=1):
        with pool.connection() as connection:
            connection.execute(INSERT, [run_id, number, json.dumps(added), len(added) == 1])
