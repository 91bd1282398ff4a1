"""Kill switches: what they stop waits, visibly, and goes on by itself; and no intent slips through beside a throw."""

from datetime import datetime
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import Client

from agents.models import ModelEntry
from orchestrator_site.core import roles
from runs import engine, leases, reconcile, states
from runs.engine import recording
from runs.errors import BadRequest
from runs.models import Attempt, Dispatch, Step, Switch
from runs.pacing import switches
from tests.admin.cast import platform_events
from tests.api import cast as api
from tests.model_fixtures import Process
from tests.runs import cast, meanwhile
from tests.runs.cast import agent, call, carry_all, only_call, script, start, text
from tests.stack import Stack
from tests.waiting import PATIENCE_SECONDS, eventually
from tools import registry
from tools.models import Tool
from tools.values import Effect, ExecutorKind, Risk

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("model")]

KEYED_BY = {"all": "", "app": "ann", "agent": "worker", "tool": "act", "credential": "ACT_KEY"}


@pytest.fixture
def acting(ledger: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent whose one tool is sent with a credential."""
    monkeypatch.setenv("ACT_KEY", "secret")
    registry.define(
        "act",
        risk=Risk.LOW,
        description="Act.",
        input_schema=cast.ANY_OBJECT,
        executor=ExecutorKind.HTTP,
        config={"method": "POST", "url": f"{ledger.url}/effects", "headers": {"Authorization": "Bearer env:ACT_KEY"}}
        | {"idempotency_header": "Idempotency-Key"},
        effect=Effect.UNSAFE,
    )
    Tool.objects.update(confirmation="never")
    agent("worker", "act", limits={"iterations": 100, "tokens_total": 10_000_000})


def proposes(ann, *calls):
    return start(ann, script(call(*(calls or [("act", {})])), text("done")))


def taken(run):
    """The run's dispatch, held, with the model's answer about to be recorded."""
    return engine.Loop(cast.claim(run), is_new=True)


def woken(run):
    reconcile.wake_due()
    return carry_all(run)


@pytest.mark.parametrize("effect", [Effect.PURE, Effect.UNSAFE])
@pytest.mark.parametrize(("declared", "is_stopped"), [(["ACT_KEY"], True), (["OTHER_KEY"], False), ([], False)])
def test_a_credential_stops_the_python_tools_that_declare_it(declared, is_stopped, effect, ann):
    registry.define(
        "act",
        risk=Risk.LOW,
        description="Act.",
        input_schema=cast.ANY_OBJECT,
        executor=ExecutorKind.PYTHON,
        config={"callable": "tests.echo", "credentials": declared},
        effect=effect,
    )
    Tool.objects.update(confirmation="never")
    agent("worker", "act")
    switches.throw("credential", "ACT_KEY", by=ann, reason="It leaked.")

    run = carry_all(proposes(ann))

    assert Attempt.objects.exists() != is_stopped
    assert (run.waiting_on == "the switch of credential ACT_KEY to be released: ann threw it: It leaked.") == is_stopped
    switches.release("credential", "ACT_KEY", by=ann)
    assert woken(run).status == states.SUCCEEDED


# -- what waits, and what goes on ----------------------------------------------------------------------------------
@pytest.mark.parametrize("scope", KEYED_BY)
def test_what_is_stopped_between_the_answer_and_its_call_waits_and_goes_on(scope, acting, ann, monkeypatch):
    run = proposes(ann)
    throw = lambda: switches.throw(scope, KEYED_BY[scope], by=ann, reason="Prices are wrong.")  # noqa: E731
    meanwhile.just_before(monkeypatch, recording, "record", throw)

    carry_all(run)

    dispatch = run.dispatches.get()
    assert (dispatch.status, only_call(run).status) == (states.WAITING, states.READY)
    assert dispatch.waiting_on.endswith("to be released: ann threw it: Prices are wrong.")
    assert dispatch.lease_owner == ""
    assert not Attempt.objects.exists()

    switches.release(scope, KEYED_BY[scope], by=ann)
    assert woken(run).status == states.SUCCEEDED
    assert Attempt.objects.count() == 1


@pytest.mark.parametrize("scope", ["all", "app", "agent"])
def test_no_model_is_asked_while_its_agent_is_stopped(scope, acting, ann, model):
    switches.throw(scope, KEYED_BY[scope], by=ann, reason="Prices are wrong.")
    run = carry_all(proposes(ann))

    assert run.dispatches.get().status == states.WAITING
    assert (model.count(), Step.objects.count()) == (0, 0)

    switches.release(scope, KEYED_BY[scope], by=ann)
    assert woken(run).status == states.SUCCEEDED


def test_a_models_credential_is_stopped_as_a_tools_is(acting, ann, model):
    switches.throw("credential", cast.MODEL_KEY, by=ann, reason="It leaked.")

    carry_all(proposes(ann))

    assert model.count() == 0


def test_the_installations_own_key_is_a_credential_too(acting, ann, model, settings):
    settings.ANTHROPIC_API_KEY, settings.ANTHROPIC_BASE_URL = "a key", model.url
    ModelEntry.objects.update(endpoint="", credential="")
    switches.throw("credential", "ANTHROPIC_API_KEY", by=ann, reason="It leaked.")
    run = carry_all(proposes(ann))
    assert model.count() == 0

    switches.release("credential", "ANTHROPIC_API_KEY", by=ann)
    assert woken(run).status == states.SUCCEEDED


@pytest.mark.parametrize(("scope", "name"), [("app", "bob"), ("agent", "other"), ("tool", "look"), ("credential", "X")])
def test_others_are_not_stopped(scope, name, acting, ann, bob):
    agent("other")
    cast.tool("look", "tests.echo")
    switches.throw(scope, name, by=ann, reason="Prices are wrong.")

    assert carry_all(proposes(ann)).status == states.SUCCEEDED


def test_a_platform_tool_waits_too(acting, ann, monkeypatch):
    agent("asker", "ask_human")
    run = start(ann, script(call(("ask_human", {"question": "Which?"})), text("done")), "asker")
    throw = lambda: switches.throw("agent", "asker", by=ann, reason="It asks too much.")  # noqa: E731
    meanwhile.just_after(monkeypatch, recording, "record", throw)

    carry_all(run)
    assert (only_call(run).status, only_call(run).request) == (states.READY, None)

    switches.release("agent", "asker", by=ann)
    woken(run)
    assert only_call(run).status == states.AWAITING_APPROVAL


def test_a_call_that_was_sent_comes_to_its_end(acting, ann, monkeypatch):
    from runs.engine import effects

    run = proposes(ann)
    throw = lambda: switches.throw("all", by=ann, reason="Prices are wrong.")  # noqa: E731
    meanwhile.just_before(monkeypatch, effects, "send", throw)

    carry_all(run)

    assert only_call(run).status == states.DONE
    assert run.dispatches.get().status == states.WAITING, "the next model call waits"


def test_one_that_waits_for_two_switches_waits_for_the_second_when_the_first_is_released(acting, ann):
    switches.throw("all", by=ann, reason="Prices are wrong.")
    switches.throw("agent", "worker", by=ann, reason="It errs.")
    run = carry_all(proposes(ann))

    switches.release("all", by=ann)
    woken(run)
    assert run.dispatches.get().held_by == "switch:agent:worker"

    switches.release("agent", "worker", by=ann)
    assert woken(run).status == states.SUCCEEDED


def test_a_run_that_waits_for_a_switch_is_cancelled_as_any_other(acting, ann):
    from runs import cancellation

    switches.throw("all", by=ann, reason="Prices are wrong.")
    run = carry_all(proposes(ann))

    cancellation.cancel(run.pk, ann)

    run.refresh_from_db()
    assert run.status == states.CANCELLED


# -- the race ------------------------------------------------------------------------------------------------------
def without_lock(monkeypatch):
    """The control: intents read the epoch as before, and lock nothing."""
    hold = leases._HOLD.replace("runs_epoch_to_act()", "agents_epoch_now()")
    monkeypatch.setattr(leases, "_HOLD", hold)


def committed_after_throw(ann, run, monkeypatch):
    """A switch is thrown while an intent is about to be committed: attempts that the thrower's eye does not see."""
    seen = []

    def throw():
        switches.throw("all", by=ann, reason="Prices are wrong.")
        seen.append(Attempt.objects.count())

    original = recording.crashpoints.reach
    begun: list[Any] = []

    def reach(point):
        if point == "before_intent_commit" and not begun:
            begun.append(meanwhile.elsewhere(throw))
            eventually(lambda: begun[0].done() or meanwhile._somebody_waits_for_us())
        original(point)

    monkeypatch.setattr(recording.crashpoints, "reach", reach)
    carry_all(run)
    begun[0].result(timeout=PATIENCE_SECONDS)
    return Attempt.objects.count() - seen[0]


def test_a_throw_waits_for_the_intents_that_are_being_committed(acting, ann, monkeypatch):
    assert committed_after_throw(ann, proposes(ann), monkeypatch) == 0


def test_control_without_the_lock_an_intent_is_committed_after_the_throw(acting, ann, monkeypatch):
    without_lock(monkeypatch)

    assert committed_after_throw(ann, proposes(ann), monkeypatch) == 1


def sent_by_who_waited_for_a_throw(ann, monkeypatch):
    """A throw has the lock and is not committed when a worker, with its answer in hand, comes to write its intent."""
    run = proposes(ann)
    loop = taken(run)
    thrown, thrower = [], []

    def throw_and_linger():
        with transaction.atomic():
            switches.throw("all", by=ann, reason="Prices are wrong.")
            thrown.append(True)
            meanwhile.wait_until_somebody_waits_for_us()

    def begin(*args, original=recording.record):
        monkeypatch.setattr(recording, "record", original)
        thrower.append(meanwhile.elsewhere(throw_and_linger))
        eventually(lambda: thrown)
        return original(*args)

    monkeypatch.setattr(recording, "record", begin)
    loop.advance()
    thrower[0].result(timeout=PATIENCE_SECONDS)
    return Attempt.objects.count()


def test_who_waited_for_a_throw_sees_it(acting, ann, monkeypatch):
    """Its statement took its snapshot before it waited: the epoch is read by a query that begins after."""
    assert sent_by_who_waited_for_a_throw(ann, monkeypatch) == 0


def test_control_an_epoch_of_the_statements_own_snapshot_lets_it_slip_through(acting, ann, monkeypatch):
    with connection.cursor() as cursor:
        cursor.execute("ALTER FUNCTION runs_epoch_to_act() STABLE")
        cursor.execute("ALTER FUNCTION agents_epoch_now() STABLE")
    try:
        assert sent_by_who_waited_for_a_throw(ann, monkeypatch) == 1
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER FUNCTION runs_epoch_to_act() VOLATILE")
            cursor.execute("ALTER FUNCTION agents_epoch_now() VOLATILE")


# -- under load ----------------------------------------------------------------------------------------------------
def thrown_at(switch: Switch) -> datetime:
    switch.refresh_from_db()
    return switch.moved_at


@pytest.mark.crash
def test_under_load_nothing_is_sent_after_a_throw(stack: Stack, ledger: Process, acting, ann):
    made_before = len(ledger.get("/effects"))
    for _ in range(3):
        stack.start_worker({"ACT_KEY": "secret"})
    turns = [call(("act", {"turn": turn})) | {"delay_seconds": 0.1} for turn in range(60)]
    runs = [start(ann, script(*turns, text("done"))) for _ in range(12)]
    for scope, name in KEYED_BY.items():
        before = Attempt.objects.count()
        eventually(lambda: Attempt.objects.count() >= before + 10)  # noqa: B023

        switches.throw(scope, name, by=ann, reason="Prices are wrong.")
        committed = set(Attempt.objects.values_list("pk", flat=True))

        eventually(lambda: not Dispatch.objects.filter(status=states.WORKING).exists())
        made = len(ledger.get("/effects")) - made_before
        assert set(Attempt.objects.values_list("pk", flat=True)) == committed
        assert made == len(committed), "what was committed was sent, and nothing else"
        waiting = Dispatch.objects.filter(status=states.WAITING, held_by=f"switch:{scope}:{name}").count()
        assert waiting == Dispatch.objects.open().count() > 0
        switches.release(scope, name, by=ann)
    for run in runs:
        eventually(lambda: type(run).objects.get(pk=run.pk).is_final)  # noqa: B023
    assert len(ledger.get("/effects")) - made_before == Attempt.objects.count() == 12 * 60


# -- an app that is renamed ----------------------------------------------------------------------------------------
def rename(user, name):
    user.username = name
    user.save()


@pytest.mark.parametrize("is_back", [False, True])
def test_an_app_that_is_renamed_stays_stopped_until_its_switch_is_released(is_back, acting, ann):
    """`is_back`: it bore the new name before, and was stopped and released then."""
    if is_back:
        rename(ann, "shop")
        switches.throw("app", "shop", by=ann, reason="Before.")
        switches.release("app", "shop", by=ann)
        rename(ann, "ann")
    switches.throw("app", "ann", by=ann, reason="Prices are wrong.")
    waiting = carry_all(proposes(ann))

    rename(ann, "shop")
    later = carry_all(proposes(ann))

    assert (waiting.status, later.status) == (states.WAITING, states.WAITING)
    assert later.waiting_on == "the switch of app shop to be released: ann threw it: Prices are wrong."
    assert not Switch.objects.filter(name="ann", is_thrown=True).exists()
    switches.release("app", "shop", by=ann)
    assert [woken(run).status for run in (waiting, later)] == [states.SUCCEEDED] * 2


def test_whoever_takes_the_old_name_is_not_stopped(acting, ann):
    switches.throw("app", "ann", by=ann, reason="Prices are wrong.")
    rename(ann, "shop")

    assert carry_all(proposes(cast.person("ann"))).status == states.SUCCEEDED


def test_who_signs_in_costs_no_query_for_it(ann, django_assert_num_queries):
    with django_assert_num_queries(1):
        ann.save(update_fields=["last_login"])


# -- the doors -----------------------------------------------------------------------------------------------------
def test_every_move_is_an_event_on_the_platform_chain_and_the_second_of_a_kind_is_none(ann):
    agent("worker")
    for _ in range(2):
        switches.throw("agent", "worker", by=ann, reason="It errs.")
    for _ in range(2):
        switches.release("agent", "worker", by=ann, reason="Mended.")

    [thrown], [released] = platform_events("switch_thrown"), platform_events("switch_released")
    assert thrown == {"actor": "user:ann", "scope": "agent", "name": "worker", "reason": "It errs."}
    assert released == {"actor": "user:ann", "scope": "agent", "name": "worker", "reason": "Mended."}


@pytest.mark.parametrize(
    ("scope", "name", "reason", "field"),
    [
        ("all", "x", "why", "name"),
        ("planet", "x", "why", "scope"),
        ("tool", "", "why", "name"),
        ("tool", "nothing-of-this-name", "why", "name"),
        ("credential", "not a name", "why", "name"),
        ("all", "", " ", "reason"),
        ("all", "", "x" * 301, "reason"),
    ],
)
def test_a_wrong_field_is_named(scope, name, reason, field, ann):
    with pytest.raises(BadRequest) as error:
        switches.throw(scope, name, by=ann, reason=reason)

    assert set(error.value.faults) == {field}


def test_by_the_command_line(acting, ann, capsys):
    call_command("kill_switch", "throw", "agent", "worker", "--reason", "It errs.")
    run = carry_all(proposes(ann))
    assert "the command line threw it: It errs." in run.dispatches.get().waiting_on

    call_command("kill_switch", "list")
    assert "agent worker: It errs. (the command line)" in capsys.readouterr().out
    call_command("kill_switch", "release", "agent", "worker")
    assert woken(run).status == states.SUCCEEDED
    with pytest.raises(CommandError, match="Say why"):
        call_command("kill_switch", "throw")


def test_by_the_api(acting):
    ola = api.caller(api.person("ola", roles.OPERATOR))
    body = {"scope": "tool", "name": "act", "on": True, "reason": "Prices are wrong."}

    answer = ola.post("/switches/", body)

    assert (answer.status_code, answer.json()["is_thrown"], answer.json()["by"]) == (200, True, "ola")
    assert [each["name"] for each in ola.get("/switches/").json()] == ["act"]
    wrong = ola.post("/switches/", {"scope": "tool", "name": "no", "on": True, "reason": "x"})
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (400, "name")


def test_by_the_health_page_and_shown_on_every_page_to_those_who_look_after_it(acting, client: Client):
    client.force_login(api.person("ola", roles.OPERATOR))
    page = client.post(
        "/ops/switches/", {"move": "throw", "scope": "all", "reason": "Prices <are> wrong."}, follow=True
    )

    assert page.status_code == 200
    for path in ("/", "/runs/", "/ops/", "/approvals/"):
        assert "Everything is stopped" in (shown := client.get(path).content.decode())
        assert "Prices &lt;are&gt; wrong." in shown
    client.force_login(api.person("ann2", roles.APPROVER))
    assert "Everything is stopped" not in client.get("/").content.decode()
    client.force_login(api.person("eve", roles.AUDITOR))
    assert client.post("/ops/switches/", {"move": "release", "scope": "all"}).status_code == 403
    client.force_login(api.person("ola2", roles.OPERATOR))
    assert "Say why" in client.post("/ops/switches/", {"scope": "agent", "name": "worker"}).content.decode()
    client.post("/ops/switches/", {"move": "release", "scope": "all"})
    assert not Switch.objects.thrown().exists()
