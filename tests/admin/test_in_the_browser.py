"""The admin in a real browser: nothing sticks out, nothing is asked of the outside, and the questions are asked."""

import pytest
from django.apps import apps
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Page

from agents import manifests
from agents.models import Agent, Exemplar, RoutingFit, RoutingRule, Transition
from agents.values import GrantSpec
from orchestrator_site.core import roles
from orchestrator_site.core.models import Event
from runs.models import Run
from tests.admin import cast
from tests.admin.cast import Everything
from tests.stack import Stack
from tools.models import Tool, ToolVersion

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def everything(stack: Stack, page: Page) -> Everything:
    """The rows, with an operator signed in. A flushed database has lost its roles."""
    for config in apps.get_app_configs():
        roles.grant(config, using="default")
    rows = Everything()
    client = Client()
    client.force_login(cast.operator())
    cookie = client.cookies["sessionid"].value
    page.context.add_cookies([{"name": "sessionid", "value": cookie, "url": stack.url}])
    return rows


def test_no_page_sticks_out_or_asks_the_outside(everything: Everything, page: Page, stack: Stack) -> None:
    draft = manifests.draft("orders", cast.spec(grants=(GrantSpec(tool="refund"),)), by=None)
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    page.on("request", lambda asked: troubles.append(asked.url) if not asked.url.startswith(stack.url) else None)

    for width in (1440, 390):
        page.set_viewport_size({"width": width, "height": 900})
        for url in [
            "/admin/",
            *[cast.list_url(table) for table in (Agent, Tool, Run, Event)],
            *[cast.change_url(row) for row in (everything.agent, everything.agent.published, draft, everything.run)],
            *[cast.change_url(everything.tool), cast.add_url(ToolVersion, f"?tool={everything.tool.pk}")],
            reverse("admin:agents_agent_versions", args=[everything.agent.pk]),
            *[cast.list_url(table) for table in (RoutingRule, Exemplar, RoutingFit, Transition)],
            *[cast.change_url(everything.rows[table]) for table in (RoutingRule, Exemplar, RoutingFit, Transition)],
            reverse("admin:agents_transition_matrix"),
        ]:
            page.goto(url)
            over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert over == 0, f"{url} is {over} pixels too wide at {width}"
            assert page.get_by_text("Uncertain calls").is_visible() is (width == 1440)

    assert troubles == []


def test_an_agent_is_retired_by_answering_the_question(everything: Everything, page: Page) -> None:
    page.goto(cast.change_url(everything.agent))

    page.locator("a", has_text="Retire").click()
    page.get_by_text("Retire this agent?").wait_for()
    page.locator("#dialog button[type=submit]").click()

    page.get_by_text("Retired, and off the roster: orders.").wait_for()
    everything.agent.refresh_from_db()
    assert not everything.agent.active


def test_a_draft_is_written_and_published_by_hand(everything: Everything, page: Page, stack: Stack) -> None:
    # The admin's own log names content types by ids that a flush before this test may have changed under the process.
    stack.web.stop()
    stack.web.start()
    stack.web.wait_ready()
    page.goto(reverse("admin:agents_manifest_add") + "?agent=refunds")

    page.fill("[name=title]", "Money back")
    page.check("#grant-refund")
    page.check("[name=grants-refund-always_confirm]")
    page.get_by_role("button", name="Save and publish").click()
    page.get_by_text("refunds v2 is published").wait_for()

    everything.other.refresh_from_db()
    assert everything.other.published.spec().grants == (GrantSpec(tool="refund", always_confirm=True),)
