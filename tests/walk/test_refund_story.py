"""The refund story in a real browser: a request is typed, a handoff accepted and a refund approved by keyboard."""

import os
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from orchestrator_site.demo.models import Order
from orchestrator_site.demo.seed import PASSWORD
from tests.stack import Stack
from tests.walk.conftest import Desk

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

# The machine may be busy with other tests; a person would wait as long.
PATIENCE_MS = 30_000


def sign_in(page: Page, username: str) -> None:
    page.goto("/login/")
    page.locator("input[name=username]").fill(username)
    page.locator("input[name=password]").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("/")


def picture(page: Page, name: str) -> None:
    """Keep a screenshot where BATON_TEST_PICTURES says."""
    if folder := os.environ.get("BATON_TEST_PICTURES"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def small_delivered_order() -> int:
    """A refund of it is high risk, not critical: one key approves it."""
    delivered = Order.objects.filter(status="delivered").prefetch_related("lines").order_by("number")
    return next(order.number for order in delivered if order.total < 150 and order.number % 25)


def test_a_refund_from_the_request_to_the_money(page: Page, chromium: Browser, stack: Stack, desk: Desk) -> None:
    expect.set_options(timeout=PATIENCE_MS)
    page.set_default_timeout(PATIENCE_MS)
    order = small_delivered_order()
    sign_in(page, "olivia")

    page.get_by_placeholder("Ask the desk").fill(f"Order {order} arrived broken, I want my money back.")
    page.get_by_role("button", name="Start").click()
    page.wait_for_url("**/runs/*/")
    run_url = page.url
    expect(page.get_by_text("Hand over from orders to refunds?").first).to_be_visible()
    picture(page, "run-waits-for-handoff")

    queue = chromium.new_context(base_url=stack.url).new_page()
    queue.set_default_timeout(PATIENCE_MS)
    sign_in(queue, "amir")
    queue.goto("/approvals/")
    expect(queue.get_by_role("heading", name="hands over to")).to_be_visible()
    picture(queue, "queue-handoff")
    queue.keyboard.press("a")

    expect(queue.get_by_role("heading", name="Refund payment")).to_be_visible()
    assert desk.refunds() == [], "nothing moves before the approval"
    picture(queue, "queue-refund")
    queue.wait_for_load_state()
    queue.keyboard.press("a")

    expect(page.get_by_text("is being paid back").first).to_be_visible()
    assert page.url == run_url, "the page came to the end by itself"
    picture(page, "run-done")
    [refund] = desk.refunds()
    assert (refund["refund"]["order_number"], refund["times_money_moved"]) == (order, 1)
