"""Runs that name nobody, over the API: what is told of their routing, how they are answered, what people teach."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agents.models import Exemplar, RoutingRule
from agents.routing import teaching
from agents.values import AgentKind
from runs.models import Run
from tests.agents import cast as agents_cast
from tests.api.cast import Caller, Scene

pytestmark = pytest.mark.django_db


def rule(condition: str = "true", slug: str = "order-desk") -> RoutingRule:
    return teaching.teach_rule("a rule", condition, None, agent=agents_cast.agent(slug))


def test_a_run_tells_how_it_came_to_who_has_it(shop: Caller, scene: Scene):
    rule('metadata.channel == "mail"')

    told = shop.post("/runs/", {"input": "Hello", "metadata": {"channel": "mail"}}).json()

    routing = told["routing"]
    assert (routing["decided_by"], routing["agent"], routing["template"]) == ("rule", "order-desk", "")
    assert routing["line"] == "Routed by the rule “a rule”"
    assert routing["stages"] == [{"stage": "rules", "tried": 1, "matched": "a rule", "passed_over": []}]
    assert shop.get(f"/runs/{told['id']}/").json()["routing"] == routing
    assert told["dispatches"][0]["agent"] == "order-desk"


def test_a_run_that_names_an_agent_tells_of_no_routing(shop: Caller, scene: Scene):
    assert shop.get(f"/runs/{scene.run.pk}/").json()["routing"] is None


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("headers", [{}, {"Idempotency_Key": "once"}], ids=["plain", "with a key"])
def test_likeness_is_asked_with_no_transaction_open(shop: Caller, scene: Scene, monkeypatch, headers):
    """Whichever door a run comes by: a server may be asked, and takes its time."""
    from agents.routing import cascade

    agents_cast.at_work("triage", kind=AgentKind.ROUTER)
    seen, original = [], cascade.judge_by

    def judge_by(*args, **kwargs):
        seen.append(connection.in_atomic_block)
        return original(*args, **kwargs)

    monkeypatch.setattr(cascade, "judge_by", judge_by)
    started = shop.post("/runs/", {"input": "Hello"}, **headers)
    shop.post(f"/runs/{started.json()['id']}/cancel/")
    again = shop.post(f"/runs/{started.json()['id']}/retry/", {}, **headers)

    assert (started.status_code, again.status_code) == (201, 201)
    assert seen == [False, False]


def test_a_key_that_was_answered_is_not_judged_again(shop: Caller, scene: Scene, monkeypatch):
    from runs import routing

    agents_cast.at_work("triage", kind=AgentKind.ROUTER)
    first = shop.post("/runs/", {"input": "Hello"}, Idempotency_Key="once").json()
    monkeypatch.setattr(routing, "judge", lambda *args, **kwargs: pytest.fail("it was judged"))

    assert shop.post("/runs/", {"input": "Hello"}, Idempotency_Key="once").json() == first


# Queries


def accepted(shop: Caller, body: dict[str, object]) -> tuple[int, ...]:
    shop.post("/runs/", body)
    with CaptureQueriesContext(connection) as captured:
        assert shop.post("/runs/", body).status_code == 201
    asked = [query["sql"].split()[0] for query in captured if "SAVEPOINT" not in query["sql"]]
    return tuple(asked.count(verb) for verb in ("SELECT", "INSERT", "UPDATE", "WITH"))


@pytest.mark.django_db(transaction=True)
def test_accepting_a_run_that_names_nobody_costs_two_statements_more(shop: Caller, scene: Scene):
    """The roster's epoch and the caller's groups; its routing is written with all else."""
    named = accepted(shop, {"input": "Hello", "agent": "order-desk"})
    rule()

    assert (named, accepted(shop, {"input": "Hello"})) == ((9, 2, 0, 1), (11, 2, 0, 1))


@pytest.mark.django_db(transaction=True)
def test_so_does_one_that_a_router_has_to_decide(shop: Caller, scene: Scene):
    agents_cast.at_work("triage", kind=AgentKind.ROUTER)

    assert accepted(shop, {"input": "Hello"}) == (11, 2, 0, 1)


# Answered


def test_a_run_asks_whose_it_is_and_is_answered(shop: Caller, scene: Scene):
    agents_cast.at_work("refunds", owns="money that goes back")
    told = shop.post("/runs/", {"input": "Hello"}).json()
    run = f"/runs/{told['id']}/"

    question = shop.get(run).json()["question"]
    assert question["candidates"] == ["order-desk", "refunds"]
    assert question["explained"]["refunds"] == "money that goes back"
    answered = shop.post(f"{run}answer/", {"answer": "refunds"}).json()

    assert (answered["routing"]["decided_by"], answered["routing"]["agent"]) == ("question", "refunds")
    assert [each["agent"] for each in answered["dispatches"]] == ["refunds"]
    assert (answered["question"], answered["status"]) == (None, "working")


# Taught


def test_an_exemplar_is_taught_from_a_run(operator: Caller, scene: Scene):
    told = operator.post(f"/runs/{scene.run.pk}/teach/", {"agent": "order-desk", "lesson": "exemplar"})

    expected = {"lesson": "exemplar", "agent": "order-desk", "text": "Refund order A-1.", "name": ""}
    assert (told.status_code, told.json()) == (200, expected)
    row = Exemplar.objects.get()
    assert (row.text, row.from_run, row.taught_by and row.taught_by.username) == (
        "Refund order A-1.",
        scene.run.pk,
        "ola",
    )
    assert operator.get(f"/runs/{scene.run.pk}/events/").json()["events"][-1]["type"] == "routing_taught"


def test_a_rule_is_taught_and_the_next_request_goes_there(operator: Caller, shop: Caller, scene: Scene):
    agents_cast.at_work("refunds")
    operator.post(f"/runs/{scene.run.pk}/teach/", {"agent": "refunds", "lesson": "rule"})

    assert RoutingRule.objects.get().condition == 'text.contains("Refund order A-1.")'
    told = shop.post("/runs/", {"input": "Refund order A-1. now"}).json()
    assert told["routing"]["line"] == "Routed by the rule “like “Refund order A-1.””"
    assert told["dispatches"][0]["agent"] == "refunds"


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"agent": "order-dsk"}, "agent", "did you mean 'order-desk'"),
        ({"lesson": "rule", "condition": "text.contains("}, "condition", ""),
        ({"lesson": "rule", "condition": "body"}, "condition", "there is no 'body'"),
        ({"lesson": "song"}, "lesson", "not a valid choice"),
        ({"text": "x" * 501}, "text", "500"),
    ],
)
def test_what_cannot_be_taught_names_its_field(
    operator: Caller, scene: Scene, changes: dict[str, str], field: str, sentence: str
):
    answer = operator.post(f"/runs/{scene.run.pk}/teach/", {"agent": "order-desk", "lesson": "exemplar"} | changes)

    assert answer.status_code in (400, 422)
    errors = {each["field"]: each["detail"] for each in answer.json()["errors"]}
    assert sentence in errors[field]
    assert not Exemplar.objects.exists()
    assert not RoutingRule.objects.exists()


def test_a_run_is_tried_again_with_another_agent(operator: Caller, scene: Scene):
    agents_cast.at_work("refunds")
    done = scene.finished()

    told = operator.post(f"/runs/{done.pk}/retry/", {"agent": "refunds"})

    assert (told.status_code, told.json()["agent"]) == (201, "refunds")
    assert operator.post(f"/runs/{done.pk}/retry/", {"agent": "nobody"}).status_code in (400, 422)
    assert Run.objects.filter(metadata__retry_of=str(done.pk)).count() == 1
