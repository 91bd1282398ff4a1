"""Rules, taught requests and fits as an operator moves them."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from agents.models import Exemplar, RoutingFit, RoutingRule
from tests.admin import cast
from tests.admin.cast import Everything


def typed(everything: Everything, **changes: object) -> dict[str, object]:
    form = {
        "name": "late orders",
        "priority": "5",
        "active": "on",
        "condition": 'text.contains("late")',
        "agent": everything.agent.pk,
        "template": "",
    }
    return form | changes


def test_an_operator_makes_a_rule(everything: Everything, operating: Client, olga: User) -> None:
    page = operating.post(cast.add_url(RoutingRule), typed(everything))

    rule = RoutingRule.objects.get(name="late orders")
    assert page.status_code == 302
    assert (rule.agent, rule.priority, rule.created_by) == (everything.agent, 5, olga)
    told = cast.platform_events("routing_rule_saved")[-1]
    assert (told["actor"], told["target"]) == ("user:olga", "orders")


@pytest.mark.parametrize(
    ("changes", "column", "sentence"),
    [
        ({"condition": "text.contains("}, "condition", ""),
        ({"condition": "body == 1"}, "condition", "there is no 'body'"),
        ({"agent": ""}, "agent", "plan template"),
        ({"template": "compare"}, "template", "not both"),
        ({"name": "refunds"}, "name", "already exists"),
    ],
)
def test_a_rule_that_cannot_work_comes_back_with_its_fault(
    changes: dict[str, str], column: str, sentence: str, everything: Everything, operating: Client
) -> None:
    page = operating.post(cast.add_url(RoutingRule), typed(everything, **changes))

    errors = page.context["adminform"].form.errors
    assert list(errors) == [column]
    assert sentence in errors[column][0]
    assert RoutingRule.objects.count() == 1


def test_a_rule_is_edited_and_deleted_with_an_event_each(everything: Everything, operating: Client) -> None:
    rule = RoutingRule.objects.get()

    operating.post(cast.change_url(rule), typed(everything, active=""))
    operating.post(cast.delete_url(rule), {"post": "yes"})

    assert not RoutingRule.objects.exists()
    assert cast.platform_events("routing_rule_saved")[-1]["active"] is False
    assert cast.platform_events("routing_rule_deleted")[-1]["rule"] == "late orders"


def test_a_request_is_taught_moved_and_forgotten(everything: Everything, operating: Client, olga: User) -> None:
    text = Exemplar.objects.get().text

    operating.post(cast.add_url(Exemplar), {"agent": everything.agent.pk, "text": f" {text} "})

    moved = Exemplar.objects.get()
    assert (moved.agent, moved.taught_by) == (everything.agent, olga)
    operating.post(cast.delete_url(moved), {"post": "yes"})
    assert not Exemplar.objects.exists()
    assert cast.platform_events("exemplar_forgotten")[-1]["agent"] == "orders"


def test_an_empty_request_comes_back_with_its_fault(everything: Everything, operating: Client) -> None:
    page = operating.post(cast.add_url(Exemplar), {"agent": everything.agent.pk, "text": "  "})

    assert list(page.context["adminform"].form.errors) == ["text"]


def test_a_fit_tells_how_well_it_does(everything: Everything, operating: Client) -> None:
    page = operating.get(cast.change_url(RoutingFit.objects.get()))

    assert "too few" in page.content.decode()
