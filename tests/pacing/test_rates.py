"""Rates in the database: exact under any concurrency, all limits of a call or none; who waits goes on by himself."""

import threading
from datetime import timedelta
from itertools import pairwise

import pytest
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from agents import roster
from agents.models import ModelEntry
from orchestrator_site.core import doorbell
from runs import engine, reconcile, states
from runs.models import Attempt, Dispatch, RateBucket, RateLimit, Step
from runs.pacing import admitting, rates
from runs.pacing.deeds import Deed
from tests.runs import cast
from tests.runs.cast import agent, at_once, call, carry_all, claim, script, start, text, tool
from tests.runs.test_query_counts import queries_of, statements
from tests.stack import Stack
from tests.waiting import eventually
from tools.values import Effect, Risk

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("model")]

HOUR = 3600


def limit(count, scope="tool", name="echo", **more):
    return RateLimit.objects.create(scope=scope, name=name, count=count, **{"per_seconds": HOUR} | more)


@pytest.fixture
def echoing():
    tool("echo", "tests.echo")
    tool("other", "tests.echo")
    agent("worker", "echo", "other", limits={"iterations": 100, "tokens_total": 10_000_000})


def echoes(ann, count=1, *, side_by_side=False):
    calls = [("echo", {"n": n}) for n in range(count)]
    turns = [call(*calls)] if side_by_side else [call(each) for each in calls]
    return start(ann, script(*turns, text("done")))


def admitted(times, deeds):
    """How many of so many askers at once are let through, each in a transaction of its own."""

    def ask():
        served = roster.current()
        with transaction.atomic():
            return all(held is None for held in admitting.admit(Dispatch(), served, deeds, waits=True))

    answers = []
    lock = threading.Lock()

    def ask_often():
        for _ in range(times // 16):
            let_through = ask()
            with lock:
                answers.append(let_through)

    assert at_once(ask_often, 16) == [None] * 16
    return answers.count(True), len(answers)


def test_an_app_that_is_renamed_keeps_its_limit_and_what_it_used_of_it(ann, echoing):
    limit(1, "app", "ann")
    carry_all(echoes(ann))
    ann.username = "shop"
    ann.save()

    later = carry_all(echoes(ann))

    assert later.dispatches.get().held_by == f"rate:{RateLimit.objects.get(name='shop').pk}:{ann.pk}"


# -- exact -------------------------------------------------------------------------------------------------------
def test_of_500_in_a_burst_exactly_so_many_pass():
    limit(37)
    roster.load()

    assert admitted(512, [Deed(1, "worker", "echo")]) == (37, 512)


def test_control_read_and_then_written_too_many_pass(monkeypatch):
    limit(37)
    roster.load()
    RateBucket.objects.create(
        limit=RateLimit.objects.get(), key="echo", spent_to="2020-01-01T00:00Z", promised_to="2020-01-01T00:00Z",
        made_up_to="2020-01-01T00:00Z",
    )  # fmt: skip
    monkeypatch.setattr(rates, "_LOCK", rates._LOCK.replace("FOR NO KEY UPDATE OF b", ""))

    passed, asked = admitted(512, [Deed(1, "worker", "echo")])

    assert (passed > 37, asked) == (True, 512)


@pytest.mark.crash
def test_by_real_workers_exactly_so_many_are_sent_though_redis_forgets_everything(stack: Stack, ann, ledger):
    cast.http_tool("act", "/effects", Effect.KEYED, Risk.LOW)
    agent("worker", "act", limits={"iterations": 100, "tokens_total": 10_000_000})
    limit(60, name="act")
    made_before = len(ledger.get("/effects"))
    for _ in range(2):
        stack.start_worker()
    runs = [start(ann, script(*[call(("act", {"n": n})) for n in range(10)], text("done"))) for _ in range(50)]

    eventually(lambda: Attempt.objects.count() >= 20)
    doorbell.connect(patience_seconds=2).flushdb()
    eventually(lambda: Dispatch.objects.filter(status=states.WAITING, held_by__startswith="rate:").count() == len(runs))

    assert Attempt.objects.count() == 60
    assert len(ledger.get("/effects")) - made_before == 60


def test_several_limits_of_one_call_are_taken_all_or_none(echoing):
    limit(5)
    limit(3, scope="agent", name="worker")
    roster.load()
    deed = Deed(1, "worker", "echo")

    assert admitted(160, [deed])[0] == 3
    free = {bucket.key: bucket.spent_to for bucket in RateBucket.objects.all()}
    an_hour = RateLimit.objects.get(scope="tool").interval * 3
    assert free["echo"] - an_hour < rates_now()  # three were taken of it, not five
    with transaction.atomic():
        other = Deed(1, "another", "echo")
        told = [admitting.admit(Dispatch(), roster.current(), [other], waits=False)[0] for _ in range(3)]
    assert [held is None for held in told] == [False] * 3, "those who wait for both have places in both"


def rates_now():
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cursor.fetchone()[0]


def test_each_of_a_scope_has_a_bucket_of_its_own_and_one_that_is_named_stands_in_for_it(ann, bob, echoing):
    limit(2, scope="app", name="*")
    limit(4, scope="app", name="bob")
    roster.load()

    assert admitted(32, [Deed(ann.pk, "worker", "echo")])[0] == 2
    assert admitted(32, [Deed(cast.person("eve").pk, "worker", "echo")])[0] == 2
    assert admitted(32, [Deed(bob.pk, "worker", "echo")])[0] == 4


@pytest.mark.parametrize(
    ("scope", "name", "deed"),
    [
        ("credential", "KEY", Deed(1, "a", "t", credentials=frozenset({"KEY", "B"}))),
        ("host", "bank.test", Deed(1, "a", "t", host="bank.test")),
        ("agent", "a", Deed(1, "a", "t")),
        ("tool", "t", Deed(1, "a", "t")),
    ],
)
def test_every_scope_is_counted(scope, name, deed):
    limit(1, scope=scope, name=name)
    other = Deed(2, "b", "u", frozenset({"C"}), "shop.test")
    roster.load()

    with transaction.atomic():
        first, second, third = admitting.admit(Dispatch(), roster.current(), [deed, deed, other], waits=False)

    assert (first, third) == (None, None)
    assert second is not None
    assert second.on.startswith(f"the rate of {scope} {name}: 1 call in an hour")


# -- who waits -----------------------------------------------------------------------------------------------------
def test_who_is_over_waits_visibly_for_a_moment_and_goes_on_by_himself(ann, echoing):
    limit(1)
    first, second = carry_all(echoes(ann)), carry_all(echoes(ann))

    dispatch = second.dispatches.get()
    assert (first.status, dispatch.status, dispatch.lease_owner) == (states.SUCCEEDED, states.WAITING, "")
    assert dispatch.waiting_on == "the rate of tool echo: 1 call in an hour"
    assert timedelta(minutes=59) < dispatch.due_at - rates_now() <= timedelta(hours=1)
    assert second.dispatches.get().calls.get().status == states.READY

    RateBucket.objects.update(spent_to=Now() - timedelta(seconds=1))
    Dispatch.objects.filter(pk=dispatch.pk).update(due_at=Now(), place_at=Now())
    reconcile.wake_due()
    assert carry_all(second).status == states.SUCCEEDED
    dispatch.refresh_from_db()
    assert (dispatch.held_by, dispatch.place_at) == ("", None)


def test_who_waits_has_a_place_each_an_interval_apart_and_keeps_it_when_woken_early(ann, echoing):
    limit(1)
    runs = [carry_all(echoes(ann)) for _ in range(4)]
    waiting = list(Dispatch.objects.filter(run__in=runs[1:]).order_by("due_at"))
    assert [dispatch.run_id for dispatch in waiting] == [run.pk for run in runs[1:]]
    dues = [dispatch.due_at for dispatch in waiting if dispatch.due_at is not None]
    apart = [later - earlier for earlier, later in pairwise(dues)]
    assert apart == [timedelta(hours=1)] * 2

    last = waiting[-1]
    Dispatch.objects.filter(pk=last.pk).update(due_at=Now())
    reconcile.wake_due()
    carry_all(runs[-1])
    assert Dispatch.objects.get(pk=last.pk).due_at == last.due_at


def test_of_calls_side_by_side_some_go_and_the_others_wait(ann, echoing):
    limit(2)
    run = carry_all(echoes(ann, 5, side_by_side=True))

    assert sorted(run.dispatches.get().calls.values_list("status", flat=True)) == ["done"] * 2 + ["ready"] * 3


@pytest.mark.parametrize(("scope", "name"), [("agent", "worker"), ("app", "ann"), ("credential", cast.MODEL_KEY)])
def test_model_calls_have_rates_too(scope, name, ann, echoing, model):
    limit(2, scope=scope, name=name, counts="model calls")
    run = carry_all(echoes(ann, 5))

    assert (model.count(), Step.objects.count()) == (2, 2)
    assert run.dispatches.get().waiting_on.startswith(f"the rate of {scope} {name}: 2 model calls")


@pytest.mark.parametrize("url", [None, "the installation's"])
def test_a_hosts_rate_counts_the_models_that_answer_there(url, ann, echoing, model, settings):
    """Those that answer where the installation's server is, too, without saying so."""
    if url:
        settings.ANTHROPIC_API_KEY, settings.ANTHROPIC_BASE_URL = "a key", model.url
        ModelEntry.objects.update(endpoint="", credential="")
    limit(2, scope="host", name="127.0.0.1", counts="model calls")
    run = carry_all(echoes(ann, 5))

    assert model.count() == 2
    assert run.dispatches.get().waiting_on.startswith("the rate of host 127.0.0.1: 2 model calls")


def test_an_edited_limit_lets_go_who_waits_for_the_old_one(ann, echoing):
    it = limit(1)
    carry_all(echoes(ann))
    run = carry_all(echoes(ann))

    it.count = 1000
    it.save()
    reconcile.wake_due()

    assert carry_all(run).status == states.SUCCEEDED


def test_a_limit_that_is_taken_away_lets_go_who_waits_for_it(ann, echoing):
    it = limit(1)
    carry_all(echoes(ann))
    run = carry_all(echoes(ann))

    it.delete()
    reconcile.wake_due()

    assert carry_all(run).status == states.SUCCEEDED


# -- what it costs -------------------------------------------------------------------------------------------------
def test_where_no_limit_matches_nothing_is_asked_of_the_database(ann, echoing):
    def turns(run):
        loop = engine.Loop(claim(run), is_new=True)
        return [len(statements(queries_of(loop.advance)[1])) for _ in range(2)]

    carry_all(echoes(ann))
    without = turns(echoes(ann, 2))
    limit(1, name="other")
    carry_all(echoes(ann))

    assert turns(echoes(ann, 2)) == without
    with CaptureQueriesContext(connection) as captured:
        admitting.admit(Dispatch(), roster.current(), [Deed(1, "worker", "echo")], waits=True)
    assert not captured.captured_queries


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({"scope": "tool", "name": "none"}, "name"),
        ({"scope": "tool", "name": "*", "counts": "model calls"}, "scope"),
        ({"scope": "host", "name": "https://bank.test/"}, "name"),
        ({"scope": "planet", "name": "*"}, "scope"),
    ],
)
def test_a_wrong_field_is_named(content, field):
    with pytest.raises(ValidationError) as error:
        RateLimit(count=1, **content).full_clean()

    assert field in error.value.message_dict
