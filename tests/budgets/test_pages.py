"""Budgets as people see them: set in the admin, told on the home and health pages, listed by the API."""

from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from orchestrator_site.core import roles, tokens
from orchestrator_site.core.models import Event
from runs.models import Budget
from tests.budgets.cast import Payer, budget, person
from tests.runs.cast import agent, carry_all, script, start, text

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def operator(client):
    user = person("olga", roles.OPERATOR)
    user.is_staff = True
    user.save()
    client.force_login(user)
    return client


def posted(**changes):
    return {"level": "global", "period": "day", "zone": "Europe/Berlin", "cap_usd": "5", "active": "on"} | changes


def test_an_operator_sets_a_budget_and_it_is_told(operator, model):
    operator.post(reverse("admin:runs_budget_add"), posted())

    made = Budget.objects.get()
    assert (made.level, made.zone, made.cap_usd) == ("global", "Europe/Berlin", Decimal(5))
    assert Event.objects.get(chain="platform", type="budget_saved").actor == "user:olga"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"zone": "Mars/Olympus"}, "There is no time zone"),
        ({"cap_usd": "-1"}, "A cap is zero or more"),
        ({"level": "user"}, "the budget of an user names one"),
        ({"level": "agent"}, "Name the agent"),
        ({"level": "app", "owner": "ann"}, "ann is no app: choose user"),
        ({"owner": "ann"}, "Leave it empty: this level is global"),
    ],
)
def test_what_cannot_be_a_budget_is_refused_at_its_field(operator, model, ann, changes, told):
    if "owner" in changes:
        changes = changes | {"owner": str(ann.pk)}

    page = operator.post(reverse("admin:runs_budget_add"), posted(**changes))

    assert told in page.content.decode()
    assert not Budget.objects.exists()


def test_how_it_stands_is_told_of_one_that_there_is(operator, model):
    agent()
    daily = budget(cap="0.5")

    assert "Spent and drawn now" not in operator.get(reverse("admin:runs_budget_add")).content.decode()
    assert "Spent and drawn now" in operator.get(reverse("admin:runs_budget_change", args=[daily.pk])).content.decode()
    assert "$0.50" in operator.get(reverse("admin:runs_budget_changelist")).content.decode()


def test_a_cap_lowered_on_the_page_takes_back_what_was_drawn(operator, model, ann):
    agent()
    daily = budget(cap="32")
    payer = Payer(start(ann, "x"))
    payer.reserve("0.01")

    operator.post(reverse("admin:runs_budget_change", args=[daily.pk]), posted(cap_usd="0.015", zone="UTC"))

    assert daily.periods.get().granted_usd == Decimal("0.01")
    assert not isinstance(payer.reserve("0.01"), list)


@pytest.mark.parametrize("another", [{"zone": "Asia/Tokyo"}, {"period": "month"}])
def test_what_a_budget_counts_in_stays_as_it_is_since_it_would_begin_anew(operator, model, ann, another):
    agent()
    daily = budget(cap="0.03")
    Payer(start(ann, "x")).reserve("0.02")
    page = reverse("admin:runs_budget_change", args=[daily.pk])

    operator.post(page, posted(zone="UTC", cap_usd="0.03") | another)

    daily.refresh_from_db()
    assert (daily.zone, daily.period) == ("UTC", "day")
    assert not isinstance(Payer(start(ann, "y")).reserve("0.02"), list)
    assert "switch this one off and make another" in operator.get(page).content.decode()


def test_one_that_is_switched_off_makes_room_for_another_and_for_one_alone(operator, model):
    daily = budget(cap="5")
    operator.post(reverse("admin:runs_budget_add"), posted(zone="Asia/Tokyo"))
    assert Budget.objects.get() == daily
    operator.post(reverse("admin:runs_budget_change", args=[daily.pk]), {"level": "global", "cap_usd": "5"})

    operator.post(reverse("admin:runs_budget_add"), posted(zone="Asia/Tokyo"))
    page = operator.post(reverse("admin:runs_budget_change", args=[daily.pk]), posted(cap_usd="6"))

    assert list(Budget.objects.active().values_list("zone", flat=True)) == ["Asia/Tokyo"]
    assert "There is one of these for them already" in page.content.decode()


def test_the_pages_show_how_it_stands(operator, model, ann):
    agent()
    daily = budget(cap="32")
    carry_all(start(ann, script(text("Hello."))))

    for url in (
        reverse("admin:runs_budget_changelist"),
        reverse("admin:runs_budget_change", args=[daily.pk]),
        reverse("admin:runs_budgetperiod_changelist"),
    ):
        assert "of 32.0000 USD" in operator.get(url).content.decode()


@pytest.mark.parametrize("page", ["runs_budget_changelist", "runs_budgetperiod_changelist"])
def test_a_list_costs_the_same_however_long_it_is(operator, model, ann, page):
    agent()
    budget()
    Payer(start(ann, "x")).reserve("0.01")

    def queries():
        with CaptureQueriesContext(connection) as asked:
            assert operator.get(reverse(f"admin:{page}")).status_code == 200
        return len(asked)

    few = queries()
    for each in ({"level": "user", "owner": ann}, {"level": "agent", "agent": "worker"}, {"period": "month"}):
        budget(**each)
    Payer(start(ann, "y")).reserve("0.01")

    assert queries() == few


def test_home_and_health_tell_of_a_budget_nearly_used_up_and_of_no_other(operator, model, ann):
    agent()
    budget(cap="32")
    assert "Budgets nearly used up" not in operator.get("/").content.decode()
    budget("agent", agent="worker", cap="0.001")

    carry_all(start(ann, script(text("Hello."))))
    Payer(start(ann, "x"), number=1).reserve("0.001")

    for url in ("/", "/ops/"):
        page = operator.get(url).content.decode()
        assert page.count("The agent worker, each day") == 1
        assert "The whole installation" not in page
        assert "runs wait for it" in page


def test_the_api_lists_how_they_stand(client, model, ann):
    agent()
    budget(cap="32")
    budget("agent", agent="worker", cap="1", period="run")
    payer = Payer(start(ann, "x"))
    payer.reserve("0.02")
    payer.settle("0.01")
    payer.reserve("0.02")
    user = person("ola", roles.OPERATOR)
    _, secret = tokens.create(user, ["runs:read"], by=None)

    told = client.get("/api/v1/budgets/", headers={"Authorization": f"Bearer {secret}"}).json()["results"]

    whole, each_run = told
    assert (whole["whose"], whole["level"], whole["cap_usd"]) == ("the whole installation", "global", "32.000000000")
    assert (whole["spent_usd"], whole["held_usd"]) == ("0.010000000", "0.990000000")
    assert whole["reserved_usd"] == "0.020000000"
    assert (each_run["period"], each_run["refills_at"]) == ("run", None)
