"""Pages in a real browser: what only their scripts do."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db.models.functions import Now
from django.urls import reverse

from orchestrator_site.core import events
from runs.models import Breaker, Dispatch, Message, Plan, RateBucket, RateLimit
from runs.models.pacing import EACH
from runs.pacing import breakers, switches
from tests.pages.conftest import asks_to_pay_back
from tests.plans.cast import carried, node, plan
from tests.runs.cast import agent, carry_all, decide, request_of, script, start, text

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


def test_a_plan_is_edited_in_small_fields_and_posted_whole(page, problems, model, olga, settings):
    settings.BATON_ASK_FOR_PLANS = "always"
    agent("worker")
    agent("writer")
    content = plan(node("a"), node("b", after=("a",)))
    run = start(olga, "The request.", agent=None, plan=content)
    request = request_of(run)
    sign_in(page, olga)
    page.goto(reverse("runs:page", args=[run.pk]))
    page.wait_for_load_state()

    page.click(f"#edit-{request.pk} > summary")
    page.fill(f"#plan-task-{request.pk}-b", "Write it up.")
    page.select_option(f"#plan-agent-{request.pk}-b", "writer")
    page.click("button:has-text('Carry out this plan')")
    page.wait_for_selector(f"#request-{request.pk}", state="detached")

    made = Plan.objects.get()
    changed = {**content["nodes"][1], "agent": "writer", "task": "Write it up."}
    assert (made.status, made.content["nodes"]) == ("accepted", [content["nodes"][0], changed])
    assert problems == []


def test_small_fields_follow_the_json_and_rest_where_it_is_none(page, problems, model, olga, settings):
    settings.BATON_ASK_FOR_PLANS = "always"
    agent("worker")
    run = start(olga, "The request.", agent=None, plan=plan(node("a")))
    request = request_of(run)
    sign_in(page, olga)
    page.goto(reverse("approvals:page", args=[request.pk]))
    page.wait_for_load_state()
    page.click(f"#edit-{request.pk} > summary")
    page.click(f"#plan-json-{request.pk} > summary")
    task = f"#plan-task-{request.pk}-a"

    page.fill(f"#plan-text-{request.pk}", '{"nodes": [{"key": "a", "agent": "worker", "task": "Anew."}]}')
    assert page.input_value(task) == "Anew."
    page.fill(f"#plan-text-{request.pk}", '{"nodes": [')

    assert page.is_disabled(task)
    assert problems == []


def test_a_box_of_the_drawing_leads_to_its_node_which_opens(page, problems, model, olga):
    agent("worker")
    run = carried(olga, *[node(f"n{n}") for n in range(6)])
    row = run.nodes.get(key="n4")
    sign_in(page, olga)
    page.goto(reverse("runs:page", args=[run.pk]))
    page.wait_for_load_state()
    assert not page.locator(f"#body-node-{row.pk}").evaluate("details => details.open")

    page.click(f'svg a[href="#node-{row.pk}"]')

    page.wait_for_function(f"document.getElementById('body-node-{row.pk}').open")
    assert problems == []


def test_a_message_to_an_agent_stays_on_the_page(page, problems, model, olga):
    """What says something passing, in a corner, is another thing."""
    agent("worker")
    run = carry_all(start(olga, script(text("Hello."))))
    dispatch = run.dispatches.get()
    Message.objects.create(dispatch=dispatch, number=1, sender="lead", text="Look at the EU first.")
    Dispatch.objects.filter(pk=dispatch.pk).update(mail=1)
    sign_in(page, olga)

    page.goto(reverse("runs:page", args=[run.pk]))

    said = page.locator("text=Look at the EU first.").locator("..")
    assert said.evaluate("it => getComputedStyle(it).animationName") == "none"


def test_a_breaker_is_closed_on_a_phone_and_the_reason_stays_while_the_page_follows(page, problems, desk, app, olga):
    breakers.hold_open("tool", "pay_back", by=olga, reason="The bank called: refunds are booked twice since midnight.")
    switches.throw("agent", "worker", by=olga, reason="It starts the same refund again and again.")
    limit = RateLimit.objects.create(scope="app", name=EACH, count=1, per_seconds=3600, counts="model calls")
    soon = Now() + timedelta(hours=3)
    name = User.objects.create_user("the_app_of_the_shop_in_the_north_of_the_town").pk
    RateBucket.objects.create(limit=limit, key=str(name), spent_to=soon, promised_to=soon, made_up_to=soon)
    row = Breaker.objects.get()
    page.set_viewport_size({"width": 390, "height": 844})
    sign_in(page, olga)
    page.goto(reverse("ops"))

    page.click(f"#close-breaker-{row.pk} > summary")
    page.fill(f"#why-close-{row.pk}", "The bank has mended it.")
    with page.expect_response(lambda answer: "part=1" in answer.url):
        breakers.hold_open("model", "scripted", by=olga, reason="It answers nonsense.")
    page.wait_for_selector("text=Model scripted is open")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert page.evaluate("const it = document.getElementById('limits'); it.scrollWidth - it.clientWidth") <= 0
    page.click(f"#close-breaker-{row.pk} .button-primary")
    page.wait_for_selector("text=The breaker of tool pay_back is closed.")

    row.refresh_from_db()
    assert (row.status, row.reason) == ("closed", "The bank has mended it.")
    assert problems == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_is_wider_than_a_phone(page, problems, asked, olga, theme):
    planned = carried(olga, *[node(f"n{n}", after=(f"n{n - 1}",) if n else ()) for n in range(5)])
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme=theme)
    sign_in(page, olga)

    for path in (
        "/",
        "/runs/",
        f"/runs/{asked.run_id}/",
        f"/runs/{asked.run_id}/events/",
        f"/runs/{planned.pk}/",
        "/approvals/",
        "/ops/",
    ):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, path
        assert page.evaluate("document.documentElement.classList.contains('dark')") is (theme == "dark")
    assert problems == []
