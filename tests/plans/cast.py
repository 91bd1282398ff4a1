"""Plans in words: nodes whose tasks are the scripts their agents play, and what became of them."""

from typing import Any

from runs.models import Node, Run
from tests.runs.cast import carry_all, script, start, text


def node(key: str, *turns: dict[str, Any], after: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    """A node of the agent `worker` that plays these turns; by default it says its own name."""
    task = script(*(turns or [text(f"{key} done")]))
    return {"key": key, "agent": "worker", "task": task, "depends_on": list(after), **more}


def plan(*nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"nodes": list(nodes), **more}


def carried(owner: Any, *nodes: dict[str, Any], **more: Any) -> Run:
    """A run by this plan, carried as far as it goes in this process."""
    return carry_all(start(owner, "The request.", agent=None, plan=plan(*nodes, **more)))


def statuses(run: Run) -> dict[str, str]:
    return {each.key: each.status for each in run.nodes.filter(number__gt=1)}


def of(run: Run, key: str) -> Node:
    return run.nodes.get(key=key, superseded=False)


def first_words(model: Any, task_holds: str) -> str:
    """What the newest model call whose task holds this was told first."""
    told = [body["messages"][0]["content"] for body in model.requests()]
    texts = [each if isinstance(each, str) else "".join(block["text"] for block in each) for each in told]
    return next(each for each in reversed(texts) if task_holds in each)
