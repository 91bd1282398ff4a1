"""What the admin's buttons do, each by the verb that the API calls and with an event recorded; and how forms begin."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from agents import manifests
from agents.models import Agent, Manifest, ModelEntry, OrderingRule
from orchestrator_site.core import events
from orchestrator_site.core.models import Event, Observation, Token
from runs.models import PlanTemplate, Run
from runs.planning import templates
from tests.admin import cast
from tests.admin.cast import Everything
from tools.models import Tool, ToolVersion
from tools.values import Risk

SUBMITTED = {"_form_submitted": "True"}


def choose(client: Client, rows: list[Model], action: str) -> Any:
    chosen = {"action": action, "_selected_action": [str(row.pk) for row in rows]}
    return client.post(cast.list_url(type(rows[0])), chosen, follow=True)


def told(page: Any) -> str:
    return " ".join(str(message) for message in page.context["messages"])


# -- agents --------------------------------------------------------------------------------------------------------


def test_agents_are_retired_and_reinstated(everything: Everything, operating: Client) -> None:
    page = choose(operating, [everything.agent, everything.other], "retire_chosen")

    assert "Retired, and off the roster: orders, refunds." in told(page)
    assert not Agent.objects.filter(active=True).exists()

    choose(operating, [everything.agent], "reinstate_chosen")

    assert [event["agent"] for event in cast.platform_events("agent_retired")] == ["orders", "refunds"]
    assert cast.platform_events("agent_reinstated") == [{"agent": "orders", "actor": "user:olga"}]


def test_an_agent_is_retired_from_its_own_page_after_a_question(everything: Everything, operating: Client) -> None:
    url = cast.verb_url(everything.agent, "retire")

    assert b"Retire this agent?" in operating.get(url).content
    everything.agent.refresh_from_db()
    assert everything.agent.active  # opening the question does nothing

    answer = operating.post(url, SUBMITTED, headers={"HX-Request": "true"})

    everything.agent.refresh_from_db()
    assert not everything.agent.active
    assert answer["HX-Redirect"] == cast.change_url(everything.agent)


def test_a_draft_is_published_from_its_agents_page(everything: Everything, operating: Client) -> None:
    operating.post(cast.verb_url(everything.agent, "publish_draft"), SUBMITTED)

    everything.agent.refresh_from_db()
    assert everything.agent.published == everything.draft
    assert cast.platform_events("manifest_published")[-1]["actor"] == "user:olga"


def test_a_draft_that_cannot_be_published_says_why(everything: Everything, operating: Client) -> None:
    ModelEntry.objects.update(enabled=False)

    page = choose(operating, [everything.draft], "publish_chosen")

    assert "orders v2 cannot be published. Models: The model 'small' is disabled." in told(page)


def test_an_agent_is_rolled_back(everything: Everything, operating: Client) -> None:
    manifests.publish(everything.draft, by=None)
    url = cast.verb_url(everything.agent, "roll_back")

    assert b'value="1"' in operating.get(url).content
    operating.post(url, SUBMITTED | {"to": "1"})

    everything.agent.refresh_from_db()
    assert everything.agent.published.number == 1
    assert cast.platform_events("manifest_rolled_back")[-1] | {"digest": ""} == {
        "agent": "orders",
        "manifest": 1,
        "replaces": 2,
        "digest": "",
        "actor": "user:olga",
    }


def test_a_version_is_put_to_work_again_from_its_own_page(everything: Everything, operating: Client) -> None:
    first = everything.agent.published
    manifests.publish(everything.draft, by=None)

    operating.post(cast.verb_url(first, "put_to_work"), SUBMITTED)

    everything.agent.refresh_from_db()
    assert everything.agent.published == first


def test_an_agents_page_offers_what_fits_its_state(everything: Everything, operating: Client) -> None:
    before = operating.get(cast.change_url(everything.agent)).content.decode()
    manifests.retire(everything.agent, by=None)
    manifests.publish(everything.draft, by=None)
    after = operating.get(cast.change_url(everything.agent)).content.decode()

    assert _offered(before, everything.agent) == {"new_version", "compare", "publish_draft", "retire"}
    assert _offered(after, everything.agent) == {"new_version", "compare", "roll_back", "reinstate"}


def _offered(page: str, agent: Agent) -> set[str]:
    verbs = ["new_version", "compare", "publish_draft", "roll_back", "retire", "reinstate"]
    return {verb for verb in verbs if cast.verb_url(agent, verb) in page}


def test_the_difference_of_two_versions_is_shown(everything: Everything, auditing: Client) -> None:
    url = reverse("admin:agents_agent_versions", args=[everything.agent.pk])

    page = auditing.get(url).content.decode()

    assert '<div class="is-old">-Order desk</div>' in page
    assert '<div class="is-new">+Order desk, second</div>' in page


def test_two_versions_that_say_the_same_are_told_so(everything: Everything, operating: Client) -> None:
    url = reverse("admin:agents_agent_versions", args=[everything.agent.pk])

    assert "say the same" in operating.get(url, {"from": "1", "to": "1"}).content.decode()
    assert operating.get(url, {"from": "x", "to": "99"}).status_code == 200
    assert operating.get(reverse("admin:agents_agent_versions", args=[0])).status_code == 302


def test_a_version_that_is_no_manifest_is_told_so(everything: Everything, operating: Client) -> None:
    Manifest.objects.filter(pk=everything.draft.pk).update(models={"not": "a list"}, grants={"odd": 1}, limits=[])
    url = reverse("admin:agents_agent_versions", args=[everything.agent.pk])

    assert "cannot be read as a manifest" in operating.get(url).content.decode()
    assert operating.get(cast.change_url(everything.draft)).status_code == 200
    assert operating.get(cast.change_url(everything.agent)).status_code == 200


def test_a_models_prices_are_edited_and_the_edit_is_recorded(everything: Everything, operating: Client) -> None:
    entry = ModelEntry.objects.get()
    typed = {name: getattr(entry, name) for name in ("name", "provider_model", "context_window", "output_limit")}
    prices = {"input_price": "2", "output_price": "5", "cache_read_price": "0.1", "cache_write_price": "1.25"}

    page = operating.post(cast.change_url(entry), typed | prices | {"enabled": "on"})

    assert page.status_code == 302
    entry.refresh_from_db()
    assert entry.input_price == 2
    assert cast.platform_events("model_entry_saved") == [
        {"model": "small", "changed": {"input_price": "2"}, "actor": "user:olga"}
    ]


def test_a_key_in_place_of_a_reference_is_refused(everything: Everything, operating: Client) -> None:
    page = operating.post(cast.change_url(ModelEntry.objects.get()), {"credential": "sk-ant-secret"})

    assert "never the key itself" in str(page.context["adminform"].form.errors["credential"])


def test_an_ordering_rule_is_taken_out_and_that_is_recorded(everything: Everything, operating: Client) -> None:
    rule = OrderingRule.objects.get()

    operating.post(cast.delete_url(rule), {"post": "yes"})

    assert not OrderingRule.objects.exists()
    assert cast.platform_events("ordering_rule_deleted")[-1]["rule"] == "orders before refunds"


# -- tools ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "switch", "value"),
    [
        ("disable", "enabled", "False"),
        ("risk_low", "risk", "low"),
        ("risk_medium", "risk", "medium"),
        ("risk_critical", "risk", "critical"),
    ],
)
def test_tools_are_switched(action: str, switch: str, value: str, everything: Everything, operating: Client) -> None:
    choose(operating, [everything.tool], action)

    everything.tool.refresh_from_db()
    assert str(getattr(everything.tool, switch)) == value
    [event] = cast.platform_events("tool_switched")
    assert event["after"] == {switch: value}
    assert event["actor"] == "user:olga"


def test_a_tools_own_page_switches_what_was_changed_only(everything: Everything, operating: Client) -> None:
    page = operating.post(
        cast.change_url(everything.tool), {"risk": "medium", "confirmation": "by_risk", "brings": ["untrusted"]}
    )

    assert page.status_code == 302
    [event] = cast.platform_events("tool_switched")
    assert event["after"] == {"enabled": "False", "risk": "medium"}


def definition(**changes: Any) -> dict[str, Any]:
    return {
        "name": "pay",
        "risk": "high",
        "description": "Pay money.\r\nAt once.",
        "input_schema": '{"type": "object", "properties": {"amount": {"type": "number"}}}',
        "executor": "http",
        "config": '{"method": "POST", "url": "http://127.0.0.1:9/pay", "idempotency_header": "Idempotency-Key"}',
        "effect": "keyed",
        "risk_rules-when": ["double(args.amount) > 10.0", "", ""],
        "risk_rules-risk": ["critical", "", ""],
        "risk_rules-reason": ["Much.", "", ""],
        "timeout_seconds": "5",
        "result_limit_bytes": "1000",
    } | changes


def test_a_tool_is_defined(operating: Client, olga: User) -> None:
    page = operating.post(cast.add_url(ToolVersion), definition())

    assert page.status_code == 302, page.context["adminform"].form.errors
    tool: Any = Tool.objects.get(name="pay")
    assert tool.risk == Risk.HIGH
    assert tool.current.created_by == olga
    assert tool.current.description == "Pay money.\nAt once."
    assert tool.current.risk_rules == [{"when": "double(args.amount) > 10.0", "risk": "critical", "reason": "Much."}]
    assert cast.platform_events("tool_defined")[-1]["actor"] == "user:olga"


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"name": "no good"}, "name", "letters, digits"),
        ({"description": " "}, "description", "required"),
        ({"input_schema": "{"}, "input_schema", "not JSON"),
        ({"input_schema": '{"type": "array"}'}, "input_schema", "object"),
        ({"input_schema": '{"type": "object", "properties": 3}'}, "input_schema", "Not a valid JSON Schema"),
        ({"config": '{"method": "POST"}'}, "config", "url"),
        ({"risk_rules-when": ["args.", "", ""]}, "risk_rules", "Rule 1: when:"),
        ({"risk_rules-risk": ["", "", ""]}, "risk_rules", "Rule 1: "),
        ({"timeout_seconds": "0"}, "timeout_seconds", "greater"),
        ({"effect": "odd"}, "effect", "odd"),
    ],
)
def test_a_fault_of_a_definition_is_told_at_its_field_and_nothing_is_lost(
    changes: dict[str, Any], field: str, sentence: str, operating: Client
) -> None:
    page = operating.post(cast.add_url(ToolVersion), definition(**changes))

    assert page.status_code == 200
    assert sentence in " ".join(page.context["adminform"].form.errors[field])
    assert not Tool.objects.exists()
    shown = page.content.decode()
    assert "Pay money" in shown or field == "description"
    assert 'value="Much."' in shown


def test_the_next_version_starts_as_the_current_one(everything: Everything, operating: Client) -> None:
    url = cast.add_url(ToolVersion, f"?tool={everything.tool.pk}")

    page = operating.get(url).content.decode()
    changed = definition(description="Pay back, better.")
    operating.post(url, {name: value for name, value in changed.items() if name not in {"name", "risk"}})

    assert "Pay money back on one order." in page
    assert "double(args.amount) &gt; 200.0" in page
    everything.tool.refresh_from_db()
    assert everything.tool.current.number == 2
    assert everything.tool.current.description == "Pay back, better."
    assert everything.tool.risk == Risk.HIGH


def test_a_name_that_is_taken_is_refused(everything: Everything, operating: Client) -> None:
    page = operating.post(cast.add_url(ToolVersion), definition(name="refund"))

    assert "There is a tool of this name" in str(page.context["adminform"].form.errors["name"])


# -- runs and the ground -------------------------------------------------------------------------------------------


def test_runs_are_cancelled(everything: Everything, operating: Client) -> None:
    page = choose(operating, [everything.run], "cancel_chosen")

    everything.run.refresh_from_db()
    assert everything.run.cancel_requested_at is not None
    assert "Cancelled" in told(page)
    assert "cancel_requested" in {event.type for event in events.of_run(everything.run.pk)}


def test_a_run_that_has_ended_is_left_alone_and_that_is_told(everything: Everything, operating: Client) -> None:
    choose(operating, [everything.run], "cancel_chosen")

    page = operating.post(cast.verb_url(everything.run, "cancel"), SUBMITTED, follow=True)

    assert Run.objects.get(pk=everything.run.pk).status == "cancelled"
    assert "The run has cancelled already." in told(page)


def test_a_token_is_revoked(everything: Everything, operating: Client) -> None:
    choose(operating, [everything.token], "revoke")

    assert Token.objects.get().revoked_at is not None
    assert cast.platform_events("token_revoked")[-1]["actor"] == "user:olga"


def test_a_tokens_digest_is_shown_nowhere(everything: Everything, admin_client: Client) -> None:
    pages = [cast.list_url(Token), cast.change_url(everything.token)]

    assert all(everything.token.secret_digest not in admin_client.get(url).content.decode() for url in pages)


def test_an_observer_that_gave_up_is_told_again(everything: Everything, operating: Client) -> None:
    choose(operating, [Observation.objects.get()], "try_again")

    debt = Observation.objects.get()
    assert (debt.failures, debt.given_up) == (0, False)
    assert cast.platform_events("observation_retried")[-1]["observer"] == "letters"


@pytest.mark.parametrize(
    ("table", "action"),
    [
        (Agent, "retire_chosen"),
        (Manifest, "publish_chosen"),
        (Tool, "disable"),
        (Run, "cancel_chosen"),
        (Token, "revoke"),
        (Observation, "try_again"),
    ],
)
def test_an_auditor_is_offered_no_verb_and_moves_nothing(
    table: type[Model], action: str, everything: Everything, auditing: Client
) -> None:
    before = Event.objects.count()

    page = choose(auditing, [everything.rows[table]], action)

    assert f'value="{action}"' not in page.content.decode()
    assert Event.objects.count() == before


@pytest.mark.parametrize("verb", ["retire", "publish_draft", "roll_back", "new_version"])
def test_an_auditor_cannot_reach_a_button_by_its_address(verb: str, everything: Everything, auditing: Client) -> None:
    assert auditing.post(cast.verb_url(everything.agent, verb), SUBMITTED).status_code == 403


def test_no_button_moves_anything_when_it_is_only_opened(everything: Everything, operating: Client) -> None:
    before = Event.objects.count()

    for row, verb in [
        (everything.agent, "retire"),
        (everything.agent, "publish_draft"),
        (everything.agent, "roll_back"),
        (everything.run, "cancel"),
        (everything.agent.published, "put_to_work"),
    ]:
        assert operating.get(cast.verb_url(row, verb)).status_code == 200

    assert Event.objects.count() == before


def test_a_plan_template_begins_as_an_example_that_is_a_plan(operating: Client) -> None:
    form = operating.get(reverse("admin:runs_plantemplate_add")).context["adminform"].form
    begun = PlanTemplate(content=form["content"].initial, parameters=form["parameters"].initial)

    told = [problem.field for problem in templates.problems(begun)]

    assert told == ["content.nodes.0.agent", "content.nodes.1.agent"], "they are not at work here"
