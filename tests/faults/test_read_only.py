"""A database that takes no writes in mid-run, as after a failover to a standby: nothing is sent, nothing is lost."""

import json
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from psycopg.conninfo import make_conninfo
from psycopg_pool import ConnectionPool

from orchestrator_site.core import connections, events, tokens, verify
from runs import states
from runs.models import Attempt, Run, ToolCall
from tests.faults import batch
from tests.faults.batch import CELLS, Cell
from tests.model_fixtures import Process
from tests.runs import cast
from tests.stack import Stack
from tests.waiting import PATIENCE_SECONDS, eventually
from tools.values import Effect

pytestmark = [pytest.mark.crash, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("model")]

FREE = [cell for cell in CELLS if not cell.gated]
TURNS = 5
# What was in hand when it began has come to its end by then.
IN_HAND_SECONDS, READ_ONLY_SECONDS = 2, 5


@contextmanager
def read_only() -> Iterator[None]:
    """For every session but this test's own; they are cut off and seen gone, and the new ones take no writes."""
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        try:
            cursor.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            yield
        finally:
            cursor.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")


def several_turns(ann: User, cell: Cell) -> Run:
    calls = [
        cast.call((cell.tool, {"turn": turn, "dedupe": cell.effect == Effect.KEYED, "hold_seconds": 0.2}))
        | {"delay_seconds": 0.3}
        for turn in range(TURNS)
    ]
    return cast.start(ann, cast.script(*calls, cast.text("done")))


def ask(url: str, body: Any = None, **headers: str) -> tuple[int, str]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"} | headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_nothing_leaves_and_all_goes_on_by_itself(
    stack: Stack, ledger: Process, ann: User, bob: User, subtests: pytest.Subtests
) -> None:
    batch.hire()
    User.objects.update(is_superuser=True)
    _, secret = tokens.create(ann, ["runs:read", "runs:write"], by=None)
    client = Client()
    client.force_login(ann)
    token, cookie = {"Authorization": f"Bearer {secret}"}, {"Cookie": f"sessionid={client.cookies['sessionid'].value}"}
    env = {"BATON_LEASE_SECONDS": "6", "BATON_RECONCILE_SECONDS": "0.5"}
    for _ in range(2):
        stack.start_worker(env)
    before = len(ledger.get("/effects"))
    runs = [several_turns(ann, cell) for cell in FREE]
    asked = cast.start(ann, cast.script(cast.call(("unsafe_http_asked", {})), cast.text("done")))
    eventually(lambda: asked.dispatches.get().status == states.WAITING and len(ledger.get("/effects")) > before + 8)

    with read_only():
        time.sleep(IN_HAND_SECONDS)
        begun = len(ledger.get("/effects"))
        ends_at = time.monotonic() + READ_ONLY_SECONDS
        with subtests.test("the API refuses what it could not keep, and shows what it has"):
            status, told = ask(f"{stack.url}/api/v1/runs/", {"input": "Hello", "agent": "worker"}, **token)
            assert (status, json.loads(told)["type"]) == (503, "urn:baton:problem:unavailable")
            assert "takes no writes" in told
            assert ask(f"{stack.url}/api/v1/runs/{asked.pk}/", **token)[0] == 200
        with subtests.test("so do the pages"):
            assert ask(f"{stack.url}/", **cookie)[0] == 200
            status, page = ask(f"{stack.url}/ops/", **cookie)
            assert (status, "It takes no writes" in page) == (200, True)
            status, page = sign_in(stack.url, "bob")
            assert (status, "takes no writes" in page) == (503, True)
            status, told = ask(f"{stack.url}/api/v1/health/ready/")
            assert (status, json.loads(told)["status"]) == (200, "degraded")
        time.sleep(max(0, ends_at - time.monotonic()))
        assert len(ledger.get("/effects")) == begun, "something was sent that no committed intent stands for"
        assert Run.objects.filter(pk__in=[run.pk for run in runs]).open().exists(), "it came too late"

    at_work = Run.objects.filter(pk__in=[run.pk for run in runs]).exclude(status__in=batch.AT_REST)
    eventually(lambda: not at_work.exists())
    cast.decide(cast.request_of(asked), bob)
    eventually(lambda: Run.objects.get(pk=asked.pk).status == states.SUCCEEDED)
    hello = {"input": cast.script(cast.text("x")), "agent": "worker"}
    eventually(lambda: ask(f"{stack.url}/api/v1/runs/", hello, **token)[0] == 201)  # an idle session may still refuse
    accounted_for(runs, ledger.get("/effects")[before:])


def sign_in(url: str, name: str) -> tuple[int, str]:
    """As a browser: the form, its token, the post."""
    with urllib.request.urlopen(f"{url}/login/", timeout=PATIENCE_SECONDS) as form:
        cookie, page = form.headers["Set-Cookie"].split(";")[0], form.read().decode()
    middleware = page.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
    data = f"csrfmiddlewaretoken={middleware}&username={name}&password={name}".encode()
    request = urllib.request.Request(f"{url}/login/", data, {"Cookie": cookie})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def accounted_for(runs: list[Run], made: list[dict[str, Any]]) -> None:
    """Every effect has its committed intent, and the books say of each call what the ledger says."""
    calls = ToolCall.objects.filter(dispatch__run__in=runs).select_related("dispatch__run")
    effects = Counter(effect["key"] for effect in made)
    for call in calls:
        sent = Attempt.objects.filter(call=call).count()
        assert effects[call.idempotency_key] <= sent
        if call.effect != Effect.PURE:
            assert effects[call.idempotency_key] <= 1
        if call.status == states.DONE:
            assert effects[call.idempotency_key] >= 1
    for run in Run.objects.filter(pk__in=[run.pk for run in runs]):
        doubts = calls.filter(dispatch__run=run, status=states.UNCERTAIN)
        assert run.status == (states.WAITING if doubts else states.SUCCEEDED)
        assert verify.chain(events.run_chain(run.pk)) is None
    assert calls.filter(status=states.DONE).count() >= len(runs) * (TURNS - 1)


@pytest.mark.parametrize("check", [connections.check, None])
def test_control_a_pool_that_keeps_its_sessions_takes_no_writes_for_ever(check: Any) -> None:
    own = connection.settings_dict
    place = make_conninfo(dbname=own["NAME"], host=own["HOST"], port=own["PORT"] or None, user=own["USER"] or None)
    login = {"autocommit": True, "password": own["PASSWORD"] or None}
    with ConnectionPool(place, min_size=1, max_size=1, check=check, kwargs=login) as sessions:
        sessions.wait()
        with read_only(), suppress(psycopg.Error), sessions.connection() as session:
            session.execute("SELECT 1")  # it was cut off
        with read_only():
            sessions.check()
            with sessions.connection() as session, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                session.execute("CREATE TABLE a_thing ()")

        with sessions.connection() as session:
            (found,) = session.execute("SHOW transaction_read_only").fetchone() or ("",)

    assert found == ("off" if check else "on")
