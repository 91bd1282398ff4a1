"""What the gate asks of people, in a real browser: calls alike at once, several people, and approving beforehand."""

import os
from pathlib import Path

import pytest
from django.urls import reverse

from approvals.models import ApprovalRequest, StandingApproval
from runs import states
from runs.models import Run
from tests.pages.conftest import ASKED, asks_to_pay_back
from tests.pages.test_browser import sign_in
from tests.runs.cast import call, carry_all, request_of, script, start, text

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def together(desk, app):
    """Five refunds of one turn, one of them far above the others."""
    orders = ((1, 10), (2, 12.5), (3, 400), (4, 11), (5, 9.9))
    calls = [("pay_back", ASKED | {"order_number": number, "amount": amount}) for number, amount in orders]
    calls[3][1]["is_gift"] = True
    carry_all(start(app, script(call(*calls, say="The crate was dropped."), text("Paid back."))))
    return ApprovalRequest.objects.open().leading().get()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_what_is_asked_fits_its_screen(chromium, stack, together, app, alice, width, theme):
    context = chromium.new_context(base_url=stack.url, viewport={"width": width, "height": 900}, color_scheme=theme)
    page, found = context.new_page(), []
    page.on("pageerror", lambda error: found.append(str(error)))
    sign_in(page, alice)

    def look(name):
        if folder := os.environ.get("BATON_TEST_PICTURES"):
            page.screenshot(path=Path(folder) / f"{name}-{width}-{theme}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name

    page.goto(reverse("approvals:queue") + f"?selected={together.pk}")
    look("together")
    page.goto(reverse("runs:page", args=[together.run_id]))
    look("together-run")
    page.goto(reverse("approvals:page", args=[together.pk]))
    page.click("text=Approve all 5")
    page.wait_for_selector("text=Approved: 5 calls of the same tool")

    single = request_of(asks_to_pay_back(app))
    page.goto(reverse("approvals:page", args=[single.pk]))
    page.click(f"#standing-{single.pk} > summary")
    look("standing-form")
    page.select_option(f"#standing-scope-{single.pk}", "agent")
    page.fill(f"#standing-uses-{single.pk}", "many")
    page.click("text=Approve this and the like")
    page.wait_for_selector("text='many' is not a whole number")
    page.fill(f"#standing-uses-{single.pk}", "2")
    page.locator("fieldset:has-text('Reason') select").select_option("any")
    page.click("text=Approve this and the like")
    page.wait_for_selector("text=Alice approved this")
    again = carry_all(asks_to_pay_back(app, reason="It arrived late.", amount=20))

    page.goto(reverse("approvals:standing"))
    page.click("text=What it covered: 1 call")
    look("standing")
    page.click("text=Revoke…")
    page.fill("[name=reason]", "They moved.")
    page.click("button:has-text('Revoke')")
    page.wait_for_selector("text=covers nothing any more")
    context.close()

    assert found == []
    assert Run.objects.get(pk=again.pk).status == states.SUCCEEDED
    row = StandingApproval.objects.get()
    assert (row.status, row.uses, row.ended_why) == ("revoked", 1, "They moved.")
