"""The scripted model server as a fixture: its own process, started once for a test session.

Use it from a conftest by `pytest_plugins = ["tests.model_fixtures"]`.
"""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Process:
    """A server of the demo or of the tests, running beside this process."""

    url: str
    pid: int

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=PATIENCE_SECONDS) as response:
            return json.load(response)

    def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> Any:
        data, head = json.dumps(body).encode(), {"content-type": "application/json", **(headers or {})}
        request = urllib.request.Request(self.url + path, data, head)
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as response:
            return json.load(response)


class ScriptedModel(Process):
    def requests(self) -> list[dict[str, Any]]:
        """The bodies of the last 1000 model calls, oldest first."""
        return self.get("/requests")

    def calls(self) -> list[dict[str, Any]]:
        """The same, each with when it came and when its reply was ready, by the server's clock."""
        return self.get("/calls")

    def meet(self, name: str, of: int) -> None:
        """Come to a meeting of requests, which are answered once all are there."""
        self.post("/meet", {"name": name, "of": of})

    def count(self) -> int:
        return self.get("/count")["count"]

    def reset(self) -> None:
        self.post("/reset", {})


@contextmanager
def running(
    module: str, *arguments: str, kind: type[Process] = Process, env: dict[str, str] | None = None
) -> Iterator[Any]:
    """A module run as a server on a free port, ready when it says so, stopped at the end."""
    command = [sys.executable, "-m", module, "--port", "0", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=env)
    assert process.stdout is not None
    ready = process.stdout.readline()
    try:
        assert " ready on http://" in ready, f"{module} did not start: {ready!r}"
        yield kind("http://" + ready.split(" ready on http://")[1].split()[0], process.pid)
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE_SECONDS)
        process.stdout.close()


@pytest.fixture(scope="session")
def scripted_model() -> Iterator[ScriptedModel]:
    with running("tests.scripted_model", kind=ScriptedModel) as server:
        yield server


@pytest.fixture
def streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model call of this process is streamed, as for a run that somebody watches."""
    from agents import llm

    monkeypatch.setattr(llm, "LONGEST_UNSTREAMED_TOKENS", 0)
