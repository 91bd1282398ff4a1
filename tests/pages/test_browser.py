"""Pages in a real browser: what only their scripts do."""

import pytest
from django.urls import reverse

from orchestrator_site.core import events
from tests.pages.conftest import asks_to_pay_back
from tests.runs.cast import decide, request_of

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def problems(page):
    """What the browser complained of."""
    found = []
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on("console", lambda message: found.append(message.text) if message.type == "error" else None)
    return found


def sign_in(page, user):
    page.goto(reverse("login"))
    page.fill("[name=username]", user.username)
    page.fill("[name=password]", user.username)
    page.click("text=Sign in")
    page.wait_for_url("**/")


def test_a_queue_is_worked_off_by_keyboard(page, problems, asked, app, alice):
    second = request_of(asks_to_pay_back(app, amount=10))
    sign_in(page, alice)
    page.goto(reverse("approvals:queue"))

    page.keyboard.press("j")
    page.wait_for_selector(f"#request-{second.pk}")
    page.wait_for_load_state()  # the keys are known once the page's script has run
    page.keyboard.press("a")
    page.wait_for_selector(f"#request-{asked.pk}")
    page.wait_for_load_state()
    page.keyboard.press("r")
    page.keyboard.type("The photo is missing.")
    page.click(f"#reject-{asked.pk} .button-danger")
    page.wait_for_selector("text=Nothing waits for you.")

    second.refresh_from_db()
    asked.refresh_from_db()
    assert (second.status, asked.status) == ("approved", "rejected")
    assert asked.decision.reason == "The photo is missing."
    assert problems == []


def test_a_run_is_followed_and_what_is_half_typed_stays(page, problems, asked, alice, olga):
    sign_in(page, olga)
    page.goto(reverse("runs:page", args=[asked.run_id]))
    page.wait_for_selector("[data-live-state][data-state=live]", state="attached")
    page.click(f"#reject-{asked.pk} > summary")
    page.fill(f"#reason-{asked.pk}", "I am not")

    with events.recording() as log:
        log.run(asked.run_id, "tool_call_notice", what="A small thing", risk="medium")
    page.wait_for_selector("text=A small thing")

    assert page.input_value(f"#reason-{asked.pk}") == "I am not"
    decide(asked, alice)
    page.wait_for_selector(f"#request-{asked.pk}", state="detached")
    assert problems == []


def test_words_typed_beside_a_field_approve_nothing(page, problems, asked, alice):
    sign_in(page, alice)
    page.goto(reverse("approvals:queue"))

    page.keyboard.type("bad")

    assert page.locator(f"#request-{asked.pk} button:has-text('Approve')").first.is_visible()
    asked.refresh_from_db()
    assert asked.status == "open"
    assert problems == []


def test_a_critical_risk_takes_the_key_twice(page, problems, asked, alice):
    sign_in(page, alice)
    page.goto(reverse("approvals:queue"))
    page.eval_on_selector("[data-request]", "card => card.dataset.risk = 'critical'")

    page.keyboard.press("a")
    page.wait_for_selector("text=Press a again to approve")
    asked.refresh_from_db()
    assert asked.status == "open"
    page.keyboard.press("a")

    page.wait_for_selector("text=Nothing waits for you.")
    asked.refresh_from_db()
    assert asked.status == "approved"
    assert problems == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_is_wider_than_a_phone(page, problems, asked, olga, theme):
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme=theme)
    sign_in(page, olga)

    for path in ("/", "/runs/", f"/runs/{asked.run_id}/", f"/runs/{asked.run_id}/events/", "/approvals/", "/ops/"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, path
        assert page.evaluate("document.documentElement.classList.contains('dark')") is (theme == "dark")
    assert problems == []
