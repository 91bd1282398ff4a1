"""What agents can do in the demo shop. Keyword arguments in, JSON values out; every refusal is one plain sentence.

Reads are registered as trusted. Changes are made once per idempotency key: the same key is answered with the first
result. A letter can be neither taken back nor looked up, so nothing here pretends otherwise.
"""

import json
import os
import smtplib
import urllib.error
import urllib.request
from decimal import Decimal
from email.message import EmailMessage
from typing import Any

from django.db import transaction

from orchestrator_site.demo.models import AppliedChange, Order
from tools import callables
from tools.values import CallContext

CURRENCY = "EUR"
ADDRESS_FIELDS = ["line1", "line2", "postal_code", "city", "country"]
MOST_FOUND = 10
PAYMENTS_TIMEOUT_SECONDS = 2
SMTP_TIMEOUT_SECONDS = 10


class ShopError(LookupError):
    """Something the shop cannot do, said in one sentence that may be read to a customer."""


def _order(number: int, *, lock: bool = False) -> Order:
    orders = Order.objects.select_related("customer").prefetch_related("lines")
    if lock:
        orders = orders.select_for_update(of=("self",))
    try:
        return orders.get(number=number)
    except Order.DoesNotExist:
        raise ShopError(f"There is no order {number} in this shop.") from None


# Reading


@callables.register("shop.get_order", trusted=True)
def get_order(*, order_number: int) -> dict[str, Any]:
    order = _order(order_number)
    shipment = getattr(order, "shipment", None)
    refunded = _refunded(order)
    return {
        "order_number": order.number,
        "status": order.status,
        "placed_on": order.placed_on.isoformat(),
        "customer": {"name": order.customer.name, "email": order.customer.email},
        "address": order.address,
        "lines": [
            {
                "product": line.product,
                "quantity": line.quantity,
                "unit_price": str(line.unit_price),
                "total": str(line.total),
            }
            for line in order.lines.all()
        ],
        "shipping_cost": str(order.shipping_cost),
        "total": str(order.total),
        "currency": CURRENCY,
        "refunded": str(refunded),
        "refundable": str(max(order.total - refunded, Decimal(0))),
        "shipment": shipment and {"carrier": shipment.carrier, "tracking_code": shipment.tracking_code},
    }


def _refunded(order: Order) -> Decimal:
    """What was paid back so far; the payment service knows what happened since the shop opened."""
    url = os.environ.get("DEMO_PAYMENTS_URL")
    if not url:
        return order.refunded_before
    try:
        with urllib.request.urlopen(f"{url}/orders/{order.number}", timeout=PAYMENTS_TIMEOUT_SECONDS) as response:
            return order.refunded_before + Decimal(json.load(response)["refunded"])
    except (urllib.error.URLError, TimeoutError, ValueError, KeyError):
        raise ShopError(f"The payment service did not say what was refunded on order {order.number}.") from None


@callables.register("shop.find_orders", trusted=True)
def find_orders(
    *, order_number: int | None = None, email: str = "", name: str = "", product: str = ""
) -> dict[str, Any]:
    if not (order_number or email or name or product):
        raise ShopError("Give an order number, an e-mail address, a name or a product to search for.")
    orders = Order.objects.select_related("customer").prefetch_related("lines").order_by("-placed_on", "-number")
    if order_number:
        orders = orders.filter(number=order_number)
    if email:
        orders = orders.filter(customer__email__iexact=email)
    if name:
        orders = orders.filter(customer__name__icontains=name)
    if product:
        orders = orders.filter(lines__product__icontains=product).distinct()
    found = orders[: MOST_FOUND + 1]
    return {"orders": [_short(order) for order in found[:MOST_FOUND]], "more": len(found) > MOST_FOUND}


def _short(order: Order) -> dict[str, Any]:
    return {
        "order_number": order.number,
        "status": order.status,
        "placed_on": order.placed_on.isoformat(),
        "customer": order.customer.name,
        "products": [line.product for line in order.lines.all()],
        "total": str(order.total),
        "currency": CURRENCY,
    }


@callables.register("shop.track_shipment", trusted=True)
def track_shipment(*, order_number: int) -> dict[str, Any]:
    order = _order(order_number)
    shipment = getattr(order, "shipment", None)
    if shipment is None:
        return {"order_number": order.number, "status": "not shipped", "order_status": order.status, "events": []}
    return {
        "order_number": order.number,
        "order_status": order.status,
        "status": shipment.status,
        "carrier": shipment.carrier,
        "tracking_code": shipment.tracking_code,
        "expected_on": shipment.expected_on.isoformat(),
        "events": shipment.events,
    }


# Changing


def lookup_change(key: str) -> dict[str, Any] | None:
    """The result of the change made under an idempotency key, or None when there was none."""
    change = AppliedChange.objects.filter(key=key).first()
    return change.result if change else None


@callables.register("shop.cancel_order", lookup=lookup_change)
@transaction.atomic
def cancel_order(*, order_number: int, reason: str = "", call: CallContext) -> dict[str, Any]:
    order = _order(order_number, lock=True)
    if (done := lookup_change(call.idempotency_key)) is not None:
        return done
    if order.status == Order.Status.CANCELLED:
        raise ShopError(f"Order {order_number} is cancelled already.")
    if order.has_left:
        raise ShopError(f"Order {order_number} has left the warehouse and can no longer be cancelled.")
    order.status = Order.Status.CANCELLED
    order.save(update_fields=["status"])
    result = {"order_number": order.number, "status": order.status, "total": str(order.total), "currency": CURRENCY}
    return _keep(call, order, "cancel", {"reason": reason}, result)


@callables.register("shop.change_address", lookup=lookup_change)
@transaction.atomic
def change_address(*, order_number: int, address: dict[str, str], call: CallContext) -> dict[str, Any]:
    order = _order(order_number, lock=True)
    if (done := lookup_change(call.idempotency_key)) is not None:
        return done
    if order.status == Order.Status.CANCELLED:
        raise ShopError(f"Order {order_number} is cancelled, so its address no longer matters.")
    if order.has_left:
        raise ShopError(f"Order {order_number} has left the warehouse, so its address can no longer be changed.")
    before = order.address
    for field in ADDRESS_FIELDS:
        setattr(order, field, address.get(field, ""))
    order.save(update_fields=ADDRESS_FIELDS)
    result = {"order_number": order.number, "address": order.address, "previous_address": before}
    return _keep(call, order, "address", {"address": address}, result)


def _keep(
    call: CallContext, order: Order, kind: str, details: dict[str, Any], result: dict[str, Any]
) -> dict[str, Any]:
    AppliedChange.objects.create(key=call.idempotency_key, order=order, kind=kind, details=details, result=result)
    return result


# Writing


@callables.register("shop.send_letter")
def send_letter(*, to: str, subject: str, body: str, call: CallContext) -> dict[str, Any]:
    letter = EmailMessage()
    letter["From"], letter["To"], letter["Subject"] = "Customer desk <desk@shop.example>", to, subject
    letter["X-Baton-Call"] = str(call.call_id)
    letter.set_content(body)
    host, port = os.environ.get("DEMO_SMTP_HOST", "127.0.0.1"), int(os.environ.get("DEMO_SMTP_PORT", "8025"))
    with smtplib.SMTP(host, port, timeout=SMTP_TIMEOUT_SECONDS) as server:
        server.send_message(letter)
    return {"to": to, "subject": subject, "sent": True}
