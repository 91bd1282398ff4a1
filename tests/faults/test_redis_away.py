"""Redis hangs, and then is gone, for long: runs proceed by polling, API and admin work, pages say what they lack."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis as client
from django.contrib.auth.models import User

from orchestrator_site.core import breaker, doorbell, tokens
from orchestrator_site.services import processes
from orchestrator_site.services.child import Child
from orchestrator_site.services.folder import DataFolder
from orchestrator_site.services.places import redis_socket
from orchestrator_site.services.redis import redis
from runs import doorbells, reconcile, states
from runs.models import Run
from tests.faults.test_read_only import ask
from tests.live.clients import Watcher, socket_to
from tests.live.conftest import signed_in
from tests.model_fixtures import Process
from tests.runs import cast
from tests.stack import Stack, free_port
from tests.waiting import eventually
from tools.models import Tool
from tools.values import Effect, Risk

pytestmark = [pytest.mark.crash, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("model")]

# A hung Redis takes that much of the one caller in five seconds who tries; the others are answered at once.
SLOWEST_SECONDS, AT_ONCE_SECONDS = 8.0, 1.5
POSTS = 6
HANGS_SECONDS = 3


@contextmanager
def redis_of_its_own(place: Path) -> Iterator[tuple[Child, str]]:
    folder = DataFolder(place)
    folder.take()
    child = redis(folder)
    child.start()
    child.wait_ready()
    try:
        yield child, f"unix://{redis_socket(place)}?db=0"
    finally:
        child.send(signal.SIGCONT)
        child.stop()
        folder.release()


@dataclass
class Site:
    """A web process and a worker over a Redis of their own, and an app with a token."""

    redis: Child
    url: str
    token: dict[str, str]

    def post_run(self) -> tuple[str, float]:
        """The run's id, and how long the answer took."""
        body = {"input": cast.script(cast.call(("act", {"dedupe": True})), cast.text("done")), "agent": "worker"}
        began = time.monotonic()
        status, told = ask(f"{self.url}/api/v1/runs/", body, **self.token)
        assert status == 201, told
        return told.split('"id":"')[1].split('"')[0], time.monotonic() - began


@pytest.fixture
def site(stack: Stack, ledger: Process, ann: User, tmp_path: Path) -> Iterator[Site]:
    cast.tool("act", "tests.effect", Effect.KEYED, Risk.LOW)
    Tool.objects.update(confirmation="never")
    cast.agent("worker", "act")
    User.objects.filter(pk=ann.pk).update(is_superuser=True, is_staff=True)
    _, secret = tokens.create(ann, ["runs:read", "runs:write"], by=None)
    with redis_of_its_own(tmp_path / "redis") as (child, url):
        port = free_port()
        env = {"REDIS_URL": url, "BATON_RECONCILE_SECONDS": "0.5"}
        web = processes.web(port=port, env=stack.env | env, logs=stack.logs, name="web-alone")
        web.start()
        try:
            web.wait_ready()
            stack.start_worker(env)
            yield Site(child, f"http://127.0.0.1:{port}", {"Authorization": f"Bearer {secret}"})
            stack.send_guests_home()
        finally:
            web.stop()


def works_without_redis(site: Site, ledger: Process, cookie: str) -> list[float]:
    """Runs are accepted and carried to their end, API and admin answer; how long each start took."""
    started = [site.post_run() for _ in range(POSTS)]
    ids = [run_id for run_id, _ in started]
    eventually(lambda: Run.objects.filter(pk__in=ids, status=states.SUCCEEDED).count() == POSTS)
    made = [effect["key"] for effect in ledger.get("/effects")]
    assert all(made.count(str(cast.only_call(run).idempotency_key)) == 1 for run in Run.objects.filter(pk__in=ids))
    assert ask(f"{site.url}/api/v1/runs/{ids[0]}/", **site.token)[0] == 200
    for path in ("/", "/admin/", "/admin/runs/run/", f"/runs/{ids[0]}/"):
        began = time.monotonic()
        assert ask(site.url + path, Cookie=f"sessionid={cookie}")[0] == 200
        assert time.monotonic() - began < SLOWEST_SECONDS
    status, page = ask(f"{site.url}/ops/", Cookie=f"sessionid={cookie}")
    assert (status, "does not answer" in page) == (200, True)
    return [seconds for _, seconds in started]


def test_for_long(site: Site, ledger: Process, ann: User) -> None:
    cookie = signed_in(ann)
    first = site.post_run()[0]
    with socket_to(site.url, f"/ws/runs/{first}/", cookie) as socket:
        watcher = Watcher(socket)

        def is_told(*degraded: bool) -> None:
            watcher.until_type("live", seconds=20)
            assert tuple(watcher.degraded) == degraded

        is_told(False)
        site.redis.send(signal.SIGSTOP)
        is_told(False, True)
        took = works_without_redis(site, ledger, cookie)
        assert sum(seconds > AT_ONCE_SECONDS for seconds in took) <= 2, took
        assert max(took) < SLOWEST_SECONDS

        site.redis.send(signal.SIGCONT)
        is_told(False, True, False)
        site.redis.kill()
        is_told(False, True, False, True)
        assert max(works_without_redis(site, ledger, cookie)) < SLOWEST_SECONDS

        site.redis.start()
        site.redis.wait_ready()
        is_told(False, True, False, True, False)
    last = site.post_run()[0]
    eventually(lambda: Run.objects.get(pk=last).status == states.SUCCEEDED)


def test_who_rings_never_waits_for_a_redis_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside it, the control: who publishes by himself does."""
    with redis_of_its_own(tmp_path / "redis") as (child, url):
        hung = client.Redis.from_url(url, socket_timeout=HANGS_SECONDS, retry=None)
        monkeypatch.setattr(doorbell, "_client", lambda: hung)
        monkeypatch.setattr(doorbell, "breaker", breaker.Breaker(5))
        child.send(signal.SIGSTOP)

        began = time.monotonic()
        for _ in range(4):
            doorbell.ring(doorbell.EVENTS, chain="run:x", seq=1)
        took = time.monotonic() - began
        eventually(lambda: not doorbell.breaker.may_ask())
        with pytest.raises(client.TimeoutError):
            hung.publish("x", "y")
        hung.close()

    assert took < HANGS_SECONDS


def test_a_run_that_nobody_could_be_called_to_is_found_by_the_next_sweep(
    ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    cast.agent()
    monkeypatch.setattr(doorbells, "breaker", breaker.Breaker(60))
    doorbells.breaker.failed()

    run = cast.start(ann, cast.script(cast.text("done")))

    assert reconcile.call_forgotten() == 1
    assert run.dispatches.get().status == states.QUEUED


def test_one_asks_for_all_when_the_pause_is_over() -> None:
    held = breaker.Breaker(0.05)
    held.failed()
    assert not held.may_ask()
    time.sleep(0.06)

    answers: list[Any] = []
    threads = [threading.Thread(target=lambda: answers.append(held.may_ask())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers.count(True) == 1
    held.worked()
    assert held.may_ask()
    assert held.may_ask()
