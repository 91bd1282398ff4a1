"""The floor: the SDK as it comes, and one INSERT and COMMIT a step. No framework, no recovery."""

import asyncio
import json
from typing import Any
from uuid import uuid4

from anthropic import AsyncAnthropic
from psycopg_pool import AsyncConnectionPool

from benchmarks.peers.serving import POOL, Run, options, request, serve
from benchmarks.work import Work, record_text

TABLE = "CREATE TABLE IF NOT EXISTS step (run uuid, number int, added text NOT NULL, PRIMARY KEY (run, number))"
INSERT = "INSERT INTO step (run, number, added) VALUES (%s, %s, %s)"


def runner(client: AsyncAnthropic, pool: AsyncConnectionPool) -> Run:
    async def run(work: Work) -> None:
        run_id, number = uuid4(), 0
        messages: list[dict[str, Any]] = [{"role": "user", "content": work.prompt}]
        while True:
            reply = await client.messages.create(**request(messages, work.tool))
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
            async with pool.connection() as connection:
                await connection.execute(INSERT, [run_id, number, json.dumps(added)])
            if not results:
                return

    return run


async def main() -> None:
    given = options(__doc__ or "")
    async with (
        AsyncConnectionPool(given.database, min_size=2, max_size=POOL, kwargs={"autocommit": True}) as pool,
        AsyncAnthropic(api_key="bench", base_url=given.model, max_retries=0) as client,
    ):
        async with pool.connection() as connection:
            await connection.execute(TABLE)
        await serve(runner(client, pool))


if __name__ == "__main__":
    asyncio.run(main())
