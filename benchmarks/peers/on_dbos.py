"""DBOS: an agent as a workflow over its PostgreSQL system database.

A model call is a step and a tool call is a step, as its documentation does for agents. The workflow is synchronous and
runs on a thread for each run in flight: measured here, that costs a sixth less CPU than its asynchronous form, which
hands each of its statements to a thread. Variant "merged" makes one step of the model call and the tool call that
follows, so that one row a turn is written, as the floor writes it.
"""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from anthropic import Anthropic
from dbos import DBOS

from benchmarks.peers.serving import POOL, Run, options, request, serve
from benchmarks.work import Work, record_text

Blocks = list[dict[str, Any]]

client: Anthropic


@DBOS.step()
def ask(messages: Blocks, tool: str) -> Blocks:
    return _reply(messages, tool)


@DBOS.step()
def use_tool(call: dict[str, Any]) -> str:
    return record_text(**call["input"])


@DBOS.step()
def ask_and_use_tools(messages: Blocks, tool: str) -> tuple[Blocks, list[str]]:
    content = _reply(messages, tool)
    return content, [record_text(**call["input"]) for call in _calls(content)]


def _separate(messages: Blocks, tool: str) -> tuple[Blocks, list[str]]:
    content = ask(messages, tool)
    return content, [use_tool(call) for call in _calls(content)]


@DBOS.workflow()
def agent(prompt: str, tool: str, merged: bool) -> str:
    messages: Blocks = [{"role": "user", "content": prompt}]
    turn = ask_and_use_tools if merged else _separate
    while True:
        content, texts = turn(messages, tool)
        messages.append({"role": "assistant", "content": content})
        if not texts:
            return content[0]["text"]
        results = [
            {"type": "tool_result", "tool_use_id": call["id"], "content": text}
            for call, text in zip(_calls(content), texts, strict=True)
        ]
        messages.append({"role": "user", "content": results})


def _reply(messages: Blocks, tool: str) -> Blocks:
    return [block.to_dict() for block in client.messages.create(**request(messages, tool)).content]


def _calls(content: Blocks) -> Blocks:
    return [block for block in content if block["type"] == "tool_use"]


def runner(threads: ThreadPoolExecutor, *, merged: bool) -> Run:
    async def run(work: Work) -> None:
        await asyncio.get_running_loop().run_in_executor(threads, agent, work.prompt, work.tool, merged)

    return run


async def main() -> None:
    global client
    given = options(__doc__ or "")
    client = Anthropic(api_key="bench", base_url=given.model, max_retries=0)
    # Every process is an executor of its own name, so that none recovers what another has in hand.
    DBOS(
        config={
            "name": "bench",
            "system_database_url": given.database,
            "sys_db_pool_size": POOL,
            "executor_id": f"bench-{os.getpid()}",
            "log_level": "WARNING",
        }
    )
    DBOS.launch()
    await serve(runner(ThreadPoolExecutor(given.in_flight), merged=given.variant == "merged"))
    DBOS.destroy()


if __name__ == "__main__":
    asyncio.run(main())
