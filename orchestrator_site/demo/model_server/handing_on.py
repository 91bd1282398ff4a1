"""Handing on: money is somebody else's to pay, so it is proposed to the agent that pays."""

import re
from decimal import Decimal

from orchestrator_site.demo.model_server import prose
from orchestrator_site.demo.model_server.acts import amount_of, refund_obstacle
from orchestrator_site.demo.model_server.conversation import Conversation
from orchestrator_site.demo.model_server.protocol import Reply, ToolUse
from orchestrator_site.demo.model_server.reading import MONEY, Intent
from orchestrator_site.demo.model_server.router import QUOTE
from orchestrator_site.demo.model_server.task import Desk, sentence
from orchestrator_site.demo.model_server.tokens import stem

HANDOFF_TO = re.compile(r"hand(?:off|over| off| over)? to ([a-z][a-z0-9-]+)")
PAYS = frozenset(stem(word) for word in ("refunds", "payments", "money", "billing", "payouts"))


def hand_off(desk: Desk) -> Reply | None:
    """Money is somebody else's: propose it to the target that pays, with the sum the order supports."""
    target = _money_target(desk.talk)
    if not target or not desk.orders or not any(intent in MONEY for intent in _all_intents(desk)):
        return None
    order = desk.orders[0]
    if Decimal(order["refundable"]) <= 0 or (amount := amount_of(desk, order)) > Decimal(order["refundable"]):
        return Reply(refund_obstacle(desk, order))
    number = order["order_number"]
    arguments = {
        "target": target,
        "reason": f"Money back is wanted on order {number}, which is {order['status']}; {prose.euros(order['refundable'])} is refundable.",
        "task": f"Refund {amount:.2f} euros on order {number}. {QUOTE} “{desk.task.said[:3000]}”",
        "preconditions": [f"Order {number} has at least {prose.euros(amount)} left to refund."],
        "confidence": 0.9 if desk.task.amount is not None or desk.task.complains else 0.75,
    }
    return Reply(
        f"{prose.state(order)} I propose that {prose.euros(amount)} is paid back.",
        (ToolUse("propose_handoff", arguments),),
    )


def _all_intents(desk: Desk) -> tuple[Intent, ...]:
    return (*desk.task.reading.intents, *(desk.task.quoted.intents if not desk.task.reading.intents else ()))


def _money_target(talk: Conversation) -> str:
    """The allowed target that pays money: from the tool's schema or description, else as the system prompt names it."""
    tool = talk.tools.get("propose_handoff")
    if tool is None:
        return ""
    schema = (tool.get("input_schema") or {}).get("properties", {}).get("target", {})
    told = f"{tool.get('description', '')} {schema.get('description', '')} {' '.join(HANDOFF_TO.findall(talk.system))}"
    named = schema.get("enum") or re.findall(r"[a-z][a-z0-9-]+", told.lower())
    return next((slug for slug in named if stem(slug) in PAYS), "")


def after_a_handoff(desk: Desk) -> Reply | None:
    results = desk.talk.results_of("propose_handoff")
    if not results:
        return None
    if results[-1].ok:
        return Reply("I have passed this on to the colleague who pays money back.")
    return Reply(
        f"I wanted to pass this on so that money is paid back, but that was not agreed to. {sentence(results[-1])}"
    )
