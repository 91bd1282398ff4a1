"""Policies over HTTP: drafted, faulted at the place, proposed and published by two people, tried and simulated."""

import pytest

from orchestrator_site.core import roles
from runs.policies import simulating
from tests.api import cast
from tests.api.cast import Caller
from tools import registry
from tools.models import Policy
from tools.policies import facts, versions
from tools.policies.values import Outcome
from tools.values import Effect, ExecutorKind

pytestmark = pytest.mark.django_db

SMALL = {
    "name": "small",
    "tool": "refund",
    "condition": "args.amount <= 50.0",
    "outcome": "notify",
    "says": "Small refunds run.",
}
NIGHT = {"name": "office", "zone": "Europe/Berlin", "days": [0, 1, 2, 3, 4], "opens": "09:00", "closes": "17:00"}


@pytest.fixture
def ola(db) -> Caller:
    registry.define(
        "refund",
        description="Refund an order.",
        input_schema={"type": "object", "properties": {"amount": {"type": "number"}}, "additionalProperties": False},
        executor=ExecutorKind.HTTP,
        config={"method": "POST", "url": "https://shop.example.com/refunds"},
        effect=Effect.UNSAFE,
    )
    return cast.caller(cast.person("ola", roles.OPERATOR))


@pytest.fixture
def olga(db) -> Caller:
    return cast.caller(cast.person("olga", roles.OPERATOR))


def drafted(caller: Caller, **body) -> dict:
    answer = caller.post("/policies/", {"rules": [SMALL], **body})
    assert answer.status_code == 201, answer.json()
    return answer.json()


def published(caller: Caller, policy: dict):
    return caller.post(f"/policies/{policy['number']}/publish/", {"digest": policy["content_digest"]})


def test_a_draft_is_what_was_posted(ola):
    made = drafted(ola, windows=[NIGHT], ask_from="medium", note="Small ones.")

    read = ola.get(f"/policies/{made['number']}/").json()
    assert read == made
    assert (read["status"], read["ask_from"], read["note"]) == ("draft", "medium", "Small ones.")
    assert {name: read["rules"][0][name] for name in SMALL} == SMALL
    assert read["windows"][0]["opens"] == "09:00:00"


def test_what_is_left_out_stays(ola):
    made = drafted(ola, windows=[NIGHT])

    changed = ola.patch(f"/policies/{made['number']}/", {"flow": "deny"}).json()

    assert (changed["flow"], len(changed["rules"]), len(changed["windows"])) == ("deny", 1, 1)
    assert changed["content_digest"] != made["content_digest"]


@pytest.mark.parametrize(
    ("changes", "field", "told"),
    [
        ({"condition": "args.amount >"}, "rules.1.condition", "column 14"),
        ({"condition": "args.amont > 5.0"}, "rules.1.condition", "no argument 'amont'"),
        ({"condition": "args.amount > 'five'"}, "rules.1.condition", "no meaning between"),
        ({"condition": "wallet > 5"}, "rules.1.condition", "there is no 'wallet'"),
        ({"tool": "refnd"}, "rules.1.tool", "refund"),
        ({"outcome": "ask", "group": "nobody"}, "rules.1.group", "There is no group"),
        (
            {"condition": "'blocked' in listed.amount"},
            "rules.1.condition",
            "There is no list of destinations 'blocked'",
        ),
        ({"outcome": "defer"}, "rules.1.window", "Name the window"),
        ({"outcome": "shout"}, "rules.1.outcome", "not a valid choice"),
        ({"name": "small"}, "rules.1.name", "two rules"),
        ({"colour": "red"}, "rules.1.colour", "no such field"),
    ],
)
def test_a_fault_is_told_at_its_place(ola, changes, field, told):
    made = drafted(ola)

    answer = ola.patch(f"/policies/{made['number']}/", {"rules": [SMALL, {**SMALL, "name": "other", **changes}]})

    assert answer.status_code == 400
    (fault,) = answer.json()["errors"]
    assert fault["field"] == field
    assert told in fault["detail"]
    assert len(ola.get(f"/policies/{made['number']}/").json()["rules"]) == 1


def test_a_weaker_one_is_proposed_and_published_by_another_person(ola, olga):
    made = drafted(ola)

    proposed = published(ola, made).json()
    again = published(ola, made)
    second = published(olga, made).json()

    assert (proposed["status"], proposed["proposed_by"]) == ("proposed", "ola")
    assert "lets calls run" in proposed["why_weaker"][0]
    assert again.status_code == 409
    assert "another person" in again.json()["detail"]
    assert (second["status"], second["published_by"]) == ("published", "olga")
    assert versions.in_force().version == f"policy-{made['number']}"


def test_a_stricter_one_needs_nobody_else(ola):
    made = drafted(ola, rules=[{**SMALL, "outcome": "deny"}])

    assert published(ola, made).json()["status"] == "published"


def test_what_was_changed_since_one_looked_is_not_published(ola):
    made = drafted(ola, rules=[{**SMALL, "outcome": "deny"}])
    ola.patch(f"/policies/{made['number']}/", {"ask_from": "low"})

    answer = published(ola, made)

    assert answer.status_code == 409
    assert "Look again" in answer.json()["detail"]


def test_a_published_one_is_never_changed(ola):
    made = drafted(ola, rules=[{**SMALL, "outcome": "deny"}])
    published(ola, made)

    answer = ola.patch(f"/policies/{made['number']}/", {"rules": []})

    assert answer.status_code == 409
    assert "Make a draft of it" in answer.json()["detail"]


def test_who_may_only_draft_does_not_publish(ola):
    drafter = cast.person("dora")
    drafter.user_permissions.set(
        cast.Group.objects.get(name=roles.OPERATOR).permissions.exclude(codename="publish_policy")
    )
    dora = cast.caller(drafter)

    answer = published(dora, drafted(dora))

    assert answer.status_code == 403
    assert "tools.publish_policy" in answer.json()["detail"]


def test_a_draft_is_tried_live_and_discarded(ola):
    made = drafted(ola)

    on = ola.post(f"/policies/{made['number']}/shadow/", {"on": True}).json()
    gone = ola.post(f"/policies/{made['number']}/discard/").json()

    assert on["shadow"]
    assert on["shadow_since"]
    assert (gone["status"], gone["shadow"]) == ("discarded", False)


def test_a_simulation_is_followed_at_its_address(ola):
    made = drafted(ola)

    asked = ola.post("/policies/simulate/", {"policy": made["number"], "filters": {"tool": "refund"}})
    simulating.carry(asked.json()["id"])
    done = ola.get(asked["Location"].removeprefix("/api/v1")).json()

    assert asked.status_code == 202
    assert (done["status"], done["policy"], done["filters"]) == ("done", made["number"], {"tool": "refund"})
    assert done["found"]["matched_nothing"] == ["small"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, ""),
        ({"policy": 1, "content": {}}, ""),
        ({"content": {"rules": [{**SMALL, "condition": "nothing"}]}}, "content.rules.0.condition"),
        ({"content": {}, "filters": {"colour": "red"}}, "filters.colour"),
    ],
)
def test_what_cannot_be_simulated_says_why(ola, body, field):
    answer = ola.post("/policies/simulate/", body)

    assert answer.status_code == 400
    assert [fault["field"] for fault in answer.json()["errors"]] == [field]


def test_facts_are_documented(ola):
    told = ola.get("/policies/facts/").json()

    assert [each["name"] for each in told] == list(facts.FACTS)
    assert {each["name"] for each in told if each["on_demand"]} == set(facts.ON_DEMAND)


def test_labels_of_a_tool_are_switched(ola):
    changed = ola.patch("/tools/refund/", {"family": "payments", "brings": [], "sinks": {"amount": {"kind": "amount"}}})
    wrong = ola.patch("/tools/refund/", {"sinks": {"iban": {"kind": "destination"}}})

    assert (changed.json()["family"], changed.json()["sinks"]) == ("payments", {"amount": {"kind": "amount"}})
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (400, "sinks")


def test_every_outcome_can_be_posted(ola):
    rules = [
        {
            "name": outcome.value,
            "outcome": outcome.value,
            "says": "So.",
            "window": "office" if outcome == "defer" else "",
        }
        for outcome in Outcome
    ]

    assert len(drafted(ola, rules=rules, windows=[NIGHT])["rules"]) == len(Policy.objects.get().rules.all()) == 6
