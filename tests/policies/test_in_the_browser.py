"""The pages of policies in a real browser, at two widths and in both themes; a simulation that is watched."""

import datetime as dt
import os
from pathlib import Path

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Page

from orchestrator_site.core import roles
from runs.models import Simulation
from runs.policies import simulating
from tests.admin import cast as admin_cast
from tests.model_fixtures import ScriptedModel
from tests.policies import cast
from tests.policies.cast import rule
from tests.runs.cast import decide, person, request_of
from tests.stack import Stack
from tools.models import Policy, Tool
from tools.policies import versions
from tools.policies.values import Window

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

# Where pictures are put, to be looked at; nowhere unless said.
PICTURES = os.environ.get("BATON_TEST_PICTURES", "")


@pytest.fixture
def draft(stack: Stack, page: Page, model: ScriptedModel, ann: User) -> Policy:
    """With a history, a trial, a simulation and suggestions; an operator is signed in."""
    for config in apps.get_app_configs():
        roles.grant(config, using="default")
    cast.desk()
    olga = admin_cast.operator()
    client = Client()
    client.force_login(olga)
    cookie = client.cookies["sessionid"].value
    page.context.add_cookies([{"name": "sessionid", "value": cookie, "url": stack.url}])
    office = Window("office_hours", "Europe/Berlin", frozenset(range(5)), dt.time(9), dt.time(17))
    made = cast.draft(
        rule("small payments", "notify", tool="pay_out", condition="double(args.amount) <= 50.0"),
        rule("large payments", "ask", tool="pay_out", condition="double(args.amount) > 500.0", group=roles.OPERATOR),
        rule("quiet nights", "read_only", window="office_hours", says="At night nothing is changed."),
        by=olga,
        windows=[office],
    )
    versions.try_live(made, True, by=olga)
    bob, cleo = person("bob", decides=True), person("cleo", decides=True)
    for place, run in enumerate(cast.paid(ann, *range(10, 21))):
        decide(request_of(run), bob if place % 2 else cleo)
    cast.paid(ann, 700)
    return made


def test_nothing_sticks_out_or_asks_the_outside(draft: Policy, page: Page, stack: Stack) -> None:
    asked = simulating.ask(draft, by=None)
    simulating.carry(asked.pk)
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    page.on("request", lambda made: troubles.append(made.url) if not made.url.startswith(stack.url) else None)
    pages = {
        "draft": reverse("admin:tools_policy_change", args=[draft.pk]),
        "list": reverse("admin:tools_policy_changelist"),
        "simulation": reverse("admin:runs_simulation_change", args=[asked.pk]),
        "suggestions": reverse("admin:tools_policy_suggestions"),
        "tool": reverse("admin:tools_tool_change", args=[Tool.objects.get(name="pay_out").pk]),
    }

    for width in (1440, 390):
        page.set_viewport_size({"width": width, "height": 900})
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
            for name, url in pages.items():
                page.goto(url)
                over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                if PICTURES:
                    page.screenshot(path=Path(PICTURES) / f"{name}-{width}-{theme}.png", full_page=True)
                assert over == 0, f"{url} is {over} pixels too wide at {width}"

    assert troubles == []


def test_a_draft_is_edited_simulated_and_watched(draft: Policy, page: Page, stack: Stack) -> None:
    page.goto(reverse("admin:tools_policy_change", args=[draft.pk]))

    page.locator("[name=rule-condition]").first.fill("args.amount >")
    page.get_by_role("button", name="Save the draft").click()
    page.get_by_text("column 14").wait_for()
    page.locator("[name=rule-condition]").first.fill("double(args.amount) <= 15.0")
    page.get_by_role("button", name="Save the draft").click()
    page.get_by_text("Saved. It has no effect").wait_for()
    page.get_by_role("button", name="Simulate").click()
    page.get_by_text("rulings.").first.wait_for()
    simulating.carry(Simulation.objects.get().pk)

    page.get_by_text("would be ruled otherwise").wait_for()
    assert page.locator("progress").count() == 0
