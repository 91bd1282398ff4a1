"""The bare loop in a Celery worker of threads: the platform's own transport of the SDK, one INSERT and COMMIT a step.

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

from agents import llm
from benchmarks.peers.serving import POOL, request
from benchmarks.work import Work, record_text

TABLE = """
    CREATE TABLE IF NOT EXISTS step (run uuid, number int, added text NOT NULL, is_last bool, PRIMARY KEY (run, number))
"""
INSERT = "INSERT INTO step (run, number, added, is_last) VALUES (%s, %s, %s, %s)"

app = Celery("bare", broker=os.environ["BENCH_BROKER"])
app.conf.update(
    worker_pool="threads",
    worker_disable_prefetch=True,
    task_ignore_result=True,
    worker_hijack_root_logger=False,
    task_default_queue="bare",
)
access = llm._Access(os.environ["ANTHROPIC_BASE_URL"], "bench")
pool = ConnectionPool(os.environ["BENCH_DATABASE"], min_size=2, max_size=POOL, kwargs={"autocommit": True}, open=False)


@worker_init.connect
def open_pool(**kwargs: object) -> None:
    pool.open()


@app.task(name="bare.carry")
def carry(turns: int, payload: int, tool: str) -> None:
    run_id, number = uuid4(), 0
    messages: list[dict[str, Any]] = [{"role": "user", "content": Work(1, turns, payload, tool).prompt}]
    while True:
        reply = llm._client(access).messages.create(**request(messages, tool))
        added = [{"role": "assistant", "content": [block.to_dict() for block in reply.content]}]
        results = [
            {"type": "tool_result", "tool_use_id": block.id, "content": record_text(**block.input)}
            for block in reply.content
            if block.type == "tool_use"
        ]
        if results:
            added.append({"role": "user", "content": results})
        messages += added
        number += 1
        with pool.connection() as connection:
            connection.execute(INSERT, [run_id, number, json.dumps(added), not results])
        if not results:
            return
