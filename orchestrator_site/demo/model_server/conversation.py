"""A Messages API request as the desk sees it: who speaks, what was asked, which tools answered what since."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

from orchestrator_site.demo.model_server.protocol import Body, blocks_of

# What the platform puts under a task of its own accord; the task itself ends there.
BRIEFING = re.compile(
    r"\n\n(?:The request, in the person's own words:|Handed over because:|Result of |References you can |Asked by: "
    r"|By what requests are like)"
)


@dataclass(frozen=True)
class Result:
    """One answered tool call. `value` is the result's JSON when it is JSON, else None."""

    tool: str
    input: dict[str, Any]
    ok: bool
    text: str

    @property
    def value(self) -> Any:
        try:
            return json.loads(self.text)
        except ValueError:
            return None

    @property
    def fields(self) -> dict[str, Any]:
        return self.value if isinstance(self.value, dict) else {}


@dataclass(frozen=True)
class Conversation:
    """`request` is the newest text of the user; `results` came since, `earlier_*` belong to the turns before it."""

    system: str
    tools: dict[str, Body]
    request: str
    results: tuple[Result, ...] = ()
    earlier_requests: tuple[str, ...] = ()
    earlier_results: tuple[Result, ...] = ()
    choice: Body = field(default_factory=dict)
    output_schema: Body = field(default_factory=dict)

    @property
    def asked(self) -> str:
        """The request without what the platform says beside it."""
        return BRIEFING.split(self.request.removeprefix("Task: "))[0]

    def results_of(self, tool: str) -> list[Result]:
        return [result for result in self.results if result.tool == tool]

    def was_called(self, tool: str, arguments: dict[str, Any]) -> bool:
        return any(result.tool == tool and result.input == arguments for result in self.results)


def parse(body: Body) -> Conversation:
    messages = body["messages"]
    start = max(index for index, message in enumerate(messages) if _asks(message))
    requests = [_text(message) for message in messages[:start] if _asks(message)]
    system = body.get("system") or ""
    return Conversation(
        system=system if isinstance(system, str) else "\n".join(block.get("text", "") for block in system),
        tools={
            tool["name"]: tool
            for tool in body.get("tools") or []
            if (body.get("tool_choice") or {}).get("type") != "none"
        },
        request=_text(messages[start]),
        results=_results(messages[start:]),
        earlier_requests=tuple(requests),
        earlier_results=_results(messages[:start]),
        output_schema=((body.get("output_config") or {}).get("format") or {}).get("schema") or {},
    )


def _asks(message: Body) -> bool:
    kinds = {block.get("type") for block in blocks_of(message)}
    return message["role"] == "user" and "text" in kinds and "tool_result" not in kinds


def _text(message: Body) -> str:
    return "\n".join(block["text"] for block in blocks_of(message) if block.get("type") == "text")


def _results(messages: list[Body]) -> tuple[Result, ...]:
    calls: dict[str, Body] = {}
    found: list[Result] = []
    for message in messages:
        for block in blocks_of(message):
            if block.get("type") == "tool_use":
                calls[block["id"]] = block
            elif block.get("type") == "tool_result" and (call := calls.get(block["tool_use_id"])):
                text = _text({"content": block.get("content") or ""})
                found.append(Result(call["name"], call["input"], not block.get("is_error"), text))
    return tuple(found)
