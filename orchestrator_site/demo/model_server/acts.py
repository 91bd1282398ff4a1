"""What an acting tool is called with, and what the order itself says against the call."""

import re
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from orchestrator_site.demo.model_server import addresses, letters, prose
from orchestrator_site.demo.model_server.protocol import ToolUse
from orchestrator_site.demo.model_server.reading import Intent
from orchestrator_site.demo.model_server.task import Desk
from orchestrator_site.demo.model_server.tokens import tokenize

CENT = Decimal("0.01")


def obstacle(desk: Desk, ability: str, order: prose.Order) -> str:
    """What the order itself says against it, so that nobody is asked in vain."""
    number, status = order["order_number"], order["status"]
    if ability in {"cancel", "address"}:
        if status == "cancelled":
            return f"Order {number} was cancelled already, so there is nothing to change."
        if status in {"shipped", "delayed", "delivered"}:
            undone = "cancelled" if ability == "cancel" else "sent to another address"
            return f"{prose.state(order)} It can no longer be {undone}."
    if ability == "address" and not _address(desk, order):
        return f"Where should order {number} go? Please give me the street with the house number, the postal code and the town."
    if ability == "refund":
        return refund_obstacle(desk, order)
    return ""


def refund_obstacle(desk: Desk, order: prose.Order) -> str:
    refundable, amount = Decimal(order["refundable"]), amount_of(desk, order)
    if refundable <= 0:
        return f"Order {order['order_number']} was paid back in full already: {prose.euros(order['refunded'])}. There is nothing left to refund."
    if amount > refundable:
        return (
            f"{prose.euros(amount)} is more than the {prose.euros(refundable)} that can still be paid back on order "
            f"{order['order_number']}. Shall I refund {prose.euros(refundable)}?"
        )
    return ""


def calls_for(desk: Desk, ability: str) -> list[ToolUse]:
    """The calls of an ability still to be made, one for each order."""
    if not ability:
        return []
    made = {result.input.get("order_number") for result in desk.results(ability)}
    if ability == "write":
        return [] if made else _letter(desk)
    orders = desk.orders if "read" in desk.can else [{"order_number": number} for number in desk.numbers]
    return [
        ToolUse(desk.can[ability], arguments)
        for order in orders
        if order["order_number"] not in made and (arguments := _arguments(desk, ability, order))
    ]


def _arguments(desk: Desk, ability: str, order: prose.Order) -> dict[str, Any]:
    number = order["order_number"]
    if ability == "cancel":
        return {"order_number": number, "reason": _reason(desk)}
    if ability == "address":
        address = _address(desk, order)
        return {"order_number": number, "address": address} if address else {}
    return {
        "order_number": number,
        "amount": float(amount_of(desk, order)),
        "currency": order.get("currency", "EUR"),
        "reason": _reason(desk),
    }


def _reason(desk: Desk) -> str:
    said = re.sub(r"\s+", " ", desk.task.said).strip(' “”"')
    return f"The customer wrote: {said[:300]}" if said else "The customer asked for it."


def _address(desk: Desk, order: prose.Order) -> dict[str, str]:
    """The whole new address: what the task gives, the rest as it stands; empty when the street is missing."""
    given = desk.task.reading.address or desk.task.quoted.address
    standing = order.get("address") or {}
    if "line1" in given:
        moved_town = given.get("city", standing.get("city")) != standing.get("city")
        if moved_town and "postal_code" not in given:
            return {}
        country = {"country": addresses.country_of(given)} if addresses.country_of(given) else {}
        return {
            **{key: standing[key] for key in ("postal_code", "city", "country") if key in standing},
            **country,
            **given,
        }
    corrected = letters.corrected_part(desk.task.said)
    return {**standing, **corrected} if corrected and standing else {}


def amount_of(desk: Desk, order: prose.Order) -> Decimal:
    """Asked for in figures, as a share, as one item's price, or all that is left."""
    if "refundable" not in order:
        return desk.task.amount or Decimal(0)
    if desk.task.amount is not None:
        return desk.task.amount
    if desk.task.fraction:
        return (Decimal(order["total"]) * desk.task.fraction).quantize(CENT, ROUND_HALF_UP)
    named = [line for line in order["lines"] if _mentions(desk.task.said, line["product"])]
    if named and not desk.task.reading.wants_all and not desk.task.quoted.wants_all:
        return min(sum((Decimal(line["total"]) for line in named), Decimal(0)), Decimal(order["refundable"]))
    if Intent.PARTIAL_REFUND in desk.task.intents and "shipping" in desk.task.said.lower():
        return Decimal(order["shipping_cost"])
    return Decimal(order["refundable"])


def _mentions(text: str, product: str) -> bool:
    """The goods are meant when their main word occurs: `Stoneware teapot` by `teapot`."""
    said = {token.stem for token in tokenize(text)}
    nouns = [token.stem for token in tokenize(product.split(",")[0]) if token.kind == "word"]
    return bool(nouns) and nouns[-1] in said


def _letter(desk: Desk) -> list[ToolUse]:
    order = desk.orders[0] if desk.orders else None
    to = (order or {}).get("customer", {}).get("email") or desk.task.quoted.email or desk.task.reading.email
    if not to:
        return []
    subject, body = letters.compose(desk.task.said, order)
    return [ToolUse(desk.can["write"], {"to": to, "subject": subject, "body": body})]
