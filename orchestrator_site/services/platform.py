"""The whole platform on one machine: what `manage.py up` and the demo both run."""

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from signal import SIGKILL, Signals
from types import TracebackType

from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.utils.module_loading import import_string

from . import processes
from .bootstrap import bootstrap
from .child import Child
from .errors import ServiceError
from .folder import DataFolder
from .postgres import create_database, postgres
from .redis import redis
from .supervisor import OnExit, Supervisor

LAST_PORT = 65535


def say(line: str) -> None:
    print(line, flush=True)


class Platform:
    """Services, migrations, web, workers and beat, from entering the block to leaving it.

        with Platform(port=8000, workers=2) as platform:
            platform.watch()            # returns on INT, TERM, HUP; raises KeepsDying

    Enter it in the main thread and let that thread watch: a dead child is seen and restarted only there.
    env: variables for web, workers and beat beside our own. before_web: called with the platform once the database
    is migrated, before any process of ours runs, e.g. to seed or to add a model server whose address `env` must hold.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 8000,
        workers: int = 1,
        env: Mapping[str, str] | None = None,
        say: Callable[[str], None] = say,
        before_web: Callable[["Platform"], None] = lambda platform: None,
    ) -> None:
        self.host, self.port, self.workers = host, port, workers
        self.env = {"BATON_DATA_DIR": str(settings.DATA_DIR), **(env or {})}
        self.logs = settings.DATA_DIR / "log"
        self.say = say
        self._before_web = before_web
        self._folder = DataFolder(settings.DATA_DIR)
        hooks: list[OnExit] = [import_string(path) for path in settings.BATON_ON_PROCESS_EXIT]
        self._supervisor = Supervisor(say=say, on_start=self._folder.record, on_exit=hooks)

    @property
    def url(self) -> str:
        return f"http://{self._address}:{self.port}"

    @property
    def children(self) -> dict[str, Child]:
        """By name: `redis`, `postgres` (when embedded), `web`, `worker-1` …, `beat`, and what was added."""
        return self._supervisor.children

    @property
    def stop_requested(self) -> bool:
        return self._supervisor.stop_requested

    def on_exit(self, hook: OnExit) -> None:
        """Tell `hook(name, pid)` of every process that was seen to exit. It may raise: it is asked again."""
        self._supervisor.on_exit.append(hook)

    def kill(self, name: str, signum: Signals = SIGKILL) -> int:
        """Send a signal to a child and answer with the pid it went to; `watch` sees the end and starts it again."""
        child = self.children[name]
        pid = child.pid
        child.send(signum)
        return pid

    def add_child(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        *,
        ready: Callable[[Child], bool] | None = None,
        stop_seconds: float = 5,
    ) -> Child:
        """One more process, watched like the others, stopped after the workers and before the services."""
        child = Child(
            name=name,
            argv=argv,
            log=self.logs / f"{name}.log",
            env=os.environ | self.env | dict(env or {}) | {"BATON_PROCESS_NAME": name, "PYTHONUNBUFFERED": "1"},
            ready=ready,
            stop_seconds=stop_seconds,
            stage=5,
            folder=processes.REPOSITORY,
        )
        self._supervisor.start(child)
        return child

    def watch(self, until: Callable[[], bool] = lambda: False) -> None:
        """Look after the children until a signal asks to stop, or `until()`, asked twenty times a second, says so."""
        self._supervisor.watch(until)

    def __enter__(self) -> "Platform":
        self._supervisor.listen_to_signals()
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    @property
    def _address(self) -> str:
        return "127.0.0.1" if self.host in {"0.0.0.0", "::", ""} else self.host

    def _start(self) -> None:
        self._folder.take()
        self.say(f"data folder {settings.DATA_DIR}")
        self._start_services()
        self._prepare_database()
        self._before_web(self)
        self._start_processes()
        self.say(f"READY {self.url}")

    def _start_services(self) -> None:
        services = []
        if "REDIS_URL" not in os.environ:
            services.append(redis(self._folder))
        if "DATABASE_URL" not in os.environ:
            services.append(postgres(self._folder))
        self._supervisor.start(*services)

    def _prepare_database(self) -> None:
        _without_pool()
        database = settings.DATABASES["default"]
        if "postgres" in self.children and create_database(database["HOST"], database["NAME"]):
            self.say(f"database {database['NAME']} made")
        call_command("migrate", interactive=False, verbosity=0)
        bootstrap()
        connection.close()
        if not settings.DEBUG:
            call_command("collectstatic", interactive=False, verbosity=0)
        self._supervisor.give_up_if_asked_to()

    def _start_processes(self) -> None:
        self._choose_port()
        self.env.setdefault("BATON_PUBLIC_URL", os.environ.get("BATON_PUBLIC_URL", self.url))
        self.env["BATON_OWN_ORIGINS"] = ",".join([*settings.BATON_OWN_ORIGINS, self.url])
        workers = [processes.worker(f"worker-{n}", env=self.env, logs=self.logs) for n in range(1, self.workers + 1)]
        web = processes.web(host=self.host, port=self.port, env=self.env, logs=self.logs)
        self._supervisor.start(*workers, web)
        self._supervisor.start(processes.beat(env=self.env, logs=self.logs))

    def _choose_port(self) -> None:
        wanted = self.port
        self.port = next((port for port in range(wanted, LAST_PORT + 1) if _is_free(self.host, port)), 0)
        if not self.port:
            raise ServiceError(f"No port from {wanted} upwards is free on {self.host}.")
        if self.port != wanted:
            self.say(f"port {wanted} is taken, {self.port} is used instead")

    def _stop(self) -> None:
        try:
            self._supervisor.stop()
        finally:
            self._folder.release()
            self._supervisor.restore_signals()


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            probe.bind((host, port))
            return True
        return False


def _without_pool() -> None:
    """A supervisor forks; the threads of a pool have no business in it, whatever BATON_DB_POOL says to its children."""
    connection.settings_dict["OPTIONS"].pop("pool", None)
