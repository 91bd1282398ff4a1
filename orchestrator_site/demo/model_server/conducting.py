"""Those who have others work: a supervisor with `wait` and `finish`, a planner who is told who is at work, and an adviser
who is to choose one of several answers. Nothing is known of any agent but what it says it owns."""

import json
import re
from typing import Any

from orchestrator_site.demo.model_server.conversation import Conversation
from orchestrator_site.demo.model_server.protocol import Reply, ToolUse
from orchestrator_site.demo.model_server.reading import read
from orchestrator_site.demo.model_server.router import PREFIX
from orchestrator_site.demo.model_server.tokens import stem, tokenize

AT_WORK = re.compile(r"^- ([a-z0-9-]+): (.+)$", re.MULTILINE)
REFERENCE = re.compile(r"artifact:[0-9a-f-]{36}")


# A supervisor


def is_supervisor(talk: Conversation) -> bool:
    return {"wait", "finish"} <= talk.tools.keys()


def supervise(talk: Conversation) -> Reply:
    """Have it planned, wait, read the result whole, and finish with it."""
    request = _task(talk)
    if not any(result.tool.startswith(PREFIX) for result in talk.results):
        return Reply(
            "I have this planned, and wait for what comes of it.", (ToolUse(_planner(talk), {"task": request}),)
        )
    if not (waited := talk.results_of("wait")):
        return Reply(tools=(ToolUse("wait", {}),))
    if not (read_whole := talk.results_of("artifact_read")) and (found := REFERENCE.search(waited[-1].text)):
        return Reply(tools=(ToolUse("artifact_read", {"reference": found.group()}),))
    answer = read_whole[-1].text if read_whole and read_whole[-1].ok else waited[-1].text
    return Reply(tools=(ToolUse("finish", {"answer": answer}),))


def _planner(talk: Conversation) -> str:
    """Who says that it plans; else whoever is first."""
    offered = [name for name in talk.tools if name.startswith(PREFIX)]
    return next((name for name in offered if "planning" in talk.tools[name].get("description", "").lower()), offered[0])


# A planner


def is_planner(talk: Conversation) -> bool:
    return "Agents at work:" in talk.request and "nodes" in (talk.output_schema.get("properties") or {})


def plan(talk: Conversation) -> Reply:
    """Look every order up at the same time, let the advisers vote, write to the customer of the first."""
    owners = dict(AT_WORK.findall(talk.request.partition("Agents at work:")[2]))
    numbers = [str(number) for number in read(_task(talk)).order_numbers]
    looks = _owner(owners, "question", "order")
    nodes: list[dict[str, Any]] = []
    if looks and numbers:
        task = "Where is order {item}, and when does it come?"
        nodes.append({"key": "lookup", "agent": looks, "task": task, "over": {"items": numbers}, "limit": 5})
    advisers = [slug for slug, owns in owners.items() if owns.startswith("Advising")]
    if advisers and nodes:
        task = "Choose what to offer the customers of these late orders."
        reduce = {"how": "vote", "field": "proposal", "ties": "person"}
        after = {"depends_on": ["lookup"], "reduce": reduce}
        nodes.append({"key": "proposal", "agents": advisers, "task": task, **after})
    writes = _owner(owners, "letter")
    if writes and advisers and nodes:
        told = f"Write to the customer of order {numbers[0]} that it is late, and that we make up for it."
        nodes.append({"key": "letter", "agent": writes, "task": told, "depends_on": ["proposal"]})
    if not nodes:
        nodes = [{"key": "look", "agent": next(iter(owners), ""), "task": _task(talk)}]
    goal = "Compare the orders, decide what to offer, and tell a customer."
    return Reply(json.dumps({"goal": goal, "nodes": nodes, "answer": [node["key"] for node in nodes]}))


def _owner(owners: dict[str, str], *words: str) -> str | None:
    return next((slug for slug, owns in owners.items() if {stem(word) for word in words} <= _words(owns)), None)


# An adviser


def is_adviser(talk: Conversation) -> bool:
    return _choices(talk) is not None


def advise(talk: Conversation) -> Reply:
    """The dearer answers stand further back: who is thrifty takes the first, who is generous the last but one, and who
    is fair as much as the orders are late."""
    choices = _choices(talk) or []
    late = len(re.findall(r"\b(?:late|later|delayed)\b", talk.request))
    at = 0 if "thrifty" in talk.system else min(1, len(choices) - 1)
    why = f"{late} of the reports speak of delay" if late else "nothing was said of delay"
    (name,) = [name for name, shape in talk.output_schema["properties"].items() if shape.get("enum") == choices]
    said = {name: choices[at], "why": f"{why.capitalize()}, and this is what I stand for."}
    return Reply(json.dumps({key: said.get(key, "") for key in talk.output_schema["properties"]}))


def _choices(talk: Conversation) -> list[str] | None:
    shapes = (talk.output_schema.get("properties") or {}).values()
    return next((shape["enum"] for shape in shapes if isinstance(shape, dict) and shape.get("enum")), None)


# Common ground


def _task(talk: Conversation) -> str:
    """Without what the platform puts under it."""
    return talk.request.removeprefix("Task: ").partition("\n\n")[0]


def _words(text: str) -> set[str]:
    return {token.stem for token in tokenize(text)}
