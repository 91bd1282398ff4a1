"""Forms, a manifest's above all: everything that was typed arrives, and nothing that was typed is lost."""

from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from agents import manifests
from agents.models import Agent, Manifest, ModelEntry
from agents.values import GrantSpec, Limits
from tests.admin import cast
from tests.agents import cast as agents_cast
from tools.values import Risk

ADD = "admin:agents_manifest_add"


@pytest.fixture(autouse=True)
def _desk(db: None) -> None:
    cast.model()
    cast.model("large")
    cast.tool("read_order", Risk.LOW)
    cast.tool("refund")
    cast.at_work("letters")


def typed(**changes: Any) -> dict[str, Any]:
    """The form as a browser sends it: an agent with one tool, tightened in every way."""
    form: dict[str, Any] = {
        "slug": "orders",
        "title": "Orders",
        "owns": "questions about orders",
        "kind": "worker",
        "system_prompt": "You answer.\r\nShortly.",
        "models": ["large", "small", ""],
        "grants-row": ["ask_human", "read_order", "refund"],
        "grants": ["refund"],
        "grants-refund-risk_floor": "critical",
        "grants-refund-always_confirm": "true",
        "grants-refund-timeout_seconds": "2.5",
        "grants-refund-result_limit_bytes": "1000",
        "handoff_targets": ["letters"],
        "output_schema": '{"type": "object", "required": ["verdict"]}',
        "routable": "on",
        "exemplars": "where is my order\r\n\r\n what did I buy ",
        "iterations": "7",
        "tokens_per_call": "1000",
        "tokens_total": "50000",
        "cost_usd": "0.25",
        "wall_seconds": "60",
        "tool_calls_per_turn": "3",
        "children": "4",
        "context_tokens": "9000",
        "summariser": "letters",
        "seen": "",
    }
    return form | changes


def errors(page: Any) -> dict[str, list[str]]:
    return dict(page.context["adminform"].form.errors)


def test_a_new_agent_is_drafted_with_everything_that_was_typed(operating: Client, olga: User) -> None:
    page = operating.post(reverse(ADD), typed() | {"_save": "1"})

    draft = Manifest.objects.get(agent__slug="orders")
    assert page.status_code == 302
    assert draft.is_draft
    assert draft.created_by == olga
    spec = draft.spec()
    assert spec.models == ("large", "small")
    assert spec.system_prompt == "You answer.\nShortly."
    assert spec.grants == (
        GrantSpec(
            tool="refund", risk_floor=Risk.CRITICAL, always_confirm=True, timeout_seconds=2.5, result_limit_bytes=1000
        ),
    )
    assert spec.limits == Limits(
        iterations=7,
        tokens_per_call=1000,
        tokens_total=50_000,
        cost_usd=Decimal("0.25"),
        wall_seconds=60,
        tool_calls_per_turn=3,
        children=4,
        context_tokens=9000,
    )
    assert spec.handoff_targets == ("letters",)
    assert spec.summariser == "letters"
    assert spec.output_schema == {"type": "object", "required": ["verdict"]}
    assert spec.routable
    assert spec.exemplars == ("where is my order", "what did I buy")
    assert cast.platform_events("manifest_drafted")[-1]["actor"] == "user:olga"


def test_a_draft_saved_as_it_was_opened_is_the_same(operating: Client) -> None:
    operating.post(reverse(ADD), typed() | {"_save": "1"})
    draft = Manifest.objects.get(agent__slug="orders")
    before = draft.spec()

    operating.post(cast.change_url(draft), sent_back(operating, cast.change_url(draft)) | {"_save": "1"})

    draft.refresh_from_db()
    assert draft.spec() == before
    assert not cast.platform_events("manifest_revised")


def test_no_limit_and_no_summariser_of_its_own(operating: Client) -> None:
    operating.post(reverse(ADD), typed(context_tokens="", summariser="") | {"_save": "1"})

    spec = Manifest.objects.get(agent__slug="orders").spec()
    assert (spec.limits.context_tokens, spec.summariser) == (None, "")


def test_save_and_publish_puts_it_to_work(operating: Client) -> None:
    operating.post(reverse(ADD), typed() | {"_publish": "1"})

    agent = Agent.objects.get(slug="orders")
    assert agent.published is not None
    assert cast.platform_events("manifest_published")[-1]["agent"] == "orders"


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"slug": "No Slug"}, "slug", "lower-case"),
        ({"slug": "letters"}, "slug", "open it"),
        ({"title": ""}, "title", "required"),
        ({"models": [""]}, "models", "required"),
        ({"iterations": "0"}, "iterations", "greater than or equal to 1"),
        ({"cost_usd": "much"}, "cost_usd", "number"),
        ({"grants-refund-timeout_seconds": "soon"}, "grants", "refund, timeout seconds"),
        ({"grants-refund-result_limit_bytes": "-1"}, "grants", "refund, result limit bytes"),
        ({"handoff_targets": ["nobody"]}, "handoff_targets", "nobody"),
        ({"exemplars": "x" * 501, "_publish": "1"}, "exemplars", "shorten it"),
        ({"kind": "king"}, "kind", "king"),
        ({"context_tokens": "10"}, "context_tokens", "greater than or equal to 1000"),
        ({"summariser": "nobody"}, "summariser", "nobody"),
        ({"output_schema": "{verdict"}, "output_schema", "valid JSON"),
        ({"output_schema": "[1]"}, "output_schema", "dictionary"),
        ({"output_schema": '{"maximum": 1e999}'}, "output_schema", "cannot be kept as JSON"),
        ({"output_schema": '{"type": "nonsense"}', "_publish": "1"}, "output_schema", "Not a valid JSON Schema"),
    ],
)
def test_a_wrong_value_is_told_at_its_field_and_nothing_is_lost(
    changes: dict[str, Any], field: str, sentence: str, operating: Client
) -> None:
    page = operating.post(reverse(ADD), typed(**changes) | {"_save": "1"})

    assert page.status_code == 200
    assert sentence in " ".join(errors(page)[field])
    assert not Manifest.objects.filter(agent__slug="orders").exists()
    shown = sent_back_from(page)
    kept = typed(**changes)
    for name in ("title", "owns", "system_prompt", "iterations", "cost_usd", "grants-refund-timeout_seconds"):
        assert shown[name].replace("\r\n", "\n") == kept[name].replace("\r\n", "\n")
    assert shown["grants"] == ["refund"]
    assert shown["grants-refund-risk_floor"] == "critical"


def test_problems_of_publishing_are_told_at_their_fields_and_nothing_is_saved_or_lost(operating: Client) -> None:
    ModelEntry.objects.filter(name="large").update(enabled=False)

    page = operating.post(reverse(ADD), typed(kind="router", system_prompt=" ") | {"_publish": "1"})

    found = errors(page)
    assert "'large' is disabled" in found["models"][0]
    assert "leave the list empty" in found["handoff_targets"][0]
    assert "nothing in it" in found["system_prompt"][0]
    assert not Manifest.objects.filter(agent__slug="orders").exists()
    assert sent_back_from(page)["models"] == ["large", "small"]


def test_a_draft_with_problems_is_saved_and_says_them(operating: Client) -> None:
    ModelEntry.objects.filter(name="large").update(enabled=False)

    page = operating.post(reverse(ADD), typed() | {"_save": "1"}, follow=True)

    told = [str(message) for message in page.context["messages"]]
    assert any("saved as a draft" in message for message in told)
    assert any("Models: The model 'large' is disabled." in message for message in told)


def test_a_new_version_starts_as_the_published_one(operating: Client) -> None:
    operating.post(reverse(ADD), typed() | {"_publish": "1"})
    url = reverse(ADD) + "?agent=orders"

    form = sent_back(operating, url)
    operating.post(url, form | {"title": "Orders, better", "_save": "1"})

    first, second = Manifest.objects.filter(agent__slug="orders").order_by("number")
    assert second.spec() == first.spec().model_copy(update={"title": "Orders, better"})
    assert second.number == 2
    assert "slug" not in form


def test_granted_tools_keep_their_order_and_new_ones_come_after(operating: Client) -> None:
    cast.at_work("desk", grants=(GrantSpec(tool="refund"), GrantSpec(tool="read_order")))
    cast.tool("archive")
    url = reverse(ADD) + "?agent=desk"

    form = sent_back(operating, url)
    operating.post(url, form | {"grants": ["archive", "read_order", "refund"], "_save": "1"})

    assert [grant.tool for grant in Manifest.objects.get(agent__slug="desk", number=2).spec().grants] == [
        "refund",
        "read_order",
        "archive",
    ]


def test_every_tool_stands_in_the_table_with_what_it_is(operating: Client) -> None:
    page = operating.get(reverse(ADD)).content.decode()

    for shown in ("read_order", "refund", "ask_human", "propose_handoff", "Pay money back on one order.", "keyed"):
        assert shown in page
    assert "dispatch_to_" not in page


def test_a_tool_and_a_model_that_are_gone_can_be_seen_and_taken_out(operating: Client) -> None:
    manifests.draft("old", cast.spec(grants=(GrantSpec(tool="vanished"),), models=("lost",)), by=None)
    draft = Manifest.objects.get(agent__slug="old")

    page = operating.get(cast.change_url(draft)).content.decode()
    form = sent_back(operating, cast.change_url(draft))
    operating.post(cast.change_url(draft), form | {"grants": [], "models": ["small"], "_save": "1"})

    assert "There is no such tool any more." in page
    assert "lost (not in the catalogue)" in page
    draft.refresh_from_db()
    assert draft.spec().grants == ()
    assert draft.spec().models == ("small",)


def test_who_would_save_over_a_newer_save_is_told(operating: Client, olga: User) -> None:
    draft = manifests.draft("shared", cast.spec(), by=None)
    mine = sent_back(operating, cast.change_url(draft))
    manifests.revise(draft, cast.spec(title="Theirs"), by=olga)

    page = operating.post(cast.change_url(draft), mine | {"title": "Mine", "_save": "1"})

    assert "Somebody else saved this draft" in " ".join(errors(page)["__all__"])
    assert sent_back_from(page)["title"] == "Mine"
    draft.refresh_from_db()
    assert draft.title == "Theirs"


def test_a_revision_is_recorded(operating: Client) -> None:
    draft = manifests.draft("orders", cast.spec(), by=None)

    operating.post(
        cast.change_url(draft), sent_back(operating, cast.change_url(draft)) | {"title": "New", "_save": "1"}
    )

    assert cast.platform_events("manifest_revised") == [{"agent": "orders", "manifest": 1, "actor": "user:olga"}]


def test_what_a_draft_says_is_escaped(operating: Client) -> None:
    evil = "<script>alert(1)</script>"
    draft = manifests.draft("evil", cast.spec(title=evil, owns=evil, system_prompt=evil), by=None)
    cast.tool("evil", description=evil)
    manifests.publish(draft, by=None)

    agent = Agent.objects.get(slug="evil")
    pages = [cast.change_url(draft), cast.change_url(agent), cast.list_url(Agent), reverse(ADD) + "?agent=evil"]

    assert all(evil not in operating.get(url).content.decode() for url in pages)


# What a browser would send back of a form


def sent_back(client: Client, url: str) -> dict[str, Any]:
    page = client.get(url)
    assert page.status_code == 200
    return sent_back_from(page)


def sent_back_from(page: Any) -> dict[str, Any]:
    import html.parser

    class Reader(html.parser.HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.found: dict[str, list[str]] = {}
            self.select = self.textarea = ""
            self.options: list[tuple[str, bool]] = []

        def handle_starttag(self, tag: str, attributes: Any) -> None:
            has = dict(attributes)
            name = has.get("name") or ""
            match tag:
                case "input" if has.get("type") in {"checkbox", "radio"}:
                    if "checked" in has:
                        self.found.setdefault(name, []).append(has.get("value") or "on")
                case "input" if name:
                    self.found.setdefault(name, []).append(has.get("value") or "")
                case "select":
                    self.select, self.options = name, []
                case "option" if self.select:
                    self.options.append((has.get("value") or "", "selected" in has))
                case "textarea":
                    self.textarea = name
                    self.found[name] = [""]

        def handle_data(self, data: str) -> None:
            if self.textarea:
                self.found[self.textarea][0] += data

        def handle_endtag(self, tag: str) -> None:
            if tag == "select" and self.select:
                chosen = [value for value, selected in self.options if selected] or [self.options[0][0]]
                self.found.setdefault(self.select, []).append(chosen[0])
                self.select = ""
            if tag == "textarea" and self.textarea:
                self.found[self.textarea][0] = self.found[self.textarea][0].removeprefix("\n")
                self.textarea = ""

    reader = Reader()
    reader.feed(page.content.decode())
    many = {"models", "grants", "grants-row", "handoff_targets"}
    read: dict[str, Any] = {
        name: [value for value in values if value] if name in many else values[0]
        for name, values in reader.found.items()
    }
    return {name: value for name, value in read.items() if name not in {"csrfmiddlewaretoken", "", "q"}}


def test_the_page_of_an_agent_says_all_that_it_owns(operating: Client) -> None:
    owns = "Questions about orders: where a parcel is, contents, prices and status, finding and comparing them."
    manifest = agents_cast.at_work("orders-desk", owns=owns)

    page = operating.get(reverse("admin:agents_agent_change", args=[manifest.agent_id])).content.decode()

    assert owns in page
