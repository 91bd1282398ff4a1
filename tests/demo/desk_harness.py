"""Walk the demo model through whole conversations without a server: tools are answered from a table."""

import json
from dataclasses import dataclass, field
from typing import Any

from orchestrator_site.demo import desk
from orchestrator_site.demo.model_server.mind import think
from orchestrator_site.demo.model_server.protocol import Reply
from orchestrator_site.demo.shop import Plan

AGENTS = {seed.slug: seed.manifest for seed in desk.agents(("baton-demo-1",))}
TOOLS = {seed.name: seed for seed in desk.tools("http://payments")}
WARRANTY = "Repairs and warranty claims for broken devices."


class Fails(Exception):
    """A table's answer that is an error: its text is the tool result."""


def string_schema(*names: str) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {"type": "string"} for name in names}, "required": list(names)}


def tools_for(slug: str, extra_owners: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """What the platform offers an agent."""
    manifest = AGENTS[slug]
    offered = []
    for grant in manifest.grants:
        if grant.tool in TOOLS:
            content = TOOLS[grant.tool].content
            offered.append(
                {"name": grant.tool, "description": content["description"], "input_schema": content["input_schema"]}
            )
        elif grant.tool == "propose_handoff":
            schema = string_schema("target", "reason", "task")
            schema["properties"]["target"]["enum"] = list(manifest.handoff_targets)
            offered.append(
                {"name": grant.tool, "description": "Propose that another agent continues.", "input_schema": schema}
            )
        else:
            offered.append({"name": grant.tool, "description": grant.tool, "input_schema": string_schema("question")})
    if manifest.kind == "router":
        owners = {other: AGENTS[other].owns for other in AGENTS if AGENTS[other].kind == "worker"} | (
            extra_owners or {}
        )
        for owner, line in owners.items():
            name = f"dispatch_to_{owner.replace('-', '_')}"
            offered.append(
                {
                    "name": name,
                    "description": f"Give a task to {owner}. It owns: {line}",
                    "input_schema": string_schema("task"),
                }
            )
    return offered


@dataclass
class Talk:
    """One agent's conversation. `answers` maps a tool to its result or to a function of its arguments."""

    slug: str
    answers: dict[str, Any] = field(default_factory=dict)
    extra_owners: dict[str, str] = field(default_factory=dict)
    messages: list[dict[str, Any]] = field(default_factory=list)

    def say(self, text: str) -> Reply:
        self.messages.append({"role": "user", "content": text})
        return self.turn()

    def turn(self) -> Reply:
        body = {
            "model": "baton-demo-1",
            "max_tokens": 2000,
            "system": AGENTS[self.slug].system_prompt,
            "tools": tools_for(self.slug, self.extra_owners),
            "messages": self.messages,
        }
        reply = think(body)
        content: list[dict[str, Any]] = [{"type": "text", "text": reply.text}] if reply.text else []
        content += [
            {"type": "tool_use", "id": f"toolu_{len(self.messages)}_{index}", "name": use.name, "input": use.input}
            for index, use in enumerate(reply.tools)
        ]
        self.messages.append({"role": "assistant", "content": content})
        return reply

    def answer(self, reply: Reply) -> Reply:
        """Give the results of the calls of a reply, and take the next turn."""
        results = []
        for index, use in enumerate(reply.tools):
            ok, text = self._result(use.name, use.input)
            results.append(
                {
                    "type": "tool_result",
                    "tool_use_id": f"toolu_{len(self.messages) - 1}_{index}",
                    "content": text,
                    "is_error": not ok,
                }
            )
        self.messages.append({"role": "user", "content": results})
        return self.turn()

    def _result(self, tool: str, arguments: dict[str, Any]) -> tuple[bool, str]:
        answer = self.answers.get(tool, DEFAULTS.get(tool))
        try:
            value = answer(arguments) if callable(answer) else answer
            if isinstance(value, Exception):
                raise value
        except Fails as failure:
            return False, str(failure)
        return True, json.dumps(value)

    def finish(self, text: str, *, longest: int = 8) -> tuple[str, list[tuple[str, dict[str, Any]]]]:
        """Say something, answer every call, and return the final text with the calls made on the way."""
        calls: list[tuple[str, dict[str, Any]]] = []
        reply = self.say(text)
        for _ in range(longest):
            if not reply.tools:
                return reply.text, calls
            calls += [(use.name, use.input) for use in reply.tools]
            reply = self.answer(reply)
        raise AssertionError(f"{self.slug} does not come to an end: {calls}")


def order_json(number: int, **changed: Any) -> dict[str, Any]:
    """What `get_order` returns for a stocked order."""
    if not 1001 <= number <= 1500:
        raise Fails(f"There is no order {number} in this shop.")
    plan = Plan(number)
    lines = [
        {"product": name, "quantity": count, "unit_price": str(price), "total": str(price * count)}
        for name, count, price in plan.goods
    ]
    total = sum(price * count for _, count, price in plan.goods) + 5
    return {
        "order_number": number,
        "status": plan.status,
        "placed_on": "2026-11-10",
        "customer": {"name": plan.name, "email": plan.email},
        "address": plan.address,
        "lines": lines,
        "shipping_cost": "5.00",
        "total": str(total),
        "currency": "EUR",
        "refunded": "0.00",
        "refundable": str(total),
        "shipment": None,
    } | changed


DEFAULTS: dict[str, Any] = {
    "get_order": lambda arguments: order_json(arguments["order_number"]),
    "track_shipment": lambda arguments: {
        "order_number": arguments["order_number"],
        "status": "in transit",
        "carrier": "DHL",
        "tracking_code": "DH1",
        "expected_on": "2026-11-20",
        "events": [{"on": "2026-11-12", "text": "Sorted at the depot"}],
    },
    "find_orders": {"orders": [], "more": False},
    "cancel_order": lambda arguments: {"order_number": arguments["order_number"], "status": "cancelled"},
    "change_address": lambda arguments: {"order_number": arguments["order_number"], "address": arguments["address"]},
    "refund_payment": lambda arguments: {**arguments, "refund_id": "rf_1", "status": "paid back"},
    "send_letter": lambda arguments: {"to": arguments["to"], "subject": arguments["subject"], "sent": True},
    "propose_handoff": {"status": "accepted"},
    "ask_human": {"answer": "cancel it"},
}
