"""The model calls and nothing else, made as the platform's workers make them: on threads, with nothing stored."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

from benchmarks.peers import boundary
from benchmarks.peers.serving import Run, options, serve
from benchmarks.work import Work


def runner(threads: ThreadPoolExecutor) -> Run:
    async def run(work: Work) -> None:
        await asyncio.get_running_loop().run_in_executor(threads, converse, work)

    return run


def converse(work: Work) -> None:
    for _ in boundary.posted(work):
        pass


async def main() -> None:
    given = options(__doc__ or "")
    os.environ["ANTHROPIC_BASE_URL"] = given.model
    await serve(runner(ThreadPoolExecutor(given.in_flight)))


if __name__ == "__main__":
    asyncio.run(main())
