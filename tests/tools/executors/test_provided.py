"""The client that callables are given, and children without a network."""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.tools.executors.conftest import ANYTHING, Execute, call_context
from tests.tools.targets import HttpTarget, Received, answer
from tests.waiting import CUT_SECONDS, PATIENCE_SECONDS
from tools import executors, outbound
from tools.egress import rules
from tools.executors import child, isolation, launcher, validate_config
from tools.values import Effect, ErrorKind, ExecutorKind, Found, ToolResult, ToolSpec

needs_namespaces = pytest.mark.skipif(not isolation.is_possible(), reason="this kernel makes no network namespaces")


def tool(name: str, network: str = "open", effect: Effect = Effect.UNSAFE, **more: Any) -> ToolSpec:
    config = {"callable": f"targets.{name}", "network": network} | more
    return ToolSpec(name, 1, "", ANYTHING, ExecutorKind.PYTHON, config, effect)


@pytest.fixture
def allow(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def put(*written: str) -> None:
        made = outbound.Outbound(rules=tuple(map(rules.parsed, written)))
        monkeypatch.setattr(outbound, "_source", lambda: made)

    return put


WAYS = [
    pytest.param("fetches_here", "open", Effect.PURE, id="in the worker"),
    pytest.param("fetches", "open", Effect.UNSAFE, id="in a child"),
    pytest.param("fetches", "provided", Effect.UNSAFE, id="in a child without network", marks=needs_namespaces),
    pytest.param("fetches_here", "provided", Effect.PURE, id="a reading without network", marks=needs_namespaces),
]


@pytest.mark.parametrize(("name", "network", "effect"), WAYS)
def test_the_worker_opens_the_connection(
    execute: Execute, target: HttpTarget, name: str, network: str, effect: Effect
) -> None:
    target.reactions["/a"] = answer(201, "größe".encode(), "X-One: 1")
    given = {"url": f"{target.url}/a", "method": "POST", "headers": {"X-Own": "7"}, "body": {"b": [1]}}

    result = execute(tool(name, network, effect), given)

    assert json.loads(result.content) == {"status": 201, "text": "größe", "url": f"{target.url}/a"}
    [received] = target.received
    assert (received.method, received.body) == ("POST", b'{"b": [1]}')
    assert received.headers["x-own"] == "7"


@pytest.mark.parametrize(("name", "network", "effect"), WAYS)
def test_it_goes_where_a_rule_leads_and_nowhere_else(
    execute: Execute, target: HttpTarget, allow: Callable[..., None], name: str, network: str, effect: Effect
) -> None:
    allow("https://api.example.com:443")

    result = execute(tool(name, network, effect), {"url": f"{target.url}/a"})

    assert result.error is ErrorKind.EGRESS_REFUSED
    assert f"An egress rule like http://127.0.0.1/32:{target.port} would allow it." in result.content
    assert target.connections == 0


def test_a_public_name_needs_a_rule_too(execute: Execute) -> None:
    """No person wrote this address into the tool."""
    result = execute(tool("fetches"), {"url": "http://93.184.215.14/"})

    assert result.error is ErrorKind.EGRESS_REFUSED
    assert "No egress rule names http://93.184.215.14 for fetches." in result.content


@pytest.mark.parametrize("network", ["open", pytest.param("provided", marks=needs_namespaces)])
def test_a_secret_is_resolved_by_the_worker_and_taken_out_of_the_answer(
    execute: Execute, target: HttpTarget, monkeypatch: pytest.MonkeyPatch, network: str
) -> None:
    monkeypatch.setenv("LATE_KEY", "s3cret")  # after the fork server has started, perhaps: no child has it
    target.reactions["/a"] = answer(200, b'"you said s3cret"')

    result = execute(
        tool("fetches", network, credentials=["LATE_KEY"]),
        {"url": f"{target.url}/a", "headers": {"Authorization": "Bearer env:LATE_KEY"}},
    )

    assert target.received[0].headers["authorization"] == "Bearer s3cret"
    assert "s3cret" not in result.content
    assert "[secret LATE_KEY]" in result.content


@pytest.mark.parametrize("more", [{}, {"credentials": ["OTHER_KEY"]}])
@pytest.mark.parametrize(("name", "network", "effect"), WAYS)
def test_a_secret_that_the_tool_does_not_declare_is_given_to_nobody(
    execute: Execute,
    target: HttpTarget,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    network: str,
    effect: Effect,
    more: dict[str, Any],
) -> None:
    """Whoever asks may be a child that somebody else has taken over; and what is not declared, no switch stops."""
    monkeypatch.setenv("LATE_KEY", "s3cret")
    given = {"url": f"{target.url}/a", "headers": {"Authorization": "Bearer env:LATE_KEY"}}

    result = execute(tool(name, network, effect, **more), given)

    assert result.error is ErrorKind.SECRET_MISSING
    assert 'LATE_KEY is not among the "credentials" of fetches' in result.content
    assert target.connections == 0


def test_threads_of_a_callable_take_turns(execute: Execute, target: HttpTarget) -> None:
    for number in range(8):
        target.reactions[f"/{number}"] = answer(200, str(number).encode())

    result = execute(tool("fetches_many"), {"url": target.url})

    assert json.loads(result.content) == [str(number) for number in range(8)]


def break_off(connection: socket.socket, received: Received) -> None:
    connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(("method", "kind"), [("GET", ErrorKind.UNREACHABLE), ("POST", ErrorKind.LOST)])
def test_nobody_says_that_what_was_sent_did_not_happen(
    execute: Execute, target: HttpTarget, method: str, kind: ErrorKind
) -> None:
    target.reactions["/a"] = break_off

    assert execute(tool("fetches"), {"url": f"{target.url}/a", "method": method}).error is kind


def test_the_deadline_is_the_calls(execute: Execute, target: HttpTarget) -> None:
    release = threading.Event()
    target.reactions["/slow"] = lambda connection, received: release.wait(2 * PATIENCE_SECONDS) and None  # type: ignore[assignment]

    began = time.monotonic()
    result = execute(tool("fetches"), {"url": f"{target.url}/slow", "method": "POST"}, seconds=CUT_SECONDS)
    release.set()

    assert result.error in (ErrorKind.TIMEOUT, ErrorKind.LOST)
    assert result.sent
    assert time.monotonic() - began < PATIENCE_SECONDS


@pytest.mark.parametrize("network", ["open", pytest.param("provided", marks=needs_namespaces)])
@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"url": "ftp://x/"}, "url: A URL begins with"),
        ({"url": "http://x/", "method": "CONNECT"}, "method: must be one of"),
        ({"url": "http://x/", "headers": {"Host": "y"}}, "not a header that may be set"),
        ({"url": "http://x/", "headers": {"X": "a\r\nb"}}, "not a header that may be set"),
    ],
)
def test_what_is_asked_wrongly_is_told(execute: Execute, network: str, given: dict, sentence: str) -> None:
    result = execute(tool("fetches", network), given)

    assert result.error is ErrorKind.INVALID_ARGUMENTS
    assert sentence in result.content


def test_whatever_a_child_says_by_hand_the_worker_judges(execute: Execute) -> None:
    assert json.loads(execute(tool("rude")).content) == ["invalid_arguments"] * 4


def test_a_lookup_is_given_the_client_it_names(target: HttpTarget) -> None:
    target.reactions["/found"] = answer(200, b'{"refund": 1}')

    found = executors.lookup(tool("looks_up", effect=Effect.VERIFIABLE), call_context(f"{target.url}/found"), 10)

    assert isinstance(found, Found)
    assert found.result.content == '{"refund":1}'


# Without a network


@needs_namespaces
@pytest.mark.parametrize("network", ["none", "provided"])
def test_a_child_without_network_reaches_nothing_by_itself(execute: Execute, target: HttpTarget, network: str) -> None:
    open_to_all = json.loads(execute(tool("goes_alone"), {"port": target.port}).content)
    alone = json.loads(execute(tool("goes_alone", network), {"port": target.port}).content)

    assert open_to_all["said"] == "reached"  # the control
    assert alone["said"] == "OSError"
    assert alone["uid"] == open_to_all["uid"]
    assert alone["interfaces"] == ["lo"]
    assert target.connections == 1


@needs_namespaces
def test_a_child_without_network_still_dies_with_its_server(execute: Execute, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    results: list[ToolResult] = []
    spec = tool("hangs", "none")
    thread = threading.Thread(target=lambda: results.append(execute(spec, {"pid_file": str(pid_file)}, seconds=30)))
    thread.start()
    while not (pid_file.exists() and (text := pid_file.read_text())):
        time.sleep(0.02)

    os.kill(launcher._server().process.pid, signal.SIGKILL)
    thread.join(15)

    assert [result.error for result in results] == [ErrorKind.LOST]
    assert not psutil.pid_exists(int(text)) or psutil.Process(int(text)).status() == psutil.STATUS_ZOMBIE


def test_where_the_kernel_lets_nobody_out_nothing_is_called(target: HttpTarget) -> None:
    """By a process that has no right to: the sentence says what to do, and `sent` is false."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        request: dict[str, Any] = {
            "callable": "targets.goes_alone",
            "module": "tests.tools.targets",
            "arguments": {"port": target.port},
        }
        request |= {"lookup_key": None, "limit_bytes": 1000, "databases": {}, "network": "none"}
        request |= {"call": {"idempotency_key": "k", "ids": ["00000000-0000-0000-0000-000000000001"] * 3}}
        body = json.dumps(request).encode()
        ours.sendall(child.LENGTH.pack(len(body)) + body)
        pid = os.fork()
        if pid == 0:
            try:
                isolation._unshare = _not_permitted
                child._answer(theirs, os.getppid())
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        said = ours.recv(4096)

    assert said[:1] == child.FAILURE
    told = json.loads(said[1 + child.LENGTH.size :])
    assert told["kind"] == "egress_refused"
    assert "Operation not permitted" in told["content"]
    assert 'set the tool\'s network to "open"' in told["content"]
    assert target.connections == 0


def _not_permitted(flags: int) -> None:
    raise PermissionError(1, "Operation not permitted")


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"callable": "targets.pid", "network": "off"}, "network: must be one of open, provided, none."),
        ({"callable": "targets.fetches", "network": "none"}, 'asks for the provided client; set "provided"'),
        ({"callable": "targets.fetches", "credentials": "KEY"}, "credentials: must be a list of names"),
        ({"callable": "targets.fetches", "credentials": ["env:KEY"]}, "credentials: 'env:KEY' is no name"),
        ({"callable": "targets.fetches", "credentials": [7]}, "credentials: 7 is no name"),
        (
            {"callable": "targets.fetches", "credentials": ["SECRET_KEY"]},
            "credentials: SECRET_KEY is the platform's own",
        ),
    ],
)
def test_a_setting_that_cannot_be_is_told(config: dict, sentence: str) -> None:
    assert sentence in " ".join(validate_config(ExecutorKind.PYTHON, config))
