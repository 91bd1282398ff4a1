"""LangGraph with its PostgreSQL checkpointer, `durability="sync"`: a graph of two nodes, model and tools.

Variants: "" keeps the messages in the usual list with a reducer; "delta" in the beta `DeltaChannel`, which stores
what each step added. One checkpointer holds a lock around each of its statements, so that a pool behind it would be
used one connection at a time (issue 7259 of the project): here every run in flight has a checkpointer, thus a graph,
of its own, over one pool.
"""

import asyncio
import operator
from typing import Annotated, Any, TypedDict
from uuid import uuid4

from anthropic import AsyncAnthropic
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import END, START, StateGraph
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from benchmarks.peers.serving import POOL, Run, options, request, serve
from benchmarks.work import Work, record_text


def _append(state: list, writes: list) -> list:
    """Batching-invariant, as a DeltaChannel wants it."""
    return [*state, *(message for write in writes for message in write)]


class State(TypedDict):
    tool: str
    messages: Annotated[list[dict[str, Any]], operator.add]


class DeltaState(TypedDict):
    tool: str
    messages: Annotated[list[dict[str, Any]], DeltaChannel(_append)]


def graph(client: AsyncAnthropic, saver: AsyncPostgresSaver, *, delta: bool) -> Any:
    # Wrapped, since a DeltaChannel turns what looks like a message into LangChain's own objects. The nodes have no
    # annotations: LangGraph would read them as schemas of their own.
    async def ask(state):
        messages = [each["message"] for each in state["messages"]]
        reply = await client.messages.create(**request(messages, state["tool"]))
        return _added("assistant", [block.to_dict() for block in reply.content])

    async def use_tools(state):
        return _added(
            "user",
            [
                {"type": "tool_result", "tool_use_id": call["id"], "content": record_text(**call["input"])}
                for call in _calls(state)
            ],
        )

    def what_next(state):
        return "use_tools" if _calls(state) else END

    drawn = StateGraph(DeltaState if delta else State)
    drawn.add_node("ask", ask)
    drawn.add_node("use_tools", use_tools)
    drawn.add_edge(START, "ask")
    drawn.add_conditional_edges("ask", what_next, ["use_tools", END])
    drawn.add_edge("use_tools", "ask")
    return drawn.compile(checkpointer=saver)


def _added(role: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    return {"messages": [{"message": {"role": role, "content": content}}]}


def _calls(state: Any) -> list[dict[str, Any]]:
    return [block for block in state["messages"][-1]["message"]["content"] if block["type"] == "tool_use"]


def runner(idle: list[Any]) -> Run:
    async def run(work: Work) -> None:
        compiled = idle.pop()
        try:
            await compiled.ainvoke(
                {"tool": work.tool, "messages": [{"message": {"role": "user", "content": work.prompt}}]},
                {"configurable": {"thread_id": str(uuid4())}, "recursion_limit": 2 * work.turns + 5},
                durability="sync",
            )
        finally:
            idle.append(compiled)

    return run


async def main() -> None:
    given = options(__doc__ or "")
    settings = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}  # as its documentation says
    async with (
        AsyncConnectionPool(given.database, min_size=2, max_size=POOL, kwargs=settings) as pool,
        AsyncAnthropic(api_key="bench", base_url=given.model, max_retries=0) as client,
    ):
        await AsyncPostgresSaver(pool).setup()
        delta = given.variant == "delta"
        idle = [graph(client, AsyncPostgresSaver(pool), delta=delta) for _ in range(given.in_flight)]
        await serve(runner(idle))


if __name__ == "__main__":
    asyncio.run(main())
