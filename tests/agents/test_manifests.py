import json
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction

from agents import manifests
from agents.errors import InvalidSlug, ManifestIsADraft, ManifestIsPublished, NotPublishable
from agents.models import Agent, Manifest, ModelEntry, OrderingRule
from agents.values import AgentKind, GrantSpec, Limits
from orchestrator_site.core.models import Event
from tests.agents.cast import agent, at_work, entry, spec
from tools.models import Tool, ToolVersion
from tools.values import Risk

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("small_model")]


def tool(name: str, *, enabled: bool = True) -> Tool:
    row = Tool.objects.create(name=name, enabled=enabled)
    row.current = ToolVersion.objects.create(tool=row, number=1, description="", input_schema={}, executor="python")
    row.save()
    return row


def platform_events() -> list[tuple[str, str, dict]]:
    rows = Event.objects.filter(chain="platform").order_by("seq")
    return [(event.type, event.actor, json.loads(event.data)) for event in rows]


# Draft, publish, roll back, retire


def test_a_draft_makes_the_agent_and_puts_nobody_to_work():
    draft = manifests.draft("order-desk", spec(), by=None)

    assert (draft.agent.slug, draft.number, draft.is_draft) == ("order-desk", 1, True)
    assert not Agent.objects.at_work().exists()


@pytest.mark.parametrize(
    "slug", ["", "Order", "order_desk", "-desk", "order--desk", "desk-", "desk\n", "a" * 51, "dësk"]
)
def test_a_slug_that_no_tool_name_could_carry_is_refused(slug):
    with pytest.raises(InvalidSlug):
        manifests.draft(slug, spec(), by=None)

    assert not Agent.objects.exists()


def test_the_database_refuses_such_a_slug_too():
    with pytest.raises(IntegrityError, match="agent_slug_well_formed"), transaction.atomic():
        Agent.objects.create(slug="order_desk")


def test_a_spec_comes_back_from_its_row_as_it_was():
    full = spec(
        kind=AgentKind.SUPERVISOR,
        models=("small", "large"),
        grants=(GrantSpec(tool="refund", risk_floor=Risk.CRITICAL, always_confirm=True, timeout_seconds=2.5),),
        limits=Limits(iterations=3, cost_usd=Decimal("0.125")),
        handoff_targets=("courier",),
        summariser="courier",
        output_schema={"type": "object", "required": ["verdict"]},
        routable=False,
        exemplars=("where is my order", "what did I buy"),
    )

    draft = manifests.draft("order-desk", full, by=None)

    assert Manifest.objects.get(pk=draft.pk).spec() == full


def test_publishing_puts_the_agent_to_work_and_leaves_an_event():
    ana = User.objects.create_user("ana")
    draft = manifests.draft("order-desk", spec(), by=ana)

    published = manifests.publish(draft, by=ana)

    assert agent("order-desk").published == published
    assert published.published_at is not None
    assert published.published_by == ana
    [(_, _, drafted), (kind, actor, data)] = platform_events()
    assert drafted == {"agent": "order-desk", "manifest": 1}
    assert (kind, actor) == ("manifest_published", "user:ana")
    assert (data["agent"], data["manifest"], data["replaces"], len(data["digest"])) == ("order-desk", 1, None, 64)


def test_a_manifest_is_published_once():
    published = at_work("order-desk")

    with pytest.raises(ManifestIsPublished):
        manifests.publish(published, by=None)


def test_rolling_back_puts_the_earlier_version_to_work_as_it_stands():
    first = at_work("order-desk")
    at_work("order-desk", system_prompt="Worse.")

    manifests.rollback(agent("order-desk"), 1, by=None)

    assert agent("order-desk").published == first
    kind, _, data = platform_events()[-1]
    assert (kind, data["manifest"], data["replaces"]) == ("manifest_rolled_back", 1, 2)


def test_a_draft_is_nothing_to_roll_back_to():
    at_work("order-desk")
    manifests.draft("order-desk", spec(title="Second"), by=None)

    with pytest.raises(ManifestIsADraft):
        manifests.rollback(agent("order-desk"), 2, by=None)


def test_rolling_back_to_a_model_that_is_gone_is_refused():
    entry("large")
    at_work("order-desk", models=("large",))
    at_work("order-desk")
    ModelEntry.objects.filter(name="large").update(enabled=False)

    with pytest.raises(NotPublishable, match=r"models\.0: the model 'large' is disabled"):
        manifests.rollback(agent("order-desk"), 1, by=None)


def test_a_retired_agent_comes_back_with_the_version_it_had():
    published = at_work("order-desk")

    manifests.retire(agent("order-desk"), by=None)
    assert not Agent.objects.at_work().exists()
    manifests.reinstate(agent("order-desk"), by=None)

    assert Agent.objects.at_work().get().published == published
    assert [kind for kind, *_ in platform_events()][-2:] == ["agent_retired", "agent_reinstated"]


def test_retiring_twice_is_one_event():
    at_work("order-desk")

    for _ in range(2):
        manifests.retire(agent("order-desk"), by=None)

    assert [kind for kind, *_ in platform_events()].count("agent_retired") == 1


# What stands in the way

PROBLEMS = [
    ({"title": " "}, "title: there is nothing in it."),
    ({"system_prompt": ""}, "system_prompt: there is nothing in it."),
    ({"models": ("smal",)}, "models.0: there is no model named 'smal'; did you mean 'small'?"),
    ({"models": ("small", "zzz")}, "models.1: there is no model named 'zzz'."),
    ({"models": ("small", "off")}, "models.1: the model 'off' is disabled."),
    ({"models": ("small", "small")}, "models.1: the model 'small' is listed 2 times."),
    (
        {"limits": Limits(tokens_per_call=9000)},
        "limits.tokens_per_call: 9000 is above the 8192 output tokens that the model 'small' can give.",
    ),
    (
        {"grants": [GrantSpec(tool="refund"), GrantSpec(tool="refnd")]},
        "grants.1.tool: there is no tool named 'refnd'; did you mean 'refund'?",
    ),
    (
        {"grants": [GrantSpec(tool="refund"), GrantSpec(tool="refund", always_confirm=True)]},
        "grants.1.tool: the tool 'refund' is listed 2 times.",
    ),
    (
        {"grants": [GrantSpec(tool="dispatch_to_courier")]},
        "grants.0.tool: 'dispatch_to_courier' is not granted: routers and supervisors are offered it by the roster.",
    ),
    ({"handoff_targets": ["order-desk"]}, "handoff_targets.0: an agent cannot hand off to itself."),
    (
        {"handoff_targets": ["currier"]},
        "handoff_targets.0: there is no agent named 'currier'; did you mean 'courier'?",
    ),
    ({"handoff_targets": ["pensioner"]}, "handoff_targets.0: the agent 'pensioner' is retired."),
    ({"handoff_targets": ["courier", "courier"]}, "handoff_targets.1: the agent 'courier' is listed 2 times."),
    ({"summariser": "order-desk"}, "summariser: an agent does not summarise its own turns."),
    ({"summariser": "currier"}, "summariser: there is no agent named 'currier'; did you mean 'courier'?"),
    ({"summariser": "pensioner"}, "summariser: the agent 'pensioner' is retired."),
    (
        {"output_schema": {"type": "object", "properties": {"a": {"type": "nonsense"}}}},
        "output_schema: not a valid JSON Schema: properties.a.type: 'nonsense' is not valid under any of the given "
        "schemas.",
    ),
    (
        {"output_schema": {"$ref": "#/$defs/verdict"}},
        "output_schema: it points at '#/$defs/verdict', which is not part of it.",
    ),
    (
        {"output_schema": {"type": "array", "items": {"$ref": "http://127.0.0.1:9/schema"}}},
        "output_schema: it points at 'http://127.0.0.1:9/schema', which is not part of it.",
    ),
    (
        {"kind": AgentKind.ROUTER, "output_schema": {"type": "object"}},
        "output_schema: a router answers by its routes: leave it empty.",
    ),
    ({"exemplars": ["pay me", "pay me"]}, "exemplars.1: the request 'pay me' is listed 2 times."),
    ({"exemplars": ["pay me", " "]}, "exemplars.1: there is nothing in it."),
    (
        {"exemplars": ["x" * 501]},
        "exemplars.0: it has 501 characters, and a request of 500 says enough: shorten it.",
    ),
    (
        {"exemplars": ["bring it to me"]},
        "exemplars.0: 'bring it to me' is an exemplar of 'runner' too: take one away.",
    ),
    (
        {"kind": AgentKind.ROUTER, "handoff_targets": ["courier"]},
        "handoff_targets: a router dispatches and hands nothing off: leave the list empty.",
    ),
]


@pytest.fixture
def company(small_model):
    tool("refund")
    tool("resting", enabled=False)
    entry("off", enabled=False)
    Agent.objects.create(slug="courier")
    Agent.objects.create(slug="pensioner", active=False)
    at_work("runner", exemplars=("bring it to me",))


@pytest.mark.usefixtures("company")
@pytest.mark.parametrize(("changes", "sentence"), PROBLEMS, ids=[sentence for _, sentence in PROBLEMS])
def test_a_problem_is_named_with_its_field(changes, sentence):
    draft = manifests.draft("order-desk", spec(**changes), by=None)

    with pytest.raises(NotPublishable) as refused:
        manifests.publish(draft, by=None)

    assert [str(problem) for problem in refused.value.problems] == [sentence]
    assert agent("order-desk").published is None


@pytest.mark.usefixtures("company")
def test_every_problem_is_named_at_once():
    draft = manifests.draft("order-desk", spec(title="", models=("zzz",), handoff_targets=["zzz"]), by=None)

    with pytest.raises(NotPublishable) as refused:
        manifests.publish(draft, by=None)

    assert [problem.field for problem in refused.value.problems] == ["title", "models.0", "handoff_targets.0"]


@pytest.mark.usefixtures("company")
def test_a_disabled_tool_is_no_problem_because_the_switch_is_live():
    grants = [GrantSpec(tool="refund"), GrantSpec(tool="resting")]

    assert at_work("order-desk", grants=grants, handoff_targets=["courier"]).published_at


def test_a_draft_edited_into_no_manifest_at_all_is_refused_by_field():
    draft = manifests.draft("order-desk", spec(), by=None)
    draft.limits = {"iterations": 0, "patience": 3}
    draft.save()

    with pytest.raises(NotPublishable) as refused:
        manifests.publish(draft, by=None)

    assert {problem.field for problem in refused.value.problems} == {"limits.iterations", "limits.patience"}


# A published manifest never changes


def test_the_model_refuses_to_save_or_delete_a_published_manifest_also_through_a_stale_instance():
    stale = manifests.draft("order-desk", spec(), by=None)
    manifests.publish(stale, by=None)
    stale.title = "Changed"

    with pytest.raises(ManifestIsPublished):
        stale.save()
    with pytest.raises(ManifestIsPublished):
        stale.delete()


@pytest.mark.parametrize("statement", ["UPDATE agents_manifest SET title = 'Changed'", "DELETE FROM agents_manifest"])
def test_the_database_refuses_it_too(statement):
    at_work("order-desk")

    with pytest.raises(IntegrityError, match="is published and never changes"), transaction.atomic():
        execute(statement)


def test_control_it_is_the_trigger_that_refuses():
    at_work("order-desk")
    execute("DROP TRIGGER agents_manifest_published ON agents_manifest")

    execute("UPDATE agents_manifest SET title = 'Changed'")

    assert Manifest.objects.get().title == "Changed"


def test_a_draft_may_change_and_go():
    draft = manifests.draft("order-desk", spec(), by=None)

    draft.title = "Changed"
    draft.save()
    draft.delete()

    assert not Manifest.objects.exists()


def test_an_agent_works_by_nobody_elses_manifest_and_by_no_draft():
    foreign = at_work("courier")
    draft = manifests.draft("order-desk", spec(), by=None)

    for manifest in (foreign, draft):
        with pytest.raises(IntegrityError, match="only work by a published manifest of its own"), transaction.atomic():
            Agent.objects.filter(slug="order-desk").update(published=manifest)


# Other rows


def test_no_key_can_be_written_where_its_reference_belongs():
    with pytest.raises(IntegrityError, match="model_credential_is_a_reference"), transaction.atomic():
        entry("careless", credential="sk-ant-0123")


def test_no_agent_comes_before_itself():
    desk = Agent.objects.create(slug="order-desk")

    with pytest.raises(IntegrityError, match="ordering_rule_of_two"), transaction.atomic():
        OrderingRule.objects.create(before=desk, after=desk, reason="never")


# What changed


def test_a_diff_shows_the_changed_fields_line_by_line():
    a = spec(system_prompt="One.\nTwo.\nThree.")
    b = spec(system_prompt="One.\n2.\nThree.", models=("small", "large"))

    prompt, models = manifests.diff(a, b)

    assert prompt.field == "system_prompt"
    assert prompt.lines == ("@@ -1,3 +1,3 @@", " One.", "-Two.", "+2.", " Three.")
    assert models.field == "models"
    assert '+  "large"' in models.lines


def test_the_same_manifest_has_no_diff():
    assert manifests.diff(spec(), spec()) == []


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)
