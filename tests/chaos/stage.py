"""The platform under test and everything around it: who is brought up, how each is reached, how all is healed.

Web, two workers and beat are the supervisor's; it tells the engine when one exits. A stray worker and a reconciler
belong to nobody who would: their leases really expire. Ledger, model server, proxy and people are never killed.
"""

import json
import os
import signal
import socket
import sys
import time
import urllib.request
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from types import TracebackType

import psycopg
import redis
from django.conf import settings
from django.db import connection

from orchestrator_site.services import processes
from orchestrator_site.services.child import Child
from orchestrator_site.services.places import redis_socket, socket_folder
from orchestrator_site.services.platform import Platform
from tests.chaos import cast

SUPERVISED_WORKERS = ("worker-1", "worker-2")
STRAYS = ("stray", "reconciler")
# The supervisor gives a name up after five deaths in a minute, and counts our graceful stops too.
DEATHS_A_MINUTE = 3
SETTINGS = {
    "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
    "BATON_CALLABLES": "tests.chaos.callables",
    "BATON_DB_POOL": "1",
    "BATON_DEMO": "0",
    "BATON_LEASE_SECONDS": "3",
    "BATON_RECONCILE_SECONDS": "0.5",
    "BATON_ROSTER_POLL_SECONDS": "1",
    "BATON_MODEL_TIMEOUT_SECONDS": "4",
    "BATON_WORKER_THREADS": "16",
    "BATON_SLICE_TURNS": "5",
    "BATON_LOG_LEVEL": "INFO",
}


class Stage:
    """Everything from entering the block to leaving it. All methods belong to the main thread."""

    def __init__(self, *, seed: str, most_open: int, kinds: Sequence[str] = (), sabotage: str = "") -> None:
        self.seed, self.most_open, self.kinds, self.folder = seed, most_open, kinds, settings.DATA_DIR
        self.logs = self.folder / "log"
        self.ports = {name: _free_port() for name in ("ledger", "model", "proxy", "orders")}
        env = SETTINGS | {
            "DATABASE_URL": f"postgresql://postgres@127.0.0.1:{self.ports['proxy']}/baton",
            "CHAOS_LEDGER_PORT": str(self.ports["ledger"]),
            "CHAOS_SABOTAGE": sabotage,
            "BATON_EGRESS": f"http://127.0.0.1:{self.ports['ledger']}",
            cast.MODEL_KEY: "a key for tests",
        }
        self.platform = Platform(
            port=8800, workers=len(SUPERVISED_WORKERS), env=env, say=lambda line: None, before_web=self._before_web
        )
        self.company: dict[str, Child] = {}
        self.strays: dict[str, Child] = {}
        self.deaths: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=10))

    # -- up and down ------------------------------------------------------------------------------------------
    def __enter__(self) -> "Stage":
        self.platform.__enter__()
        try:
            for name in STRAYS:
                self.strays[name] = self._stray(name)
                self.strays[name].start()
            for child in self.strays.values():
                child.wait_ready()
            self._keep_company(
                "people",
                "tests.chaos.people",
                *("--url", self.platform.url, "--tokens", str(self.folder / "tokens.json"), "--seed", self.seed),
                *("--open", str(self.most_open), "--diary", str(self.folder / "people.jsonl"), "--kinds", *self.kinds),
            )
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.let_all_go_on()
        for child in (self.company.get("people"), *self.strays.values()):
            if child is not None:
                child.stop()
        self.platform.__exit__(kind, error, at)
        for child in self.company.values():
            child.stop()

    def _before_web(self, platform: Platform) -> None:
        ports = {name: str(port) for name, port in self.ports.items()}
        self._keep_company(
            "ledger", "tests.chaos.ledger", "--port", ports["ledger"], "--log", str(self.folder / "ledger.jsonl")
        )
        self._keep_company("model", "tests.chaos.model", "--port", ports["model"])
        server = str(socket_folder(self.folder) / ".s.PGSQL.5432")
        self._keep_company(
            "proxy", "tests.chaos.proxy", "--port", ports["proxy"], "--orders-port", ports["orders"], "--server", server
        )
        tokens = cast.bring_in(model_url=self.model_url, ledger_url=f"http://127.0.0.1:{self.ports['ledger']}")
        (self.folder / "tokens.json").write_text(json.dumps(tokens))
        connection.close()

    def _keep_company(self, name: str, module: str, *arguments: str) -> None:
        child = self._child(name, module, *arguments, ready=lambda child: " ready" in child.log.read_text())
        child.start()
        child.wait_ready()
        self.company[name] = child

    def _stray(self, name: str) -> Child:
        if name != "reconciler":
            return processes.worker(name, env=self.platform.env, logs=self.logs)
        ready_file = self.logs / f"{name}.ready"
        child = self._child(
            name,
            "tests.chaos.reconciler",
            ready=lambda child: ready_file.exists() and ready_file.read_text() == str(child.pid),
        )
        child.env = {**(child.env or {}), "BATON_READY_FILE": str(ready_file)}
        return child

    def _child(self, name: str, module: str, *arguments: str, ready: Callable[[Child], bool]) -> Child:
        return Child(
            name=name,
            argv=[sys.executable, "-m", module, *arguments],
            log=self.logs / f"{name}.log",
            env=os.environ | self.platform.env | {"BATON_PROCESS_NAME": name, "PYTHONUNBUFFERED": "1"},
            ready=ready,
            stop_seconds=10,
            folder=processes.REPOSITORY,
        )

    # -- who is there -----------------------------------------------------------------------------------------
    @property
    def model_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['model']}"

    def child(self, name: str) -> Child:
        return self.strays.get(name) or self.company.get(name) or self.platform.children[name]

    def workers(self) -> list[str]:
        return [*SUPERVISED_WORKERS, "stray"]

    def alive(self, *names: str) -> list[str]:
        return [name for name in names if self.child(name).is_alive()]

    def ready(self, *names: str) -> list[str]:
        return [name for name in names if self.child(name).is_ready()]

    # -- how they are reached ---------------------------------------------------------------------------------
    def database(self) -> psycopg.Connection:
        """Straight to the server, past the proxy. Raises psycopg.OperationalError while it restarts."""
        host = str(socket_folder(self.folder))
        return psycopg.connect(host=host, user="postgres", dbname="baton", autocommit=True, connect_timeout=2)

    def redis(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(redis_socket(self.folder)), socket_timeout=2, socket_connect_timeout=2)

    def order_proxy(self, line: str) -> int:
        """How many connections it has cut so far."""
        with socket.create_connection(("127.0.0.1", self.ports["orders"]), timeout=5) as orders:
            orders.sendall(f"{line}\n".encode())
            return int(orders.makefile().readline())

    def make_weather(self, kind: str = "", seconds: float = 0) -> None:
        body = json.dumps({"kind": kind, "seconds": seconds}).encode()
        request = urllib.request.Request(f"{self.model_url}/weather", body, {"content-type": "application/json"})
        urllib.request.urlopen(request, timeout=5).close()

    def may_die(self, *names: str) -> list[str]:
        """Of the supervised ones those that are ready, and have not died too often of late."""
        recently = time.monotonic() - 60
        return [name for name in self.ready(*names) if sum(at > recently for at in self.deaths[name]) < DEATHS_A_MINUTE]

    def end(self, name: str, signum: signal.Signals) -> int:
        """End a supervised process; its pid."""
        self.deaths[name].append(time.monotonic())
        return self.platform.kill(name, signum)

    # -- healing ----------------------------------------------------------------------------------------------
    def let_all_go_on(self) -> None:
        for child in [*self.platform.children.values(), *self.strays.values(), *self.company.values()]:
            if child.is_alive():
                child.send(signal.SIGCONT)

    def revive_strays(self) -> None:
        for child in self.strays.values():
            if not child.is_alive():
                child.start()

    def heal(self) -> None:
        """No fault is left: everybody runs, every order is withdrawn."""
        self.let_all_go_on()
        self.order_proxy("calm")
        self.make_weather()
        self.revive_strays()

    def let_people_finish(self, within_seconds: float) -> bool:
        """Whether all runs came to their end in time."""
        people = self.company["people"]
        people.send(signal.SIGUSR1)
        ends_at = time.monotonic() + within_seconds
        self.platform.watch(until=lambda: not people.is_alive() or time.monotonic() > ends_at)
        return people.exit_code == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
