"""Every page of the admin: who sees it, who edits it, and how many queries a list costs."""

from collections.abc import Callable, Iterator

import pytest
from django.conf import LazySettings
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django import DjangoDbBlocker

from agents.models import (
    Agent,
    Exemplar,
    FailureRule,
    Manifest,
    ModelEntry,
    OrderingRule,
    RosterEpoch,
    RoutingFit,
    RoutingRule,
    Transition,
    WorkerRoster,
)
from approvals.models import ApprovalRequest, Decision, StandingApproval
from orchestrator_site.core.models import ChainHead, Checkpoint, Event, IdempotencyKey, Observation, Restoration, Token
from runs.models import (
    Account,
    Allotment,
    AppShare,
    Artifact,
    Attempt,
    BoardEntry,
    Breaker,
    Budget,
    BudgetPeriod,
    ContextView,
    Conversation,
    Dispatch,
    Handoff,
    Message,
    Node,
    Place,
    PlaceLimit,
    Plan,
    PlanTemplate,
    RateBucket,
    RateLimit,
    Route,
    Routing,
    Run,
    Step,
    Switch,
    ToolCall,
    WatchRule,
)
from tests import flush
from tests.admin import cast
from tests.admin.cast import Everything
from tools.models import DestinationList, EgressRule, Tool, ToolVersion

pytestmark = pytest.mark.django_db

GROUND = [Event, ChainHead, Checkpoint, Restoration, Observation, IdempotencyKey, Token]
ROUTES = [RoutingRule, Exemplar, RoutingFit]
DESK = [
    *[Agent, Budget, FailureRule, Manifest, ModelEntry, OrderingRule, PlanTemplate],
    *[RosterEpoch, Transition, WatchRule, WorkerRoster],
]
WORK = [
    Account,
    Allotment,
    Artifact,
    Attempt,
    BoardEntry,
    BudgetPeriod,
    ContextView,
    Conversation,
    Dispatch,
    Handoff,
    Message,
    Node,
    Plan,
    Route,
    Routing,
    Run,
    Step,
    ToolCall,
]
PACE = [AppShare, Breaker, Place, PlaceLimit, RateBucket, RateLimit, Switch]
TOOLS = [Tool, ToolVersion, DestinationList, EgressRule]
ASKED = [ApprovalRequest, Decision, StandingApproval]
PEOPLE = [User, Group]
ALL = [*GROUND, *DESK, *ROUTES, *WORK, *PACE, *TOOLS, *ASKED]

# Nobody edits these here, an operator as little as a superuser.
NEVER_EDITED = [
    *[
        Event,
        ChainHead,
        Checkpoint,
        Restoration,
        Observation,
        IdempotencyKey,
        Token,
        Decision,
        ApprovalRequest,
        StandingApproval,
        ToolVersion,
    ],
    *[*WORK, Place, RateBucket, WorkerRoster, RosterEpoch, RoutingFit],
]


@pytest.fixture(scope="module")
def everything(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Everything]:
    """Made once for the tests of a module, which see it with `django_db` and change nothing that stays."""
    with flush.rows_of_a_module(django_db_blocker):
        yield Everything()


def test_every_table_of_the_platform_that_people_look_for_has_a_page() -> None:
    inner = {"blob", "edge", "budgetwait", "assent", "standinguse", "policyrule", "policywindow"}
    ours = {"core", "tools", "agents", "approvals", "runs"}
    tables = {table for table in admin.site._registry if table._meta.app_label in ours}

    from django.apps import apps

    missing = {table._meta.model_name for label in ours for table in apps.get_app_config(label).get_models()} - {
        table._meta.model_name for table in tables
    }
    assert missing <= inner


@pytest.mark.parametrize("table", ALL, ids=lambda table: table.__name__)
@pytest.mark.parametrize("who", ["operating", "auditing"])
def test_an_operator_and_an_auditor_open_every_page(
    who: str, table: type[Model], everything: Everything, request: pytest.FixtureRequest
) -> None:
    client: Client = request.getfixturevalue(who)
    row = everything.rows[table]

    assert client.get(cast.list_url(table)).status_code == 200
    assert client.get(cast.change_url(row)).status_code == 200


@pytest.mark.parametrize("table", [*ALL, *PEOPLE], ids=lambda table: table.__name__)
def test_a_superuser_opens_every_page(table: type[Model], everything: Everything, admin_client: Client) -> None:
    assert admin_client.get(cast.list_url(table)).status_code == 200
    assert admin_client.get(cast.change_url(everything.rows[table])).status_code == 200


def test_the_pages_of_a_draft_and_of_a_published_manifest_open(everything: Everything, operating: Client) -> None:
    for row in (everything.draft, everything.agent.published):
        assert operating.get(cast.change_url(row)).status_code == 200


@pytest.mark.parametrize(
    "table",
    [
        Agent,
        Budget,
        FailureRule,
        Manifest,
        ToolVersion,
        Tool,
        DestinationList,
        EgressRule,
        ModelEntry,
        OrderingRule,
        PlanTemplate,
        RoutingRule,
        Exemplar,
        AppShare,
        Breaker,
        PlaceLimit,
        RateLimit,
        Switch,
        WatchRule,
        Transition,
    ],
    ids=lambda t: t.__name__,
)
def test_an_operator_opens_the_form_of_a_new_row(table: type[Model], everything: Everything, operating: Client) -> None:
    assert operating.get(cast.add_url(table), follow=True).status_code == 200


@pytest.mark.parametrize("table", [*ALL, *PEOPLE], ids=lambda table: table.__name__)
@pytest.mark.parametrize("who", ["auditing", "approving"])
def test_whoever_only_looks_changes_nothing(
    who: str, table: type[Model], everything: Everything, request: pytest.FixtureRequest
) -> None:
    client: Client = request.getfixturevalue(who)
    row = everything.rows[table]

    assert client.get(cast.add_url(table)).status_code in {302, 403}
    assert client.get(cast.add_url(table), follow=True).status_code == 403
    assert client.post(cast.add_url(table), {}, follow=True).status_code == 403
    assert client.post(cast.change_url(row), {}).status_code == 403
    assert client.post(cast.delete_url(row), {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("table", NEVER_EDITED, ids=lambda table: table.__name__)
def test_rows_that_are_kept_as_written_accept_no_edit_from_anybody(
    table: type[Model], everything: Everything, admin_client: Client
) -> None:
    row = everything.rows[table]

    if table is not ToolVersion:  # adding one is defining a tool
        assert admin_client.get(cast.add_url(table)).status_code == 403
        assert admin_client.post(cast.add_url(table), {}).status_code == 403
    assert admin_client.post(cast.change_url(row), {}).status_code == 403
    assert admin_client.post(cast.delete_url(row), {"post": "yes"}).status_code == 403


def test_a_published_manifest_accepts_no_edit(everything: Everything, admin_client: Client) -> None:
    published = everything.agent.published

    assert admin_client.post(cast.change_url(published), {"title": "x"}).status_code == 403
    assert admin_client.post(cast.delete_url(published), {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("table", ALL, ids=lambda table: table.__name__)
def test_no_list_offers_to_delete_in_bulk(table: type[Model], everything: Everything, admin_client: Client) -> None:
    page = admin_client.get(cast.list_url(table))

    assert b"delete_selected" not in page.content


def test_an_approver_sees_requests_and_decisions_and_nothing_else(everything: Everything, approving: Client) -> None:
    seen = [table for table in [*ALL, *PEOPLE] if approving.get(cast.list_url(table)).status_code == 200]

    assert seen == [ApprovalRequest, Decision]


def test_whoever_has_no_role_sees_nothing(everything: Everything, client: Client) -> None:
    client.force_login(cast.person("nobody"))

    assert all(client.get(cast.list_url(table)).status_code == 403 for table in [*ALL, *PEOPLE])


def test_the_sidebar_holds_only_what_one_may_see(everything: Everything, approving: Client, operating: Client) -> None:
    few = approving.get(reverse("admin:index")).content.decode()
    many = operating.get(reverse("admin:index")).content.decode()

    assert cast.list_url(ApprovalRequest) in few
    assert cast.list_url(Tool) not in few
    assert all(cast.list_url(table) in many for table in (Agent, Tool, Run, Event, Token))
    assert 'href="/uncertain/"' in many


def test_an_operator_cannot_make_a_superuser(everything: Everything, client: Client) -> None:
    clerk = cast.person("clerk")
    clerk.user_permissions.set(Permission.objects.filter(codename__in=["view_user", "change_user"]))
    client.force_login(clerk)
    root = User.objects.get(username="root")

    page = client.get(cast.change_url(clerk)).content.decode()

    assert 'name="is_superuser"' not in page
    assert 'name="groups"' not in page
    assert client.post(cast.change_url(root), {"username": "mine"}).status_code == 403


# -- costs ---------------------------------------------------------------------------------------------------------

QUERIES = {
    Agent: 7,
    Manifest: 7,
    Tool: 7,
    Run: 7,
    ToolCall: 7,
    Dispatch: 7,
    Event: 8,
    ApprovalRequest: 7,
    Step: 7,
    Token: 7,
}


@pytest.mark.parametrize("table", QUERIES, ids=lambda table: table.__name__)
def test_a_list_costs_the_same_queries_however_long_it_is(
    table: type[Model], everything: Everything, operating: Client
) -> None:
    grow: dict[type[Model], Callable[[int], object]] = {
        Agent: lambda n: cast.at_work(f"agent-{n}"),
        Manifest: lambda n: cast.at_work(f"agent-{n}"),
        Tool: lambda n: cast.tool(f"tool_{n}"),
        Run: lambda n: cast.run(cast.person(f"p{n}"), "orders"),
        Dispatch: lambda n: cast.run(cast.person(f"p{n}"), "orders"),
        Token: lambda n: _token(n),
        Event: lambda n: cast.at_work(f"agent-{n}"),
    }

    few = _queries(operating, table)
    for number in range(5):
        grow.get(table, lambda n: None)(number)

    assert _queries(operating, table) == few
    assert few <= QUERIES[table]


def _token(number: int) -> object:
    from orchestrator_site.core import tokens

    return tokens.create(cast.person(f"p{number}"), ["runs:read"], by=None)


def _queries(client: Client, table: type[Model]) -> int:
    with CaptureQueriesContext(
        connection,
    ) as asked:
        assert client.get(cast.list_url(table)).status_code == 200
    return len(asked)


def test_the_list_of_events_never_counts_the_whole_log(everything: Everything, operating: Client) -> None:
    with CaptureQueriesContext(connection) as asked:
        operating.get(cast.list_url(Event))

    counts = [query["sql"] for query in asked if "COUNT(" in query["sql"]]
    assert counts
    assert all("LIMIT 10000" in sql for sql in counts)


@pytest.mark.parametrize(
    ("term", "found"),
    [("platform", True), ("tool_defined", True), ("system", True), ("no_such_type", False)],
)
def test_events_are_found_by_what_their_indexes_answer(
    term: str, found: bool, everything: Everything, operating: Client
) -> None:
    page = operating.get(cast.list_url(Event), {"q": term})

    assert bool(page.context["cl"].result_list) is found


def test_the_events_of_a_run_are_found_by_its_id(everything: Everything, operating: Client) -> None:
    page = operating.get(cast.list_url(Event), {"q": str(everything.run.pk)})

    assert {event.run_id for event in page.context["cl"].result_list} == {everything.run.pk}


def test_events_are_filtered_by_type(everything: Everything, operating: Client) -> None:
    page = operating.get(cast.list_url(Event), {"type": "tool_defined"})

    assert [event.type for event in page.context["cl"].result_list] == ["tool_defined"]


@pytest.mark.parametrize(
    "table", [Run, Dispatch, Step, ToolCall, Attempt, Handoff, Route, Routing, Artifact, Account, Conversation]
)
def test_rows_of_a_run_are_found_by_its_id(table: type[Model], everything: Everything, operating: Client) -> None:
    cast.run(everything.owner, "orders")

    page = operating.get(cast.list_url(table), {"q": str(everything.run.pk)})

    assert len(page.context["cl"].result_list) == 1


def test_rows_link_to_the_live_page_of_their_run(everything: Everything, operating: Client) -> None:
    live = reverse("runs:page", args=[everything.run.pk])

    for table in (Run, Dispatch, Step, ToolCall, Attempt, Handoff, ApprovalRequest):
        assert live in operating.get(cast.list_url(table)).content.decode()


def test_the_admin_says_that_the_demo_model_server_answers(operating: Client, settings: LazySettings) -> None:
    settings.ANTHROPIC_API_KEY, settings.BATON_DEMO_MODEL_URL = "", None
    assert "Demo model server" in operating.get(cast.list_url(Run)).content.decode()

    settings.ANTHROPIC_API_KEY = "a key"
    assert "Demo model server" not in operating.get(cast.list_url(Run)).content.decode()
