"""Whose turn it is, how many may be at once, and that neither starves anybody."""

import pytest
from django.contrib.auth.models import Permission
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from agents import roster
from orchestrator_site.core import roles
from runs import carrier, leases, reconcile, states
from runs.errors import BadRequest
from runs.models import AppShare, Attempt, Dispatch, Place, PlaceLimit, Run
from runs.pacing import admitting, places, turns
from runs.pacing.deeds import Deed
from runs.values import Lease
from tests.api import cast as api
from tests.runs.cast import agent, at_once, call, carry_all, only_call, script, start, text, tool
from tests.runs.meanwhile import elsewhere
from tests.runs.test_query_counts import statements
from tests.stack import Stack
from tests.waiting import PATIENCE_SECONDS, eventually

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("model")]


def held(lease: Lease | None) -> Lease:
    assert lease is not None
    return lease


@pytest.fixture
def workers():
    tool("echo", "tests.echo")
    agent("worker", "echo")
    agent("other", "echo")


def short(owner, agent="worker", **more):
    return start(owner, script(text("done")), agent, **more)


def part(run):
    return run.dispatches.get()


def claimed(called):
    """Whose run is taken by a worker that was called to this one."""
    lease = leases.claim_next(part(called).pk)
    return lease and lease.run_id


def limit(most, scope="agent", name="worker"):
    row = PlaceLimit.objects.create(scope=scope, name=name, most=most)
    roster.load()
    return row


# -- whose turn it is ----------------------------------------------------------------------------------------------
def test_among_equals_the_oldest_is_first_whoever_was_called(ann, workers):
    first, second, third = [short(ann) for _ in range(3)]

    assert [claimed(each) for each in (third, third, third)] == [first.pk, second.pk, third.pk]
    assert claimed(third) is None


def test_the_highest_priority_is_first(ann, workers):
    ann.user_permissions.add(Permission.objects.get(codename="prioritise_run"))
    ann = type(ann).objects.get(pk=ann.pk)
    low, plain, high = [short(ann, priority=priority) for priority in (-1, 0, 5)]

    assert [claimed(low) for _ in range(3)] == [high.pk, plain.pk, low.pk]


def test_an_app_with_less_at_work_comes_before_one_with_more(ann, bob, workers):
    of_ann = [short(ann) for _ in range(4)]
    of_bob = short(bob)

    assert [claimed(of_ann[-1]) for _ in range(3)] == [of_ann[0].pk, of_bob.pk, of_ann[1].pk]


def test_by_their_weights(ann, bob, workers):
    AppShare.objects.create(app=ann, weight=2)
    mine = [short(ann) for _ in range(6)]
    [short(bob) for _ in range(3)]

    taken = [Run.objects.get(pk=claimed(mine[0])).owner_id == ann.pk for _ in range(6)]

    assert taken.count(True) == 4


def test_one_that_is_handed_on_goes_behind_those_who_wait(ann, workers):
    first, second = short(ann), short(ann)
    leases.hand_on(held(leases.claim_next(part(first).pk)))

    assert claimed(first) == second.pk


def test_what_a_gone_worker_left_is_taken_by_who_was_called_to_it(ann, workers):
    gone, waiting = short(ann), short(ann)
    assert claimed(gone) == gone.pk
    Dispatch.objects.filter(run=gone).update(lease_until="2020-01-01T00:00Z")

    assert claimed(gone) == gone.pk
    assert part(waiting).status == states.QUEUED


def test_many_at_once_take_one_each(ann, workers):
    runs = [short(ann) for _ in range(8)]

    taken = at_once(lambda: claimed(runs[0]) or claimed(runs[1]), 8)

    assert len({run for run in taken if run}) == len([run for run in taken if run])


def test_a_claim_costs_as_many_statements_as_of_the_one_that_was_called(ann, workers):
    claimed(short(ann))  # the roster is in memory now

    def cost(claim):
        run = short(ann)
        called = part(run).pk
        with CaptureQueriesContext(connection) as captured:
            assert claim(called)
        return len(statements([query["sql"] for query in captured.captured_queries]))

    assert cost(leases.claim_next) == cost(leases.claim)


def test_an_app_comes_after_others_and_never_before_them(ann, workers):
    for priority, told in ((1, "not before them"), (11, "from -10 to 10")):
        with pytest.raises(BadRequest) as error:
            short(ann, priority=priority)
        assert told in error.value.faults["priority"]
    assert short(ann, priority=-1).priority == -1


def test_a_priority_by_the_api(ann, workers):
    ola = api.caller(api.person("ola", roles.OPERATOR))

    answer = ola.post("/runs/", {"input": "Hello", "agent": "worker", "priority": 3})

    assert answer.status_code == 201
    assert Dispatch.objects.get(run_id=answer.json()["id"]).priority == 3
    assert ola.post("/runs/", {"input": "Hello", "agent": "worker", "priority": 30}).status_code == 400


NOT_FAIR = """
CREATE OR REPLACE FUNCTION runs_next_up(called uuid, readable integer) RETURNS uuid LANGUAGE sql AS 'SELECT called'
"""


def taken_before(stack: Stack, ann, bob, many: int) -> int:
    """One run of bob after many of ann: how many of hers were taken up before it."""
    for _ in range(many):
        short(ann)
    of_bob = short(bob)
    stack.start_worker()
    eventually(lambda: Run.objects.get(pk=of_bob.pk).is_final)
    return Dispatch.objects.filter(app=ann.pk, started_at__lt=part(of_bob).started_at).count()


@pytest.mark.crash
def test_an_app_that_asks_for_much_does_not_starve_another(stack: Stack, ann, bob, workers):
    assert taken_before(stack, ann, bob, 300) < 100


@pytest.mark.crash
def test_control_in_the_order_of_the_calls_the_other_is_last(stack: Stack, ann, bob, workers):
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_functiondef('runs_next_up'::regproc)")
        (fair,) = cursor.fetchone()
        cursor.execute(NOT_FAIR)
    try:
        assert taken_before(stack, ann, bob, 300) > 250
    finally:
        stack.send_guests_home()
        with connection.cursor() as cursor:
            cursor.execute(fair)


# -- how many at once ----------------------------------------------------------------------------------------------
def test_a_dispatch_over_its_agents_limit_is_not_taken_and_says_why_it_waits(ann, workers):
    limit(1)
    first, second, other = short(ann), short(ann), short(ann, "other")
    lease = held(leases.claim(part(first).pk))

    assert leases.claim(part(second).pk) is None
    waiting = part(second)
    assert (waiting.status, waiting.fence) == (states.WAITING, 0)
    assert waiting.waiting_on == "a free place of agent worker: 1 at once, and all are taken"
    assert leases.claim(part(other).pk)

    assert turns.call_held() == 0
    leases.hand_on(lease)
    assert turns.call_held() == 1
    assert carry_all(second).status == states.SUCCEEDED


def test_whoever_is_claimed_at_once_no_more_are_at_work_than_may_be(ann, workers):
    limit(3)
    parts = iter([part(short(ann)).pk for _ in range(12)])

    leased = at_once(lambda: leases.claim(next(parts)), 12)

    assert len([lease for lease in leased if isinstance(lease, leases.Lease)]) == 3
    assert Dispatch.objects.filter(status=states.WORKING).count() == 3


def test_control_counted_without_a_lock_more_are_at_work(ann, workers, monkeypatch):
    limit(3)
    parts = iter([part(short(ann)).pk for _ in range(12)])
    monkeypatch.setattr(places, "_lock", set)

    at_once(lambda: leases.claim(next(parts)), 12)

    assert Dispatch.objects.filter(status=states.WORKING).count() > 3


@pytest.mark.parametrize(("scope", "name"), [("tool", "echo"), ("model", "scripted"), ("host", "127.0.0.1")])
def test_a_call_over_its_limit_waits_for_a_free_place(scope, name, ann, workers):
    row = limit(1, scope, name)
    busy = short(ann)
    lease = held(leases.claim(part(busy).pk))
    Place.objects.create(limit=row, key=name, dispatch_id=lease.dispatch_id, fence=lease.fence)
    run = carry_all(start(ann, script(call(("echo", {})), text("done"))))

    waiting = part(run)
    assert (waiting.status, waiting.lease_owner) == (states.WAITING, "")
    assert waiting.waiting_on == f"a free place of {scope} {name}: 1 at once, and all are taken"
    assert not Attempt.objects.exists()

    leases.hand_on(lease)
    assert turns.call_held() == 1
    assert carry_all(run).status == states.SUCCEEDED
    if scope == "tool":
        assert only_call(run).status == states.DONE


def test_a_call_takes_a_place_of_each_of_its_limits_or_of_none(ann, workers):
    """A server with room for two, and a model on it that may have both."""
    of_host, of_model = limit(2, "host", "127.0.0.1"), limit(1, "model", "scripted")
    leased = [held(leases.claim(part(short(ann)).pk)) for _ in range(3)]
    dispatches = [Dispatch.objects.get(pk=lease.dispatch_id) for lease in leased]
    here, away = Deed(1, "worker", host="127.0.0.1", model="scripted"), Deed(1, "worker", host="h", model="scripted")
    sibling = Deed(1, "worker", host="127.0.0.1", model="another")

    def waits_for(dispatch, deed):
        with transaction.atomic():
            (hold,) = admitting.admit(dispatch, roster.current(), [deed], waits=False)
        return hold and hold.by

    assert waits_for(dispatches[0], here) is None
    assert waits_for(dispatches[1], here) == f"place:{of_model.pk}:scripted"
    assert waits_for(dispatches[1], away) == f"place:{of_model.pk}:scripted"
    assert waits_for(dispatches[1], sibling) is None
    assert waits_for(dispatches[2], sibling) == f"place:{of_host.pk}:127.0.0.1"
    assert sorted(Place.objects.values_list("key", flat=True)) == ["127.0.0.1", "127.0.0.1", "scripted"]


def test_places_are_free_again_with_the_next_thing_that_is_begun(ann, workers):
    limit(1, "model", "scripted")
    limit(1, "tool", "echo")

    for _ in range(2):
        assert carry_all(start(ann, script(call(("echo", {})), call(("echo", {})), text("done")))).status == "succeeded"


def switched_off(row):
    row.active = False
    row.save()


@pytest.mark.parametrize("take_away", [switched_off, PlaceLimit.delete])
def test_the_last_limit_that_is_taken_away_holds_nobody_up(take_away, ann, workers):
    row = limit(1)
    first, second = short(ann), short(ann)
    leases.claim(part(first).pk)
    assert leases.claim(part(second).pk) is None

    take_away(row)
    reconcile.sweep()

    assert part(second).status == states.QUEUED
    assert carrier.carry(part(second).pk)


@pytest.mark.parametrize("take_away", [switched_off, PlaceLimit.delete])
@pytest.mark.parametrize(("scope", "name"), [("agent", "worker"), ("model", "scripted")])
def test_who_has_not_read_yet_that_a_limit_is_gone_does_not_wait_for_it(scope, name, take_away, ann, workers):
    row = limit(1, scope, name)
    busy, other = short(ann), short(ann)
    lease = held(leases.claim(part(busy).pk))
    Place.objects.create(limit=row, key=name, dispatch_id=lease.dispatch_id, fence=lease.fence)
    read_before = places.limits(roster.current())
    take_away(PlaceLimit.objects.get())
    roster.load().keep("places", lambda: read_before)

    carrier.carry(part(other).pk)

    assert Run.objects.get(pk=other.pk).status == states.SUCCEEDED


def test_a_limit_that_lets_more_in_is_asked_again_at_once(ann, workers):
    row = limit(1)
    first, second = short(ann), short(ann)
    leases.claim(part(first).pk)
    assert leases.claim(part(second).pk) is None

    row.most = 2
    row.save()
    roster.load()

    assert reconcile.wake_due() == 1
    assert leases.claim(part(second).pk)


def test_without_limits_nobody_is_looked_for(ann, workers):
    roster.load()
    with CaptureQueriesContext(connection) as captured:
        turns.call_held()
        turns.call_held()

    assert len(captured.captured_queries) <= 1


def test_the_reconciler_calls_them(ann, workers):
    limit(1)
    first, second = short(ann), short(ann)
    lease = held(leases.claim(part(first).pk))
    assert leases.claim(part(second).pk) is None
    leases.hand_on(lease)

    reconcile.sweep()

    assert part(second).status == states.QUEUED


def test_a_wrong_name_is_told():
    with pytest.raises(ValidationError) as error:
        PlaceLimit(scope="model", name="none", most=1).full_clean()

    assert "There is no model 'none'" in error.value.message_dict["name"][0]


def test_who_is_called_to_what_another_is_taking_takes_the_next(ann, workers):
    """The call to that one was spent when the other took the first: no call would be left for it."""
    first, second = short(ann), short(ann)

    with transaction.atomic():
        Dispatch.objects.select_for_update().get(pk=part(first).pk)
        lease = elsewhere(lambda: leases.claim_next(part(first).pk)).result(timeout=PATIENCE_SECONDS)

    assert held(lease).dispatch_id == part(second).pk
