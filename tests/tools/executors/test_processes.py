import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.waiting import eventually
from tools import executors
from tools.executors import processes


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_a_living_process_is_not_dead() -> None:
    assert processes.is_dead(processes.identity(os.getpid())) is False


def test_a_process_that_is_gone_is_dead(sleeper: subprocess.Popen) -> None:
    identity = processes.identity(sleeper.pid)

    sleeper.kill()
    sleeper.wait()

    assert processes.is_dead(identity) is True


def test_a_zombie_is_dead(sleeper: subprocess.Popen) -> None:
    identity = processes.identity(sleeper.pid)

    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)

    assert processes.is_dead(identity) is True


def test_a_number_given_to_another_process_is_dead(sleeper: subprocess.Popen) -> None:
    host, pid, started = processes.identity(sleeper.pid).rsplit("/", 2)

    assert processes.is_dead(f"{host}/{pid}/{int(started) - 1}") is True


def test_another_boot_another_container_and_nonsense_cannot_be_told() -> None:
    boot, namespace, pid, started = processes.identity(os.getpid()).split("/")

    assert processes.is_dead(f"{'0' * 36}/{namespace}/{pid}/{started}") is None
    assert processes.is_dead(f"{boot}/1/{pid}/{started}") is None
    assert processes.is_dead(f"{boot}/{namespace}/many/{started}") is None
    assert processes.is_dead("somewhere") is None


def test_the_identities_are_the_worker_and_its_fork_server() -> None:
    worker, server = executors.process_identities()

    assert worker == processes.identity(os.getpid())
    assert executors.is_dead(server) is False


REPLACED = """
import json, os, signal
from tools import executors
executors.prepare()
first = executors.process_identities()[1]
os.kill(int(first.split("/")[-2]), signal.SIGKILL)
while executors.is_dead(first) is not True:
    pass
print(json.dumps([first, *executors.process_identities()[1:]]))
"""


def test_a_copy_that_was_killed_is_replaced() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}

    told = subprocess.check_output([sys.executable, "-c", REPLACED], env=environment)

    first, second = json.loads(told)
    assert first != second


@pytest.mark.parametrize("how", ["copy", "interpreter"])
@pytest.mark.parametrize("victim", ["worker", "fork server", "both"])
def test_a_killed_worker_or_fork_server_takes_the_running_call_along(tmp_path: Path, victim: str, how: str) -> None:
    file = tmp_path / "ticks"
    command = [sys.executable, "-m", "tests.tools.executors.lone_worker", str(file), how]
    # Without Django the fork server is up sooner; what dies with whom is the same.
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as worker:
        try:
            assert worker.stdout
            identities = json.loads(worker.stdout.readline())
            assert [executors.is_dead(identity) for identity in identities] == [False, False]
            eventually(lambda: file.exists() and Path(f"{file}.grandchild").exists())

            if victim in ("fork server", "both"):
                os.kill(int(identities[1].split("/")[-2]), signal.SIGKILL)
            if victim in ("worker", "both"):
                worker.kill()

            eventually(lambda: _is_still(file))
            if victim != "both":
                eventually(lambda: _is_still(Path(f"{file}.grandchild")))
                eventually(lambda: executors.is_dead(identities[1]) is True)
        finally:
            worker.kill()
            # Killed both at once, the two cannot take along what the call itself started; only the call is sure to die.
            with suppress(ProcessLookupError):
                os.kill(int(Path(f"{file}.pid").read_text()), signal.SIGKILL)


def _is_still(file: Path) -> bool:
    size = file.stat().st_size
    time.sleep(0.2)
    return file.stat().st_size == size
