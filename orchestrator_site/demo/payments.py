"""A small payment service, as a process of its own: it moves money once per idempotency key and writes down everything.

`python -m orchestrator_site.demo.payments --port N --ledger FILE`

POST /refunds  {order_number, amount, currency, reason} with an Idempotency-Key header
GET  /refunds/<key> · GET /orders/<number> · GET /ledger · POST /control {"delay_seconds": n} · GET /health

Money has moved once the line is on the disk; a delay comes after that, so a caller killed while it waits leaves
a refund made and an answer unread.
"""

import asyncio
import json
import os
import time
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from orchestrator_site.demo import wire

DEFAULT_PORT = 8026


class Ledger:
    """An append-only file of lines {"event": "received" | "moved", "key", …}, and what follows from them in memory."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.received: dict[str, int] = {}
        self.refunds: dict[str, dict[str, Any]] = {}
        self.bodies: dict[str, Any] = {}
        if path.exists():
            for line in path.read_text().splitlines():
                self._take(json.loads(line))
        self._file = path.open("a")

    def _take(self, entry: dict[str, Any]) -> None:
        key = entry["key"]
        if entry["event"] == "received":
            self.received[key] = self.received.get(key, 0) + 1
        else:
            self.refunds[key], self.bodies[key] = entry["refund"], entry["body"]

    def append(self, entry: dict[str, Any]) -> None:
        self._file.write(json.dumps({"at": time.time(), **entry}) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._take(entry)

    def refund(self, key: str, body: dict[str, Any], amount: Decimal) -> dict[str, Any]:
        refund = {
            "refund_id": f"rf_{len(self.refunds) + 1:06d}",
            "order_number": body["order_number"],
            "amount": f"{amount:.2f}",
            "currency": body.get("currency", "EUR"),
            "status": "paid back",
        }
        self.append({"event": "moved", "key": key, "body": body, "refund": refund})
        return refund

    def refunded_on(self, order_number: int) -> Decimal:
        amounts = (
            Decimal(refund["amount"]) for refund in self.refunds.values() if refund["order_number"] == order_number
        )
        return sum(amounts, Decimal("0.00"))

    def summary(self) -> dict[str, Any]:
        keys = {
            key: {
                "requests_received": count,
                "times_money_moved": int(key in self.refunds),
                "refund": self.refunds.get(key),
            }
            for key, count in self.received.items()
        }
        moved = sum((Decimal(refund["amount"]) for refund in self.refunds.values()), Decimal("0.00"))
        return {"keys": keys, "refunds": len(self.refunds), "total": str(moved)}


def fault_in(body: Any) -> str | None:
    if not isinstance(body, dict):
        return "The body must be a JSON object."
    if not isinstance(body.get("order_number"), int):
        return "order_number must be a whole number."
    try:
        amount = Decimal(str(body.get("amount")))
    except InvalidOperation:
        return "amount must be a number."
    if not (amount.is_finite() and amount > 0) or amount != amount.quantize(Decimal("0.01")):
        return "amount must be above zero, with at most two decimals."
    return None


class PaymentService:
    def __init__(self, ledger: Ledger, delay_seconds: float) -> None:
        self.ledger, self.delay_seconds = ledger, delay_seconds

    async def __call__(self, request: wire.Request) -> wire.Response:
        match request.method, request.path.strip("/").split("/"):
            case "POST", ["refunds"]:
                return await self.create(request)
            case "GET", ["refunds", key]:
                refund = self.ledger.refunds.get(key)
                return wire.json_response(refund) if refund else _problem(404, "No refund was made under this key.")
            case "GET", ["orders", number] if number.isdigit():
                return wire.json_response({"refunded": str(self.ledger.refunded_on(int(number)))})
            case "GET", ["ledger"]:
                return wire.json_response(self.ledger.summary())
            case "GET", ["health"]:
                return wire.json_response({"status": "ok"})
            case "POST", ["control"]:
                self.delay_seconds = float(request.json()["delay_seconds"])
                return wire.json_response({"delay_seconds": self.delay_seconds})
        return _problem(404, "There is nothing here.")

    async def create(self, request: wire.Request) -> wire.Response:
        key, body = request.headers.get("idempotency-key", ""), request.json()
        if not key:
            return _problem(400, "An Idempotency-Key header is required.")
        self.ledger.append({"event": "received", "key": key})
        if fault := fault_in(body):
            return _problem(422, fault)
        if key in self.ledger.bodies and self.ledger.bodies[key] != body:
            return _problem(409, "This Idempotency-Key was used for another refund.")
        refund = self.ledger.refunds.get(key) or self.ledger.refund(key, body, Decimal(str(body["amount"])))
        await asyncio.sleep(self.delay_seconds)
        return wire.json_response(refund, 201)


def _problem(status: int, sentence: str) -> wire.Response:
    return wire.json_response({"error": sentence}, status)


def main() -> None:
    arguments = wire.parser("The demo's payment service.", port=DEFAULT_PORT)
    arguments.add_argument("--ledger", type=Path, required=True)
    options = arguments.parse_args()
    delay_seconds = float(os.environ.get("PAYMENTS_DELAY_SECONDS", "0"))
    wire.run(PaymentService(Ledger(options.ledger), delay_seconds), options.host, options.port, announce="payments")


if __name__ == "__main__":
    main()
