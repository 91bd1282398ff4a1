import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client

from orchestrator_site.core import events
from orchestrator_site.services.child import Child
from runs.models import Run
from tests.live.clients import Stream, Watcher, socket_to
from tests.stack import Stack, free_port
from tests.waiting import eventually


@pytest.fixture
def owner(transactional_db: None) -> User:
    return User.objects.create_user("owner")


@pytest.fixture
def run(owner: User) -> Run:
    return Run.objects.create(owner=owner, source="api", input="Watch me.")


def signed_in(user: User) -> str:
    client = Client()
    client.force_login(user)
    return client.cookies["sessionid"].value


def allowed(name: str, *codenames: str) -> User:
    user = User.objects.create_user(name)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return user


def record(run: Run, *numbers: int, **data: Any) -> None:
    """One event for each number, all in one transaction."""
    with events.recording() as log:
        for number in numbers:
            log.run(run.pk, "noted", number=number, **data)


def writer(run: Run, numbers: range) -> Callable[[], None]:
    """For a thread: one transaction a number."""

    def write() -> None:
        try:
            for number in numbers:
                record(run, number)
        finally:
            connection.close()

    return write


class Site:
    """A web process and the clients that a test opened there."""

    def __init__(self, url: str, leaving: ExitStack) -> None:
        self.url = url
        self._leaving = leaving
        self._session_of = cache(signed_in)

    def watch(self, path: str, user: User | None = None, **options: Any) -> Watcher:
        socket = socket_to(self.url, path, self._session_of(user) if user else "", **options)
        return Watcher(self._leaving.enter_context(socket))

    def watch_run(self, run: Run, after: int | None = None, **options: Any) -> Watcher:
        return self.watch(f"/ws/runs/{run.pk}/" + ("" if after is None else f"?after={after}"), run.owner, **options)

    def stream(self, run: Run, query: str = "", **headers: str) -> Stream:
        stream = Stream(self.url, f"/api/v1/runs/{run.pk}/stream/{query}", **headers)
        self._leaving.callback(stream.close)
        return stream


@pytest.fixture
def leaving() -> Iterator[ExitStack]:
    with ExitStack() as leaving:
        yield leaving


@pytest.fixture
def site(stack: Stack, leaving: ExitStack) -> Site:
    return Site(stack.url, leaving)


class QuickSite(Site):
    process: Child


@pytest.fixture
def quick_site(stack: Stack, leaving: ExitStack) -> Callable[..., QuickSite]:
    """Start a web process that looks at everything many times a second, with these variables."""

    def start(**env: str) -> QuickSite:
        port = free_port()
        site = QuickSite(f"http://127.0.0.1:{port}", leaving)
        argv = [sys.executable, "-m", "tests.live.quick_web", str(port)]
        site.process = stack.start_process(f"quick-web-{port}", argv, {"BATON_PUBLIC_URL": site.url} | env)
        eventually(lambda: _answers(site.url) or not site.process.is_alive())
        assert site.process.is_alive(), site.process.last_words()
        return site

    return start


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/api/v1/health/live/", timeout=5):
            return True
    except urllib.error.URLError:
        return False
