"""How the comparison talks to a peer's process: one line of JSON in, one line out.

    {"runs": 100, "turns": 10, "payload": 100, "tool": "read_record", "in_flight": 32}   ->   {"done": 100}

A peer gives two coroutines: `open(options)` returns `run(prompt)`, which carries one run to its end.
This file needs the standard library and the SDK only, so that it works in each peer's own environment.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from benchmarks.work import DESCRIPTION, INPUT_SCHEMA, SYSTEM_PROMPT, Work

MAX_TOKENS = 2048
POOL = 10  # database connections of one process, as a worker of the platform has

Run = Callable[[Work], Awaitable[None]]


def request(messages: list[Any], tool: str) -> dict[str, Any]:
    """The arguments of the SDK's call, the same in every peer."""
    return {
        "model": "bench",
        "max_tokens": MAX_TOKENS,
        "system": SYSTEM_PROMPT,
        "messages": messages,
        "tools": [{"name": tool, "description": DESCRIPTION, "input_schema": INPUT_SCHEMA}],
    }


def options(about: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", required=True, help="URL")
    parser.add_argument("--model", required=True, help="URL")
    parser.add_argument("--variant", default="", help="see the file's own words")
    parser.add_argument("--in-flight", type=int, default=64, help="the most there will ever be at once here")
    return parser.parse_args()


async def serve(run: Run) -> None:
    """Answer orders until the input ends."""
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        in_flight = order.pop("in_flight")
        work = Work(**order)
        await carry(run, work, in_flight)
        print(json.dumps({"done": work.runs}), flush=True)


async def carry(run: Run, work: Work, in_flight: int) -> None:
    """All runs of the work, so many at a time."""
    numbers = iter(range(work.runs))
    await asyncio.gather(*(_one_after_another(run, work, numbers) for _ in range(min(in_flight, work.runs))))


async def _one_after_another(run: Run, work: Work, numbers: Iterator[int]) -> None:
    for _ in numbers:
        await run(work)
