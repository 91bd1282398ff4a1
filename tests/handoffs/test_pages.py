"""The card of a handoff: what is passed on, what holds, and the ways out; by form, and as people see it."""

import os
from pathlib import Path

import pytest
from django.urls import reverse

from agents.models import Agent, FailureRule
from runs import states
from tests.handoffs.cast import clerks, handoff, played, proposal, proposed, transition
from tests.pages.conftest import person
from tests.runs import callables  # noqa: F401  registers them
from tests.runs.cast import call, carry_all, request_of, text, tool

pytestmark = pytest.mark.django_db(transaction=True)

LOOK = call(("look_up", {"order": 7}), say="Order 7 was paid and never sent.")
CHECKS = [
    "The customer is known.",
    {"says": "The amount is small.", "check": "handoff.state.amount <= 50"},
    {"says": "The order was delivered.", "check": "handoff.state.delivered"},
    {"says": "The customer has asked twice.", "check": "run.metadata.asked >= 2"},
]
STATE = {"order": 7, "amount": 49.5, "delivered": False, "customer": {"name": "Zoë", "since": 2019}}


@pytest.fixture(autouse=True)
def cast(model):
    tool("look_up", "tests.echo")
    clerks(title="Order desk")


@pytest.fixture
def alice(db):
    return person("alice", "Approver", first_name="Alice")


@pytest.fixture
def shown(client, alice):
    """The own page of the one open request, as Alice sees it."""

    def get(run):
        client.force_login(alice)
        return client.get(reverse("approvals:page", args=[request_of(run).pk])).content.decode()

    return get


@pytest.fixture
def post(client, alice):
    def send(run, verdict, **fields):
        client.force_login(alice)
        request = request_of(run)
        body = {"verdict": verdict, "digest": request.digest, **fields}
        return client.post(reverse("approvals:decide", args=[request.pk]), body)

    return send


def test_the_card_shows_exactly_what_is_passed_on(ann, shown):
    run = proposed(ann, LOOK, proposal(state=STATE))

    html = shown(run)

    passed = handoff().passed
    assert passed.replace('"', "&quot;") in html
    assert "Exactly what it reads below its task · what it names · at most" in html
    assert "Zoë" in html


def test_the_card_names_who_stands_in_for_the_target(ann, shown):
    says = "the work goes to"
    assert says not in shown(proposed(ann, proposal()))
    FailureRule.objects.create(agent=Agent.objects.get(slug="payer"), fallbacks=["writer", "clerk"])

    assert "Should payer fail, the work goes to writer, then clerk, with nobody asked again." in shown(
        proposed(ann, proposal())
    )


def test_each_precondition_has_its_colour(ann, shown):
    html = shown(proposed(ann, proposal(state=STATE, preconditions=CHECKS)))

    for outcome, words in (("said", "The customer is known."), ("green", "The amount is small."), ("red", "delivered")):
        assert words in html.split(f"check-{outcome}")[1].split("</li>")[0]
    assert "there is no &#x27;asked&#x27; among the facts" in html.split("check-unknown")[1]


def test_what_does_not_hold_takes_a_reason(ann, shown, post):
    run = proposed(ann, proposal(state=STATE, preconditions=CHECKS))
    html = shown(run)

    plain = post(run, "approved")
    assert (plain.status_code, handoff().status) == (422, states.PROPOSED)
    assert "does not hold" in plain.content.decode()
    assert "Accept all the same" in html
    assert "act-a" not in html

    post(run, "approved", override="yes", reason="I called them.")
    assert handoff().status == states.ACCEPTED


def test_control_where_all_holds_one_button_accepts(ann, shown, post):
    run = proposed(ann, proposal(state=STATE, preconditions=CHECKS[:2]))

    assert "Accept all the same" not in shown(run)
    post(run, "approved")

    assert handoff().status == states.ACCEPTED


def test_it_is_redirected_by_a_choice(ann, shown, post):
    run = proposed(ann, proposal())

    html = shown(run)
    post(run, "modified", **{"edit:text:target": "writer", "edit:long:task": played()})

    assert '<option value="writer"' in html
    assert '<option value="clerk"' not in html
    assert carry_all(run).output == "Written."


def test_where_nobody_else_may_have_it_there_is_no_choice(ann, shown):
    transition("clerk", "writer", may_hand_over=False)

    assert "edit:text:target" not in shown(proposed(ann, proposal()))


def test_it_is_sent_back_with_guidance(ann, shown, post, client):
    run = proposed(ann, proposal(), guided=[text("Understood.")])
    request = request_of(run)
    assert "Send back…" in shown(run)

    post(run, "answered", answer="Write to the customer first.")

    told = client.get(reverse("approvals:page", args=[request.pk])).content.decode()
    assert "Alice sent this back with guidance" in told
    assert "Write to the customer first." in told
    assert carry_all(run).output == "Understood."


def test_an_overridden_one_says_so(ann, post, client):
    run = proposed(ann, proposal(state=STATE, preconditions=CHECKS))
    request = request_of(run)

    post(run, "approved", override="yes", reason="I called them.")

    told = client.get(reverse("approvals:page", args=[request.pk])).content.decode()
    assert "Alice approved this, overriding what stood in the way," in told
    assert "I called them." in told


def test_the_runs_page_tells_who_came_back(ann, post, client):
    transition("clerk", "payer", source_watches=True)
    run = proposed(ann, proposal(), guided=[proposal()], last_word=[text("All done.")])
    post(run, "answered", answer="Look again.")
    run = carry_all(run)
    post(run, "approved")
    run = carry_all(run)
    client.force_login(ann)

    html = client.get(reverse("runs:page", args=[run.pk])).content.decode()

    for said in ("sent back with guidance", "handed over", "has the last word", "All done."):
        assert said in html


# -- in a browser ------------------------------------------------------------------------------------------------
@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_the_card_fits_its_screen(chromium, stack, ann, alice, width, theme):
    transition("clerk", "payer", source_watches=True)
    run = proposed(ann, LOOK, proposal("Pay 49.50 back for order 7.", state=STATE, preconditions=CHECKS))
    request = request_of(run)
    context = chromium.new_context(base_url=stack.url, viewport={"width": width, "height": 900}, color_scheme=theme)
    page, found = context.new_page(), []
    page.on("pageerror", lambda error: found.append(str(error)))
    page.goto(reverse("login"))
    page.fill("[name=username]", "alice")
    page.fill("[name=password]", "alice")
    page.click("text=Sign in")
    page.wait_for_url("**/")

    page.goto(reverse("approvals:page", args=[request.pk]))
    page.click(f"#passed-{request.pk} > summary")
    for action in ("edit", "accept", "answer"):
        page.click(f"#{action}-{request.pk} > summary")
        if folder := os.environ.get("BATON_TEST_PICTURES"):
            page.screenshot(path=Path(folder) / f"handoff-{action}-{width}-{theme}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.fill(f"#guidance-{request.pk}", "Write to the customer first.")
    page.click(f"#answer-{request.pk} .button-primary")
    page.wait_for_selector("text=sent this back with guidance")
    context.close()

    assert found == []
    assert handoff().status == states.DECLINED
