"""The model calls and nothing else: the SDK over the platform's own transport, on threads, with nothing stored."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from agents import llm
from benchmarks.peers.serving import Run, options, request, serve
from benchmarks.work import Work, record_text


def runner(threads: ThreadPoolExecutor, client: Any) -> Run:
    async def run(work: Work) -> None:
        await asyncio.get_running_loop().run_in_executor(threads, converse, client, work)

    return run


def converse(client: Any, work: Work) -> None:
    messages: list[dict[str, Any]] = [{"role": "user", "content": work.prompt}]
    while True:
        reply = client.messages.create(**request(messages, work.tool))
        messages.append({"role": "assistant", "content": [block.to_dict() for block in reply.content]})
        results = [
            {"type": "tool_result", "tool_use_id": block.id, "content": record_text(**block.input)}
            for block in reply.content
            if block.type == "tool_use"
        ]
        if not results:
            return
        messages.append({"role": "user", "content": results})


async def main() -> None:
    given = options(__doc__ or "")
    await serve(runner(ThreadPoolExecutor(given.in_flight), llm._client(llm._Access(given.model, "bench"))))


if __name__ == "__main__":
    asyncio.run(main())
