"""Rules that decisions suggest: only what people approved as it was asked, and never by themselves."""

import datetime as dt
from dataclasses import replace
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from runs.policies import simulating, suggesting
from runs.policies.suggesting import Decided, suggest
from tests.admin import cast as admin_cast
from tests.policies import cast
from tests.runs.cast import decide, person, request_of
from tools.models import Policy
from tools.policies import versions
from tools.policies.values import Outcome

NOW = dt.datetime(2026, 1, 5, 9, tzinfo=dt.UTC)


def approved(*amounts: float, by: str = "ann") -> list[Decided]:
    return [Decided("pay", {"amount": each, "order": "A-1"}, True, "approved", by, "", "1") for each in amounts]


def against(amount: float, verdict: str = "rejected") -> Decided:
    return Decided("pay", {"amount": amount, "order": "A-1"}, False, verdict, "bob", "Too much.", "2")


TWELVE = [*approved(*range(5, 35, 5)), *approved(*range(20, 50, 5), by="bob")]


def test_all_that_were_approved_by_two_suggest_a_rule():
    made = suggest("pay", TWELVE, NOW)

    assert made is not None
    assert made.says == "12 of 12 pay up to 45 amount approved unedited by 2 people"
    assert (made.rule.scope.tool, made.rule.outcome) == ("pay", Outcome.NOTIFY)
    assert made.rule.condition == (
        "double(args.amount) >= 0.0 && double(args.amount) <= 45.0 && args.order == \"A-1\" && tool.risk != 'critical'"
    )
    assert made.rule.expires_at == NOW + suggesting.EXPIRES_AFTER


def test_what_was_another_each_time_is_left_open_and_said_to_be():
    rows = [replace(each, arguments={**each.arguments, "order": f"A-{place}"}) for place, each in enumerate(TWELVE)]

    made = suggest("pay", rows, NOW)

    assert made is not None
    assert made.free == ["order"]
    assert "args.order" not in made.rule.condition


@pytest.mark.parametrize("verdict", ["rejected", "modified"])
def test_the_bound_stays_below_the_first_decision_against_it(verdict):
    made = suggest("pay", [*TWELVE, *approved(80), against(70, verdict), against(500)], NOW)

    assert made is not None
    assert (made.argument, made.bound, made.approvals) == ("amount", Decimal(45), 12)
    assert made.says == "12 of 12 pay up to 45 amount approved unedited by 2 people"
    assert [each.arguments["amount"] for each in made.counter_examples] == [70, 500]


@pytest.mark.parametrize(
    "rows",
    [
        TWELVE[:9],  # too few
        approved(*range(1, 30)),  # one person's habit
        [*TWELVE, against(5)],  # rejected within
        [*TWELVE, Decided("pay", {"order": "A-1"}, False, "rejected", "bob", "No.", "2")],  # no number tells them apart
    ],
    ids=["few", "one person", "rejected within", "nothing to bound"],
)
def test_less_than_that_suggests_nothing(rows):
    assert suggest("pay", rows, NOW) is None


@pytest.fixture
def decisions(model, ann: User, bob: User) -> User:
    """Six payments that bob approved and six that cleo did; bob rejected one of 400."""
    cast.desk()
    cleo = person("cleo", decides=True)
    for place, run in enumerate(cast.paid(ann, *[10 + each for each in range(12)])):
        decide(request_of(run), bob if place % 2 else cleo)
    decide(request_of(cast.paid(ann, 400)[0]), bob, "rejected", reason="Too much.")
    return bob


@pytest.mark.django_db(transaction=True)
def test_a_suggestion_is_taken_into_a_draft_and_nothing_else_happens(decisions, ann):
    olga = admin_cast.operator()
    page, client = reverse("admin:tools_policy_suggestions"), Client()
    client.force_login(olga)

    shown = client.get(page).content.decode()
    client.post(page, {"key": suggesting.suggestions()[0].key})

    draft = Policy.objects.get()
    assert "12 of 12 pay_out up to 21 amount approved unedited by 2 people" in shown
    assert "rejected by bob" in shown
    assert (draft.status, versions.in_force().version) == ("draft", "built-in-1")
    asked = simulating.ask(draft, by=olga)
    simulating.carry(asked.pk)
    asked.refresh_from_db()
    assert (asked.found().approvals_fewer, asked.found().flips) == (12, 12)
    assert versions.publish(draft, by=olga).status == "proposed"


@pytest.mark.django_db(transaction=True)
def test_what_needed_four_eyes_suggests_nothing(model, ann, bob):
    cast.desk()
    cast.in_force(four_eyes_from="low", by=ann, second=bob)
    cleo = person("cleo", decides=True)
    for place, run in enumerate(cast.paid(ann, *range(12))):
        decide(request_of(run), bob if place % 2 else cleo)

    assert suggesting.suggestions() == []


@pytest.mark.django_db
def test_the_command_lists_them(capsys):
    from django.core.management import call_command

    call_command("suggest_rules")

    assert "suggest nothing yet" in capsys.readouterr().out
