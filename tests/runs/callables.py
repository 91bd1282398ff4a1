"""Callables for the tests, registered in this process and, by BATON_CALLABLES, in the workers the tests start."""

import hashlib
import json
import math
import os
import signal
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.waiting import PATIENCE_SECONDS
from tools import callables
from tools.values import CallContext


@callables.register("tests.echo", trusted=True)
def echo(**arguments: Any) -> Any:
    return arguments


@callables.register("tests.raise")
def raise_error(**arguments: Any) -> Any:
    raise RuntimeError("the cupboard is bare")


@callables.register("tests.raise_if")
def raise_if(*, fails: bool) -> str:
    if fails:
        raise RuntimeError("this one fails")
    return "fine"


@callables.register("tests.bytes")
def give_bytes(**arguments: Any) -> Any:
    return b"\x00\xff"


@callables.register("tests.nan")
def nan(**arguments: Any) -> Any:
    return {"ratio": math.nan}


@callables.register("tests.nul")
def nul(**arguments: Any) -> Any:
    return "before\x00after"


meeting = threading.Barrier(2, timeout=PATIENCE_SECONDS)


@callables.register("tests.meet", trusted=True)
def meet(**arguments: Any) -> Any:
    """Returns only when two calls are under way at once."""
    meeting.wait()
    return "met"


@callables.register("tests.hang")
def hang(**arguments: Any) -> Any:
    time.sleep(3600)


@callables.register("tests.poison", trusted=True)
def poison(**arguments: Any) -> Any:
    """Trusted and `pure`, it runs inside the process that carries the dispatch, and ends it."""
    os.kill(os.getpid(), signal.SIGKILL)


@callables.register("tests.big")
def big(**arguments: Any) -> Any:
    return "x" * 5_000_000


def lookup(key: str) -> Any:
    """The effect under a key, as the outside ledger knows it."""
    try:
        with urllib.request.urlopen(f"{ledger()}/effects/{key}", timeout=PATIENCE_SECONDS) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise


def ledger_file() -> Path:
    """Where this test process wrote the outside ledger's URL: child processes may be older than the ledger."""
    return Path(os.environ["BATON_TEST_DATA_DIR"]) / f"ledger-{os.environ.get('PYTEST_XDIST_WORKER', 'gw')}"


def ledger() -> str:
    return ledger_file().read_text()


@callables.register("tests.effect", lookup=lookup)
def effect(*, call: CallContext, **arguments: Any) -> Any:
    """Make an effect in the outside ledger under the call's key; `hold_seconds` delays its reply, not the effect."""
    body = json.dumps({"key": call.idempotency_key, "arguments": arguments}).encode()
    request = urllib.request.Request(f"{ledger()}/effects", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as response:
        return json.load(response)


@callables.register("tests.blob", trusted=True)
def blob(*, n: int, size: int) -> str:
    """So many characters that no database can press together, others for each `n`."""
    return "".join(hashlib.sha256(f"{n}.{part}".encode()).hexdigest() for part in range(size // 64 + 1))[:size]
