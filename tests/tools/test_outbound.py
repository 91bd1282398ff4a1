"""Lists of destinations and rules of egress as rows: checked on their pages, recorded, and live at the next epoch."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.contrib.messages import get_messages
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import Client
from django.urls import reverse

from agents import roster
from agents.models import WorkerRoster
from orchestrator_site.core import roles
from orchestrator_site.core.models import Event
from tools import destinations, outbound
from tools.models import DestinationList, EgressRule
from tools.models import outbound as outbound_rows

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(client: Client) -> Client:
    user = User.objects.create_user("olivia", is_staff=True)
    user.groups.add(Group.objects.get(name=roles.OPERATOR))
    client.force_login(user)
    return client


def save(client: Client, table: str, **values: str) -> str:
    """The page that answers, as text: "" when it was saved."""
    answered = client.post(reverse(f"admin:tools_{table}_add"), values)
    return answered.content.decode() if answered.status_code == 200 else ""


def test_a_list_is_live_with_the_next_epoch(admin_client: Client) -> None:
    before = roster.database_epoch()

    said = save(
        admin_client, "destinationlist", name="customers", kind="domain", lines="good.com\r\n\r\n .Better.com \r\n"
    )

    assert said == ""
    assert roster.database_epoch() > before
    lists = roster.today().outbound.destinations
    assert destinations.current() == lists
    assert destinations.listing("a@good.com", lists) == ["customers"]
    assert destinations.listing(["x.better.com", "good.com"], lists) == ["customers"]
    assert destinations.listing("evil.com", lists) == []


def test_a_list_that_cannot_be_read_names_its_lines(operator: Client) -> None:
    said = save(operator, "destinationlist", name="customers", kind="email", lines="a@good.com\nb@evil.com, c\n\nAnn")

    assert "Line 2" in said
    assert "Line 4" in said
    assert "Line 1" not in said
    assert not DestinationList.objects.exists()


def test_a_rule_is_kept_in_one_spelling_and_recorded(operator: Client) -> None:
    assert save(operator, "egressrule", scheme="http", place="10.0.3.7", port="8080", note="the old shop") == ""
    assert save(operator, "egressrule", scheme="https", place=".Example.COM.", port="") == ""

    assert [str(row) for row in EgressRule.objects.all()] == ["https://.example.com:*", "http://10.0.3.7/32:8080"]
    assert len(roster.today().outbound.rules) == len(outbound.current().rules)
    told = [json.loads(event.data)["rule"] for event in Event.objects.filter(type="egress_rule_saved").order_by("pk")]
    assert told == ["http://10.0.3.7/32:8080", "https://.example.com:*"]


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("*.example.com", "write a host"),
        ("https://example.com", "neither a host alone nor a network"),
        ("10.0.0.1/8", "host bits set"),
        ("::ffff:10.0.0.0/104", "IPv4 in another spelling"),
        ("127.1", "four plain decimal parts"),
        ("good.com@evil.com", "not a valid host name"),
    ],
)
def test_a_place_that_is_none_is_told_with_the_way_out(operator: Client, place: str, sentence: str) -> None:
    assert sentence in save(operator, "egressrule", scheme="http", place=place, port="80")
    assert not EgressRule.objects.exists()


def test_a_rule_that_cannot_be_read_lets_nothing_through(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    settings.BATON_EGRESS = ["https://10.0.0.0/8:443", "example.com"]
    EgressRule.objects.create(place="any.where:80")

    [rule] = outbound_rows.read().rules

    assert str(rule.place) == "10.0.0.0/8"
    assert "any.where:80" in caplog.text
    with pytest.raises(SystemCheckError, match="written as scheme://place:port"):
        call_command("check")


def test_reading_them_costs_two_queries_and_asking_none(django_assert_num_queries: Any) -> None:
    roster.load()
    with django_assert_num_queries(2):
        outbound_rows.read()
    with django_assert_num_queries(0):
        destinations.current()


def test_health_says_where_tools_can_run_without_a_network(operator: Client) -> None:
    told = {True: "can run", False: "refused: the kernel makes no namespace"}
    for isolates, sentence in told.items():
        WorkerRoster.objects.update_or_create(
            worker="w1", defaults={"host": "here", "pid": 1, "epoch": 1, "isolates": isolates}
        )

        assert sentence in operator.get("/ops/").content.decode()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://10.0.0.9/pay", "An egress rule like http://10.0.0.9/32:80 would allow it."),
        ("http://metadata.google.internal/x", "no rule allows it"),
        ("https://pay.example.com/", ""),
    ],
)
def test_whoever_defines_a_tool_is_told_that_its_calls_will_be_refused(
    admin_client: Client, url: str, sentence: str
) -> None:
    values = {
        "name": "pay",
        "risk": "high",
        "description": "Pay.",
        "input_schema": '{"type": "object"}',
        "executor": "http",
        "config": json.dumps({"method": "POST", "url": url}),
        "effect": "unsafe",
        "timeout_seconds": "5",
        "result_limit_bytes": "1000",
    }

    answered = admin_client.post(reverse("admin:tools_toolversion_add"), values)

    told = " ".join(str(message) for message in get_messages(answered.wsgi_request))
    assert "pay v1 is the current version" in told
    assert ("Its calls will be refused" in told) == bool(sentence)
    assert sentence in told
