"""The whole platform as a person starts it: real processes, real signals."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from orchestrator_site.services.processes import REPOSITORY
from tests.stack import free_port
from tests.waiting import PATIENCE_SECONDS, eventually


class Up:
    """`manage.py up` over a folder of its own, and the lines it has printed so far."""

    def __init__(self, data: Path, *, out: Path, port: int | None = None, env: dict[str, str] | None = None) -> None:
        self.data = data
        self.out = out
        ours = {name: value for name, value in os.environ.items() if name not in {"REDIS_URL", "DATABASE_URL"}}
        ours |= {"DJANGO_SETTINGS_MODULE": "orchestrator_site.settings", "BATON_DATA_DIR": str(data), **(env or {})}
        with self.out.open("a") as lines:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "up", "--port", str(port or free_port())],
                cwd=REPOSITORY, env=ours, stdout=lines, stderr=lines,
            )  # fmt: skip

    @property
    def printed(self) -> str:
        return self.out.read_text()

    def pids(self) -> dict[str, int]:
        """The latest pid of every child."""
        return {
            name: int(pid)
            for name, pid in re.findall(r"^(\S+) is (?:ready|started again), pid (\d+)", self.printed, re.M)
        }

    def wait_for(self, pattern: str) -> re.Match[str]:
        eventually(lambda: re.search(pattern, self.printed) or self.process.poll() is not None)
        found = re.search(pattern, self.printed)
        assert found, self.printed
        return found

    def end(self, signum: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(signum)
        return self.process.wait(PATIENCE_SECONDS)


def is_live(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/api/v1/health/live/", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.fixture
def start(data: Path, tmp_path: Path) -> Iterator[Callable[..., Up]]:
    started: list[Up] = []

    def start(**options) -> Up:
        started.append(Up(data, out=tmp_path / "up.out", **options))
        return started[-1]

    yield start
    for up in started:
        if up.process.poll() is None:
            up.end()


def test_it_serves_restarts_what_dies_and_stops_in_order(start: Callable[..., Up]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        up = start(port=port)
        url = up.wait_for(r"READY (\S+)")[1]

    assert url != f"http://127.0.0.1:{port}"
    assert f"port {port} is taken, " in up.printed
    assert is_live(url)

    second = start()
    assert second.process.wait(PATIENCE_SECONDS) == 1
    assert f"{up.data} is in use by process {up.process.pid}" in up.printed

    before = up.pids()
    assert set(before) == {"redis", "postgres", "web", "worker-1", "beat"}
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: all(up.pids()[name] != pid for name, pid in before.items()))
    assert "worker-1, pid" in up.printed
    assert "ended with signal SIGKILL" in up.printed
    eventually(lambda: is_live(url))

    assert up.end(signal.SIGINT) == 0
    stopped = re.findall(r"^(\S+) is stopped", up.printed, re.M)
    assert set(stopped[:3]) == {"worker-1", "web", "beat"}
    assert stopped[3:] == ["redis", "postgres"]
    assert not any(psutil.pid_exists(pid) for pid in up.pids().values())


@pytest.mark.crash
def test_a_supervisor_killed_hard_leaves_no_orphan_and_the_next_one_recovers(start: Callable[..., Up]) -> None:
    up = start()
    up.wait_for("READY")
    up.process.kill()
    up.process.wait()
    pids = up.pids()

    again = start()  # at once, while the old servers are still on their way out
    eventually(lambda: again.printed.count("READY") == 2)

    assert not any(psutil.pid_exists(pid) for pid in pids.values())
    assert again.printed.count("database baton made") == 1
    assert again.end(signal.SIGHUP) == 0
