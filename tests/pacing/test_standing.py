"""How rates and places stand, told on the health page."""

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from agents import roster
from orchestrator_site.core import roles
from runs import leases, states
from runs.models import Dispatch, PlaceLimit, RateBucket, RateLimit
from runs.models.pacing import EACH
from runs.pacing import admitting, standing
from runs.pacing.deeds import Deed
from tests.api import cast as api
from tests.runs.cast import agent, call, carry_all, script, start, text, tool

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("model")]


@pytest.fixture
def echoing():
    tool("echo", "tests.echo")
    agent("worker", "echo")


def rate(count, scope="tool", name="echo", **more):
    return RateLimit.objects.create(scope=scope, name=name, count=count, per_seconds=3600, **more)


def echoes(ann):
    return carry_all(start(ann, script(call(("echo", {})), text("done"))))


def told():
    return {str(each.limit): [(name.name, name.used, name.waiting) for name in each.names] for each in of_now()}


def of_now():
    return standing.now(roster.today())


def test_what_is_left_of_a_rate_and_who_waits_for_it(ann, echoing):
    rate(3, burst=2)
    assert told() == {"3 calls of tool echo in an hour": []}

    for _ in range(4):
        echoes(ann)

    assert told() == {"3 calls of tool echo in an hour": [("echo", 2, 2)]}
    [each] = of_now()
    assert (each.most, [left for _, left in each.shown]) == (2, [0])
    first = Dispatch.objects.filter(status=states.WAITING).earliest("due_at")
    assert each.names[0].next_at == first.due_at


def test_a_bucket_that_is_full_again_is_not_told(ann, echoing):
    rate(3)
    echoes(ann)
    RateBucket.objects.update(spent_to="2020-01-01T00:00Z")

    assert told() == {"3 calls of tool echo in an hour": []}


def test_apps_by_their_names_and_of_many_the_hardest_pressed(ann, bob, echoing):
    rate(2, scope="app", name=EACH)
    rate(9, scope="agent", name=EACH)
    roster.load()
    for n in range(6):
        with transaction.atomic():
            admitting.admit(Dispatch(), roster.today(), [Deed(ann.pk, f"agent-{n}", "echo")], waits=False)
    with transaction.atomic():
        admitting.admit(Dispatch(), roster.today(), [Deed(bob.pk, "agent-0", "echo")], waits=False)

    of_apps, of_agents = of_now()

    assert [(name.name, name.used) for name in of_apps.names] == [("ann", 2), ("bob", 1)]
    assert [(name.name, name.used) for name in of_agents.names] == [("agent-0", 2), ("agent-1", 1)]


def test_more_names_than_are_shown_are_counted(ann, echoing):
    rate(9, scope="agent", name=EACH)
    roster.load()
    for n in range(standing.NAMES_SHOWN + 3):
        with transaction.atomic():
            admitting.admit(Dispatch(), roster.today(), [Deed(ann.pk, f"agent-{n}", "echo")], waits=False)

    [each] = of_now()

    assert (len(each.names), each.others) == (standing.NAMES_SHOWN, 3)


def test_places_of_an_agent_and_of_a_tool_and_who_waits_for_them(ann, echoing):
    PlaceLimit.objects.create(scope="agent", name="worker", most=1)
    of_tool = PlaceLimit.objects.create(scope="tool", name=EACH, most=2)
    first, second = [start(ann, script(text("done"))).dispatches.get() for _ in range(2)]
    lease = leases.claim(first.pk)
    assert lease is not None
    assert leases.claim(second.pk) is None
    of_tool.places.create(key="echo", dispatch=first, fence=lease.fence)
    of_tool.places.create(key="echo", dispatch=second, fence=lease.fence)  # it is not at work: counts no longer

    assert told() == {"1 at once of agent worker": [("worker", 1, 1)], "2 at once of each tool": [("echo", 1, 0)]}


def test_it_costs_two_statements_however_much_there_is_and_none_where_there_are_no_limits(ann, echoing):
    def cost():
        served = roster.today()
        standing.now(served)
        with CaptureQueriesContext(connection) as captured:
            standing.now(served)
        return len(captured.captured_queries)

    assert cost() == 0
    rate(1)
    PlaceLimit.objects.create(scope="tool", name=EACH, most=2)
    assert cost() == 2
    rate(5, scope="agent", name=EACH)
    PlaceLimit.objects.create(scope="agent", name=EACH, most=2)
    for _ in range(3):
        echoes(ann)
    assert cost() == 2


def test_on_the_health_page(client, ann, echoing):
    client.force_login(api.person("ola", roles.OPERATOR))
    assert "Rates and places" not in client.get("/ops/").content.decode()
    it = rate(1, name="echo")
    echoes(ann), echoes(ann)

    page = " ".join(client.get("/ops/").content.decode().split())

    assert f'<a href="/admin/runs/ratelimit/{it.pk}/change/">1 call of tool echo in an hour</a>' in page
    assert '<b class="number">0</b> of 1 left' in page
    assert "next <time" in page
