"""The shop's tools on real rows, and its payment service and mail sink as the processes they are."""

import os
import socket
import urllib.error
from decimal import Decimal
from uuid import uuid4

import pytest

from orchestrator_site.demo import desk, shop, tools
from orchestrator_site.demo.models import AppliedChange, Order
from tests.model_fixtures import running
from tools import callables, definitions
from tools.values import CallContext

ADDRESS = {"line1": "5 Mill Lane", "postal_code": "LS1 4AB", "city": "Leeds", "country": "United Kingdom"}


@pytest.fixture
def stocked(db, monkeypatch):
    monkeypatch.delenv("DEMO_PAYMENTS_URL", raising=False)
    shop.stock()


def call(key: str = "key-1") -> CallContext:
    return CallContext(key, uuid4(), uuid4(), uuid4())


def test_stocking_twice_changes_nothing(stocked):
    assert shop.stock() == 0
    assert Order.objects.count() == 500
    assert {order.status for order in Order.objects.all()} == set(Order.Status.values)


def test_an_order_is_read_with_what_is_left_to_refund(stocked):
    order = tools.get_order(order_number=1025)

    assert (order["status"], order["refunded"]) == ("delivered", "10.00")
    assert Decimal(order["refundable"]) == Decimal(order["total"]) - 10


def test_orders_are_found_by_their_customer(stocked):
    email = tools.get_order(order_number=1042)["customer"]["email"]

    found = tools.find_orders(email=email.upper())

    assert 1042 in [order["order_number"] for order in found["orders"]]


def test_an_unknown_order_is_a_sentence(stocked):
    with pytest.raises(tools.ShopError, match="There is no order 9999 in this shop"):
        tools.track_shipment(order_number=9999)


def test_a_change_is_made_once_for_its_key(stocked):
    first = tools.cancel_order(order_number=1043, reason="asked", call=call())
    again = tools.cancel_order(order_number=1043, reason="asked", call=call())

    assert first == again == tools.lookup_change("key-1")
    assert AppliedChange.objects.count() == 1
    with pytest.raises(tools.ShopError, match="cancelled already"):
        tools.cancel_order(order_number=1043, reason="asked", call=call("key-2"))


def test_an_address_is_replaced_as_a_whole(stocked):
    result = tools.change_address(order_number=1043, address=ADDRESS, call=call())

    assert result["address"] == ADDRESS == tools.get_order(order_number=1043)["address"]
    assert tools.lookup_change("another key") is None


@pytest.mark.parametrize("number", [1042, 1044])
def test_what_has_left_is_no_longer_changed(stocked, number):
    with pytest.raises(tools.ShopError, match="has left the warehouse"):
        tools.change_address(order_number=number, address=ADDRESS, call=call())


def test_every_callable_of_the_desk_is_registered():
    named = [
        seed.content["config"]["callable"]
        for seed in desk.tools("http://payments")
        if "callable" in seed.content["config"]
    ]

    assert set(named) <= set(callables.names())
    assert callables.get("shop.get_order").trusted
    assert not callables.get("shop.send_letter").trusted


@pytest.mark.parametrize("seed", desk.tools("http://127.0.0.1:8026"), ids=lambda seed: seed.name)
def test_every_tool_of_the_desk_is_a_valid_definition(seed):
    definitions.check(seed.name, seed.content)


# Payments


REFUND = {"order_number": 1044, "amount": 20.0, "currency": "EUR", "reason": "chipped"}


def status_of(server, body, headers) -> int:
    with pytest.raises(urllib.error.HTTPError) as raised:
        server.post("/refunds", body, headers)
    raised.value.close()
    return raised.value.code


def test_money_moves_once_for_a_key_also_after_a_restart(tmp_path, stocked, monkeypatch):
    ledger = str(tmp_path / "ledger.jsonl")
    with running("orchestrator_site.demo.payments", "--ledger", ledger) as payments:
        first = payments.post("/refunds", REFUND, {"Idempotency-Key": "a"})
        again = payments.post("/refunds", REFUND, {"Idempotency-Key": "a"})
        assert first == again
        assert status_of(payments, REFUND | {"amount": 30}, {"Idempotency-Key": "a"}) == 409
        assert status_of(payments, REFUND, {}) == 400
        assert status_of(payments, REFUND | {"amount": -1}, {"Idempotency-Key": "b"}) == 422
    with running("orchestrator_site.demo.payments", "--ledger", ledger) as payments:
        monkeypatch.setenv("DEMO_PAYMENTS_URL", payments.url)

        assert payments.post("/refunds", REFUND, {"Idempotency-Key": "a"}) == first
        assert payments.get("/ledger")["keys"]["a"] == {"requests_received": 4, "times_money_moved": 1, "refund": first}
        assert payments.get("/ledger")["total"] == "20.00"
        assert tools.get_order(order_number=1044)["refunded"] == "20.00"


def test_a_slow_payment_is_made_before_it_answers(tmp_path):
    with running("orchestrator_site.demo.payments", "--ledger", str(tmp_path / "ledger.jsonl")) as payments:
        payments.post("/control", {"delay_seconds": 30})
        with socket.create_connection(payments.url.removeprefix("http://").split(":")) as line:
            line.sendall(
                b'POST /refunds HTTP/1.1\r\nidempotency-key: k\r\ncontent-length: 34\r\n\r\n{"order_number": 1044, "amount":5}'  # noqa: E501  one request as it goes on the wire
            )
        while not payments.get("/ledger")["refunds"]:
            pass

        assert payments.get("/refunds/k")["amount"] == "5.00"


# Letters


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_letter_arrives(tmp_path, monkeypatch):
    port = free_port()
    monkeypatch.setenv("DEMO_SMTP_PORT", str(port))
    arguments = ["--smtp-port", str(port), "--folder", str(tmp_path / "mail")]
    with running("orchestrator_site.demo.mailsink", *arguments, env={**os.environ}) as sink:
        tools.send_letter(to="anna@example.com", subject="Köln", body="Dear Anna,\n\ngrüße", call=call())

        [letter] = sink.get("/messages")

    assert (letter["to"], letter["subject"]) == ("anna@example.com", "Köln")
    assert "grüße" in letter["body"]
