"""Circuit breakers: what fails again and again is left alone by all workers, and then tried by so many and no more."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection, connections
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from agents import roster
from agents.models import FailureRule
from orchestrator_site.core import events, roles
from orchestrator_site.core.clock import database_now
from orchestrator_site.core.ids import new_id
from orchestrator_site.core.transitions import IllegalTransition
from runs import reconcile, states
from runs.engine import effects
from runs.errors import BadRequest
from runs.models import Attempt, Breaker, Dispatch, Step
from runs.pacing import breakers, outcomes
from runs.states import StopReason
from tests.admin.cast import platform_events
from tests.agents.raw_server import answering, response
from tests.api import cast as api
from tests.runs import cast
from tests.runs.cast import agent, call, carry_all, only_call, script, start, text, tool
from tools import registry
from tools.models import Tool
from tools.values import Effect, ErrorKind, ExecutorKind, Risk, ToolResult

pytestmark = [pytest.mark.django_db(transaction=True)]

HELLO = text("Hello.")
BUSY = HELLO | {"status": 529}


@pytest.fixture(autouse=True)
def three_failures(settings):
    settings.BATON_BREAKER_FAILURES = 3


def fail(kind="model", name="scripted", prober=None, why="overloaded_error"):
    with events.recording() as log:
        breakers.failed(log, kind, name, prober or new_id(), why)


def work(prober, kind="model", name="scripted"):
    with events.recording() as log:
        breakers.worked(log, roster.today(), kind, name, prober)


def asks(prober=None, kind="model", name="scripted"):
    return breakers.lets_through(roster.today(), kind, name, prober or new_id())


def opened(kind="model", name="scripted"):
    for _ in range(3):
        fail(kind, name)


def its_time_has_come():
    Breaker.objects.update(tries_at=Now() - timedelta(seconds=1))
    roster.bump()


def the_one():
    return Breaker.objects.get()


# -- the machine -------------------------------------------------------------------------------------------------
def test_it_opens_at_so_many_failures_and_nobody_is_let_through():
    fail()
    fail()
    assert the_one().status == states.CLOSED
    assert asks()

    fail()

    assert the_one().status == states.OPEN
    assert not asks()
    [event] = platform_events("breaker_opened")
    assert event == {
        "actor": "system",
        "kind": "model",
        "name": "scripted",
        "reason": "it failed 3 times within 60 s, last: overloaded_error",
    }


def test_failures_of_an_older_window_are_forgotten():
    fail()
    fail()
    Breaker.objects.update(window_from=Now() - timedelta(seconds=61))

    fail()

    assert (the_one().status, the_one().failures) == (states.CLOSED, 1)


def test_each_is_counted_by_itself():
    fail(name="scripted")
    fail(name="spare")
    fail(kind="tool")

    assert not Breaker.objects.not_closed().exists()


def test_with_a_threshold_of_none_nothing_is_counted(settings):
    settings.BATON_BREAKER_FAILURES = 0

    opened()

    assert not Breaker.objects.exists()


def test_a_probes_success_closes_it():
    opened()
    its_time_has_come()
    prober = new_id()
    assert asks(prober)
    assert the_one().status == states.HALF_OPEN
    assert not asks(), "there is one probe"
    assert asks(prober), "who has it keeps it"

    work(prober)

    assert (the_one().status, the_one().failures) == (states.CLOSED, 0)
    assert asks()
    assert [len(platform_events(type)) for type in ("breaker_half_open", "breaker_closed")] == [1, 1]


def test_a_probes_failure_opens_it_again():
    opened()
    its_time_has_come()
    prober = new_id()
    assert asks(prober)

    fail(prober=prober, why="timeout")

    assert (the_one().status, the_one().reason) == (states.OPEN, "a try of it failed: timeout")
    assert not asks()


def test_what_was_begun_before_it_opened_moves_it_neither_way():
    opened()
    its_time_has_come()
    assert asks()

    work(new_id())
    assert the_one().status == states.HALF_OPEN
    fail()
    assert the_one().status == states.HALF_OPEN


def test_probes_that_were_not_heard_of_are_handed_out_anew_and_still_count():
    opened()
    its_time_has_come()
    slow = new_id()
    assert asks(slow)
    its_time_has_come()
    assert asks()
    assert not asks()

    work(slow)

    assert the_one().status == states.CLOSED


def test_a_move_that_is_none_is_not_made():
    row = Breaker.objects.create(kind="model", name="scripted")

    with pytest.raises(IllegalTransition):
        states.BREAKER.move(row, states.HALF_OPEN)


# -- many at once ------------------------------------------------------------------------------------------------
def at_once(times):
    """How many of so many that ask at the same time are let through."""
    served = roster.today()

    def ask(_):
        try:
            return breakers.lets_through(served, "model", "scripted", new_id())
        except Exception:  # of the control: it moves what another has moved
            return False
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as askers:
        return sum(askers.map(ask, range(times)))


@pytest.mark.parametrize("probes", [1, 3])
def test_exactly_so_many_probes_however_many_ask_at_once(probes, settings):
    settings.BATON_BREAKER_PROBES = probes
    opened()
    its_time_has_come()

    assert at_once(64) == probes
    assert len(platform_events("breaker_half_open")) == 1


def test_control_without_the_lock_more_are_let_through(settings, monkeypatch):
    settings.BATON_BREAKER_PROBES = 3
    monkeypatch.setattr(breakers, "_locked", lambda kind, name: Breaker.objects.filter(kind=kind, name=name).first())

    def most():
        Breaker.objects.all().delete()
        opened()
        its_time_has_come()
        asks()
        return at_once(64) + 1

    assert max(most() for _ in range(10)) > 3


def test_failures_at_once_open_it_once():
    def fails(_):
        try:
            fail()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as failing:
        list(failing.map(fails, range(24)))

    assert (the_one().status, the_one().failures) == (states.OPEN, 3)
    assert len(platform_events("breaker_opened")) == 1


# -- by hand -----------------------------------------------------------------------------------------------------
def test_one_that_a_person_opened_stays_open_until_a_person_closes_it(model, ann):
    agent()
    breakers.hold_open("model", "scripted", by=ann, reason="It is being moved.")
    its_time = Breaker.objects.values_list("tries_at", flat=True).get()

    run = carry_all(start(ann, script(HELLO)))

    assert its_time is None
    assert not asks()
    assert model.count() == 0
    told = "the breaker of model scripted to be closed: ann opened it: It is being moved."
    assert (run.waiting_on, run.dispatches.get().lease_owner) == (told, "")

    breakers.close("model", "scripted", by=ann, reason="It is there.")
    assert reconcile.wake_due() == 1
    assert carry_all(run).output == "Hello."
    assert [event["reason"] for event in platform_events("breaker_closed")] == ["It is there."]


@pytest.mark.parametrize(
    ("kind", "name", "reason", "wrong"),
    [
        ("host", "scripted", "Why.", "kind"),
        ("model", "nobody", "Why.", "name"),
        ("model", "", "Why.", "name"),
        ("model", "scripted", " ", "reason"),
        ("model", "scripted", "x" * 301, "reason"),
    ],
)
def test_a_wish_that_cannot_be_met_names_what_is_wrong(kind, name, reason, wrong, model, ann):
    for move in (breakers.hold_open, breakers.close):
        with pytest.raises(BadRequest) as refused:
            move(kind, name, by=ann, reason=reason)
        assert set(refused.value.faults) == {wrong}


def test_by_the_api(model):
    ola = api.caller(api.person("ola", roles.OPERATOR))
    body = {"kind": "model", "name": "scripted", "open": True, "reason": "It is being moved."}

    answer = ola.post("/breakers/", body)

    assert (answer.status_code, answer.json()["status"], answer.json()["by"]) == (200, "open", "ola")
    assert [each["name"] for each in ola.get("/breakers/").json()] == ["scripted"]
    wrong = ola.post("/breakers/", body | {"name": "nobody"})
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (400, "name")
    assert ola.post("/breakers/", body | {"open": False}).json()["status"] == "closed"


def test_the_health_page_says_when_it_is_tried_again_and_how_many_try(model, client):
    client.force_login(api.person("ola", roles.OPERATOR))
    opened()
    page = client.get("/ops/").content.decode()
    assert re.search("tried again <time [^>]+ data-coming [^>]+>in 2[0-9] s</time>", page)

    its_time_has_come()
    assert asks()

    assert "1 try under way" in client.get("/ops/").content.decode()


def test_by_the_health_page(model, client):
    client.force_login(api.person("ola", roles.OPERATOR))
    wish = {"kind": "model", "name": "scripted", "reason": "It <is> moved."}

    page = client.post("/ops/breakers/", wish | {"move": "open"}, follow=True).content.decode()

    assert "Model scripted is open" in page
    assert "It &lt;is&gt; moved." in page
    assert "stays so until a person closes it" in page
    wrong = client.post("/ops/breakers/", wish | {"name": "nobody"})
    assert (wrong.status_code, "There is no model" in wrong.content.decode()) == (422, True)
    near = client.post("/ops/breakers/", wish | {"name": "scriptd"}).content.decode()
    assert "There is no model &#x27;scriptd&#x27;; did you mean &#x27;scripted&#x27;?" in near
    assert '<option value="scripted">model</option>' in near
    client.force_login(api.person("eve", roles.AUDITOR))
    assert client.post("/ops/breakers/", wish | {"move": "close"}).status_code == 403
    client.force_login(api.person("ola2", roles.OPERATOR))
    client.post("/ops/breakers/", wish | {"move": "close"})
    assert the_one().status == states.CLOSED


# -- models ------------------------------------------------------------------------------------------------------
def models_of(run):
    return list(Step.objects.filter(dispatch__run=run).order_by("number").values_list("model", "status"))


class TestModels:
    @pytest.fixture
    def chain(self, model):
        cast.model(model.url, "spare")
        agent(models=("scripted", "spare"))
        return model

    def test_a_server_that_answers_529_is_left_alone_by_everybody(self, model, ann):
        agent()
        for _ in range(3):
            carry_all(start(ann, script(BUSY)))
        assert (the_one().status, model.count()) == (states.OPEN, 3)

        run = carry_all(start(ann, script(HELLO)))

        assert model.count() == 3
        assert run.waiting_on == (
            "model scripted to be tried again: it failed 3 times within 60 s, last: overloaded_error"
        )
        dispatch = run.dispatches.get()
        assert (dispatch.due_at, dispatch.held_by) == (the_one().tries_at, "breaker:model:scripted")

        its_time_has_come()
        assert cast.go_on(run).output == "Hello."
        assert the_one().status == states.CLOSED

    @pytest.mark.parametrize("fault", [{"status": 429}, {"status": 400}, {"status": 404}, {"status": 401}])
    def test_what_is_not_the_servers_fault_is_not_counted(self, fault, model, ann):
        agent()

        for _ in range(2):
            carry_all(start(ann, script(HELLO | fault)))

        assert model.count() == 2
        assert not Breaker.objects.filter(kind="model").exists()

    def test_the_chain_goes_on_to_the_next(self, chain, ann):
        opened()

        run = carry_all(start(ann, script(HELLO)))

        assert models_of(run) == [("spare", states.ANSWERED)]

    def test_where_its_probe_is_under_way_the_chain_goes_on_to_the_next(self, chain, ann):
        opened()
        its_time_has_come()
        assert asks()

        run = carry_all(start(ann, script(HELLO)))

        assert models_of(run) == [("spare", states.ANSWERED)]
        assert the_one().status == states.HALF_OPEN

    def test_whoever_finds_its_time_come_probes_it(self, chain, ann):
        opened()
        its_time_has_come()

        run = carry_all(start(ann, script(HELLO)))

        assert models_of(run) == [("scripted", states.ANSWERED)]
        assert the_one().status == states.CLOSED

    def test_a_probe_that_is_answered_closes_it_whatever_was_asked_for(self, chain, ann):
        opened()
        its_time_has_come()

        carry_all(start(ann, script(HELLO | {"status": 400, "model": "scripted"})))

        assert Breaker.objects.get(kind="model").status == states.CLOSED

    def test_a_probe_that_fails_opens_it_again_and_the_chain_goes_on(self, chain, ann):
        opened()
        its_time_has_come()

        run = carry_all(start(ann, script(HELLO | {"status": 529, "model": "scripted"})))

        assert models_of(run) == [("scripted", states.FAILED)]
        assert the_one().status == states.OPEN
        assert models_of(cast.go_on(run)) == [("scripted", states.FAILED), ("spare", states.ANSWERED)]

    def test_with_all_of_them_open_it_waits_for_the_first(self, chain, ann):
        opened()
        opened(name="spare")
        Breaker.objects.filter(name="spare").update(tries_at=Now() + timedelta(seconds=10))
        roster.bump()

        run = carry_all(start(ann, script(HELLO)))

        assert run.dispatches.get().held_by == "breaker:model:spare"
        assert chain.count() == 0


# -- tools -------------------------------------------------------------------------------------------------------
class TestTools:
    @pytest.fixture
    def acting(self, model, ledger):
        cast.http_tool("act", "/effects", Effect.UNSAFE, Risk.LOW)
        Tool.objects.update(confirmation="never")
        agent("worker", "act")
        return ledger

    def acts(self, ann):
        return carry_all(start(ann, script(call(("act", {})), text("done"))))

    def test_an_open_one_fails_at_once_and_nothing_is_sent(self, acting, ann):
        opened("tool", "act")
        made_before = acting.get("/effects")

        run = self.acts(ann)

        refused = only_call(run)
        assert (refused.status, refused.error_kind) == (states.REFUSED, "breaker_open")
        assert refused.result.startswith(
            "Nothing was begun: the circuit breaker of tool act is open (it failed 3 times"
        )
        assert not Attempt.objects.exists()
        assert acting.get("/effects") == made_before
        assert run.output == "done"

    def test_a_probe_of_it_is_sent_and_closes_it(self, acting, ann):
        opened("tool", "act")
        its_time_has_come()
        made_before = len(acting.get("/effects"))

        run = self.acts(ann)

        assert only_call(run).status == states.DONE
        assert len(acting.get("/effects")) == made_before + 1
        assert the_one().status == states.CLOSED

    @pytest.mark.parametrize("status", [404, 429])
    def test_a_probe_that_is_answered_closes_it_whatever_was_asked_for(self, model, ann, status):
        """An agent that asks for what is not there would else keep it shut for everybody."""
        with answering(response(status, {"error": "no"})) as url:
            registry.define(
                "act",
                risk=Risk.LOW,
                brings=(),
                description="Do act.",
                input_schema={"type": "object"},
                executor=ExecutorKind.HTTP,
                config={"method": "POST", "url": url},
                effect=Effect.UNSAFE,
            )
            Tool.objects.update(confirmation="never")
            agent("worker", "act")
            opened("tool", "act")
            its_time_has_come()

            run = self.acts(ann)

        assert only_call(run).error_kind == "http_status"
        assert the_one().status == states.CLOSED

    def test_a_probe_that_was_not_sent_is_another_s(self, acting, ann):
        opened("tool", "act")
        its_time_has_come()
        too_late = ToolResult(effects.TOO_LATE, ErrorKind.TIMEOUT, sent=False)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(effects, "send", lambda intent: effects.Sent(intent, too_late))
            self.acts(ann)
        assert (the_one().status, the_one().probes_left, the_one().probing) == (states.HALF_OPEN, 1, [])

        assert only_call(self.acts(ann)).status == states.DONE
        assert the_one().status == states.CLOSED

    def test_one_that_raises_is_counted_and_wrong_arguments_are_not(self, model, ann):
        tool("breaks", "tests.raise")
        tool("strict", "tests.echo", input_schema={"type": "object", "required": ["n"]})
        agent("worker", "breaks", "strict")

        for _ in range(3):
            carry_all(start(ann, script(call(("breaks", {})), call(("strict", {})), text("done"))))

        assert list(Breaker.objects.values_list("kind", "name", "status")) == [("tool", "breaks", states.OPEN)]

    def test_the_platforms_own_have_none(self, model, ann):
        with pytest.raises(BadRequest, match="platform's own"):
            breakers.hold_open("tool", "ask_human", by=ann, reason="Why.")


# -- agents ------------------------------------------------------------------------------------------------------
class TestAgents:
    def test_those_that_end_badly_open_it(self, model, ann):
        agent()

        for _ in range(3):
            carry_all(start(ann, script(HELLO | {"status": 401})))

        assert (the_one().kind, the_one().name, the_one().status) == ("agent", "worker", states.OPEN)

    def test_an_open_one_ends_at_once_with_a_sentence(self, model, ann):
        agent()
        opened("agent", "worker")

        run = carry_all(start(ann, script(HELLO)))

        assert (run.status, run.stop_reason, model.count()) == (states.FAILED, StopReason.REFUSED, 0)
        message = run.dispatches.get().message
        assert message.startswith("Nothing was begun: the circuit breaker of agent worker is open (it failed 3 times")

    def test_its_fallback_answers_in_its_place_even_where_it_has_tries_left(self, model, ann):
        worker = agent().agent
        agent("deputy")
        FailureRule.objects.create(agent=worker, tries=3, fallbacks=["deputy"])
        opened("agent", "worker")

        run = carry_all(start(ann, script(HELLO)))

        assert run.output == "Hello."
        assert list(run.dispatches.order_by("number").values_list("manifest__agent__slug", flat=True)) == [
            "worker",
            "deputy",
        ]

    def test_without_a_fallback_its_next_try_waits_until_it_may_be_tried(self, model, ann):
        worker = agent().agent
        FailureRule.objects.create(agent=worker, tries=2, backoff_seconds=1)
        opened("agent", "worker")

        run = carry_all(start(ann, script(HELLO)))

        assert run.nodes.get().due_at == the_one().tries_at

    def test_a_probe_of_it_that_finishes_closes_it(self, model, ann):
        agent()
        opened("agent", "worker")
        its_time_has_come()

        run = carry_all(start(ann, script(HELLO)))

        assert run.output == "Hello."
        assert the_one().status == states.CLOSED


# -- failures among what goes well -------------------------------------------------------------------------------
NAMES = {"model": "scripted", "tool": "acts", "agent": "worker"}


@pytest.mark.parametrize("kind", NAMES)
class TestAShare:
    @pytest.fixture
    def goes(self, kind, model, ann):
        """Have it go well, or not, each in a run of its own."""
        tool("acts", "tests.raise_if")
        agent("worker", "acts")

        def one(well):
            if kind == "tool":
                return script(call(("acts", {"fails": not well})), text("done"))
            return script(HELLO | ({} if well else {"status": 529 if kind == "model" else 401}))

        def go(*ends):
            for well in ends:
                carry_all(start(ann, one(well)))

        return go

    def test_some_among_many_that_go_well_open_nothing(self, kind, goes):
        goes(True, False, True, True, False, True, True, False)
        assert (the_one().kind, the_one().failures, the_one().status) == (kind, 3, states.CLOSED)

        goes(False, False)
        assert the_one().status == states.OPEN

    def test_control_where_no_share_is_asked_for_they_do(self, kind, goes, settings):
        settings.BATON_BREAKER_SHARE = 0

        goes(True, False, True, True, False, True, True, False)

        assert the_one().status == states.OPEN

    def test_what_went_well_before_those_that_hung_gave_up_says_nothing_for_it(self, kind, goes):
        """It was begun after them: what takes long is not seen to fail until it does."""
        goes(True, True, True, True)

        for _ in range(3):
            fail(kind, NAMES[kind])

        assert the_one().status == states.OPEN

    def test_control_what_ends_well_among_them_does(self, kind, goes):
        fail(kind, NAMES[kind])
        goes(True, True, True, True)
        fail(kind, NAMES[kind])

        fail(kind, NAMES[kind])

        assert (the_one().failures, the_one().status) == (3, states.CLOSED)

    def test_nobody_else_s_are_counted(self, kind, goes):
        before = database_now()
        goes(True)

        def counted(name, since, most=5):
            return outcomes.went_well(kind, name, since, most)

        names = [*NAMES.values(), "nobody"]
        assert {name for name in names if counted(name, before)} == {NAMES[kind]}
        assert counted(NAMES[kind], database_now()) == 0
        goes(True)
        assert (counted(NAMES[kind], before), counted(NAMES[kind], before, most=1)) == (2, 1)


# -- what it costs -----------------------------------------------------------------------------------------------
def test_closed_ones_cost_no_statement(model, ann):
    agent()
    carry_all(start(ann, script(HELLO)))
    run = start(ann, script(HELLO))

    with CaptureQueriesContext(connection) as asked:
        carry_all(run)

    assert not [query for query in asked.captured_queries if "runs_breaker" in query["sql"]]


def test_control_an_open_one_is_read_once(model, ann):
    agent()
    opened()
    run = start(ann, script(HELLO))

    with CaptureQueriesContext(connection) as asked:
        carry_all(run)

    assert len([query for query in asked.captured_queries if "runs_breaker" in query["sql"]]) == 1
    assert Dispatch.objects.get().status == states.WAITING
