"""What the tests run on: embedded services for one test run, and real web and worker processes over its database."""

import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, urlencode

from django.conf import settings
from django.db import connection

from orchestrator_site.services import processes
from orchestrator_site.services.child import Child
from orchestrator_site.services.folder import DataFolder
from orchestrator_site.services.postgres import UNSAFE_SETTINGS, postgres
from orchestrator_site.services.redis import redis


class Services:
    """PostgreSQL and Redis for the whole run, unless the environment names servers of its own."""

    def __init__(self) -> None:
        self._folder = DataFolder(settings.DATA_DIR)
        self._children: list[Child] = []

    def start(self) -> None:
        self._folder.take()
        if "BATON_TEST_REDIS_IS_OURS" in os.environ:
            self._children.append(redis(self._folder))
        if "DATABASE_URL" not in os.environ:
            self._children.append(postgres(self._folder, settings=UNSAFE_SETTINGS))
        for child in self._children:
            child.start()
            self._folder.record(child.name, child.pid)
        for child in self._children:
            child.wait_ready()

    def stop(self) -> None:
        for child in reversed(self._children):
            child.stop()
        self._folder.release()


class Stack:
    """A web process and workers, each a `Child`: `.pid`, `.is_alive()`, `.kill()`, `.send(signal)`, `.stop()`, `.log`.

    They see only what is committed: a test that uses them needs `django_db(transaction=True)`.
    """

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = {
            "DJANGO_SETTINGS_MODULE": "orchestrator_site.settings",
            "DATABASE_URL": database_url(),
            "REDIS_URL": settings.REDIS_URL,
            "BATON_DATA_DIR": str(settings.DATA_DIR),
            "BATON_PUBLIC_URL": self.url,
            "BATON_DB_POOL": "1",
        }
        self.web = processes.web(port=self.port, env=self.env, logs=logs)
        self._guests: list[Child] = []
        self._count = 0

    def start(self) -> None:
        self.web.start()
        self.web.wait_ready()

    def start_worker(self, env: Mapping[str, str] | None = None) -> Child:
        """A worker, with these variables beside the stack's, stopped at the end of the test.

        None outlives its test: it would take the next one's work out of its hands.
        """
        self._count += 1
        child = processes.worker(f"guest-{self._count}", env=self.env | dict(env or {}), logs=self.logs)
        return self._take_in(child)

    def start_process(self, name: str, argv: Sequence[str], env: Mapping[str, str] | None = None) -> Child:
        """Any other process over the same services, such as a second web process or a management command."""
        child = Child(
            name=name,
            argv=argv,
            log=self.logs / f"{name}.log",
            env=os.environ | self.env | dict(env or {}),
            folder=processes.REPOSITORY,
        )
        return self._take_in(child)

    def send_guests_home(self) -> None:
        for child in self._guests:
            child.ask_to_stop()
        for child in self._guests:
            child.wait_stopped(child.stop_seconds)
        self._guests.clear()

    def stop(self) -> None:
        self.web.stop()

    def _take_in(self, child: Child) -> Child:
        self._guests.append(child)
        child.start()
        child.wait_ready()
        return child


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def database_url() -> str:
    """The database of this test process, as `DATABASE_URL` names it to others."""
    parts = connection.settings_dict
    options = {key: value for key, value in parts["OPTIONS"].items() if key not in {"pool", "options"}}
    query = {"host": parts["HOST"], "port": parts["PORT"]} | options
    login = quote(parts["USER"], safe="") + (f":{quote(parts['PASSWORD'], safe='')}" if parts["PASSWORD"] else "")
    return f"postgresql://{login}@/{quote(parts['NAME'], safe='')}?{urlencode({k: v for k, v in query.items() if v})}"
