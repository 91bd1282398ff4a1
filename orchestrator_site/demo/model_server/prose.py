"""Sentences for customers, made of what the tools returned."""

import datetime as dt
from decimal import Decimal
from typing import Any

Order = dict[str, Any]
SIGNATURE = "Kind regards\nYour customer desk"


def euros(amount: Any) -> str:
    return f"€{Decimal(str(amount)):.2f}"


def day(iso: str) -> str:
    date = dt.date.fromisoformat(iso[:10])
    return f"{date.day} {date:%B}"


def joined(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def joined_or(parts: list[str]) -> str:
    return " or ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def goods(order: Order) -> str:
    return joined(
        [
            f"{line['quantity']} × {line['product']}" if line["quantity"] > 1 else line["product"]
            for line in order.get("lines", [])
        ]
    )


STATES = {
    "processing": "is being prepared and has not left the warehouse yet",
    "shipped": "has been shipped and is on its way",
    "delayed": "has been shipped but is delayed",
    "delivered": "has been delivered",
    "cancelled": "was cancelled",
}


def state(order: Order) -> str:
    return f"Order {order['order_number']} {STATES.get(order['status'], 'is ' + str(order['status']))}."


def address(fields: dict[str, str]) -> str:
    place = " ".join(fields[key] for key in ("postal_code", "city") if fields.get(key))
    return ", ".join(
        part for part in (fields.get("line1", ""), fields.get("line2", ""), place, fields.get("country", "")) if part
    )


def details(order: Order) -> str:
    lines = [f"{line['quantity']} × {line['product']} at {euros(line['unit_price'])}" for line in order["lines"]]
    sentences = [
        f"Order {order['order_number']} was placed on {day(order['placed_on'])} by {order['customer']['name']}.",
        f"It contains {joined(lines)}; with {euros(order['shipping_cost'])} for shipping the total is {euros(order['total'])}.",
        f"It goes to {address(order['address'])}."
        if order["status"] != "delivered"
        else f"It went to {address(order['address'])}.",
        state(order).replace(f"Order {order['order_number']}", "The order"),
    ]
    if Decimal(order["refunded"]) > 0:
        sentences.append(f"{euros(order['refunded'])} of it was paid back already.")
    return " ".join(sentences)


def whereabouts(order: Order, track: dict[str, Any] | None) -> str:
    sentence = state(order)
    if not track or not track.get("carrier"):
        return sentence + (" As soon as it leaves, it gets a tracking code." if order["status"] == "processing" else "")
    events = track.get("events") or []
    parts = [sentence, f"{track['carrier']} carries it under the code {track['tracking_code']}."]
    if events:
        parts.append(f"The latest news is of {day(events[-1]['on'])}: {events[-1]['text']}.")
    if order["status"] == "shipped":
        parts.append(f"It is expected on {day(track['expected_on'])}.")
    if order["status"] == "delayed":
        parts.append(f"It was expected on {day(track['expected_on'])}; I am sorry that it is late.")
    return " ".join(parts)


def comparison(orders: list[Order]) -> str:
    parts = [
        f"Order {order['order_number']} ({day(order['placed_on'])}): {goods(order)}, {euros(order['total'])} in all, {order['status']}."
        for order in orders
    ]
    cheapest, dearest = (pick(orders, key=lambda order: Decimal(order["total"])) for pick in (min, max))
    gap = Decimal(dearest["total"]) - Decimal(cheapest["total"])
    if gap:
        parts.append(f"Order {dearest['order_number']} is {euros(gap)} dearer than order {cheapest['order_number']}.")
    else:
        parts.append("They cost the same.")
    if all(order["lines"] == orders[0]["lines"] for order in orders):
        parts.append("They contain the same goods.")
    parts.append(
        "They go to the same address."
        if all(order["address"] == orders[0]["address"] for order in orders)
        else "They go to different addresses."
    )
    return "\n".join(parts)


def choices(orders: list[Order]) -> str:
    lines = [
        f"order {order['order_number']} of {day(order['placed_on'])} ({joined(order['products'])}, {order['status']})"
        for order in orders
    ]
    return f"I found {len(orders)} orders: {'; '.join(lines)}. Which one do you mean?"


def refunded(result: dict[str, Any]) -> str:
    return f"Done: {euros(result['amount'])} of order {result['order_number']} is being paid back by the way it was paid. The reference is {result.get('refund_id', 'on its way')}."


def cancelled(result: dict[str, Any]) -> str:
    return f"Done: order {result['order_number']} is cancelled and will not be sent."


def moved(result: dict[str, Any]) -> str:
    return f"Done: order {result['order_number']} will now go to {address(result['address'])}."


def posted(result: dict[str, Any]) -> str:
    return f"Done: the letter “{result['subject']}” was sent to {result['to']}."
