"""Other people's tools: one this program has never heard of is called when its arguments can be filled."""

from typing import Any

from orchestrator_site.demo.model_server.protocol import Body, Reply, ToolUse
from orchestrator_site.demo.model_server.task import PLATFORM, Desk, sentence
from orchestrator_site.demo.model_server.tokens import tokenize


def own_tool(desk: Desk) -> Reply | None:
    """A tool this program has never heard of: call the one that fits the request best, if its arguments can be filled."""
    strange = [name for name in desk.talk.tools if name not in PLATFORM and name not in desk.can.values()]
    if not strange or desk.wish:
        return None
    called = [result for result in desk.talk.results if result.tool in strange]
    if called:
        return Reply(f"{sentence(called[-1])}" if called[-1].ok else f"That was not possible. {sentence(called[-1])}")
    best = max(strange, key=lambda name: _likeness(desk, name))
    arguments = _fill(desk, desk.talk.tools[best])
    return Reply(tools=(ToolUse(best, arguments),)) if arguments is not None else None


def _likeness(desk: Desk, name: str) -> int:
    words = {
        token.stem for token in tokenize(f"{name.replace('_', ' ')} {desk.talk.tools[name].get('description', '')}")
    }
    return len(words & {token.stem for token in tokenize(desk.talk.request) if len(token.stem) > 3})


def _fill(desk: Desk, tool: Body) -> dict[str, Any] | None:
    schema = tool.get("input_schema") or {}
    filled: dict[str, Any] = {}
    for name in schema.get("required", []):
        value = _value_for(desk, name, schema.get("properties", {}).get(name, {}))
        if value is None:
            return None
        filled[name] = value
    return filled


def _value_for(desk: Desk, name: str, schema: Body) -> Any:
    number = desk.numbers[0] if desk.numbers else None
    if "order" in name:
        return str(number) if number and schema.get("type") == "string" else number
    if "amount" in name:
        return float(desk.task.amount) if desk.task.amount is not None else None
    if "mail" in name or name == "to":
        return (
            desk.task.quoted.email
            or desk.task.reading.email
            or next((order["customer"]["email"] for order in desk.orders), None)
        )
    if schema.get("enum"):
        return schema["enum"][0]
    return desk.task.said[:500] if schema.get("type", "string") == "string" else None
