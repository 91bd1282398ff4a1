import json

import pytest
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agents import manifests, roster
from agents.models import Agent, RoutingFit, RoutingRule
from agents.routing import cascade, embedders, fits, teaching
from agents.routing.embedders import EmbedderFailed
from agents.routing.values import Caller, RoutingRequest
from agents.values import AgentKind
from tests.agents.cast import agent, at_work
from tests.agents.routing import desk

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _a_fresh_memory():
    roster.forget()
    yield
    roster.forget()


@pytest.fixture
def company(small_model):
    """Four agents with exemplars, a router, and a judge that people do not write to; fitted."""
    for route in desk.table().routes:
        at_work(route.slug, owns=route.description, exemplars=route.exemplars)
    at_work("front-door", kind=AgentKind.ROUTER)
    at_work("judge", owns="whether an answer is good enough", routable=False)
    assert fits.keep_up()


def rule(condition: str, to: str = "refunds", name: str = "a rule", **more) -> RoutingRule:
    return teaching.teach_rule(name, condition, None, agent=agent(to), **more)


def judge(text: str, *, without=(), **more):
    return cascade.judge(RoutingRequest(text, **more), without=without)


# Rules


@pytest.mark.usefixtures("company")
@pytest.mark.parametrize(
    ("condition", "request_"),
    [
        ('text.matches("(?i)^where")', RoutingRequest("Where is my order?")),
        ('text.contains("order") && size(text) < 100', RoutingRequest("my order")),
        ('has(metadata.channel) && metadata.channel == "mail"', RoutingRequest("x", {"channel": "mail"})),
        ("metadata.amount > 100", RoutingRequest("x", {"amount": 101})),
        ('caller.username == "ann"', RoutingRequest("x", caller=Caller("ann"))),
        ('"App" in caller.roles && caller.is_app', RoutingRequest("x", caller=Caller("shop", ("App",), True))),
        ('metadata.tags.exists(tag, tag == "vip")', RoutingRequest("x", {"tags": ["vip"]})),
    ],
)
def test_a_rule_that_holds_decides(condition, request_):
    rule(condition, name="the rule")

    found = cascade.judge(request_)

    assert (found.agent, found.decided_by, found.line) == ("refunds", "rules", "the rule “the rule” matched")
    assert len(found.stages) == 1
    assert found.stages[0]["matched"] == "the rule"
    assert not cascade.judge(RoutingRequest("unlike any of it")).is_decided


@pytest.mark.usefixtures("company")
def test_the_first_by_priority_decides():
    rule("true", "orders", name="late", priority=20)
    rule("true", "refunds", name="early", priority=10)
    rule("true", "jobs", name="off", priority=1, template="")
    RoutingRule.objects.filter(name="off").update(active=False)
    roster.bump()

    assert judge("anything").agent == "refunds"


@pytest.mark.usefixtures("company")
def test_a_rule_may_lead_to_a_plan():
    teaching.teach_rule("late orders", 'text.contains("late")', None, template="compare-late-orders")

    found = judge("compare these late orders")

    assert (found.agent, found.template, found.is_decided) == ("", "compare-late-orders", True)


@pytest.mark.usefixtures("company")
def test_what_fails_or_cannot_have_it_is_passed_over_and_said():
    rule("metadata.amount > 100", name="no such key", priority=1)
    rule("true", "orders", name="had it", priority=2)
    rule("true", "jobs", name="retired", priority=3)
    manifests.retire(agent("jobs"), by=None)
    rule("true", "accounts", name="holds", priority=4)

    found = judge("anything", without=["orders"])

    assert found.agent == "accounts"
    assert [said["rule"] for said in found.stages[0]["passed_over"]] == ["no such key", "had it", "retired"]
    assert "could not be evaluated" in found.stages[0]["passed_over"][0]["why"]
    assert found.stages[0]["passed_over"][2]["why"] == "matched, but jobs is not at work"


@pytest.mark.parametrize(
    ("columns", "column", "sentence"),
    [
        ({"condition": "text.contains("}, "condition", ""),
        (
            {"condition": "body == 'x'"},
            "condition",
            "there is no 'body': a condition may ask for caller, metadata, text",
        ),
        ({"condition": 'text.matches("(open")'}, "condition", "regular expression"),
        ({"condition": 'has(metadata.x) && text.matches("(open")'}, "condition", "regular expression"),
        ({"condition": "text.shout()"}, "condition", "shout"),
        ({"condition": "text"}, "condition", "not true or false"),
        ({"condition": "caller.username > 3"}, "condition", ""),
        ({"template": "a-plan"}, "template", "not both"),
        ({"agent": None}, "agent", "plan template"),
        ({"agent": None, "template": "A Plan"}, "template", "lower-case"),
        ({"name": ""}, "name", ""),
    ],
)
def test_a_rule_that_cannot_work_is_not_saved_and_its_column_named(columns, column, sentence):
    desk_agent = Agent.objects.create(slug="orders")
    content = {"name": "a rule", "condition": "true", "agent": desk_agent} | columns

    with pytest.raises(ValidationError) as refused:
        teaching.teach_rule(content.pop("name"), content.pop("condition"), None, **content)

    assert list(refused.value.message_dict) == [column]
    assert sentence in refused.value.message_dict[column][0]
    assert not RoutingRule.objects.exists()


def test_a_caller_is_told_by_groups():
    shop = User.objects.create_user("shop")
    shop.groups.add(Group.objects.get(name="App"))

    assert cascade.caller(shop) == Caller("shop", ("App",), True)
    assert cascade.caller(None) == Caller()


# What agents are like


@pytest.mark.usefixtures("company")
@pytest.mark.parametrize("slug", desk.ASKED)
def test_a_request_goes_to_the_agent_it_is_like(slug):
    found = judge(desk.ASKED[slug])

    top = found.stages[1]["top"][0]
    assert (found.agent, found.decided_by) == (slug, "semantic")
    assert found.line == f"semantic: {slug} {top['probability']:.2f} ≥ {top['threshold']:.2f}"


@pytest.mark.usefixtures("company")
def test_what_is_nobodys_goes_up_with_the_candidates():
    found = judge(desk.NOBODYS[0])

    assert not found.is_decided
    assert {one.slug for one in found.candidates} == {"accounts", "jobs", "orders", "refunds"}
    assert found.candidates[0].owns.startswith(found.candidates[0].slug.capitalize())
    assert found.line.startswith("unsure between ")
    json.dumps(found.to_json())


@pytest.mark.usefixtures("company")
def test_who_had_it_already_is_out_of_it():
    found = judge(desk.ASKED["refunds"], without=["refunds"])

    assert not found.is_decided
    assert "refunds" not in {one.slug for one in found.candidates}


@pytest.mark.usefixtures("company")
def test_who_was_retired_since_the_fit_is_out_of_it():
    manifests.retire(agent("refunds"), by=None)

    found = judge(desk.ASKED["refunds"])

    assert found.agent != "refunds"
    assert found.stages[1]["fit"] is not None


def test_before_the_first_fit_everybody_is_a_candidate(small_model):
    at_work("orders", owns="orders")
    at_work("front-door", kind=AgentKind.ROUTER)

    found = judge("where is my order")

    assert [one.slug for one in found.candidates] == ["orders"]
    assert found.stages[1]["trouble"] == "no route table is fitted yet"


@pytest.mark.usefixtures("company")
def test_an_embedder_in_trouble_is_said_and_the_cascade_goes_on(monkeypatch):
    def fails(texts):
        raise EmbedderFailed("The server is away.")

    monkeypatch.setattr(embedders.configured(), "embed", fails)

    found = judge(desk.ASKED["orders"])

    assert not found.is_decided
    assert found.stages[1]["trouble"] == "The server is away."
    assert len(found.candidates) == 4


@pytest.mark.usefixtures("company")
def test_a_judgement_costs_one_query_and_writes_nothing(monkeypatch):
    monkeypatch.setattr(roster, "_current", roster.load())
    monkeypatch.setattr(roster, "_announcement", lambda: None)
    judge("the first one reads the rows")

    with CaptureQueriesContext(connection) as queries:
        judge(desk.ASKED["orders"])

    assert len(queries) == 1
    assert queries[0]["sql"].startswith("SELECT")


# Fits


@pytest.mark.usefixtures("company")
def test_a_table_is_fitted_once():
    assert RoutingFit.objects.count() == 1
    assert not fits.keep_up()


@pytest.mark.usefixtures("company")
def test_what_was_published_is_fitted_and_the_last_fit_serves_until_then():
    before = judge(desk.ASKED["orders"]).stages[1]["fit"]
    at_work("gardens", owns="lawns, hedges and flower beds")

    between = judge(desk.ASKED["orders"])
    fitted = fits.keep_up()
    after = judge("mow my lawn and trim the hedges")

    assert (between.agent, between.stages[1]["fit"]) == ("orders", before)
    assert fitted
    assert after.stages[1]["fit"] > before
    assert after.candidates[0].slug == "gardens"
    assert "too few exemplars" in after.line


@pytest.mark.usefixtures("company")
def test_a_table_that_comes_back_finds_its_own_fit():
    first = RoutingFit.objects.get().pk
    manifests.retire(agent("jobs"), by=None)
    assert fits.keep_up()

    manifests.reinstate(agent("jobs"), by=None)

    assert not fits.keep_up()
    assert judge("x").stages[1]["fit"] == first


@pytest.mark.usefixtures("company")
def test_old_fits_go(monkeypatch):
    monkeypatch.setattr(fits, "KEPT", 2)
    for slug in ("jobs", "orders", "refunds"):
        manifests.retire(agent(slug), by=None)
        assert fits.keep_up()

    assert RoutingFit.objects.count() == 2


@pytest.mark.usefixtures("company")
def test_a_failing_embedder_keeps_the_last_fit_and_is_not_asked_all_the_time(monkeypatch, caplog):
    asked = []

    def fails(texts):
        asked.append(len(texts))
        raise EmbedderFailed("The server is away.")

    monkeypatch.setattr(fits, "_failed_at", None)
    manifests.retire(agent("jobs"), by=None)
    with monkeypatch.context() as patched:
        patched.setattr(embedders.configured(), "embed", fails)
        assert not fits.keep_up()
        assert not fits.keep_up()

    assert len(asked) == 1
    assert "the last fit serves on: The server is away." in caplog.text
    assert judge(desk.ASKED["orders"]).agent == "orders"
    monkeypatch.setattr(fits, "RETRY_SECONDS", -1)
    assert fits.keep_up()


@pytest.mark.usefixtures("company")
def test_who_finds_the_lock_taken_leaves_it(monkeypatch):
    manifests.retire(agent("jobs"), by=None)
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [fits.LOCK])
            assert not fits.keep_up()
            cursor.execute("SELECT pg_advisory_unlock(%s)", [fits.LOCK])
    finally:
        other.close()

    roster.bump()
    assert fits.keep_up()


# Teaching


@pytest.mark.usefixtures("company")
def test_a_correction_is_learnt():
    """Where parcels are lost is a matter of refunds in this house: said often enough, it is believed."""
    lost = [f"my parcel got lost near {place}" for place in ("Rome", "Oslo", "Bonn", "Linz", "Kiel", "Graz")]
    assert judge("my parcel got lost near Bern").agent != "refunds"

    for text in lost:
        teaching.teach_exemplar(agent("refunds"), text, by=None)
    fits.keep_up()

    assert judge("my parcel got lost near Bern").agent == "refunds"


@pytest.mark.usefixtures("company")
def test_a_text_is_one_agents(django_user_model):
    ann = django_user_model.objects.create_user("ann")
    teaching.teach_exemplar(agent("orders"), "give it back ", by=None)

    moved = teaching.teach_exemplar(agent("refunds"), " give it back", by=ann)

    assert [(row.text, row.taught_by) for row in agent("refunds").taught.all()] == [("give it back", ann)]
    assert moved == agent("refunds").taught.get()
    assert not agent("orders").taught.exists()


@pytest.mark.usefixtures("company")
def test_what_was_taught_elsewhere_leaves_the_manifest_it_stands_in():
    from agents.routing import table

    teaching.teach_exemplar(agent("refunds"), desk.ORDERS[0], by=None)

    routes = {route.slug: route.exemplars for route in table.live(roster.current()).routes}
    assert desk.ORDERS[0] not in routes["orders"]
    assert desk.ORDERS[0] in routes["refunds"]


@pytest.mark.usefixtures("company")
@pytest.mark.parametrize(("text", "sentence"), [(" ", "nothing in the text"), ("x" * 501, "shorten it to 500")])
def test_a_text_that_teaches_nothing_is_refused(text, sentence):
    from agents.errors import NotTeachable

    with pytest.raises(NotTeachable, match=sentence):
        teaching.teach_exemplar(agent("refunds"), text, by=None)


@pytest.mark.usefixtures("company")
@pytest.mark.parametrize(
    "change",
    [
        lambda: rule("true"),
        lambda: teaching.teach_exemplar(agent("refunds"), "pay me", by=None),
        lambda: RoutingFit.objects.get().save(),
    ],
)
def test_what_routing_stands_on_grows_the_epoch(change):
    before = roster.database_epoch()
    # Within one transaction the epoch grows once: the marks of what came before are taken away.
    connection.run_on_commit = []

    change()

    assert roster.database_epoch() == before + 1
