import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from orchestrator_site.services.child import Child
from orchestrator_site.services.errors import ChildFailed, KeepsDying
from orchestrator_site.services.supervisor import DEATHS_ALLOWED, Supervisor
from tests.waiting import PATIENCE_SECONDS


class Cast:
    """A supervisor over tiny processes, and what it said."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.said: list[str] = []
        self.supervisor = Supervisor(say=self.said.append)

    def child(self, name: str, code: str = "import time; time.sleep(60)", **options) -> Child:
        return Child(name=name, argv=[sys.executable, "-c", code], log=self.logs / f"{name}.log", **options)

    def watch(self, until) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        self.supervisor.watch(lambda: until() or time.monotonic() > deadline)
        assert until(), self.said


@pytest.fixture
def cast(tmp_path: Path) -> Iterator[Cast]:
    cast = Cast(tmp_path)
    yield cast
    cast.supervisor.stop()


def test_a_killed_child_is_started_again_and_said_so(cast: Cast) -> None:
    child = cast.child("clock")
    cast.supervisor.start(child)
    first = child.pid

    child.send(signal.SIGKILL)
    cast.watch(lambda: child.is_alive() and child.pid != first)

    assert cast.said[1:] == [
        f"clock, pid {first}, ended with signal SIGKILL",
        f"clock is started again, pid {child.pid}",
    ]


def test_a_child_that_keeps_dying_is_given_up(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator_site.services.supervisor.BACKOFF_SECONDS", (0.0,) * 5)
    cast.supervisor.spawn(cast.child("broken", "print('no such module'); raise SystemExit(3)"))

    with pytest.raises(KeepsDying, match="broken died 5 times within 60 s") as given_up:
        cast.watch(lambda: False)

    assert "no such module" in str(given_up.value)


def test_a_worker_that_keeps_dying_of_its_work_is_started_again(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator_site.services.supervisor.BACKOFF_SECONDS", (0.0, 0.01))
    cast.supervisor.spawn(cast.child("worker", "raise SystemExit(3)", is_never_given_up=True))

    cast.watch(lambda: len([line for line in cast.said if "started again" in line]) > DEATHS_ALLOWED)


def test_a_child_that_dies_at_the_start_is_an_error_with_its_last_words(cast: Cast) -> None:
    child = cast.child("broken", "print('port is taken'); raise SystemExit(3)", ready=lambda child: False)

    with pytest.raises(ChildFailed, match="broken ended with 3 while starting") as failed:
        cast.supervisor.start(child)

    assert "port is taken" in str(failed.value)


def test_an_exit_is_told_again_until_the_hook_could_take_it(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator_site.services.supervisor.EXIT_HOOK_PAUSE_SECONDS", 0.01)
    told: list[tuple[str, int]] = []

    def hook(name: str, pid: int) -> None:
        told.append((name, pid))
        if len(told) < 3:
            raise ConnectionError("the database is away")

    cast.supervisor.on_exit.append(hook)
    child = cast.child("clock")
    cast.supervisor.start(child)
    first = child.pid
    child.send(signal.SIGKILL)
    cast.watch(lambda: len(told) >= 3)

    assert told == [("clock", first)] * 3


def test_stages_stop_one_after_the_other_with_their_own_signals(cast: Cast) -> None:
    code = "import signal, time; signal.signal(signal.SIGINT, lambda *a: exit(0)); time.sleep(60)"
    server = cast.child("server", code, stage=9, stop_signal=signal.SIGINT)
    client = cast.child("client")
    cast.supervisor.start(server, client)
    time.sleep(0.3)  # until the handler stands

    cast.supervisor.stop()

    assert cast.said[-2:] == ["client is stopped", "server is stopped"]
    assert (client.exit_code, server.exit_code) == (-signal.SIGTERM, 0)


def test_a_child_that_ignores_the_request_is_killed(cast: Cast) -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    deaf = cast.child("deaf", code, stop_seconds=0.1, ready=lambda child: "deaf" in child.log.read_text())
    cast.supervisor.start(deaf)

    cast.supervisor.stop("deaf")

    assert cast.said[-1] == "deaf did not stop in 0 s and was killed"
    assert not psutil.pid_exists(deaf.pid)
