import json
import socket
import threading
import time

import pytest

from tests.tools.executors.conftest import Execute, call_context, http_tool
from tests.tools.targets import HttpTarget, Received, answer
from tests.waiting import CUT_SECONDS, PATIENCE_SECONDS
from tools import executors
from tools.values import Absent, CannotTell, Effect, ErrorKind, Found

SECRET = 'sk-"live"/42 top'


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_KEY", SECRET)
    # Proxies that would swallow every request, were they asked.
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")


def get(target: HttpTarget, path: str, **more: object) -> dict:
    return {"method": "GET", "url": target.url + path, **more}


def post(target: HttpTarget, path: str, **more: object) -> dict:
    return {"method": "POST", "url": target.url + path, **more}


def test_arguments_go_to_path_query_and_body(execute: Execute, target: HttpTarget) -> None:
    target.reactions["/orders/B%2F1/refunds"] = answer(201, b'{"b": 1.0, "a": [true, null]}')
    config = post(target, "/orders/{order}/refunds", query=["dry"], headers={"X-Shop": "north"})

    result = execute(http_tool(config), {"order": "B/1", "dry": True, "z": 2, "amount": 1.50})

    [received] = target.received
    assert result.content == '{"a":[true,null],"b":1}'
    assert (received.method, received.target) == ("POST", "/orders/B%2F1/refunds?dry=true")
    assert received.body == b'{"amount":1.5,"z":2}'
    assert received.headers["x-shop"] == "north"
    assert received.headers["host"] == f"127.0.0.1:{target.port}"


def test_the_idempotency_key_is_sent(execute: Execute, target: HttpTarget) -> None:
    target.reactions["/refunds"] = answer(200)
    config = post(target, "/refunds", idempotency_header="Idempotency-Key")

    execute(http_tool(config, Effect.KEYED), key="call-77")

    assert target.received[0].headers["idempotency-key"] == "call-77"


def test_every_call_has_a_connection_of_its_own(execute: Execute, target: HttpTarget) -> None:
    target.reactions["/a"] = answer(200)

    for _ in range(3):
        execute(http_tool(get(target, "/a"), Effect.UNSAFE))

    assert target.connections == 3


@pytest.mark.parametrize("value", ["env:SHOP_KEY", "Bearer env:SHOP_KEY"])
def test_a_secret_reaches_the_target_and_nothing_else(execute: Execute, target: HttpTarget, value: str) -> None:
    def echo(connection: socket.socket, received: Received) -> None:
        said = received.headers["authorization"]
        connection.sendall(answer(200, json.dumps({"you said": said, said: [said]}).encode()))

    target.reactions["/echo"] = echo
    tool = http_tool(get(target, "/echo", headers={"Authorization": value}))

    result = execute(tool)

    assert target.received[0].headers["authorization"] == value.replace("env:SHOP_KEY", SECRET)
    assert result.ok
    assert "live" not in result.content
    assert "[secret SHOP_KEY]" in result.content
    assert json.loads(result.content)
    assert "live" not in executors.endpoint(tool, {})


@pytest.mark.parametrize("status", [302, 403, 500])
def test_a_secret_echoed_in_an_error_is_scrubbed(execute: Execute, target: HttpTarget, status: int) -> None:
    quoted = SECRET.replace('"', "%22").replace("/", "%2F").replace(" ", "%20")
    body = f"no entry for {SECRET}, nor {json.dumps(SECRET)}, nor {quoted}".encode()
    target.reactions["/x"] = answer(status, body, f"Location: /?key={quoted}")

    result = execute(http_tool(get(target, "/x", headers={"X-Key": "env:SHOP_KEY"})))

    assert not result.ok
    assert "live" not in result.content


def test_a_missing_secret_is_named_and_nothing_is_sent(execute: Execute, target: HttpTarget) -> None:
    result = execute(http_tool(get(target, "/x", headers={"X-Key": "env:NOT_THERE"})))

    assert (result.error, result.sent) == (ErrorKind.SECRET_MISSING, False)
    assert "NOT_THERE" in result.content
    assert target.connections == 0


def test_a_secret_that_would_break_the_header_is_not_sent(
    execute: Execute, target: HttpTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_KEY", "abc\r\nX-Evil: 1")

    result = execute(http_tool(get(target, "/x", headers={"X-Key": "env:SHOP_KEY"})))

    assert (result.error, result.sent) == (ErrorKind.SECRET_MISSING, False)
    assert "abc" not in result.content
    assert target.connections == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed_by_what_only_reads(execute: Execute, target: HttpTarget, status: int) -> None:
    target.reactions |= {"/old": answer(status, b"", "Location: /new?a=1"), "/new": answer(200, b'"here"')}

    pure = execute(http_tool(get(target, "/old"), Effect.PURE))
    unsafe = execute(http_tool(get(target, "/old")))
    posted = execute(http_tool(post(target, "/old"), Effect.PURE))

    assert pure.content == "here"
    assert (unsafe.error, posted.error) == (ErrorKind.LOST, ErrorKind.HTTP_STATUS)
    assert "/new" in unsafe.content
    assert "not followed" in unsafe.content
    assert [received.target for received in target.received] == ["/old", "/new?a=1", "/old", "/old"]


@pytest.mark.parametrize(
    ("status", "effect", "kind"),
    [
        (400, Effect.UNSAFE, ErrorKind.HTTP_STATUS),
        (409, Effect.KEYED, ErrorKind.HTTP_STATUS),
        (500, Effect.UNSAFE, ErrorKind.LOST),
        (503, Effect.KEYED, ErrorKind.LOST),
        (502, Effect.VERIFIABLE, ErrorKind.LOST),
        (500, Effect.PURE, ErrorKind.HTTP_STATUS),
        (404, Effect.PURE, ErrorKind.HTTP_STATUS),
        (202, Effect.UNSAFE, ErrorKind.LOST),
    ],
)
def test_what_a_status_says_of_the_effect(
    execute: Execute, target: HttpTarget, status: int, effect: Effect, kind: ErrorKind
) -> None:
    target.reactions["/x"] = answer(status, b'{"detail": "because"}')

    result = execute(http_tool(post(target, "/x", success=[200, 201]), effect))

    assert (result.error, result.sent) == (kind, True)
    assert f"answered {status}" in result.content
    assert "because" in result.content


def test_a_status_named_as_success_is_one(execute: Execute, target: HttpTarget) -> None:
    target.reactions["/x"] = answer(404, b'"none"')

    assert execute(http_tool(get(target, "/x", success=[200, 404]))).content == "none"


def hang_up(connection: socket.socket, received: Received) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def hang_up_midway(connection: socket.socket, received: Received) -> None:
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"half":')


def talk_nonsense(connection: socket.socket, received: Received) -> None:
    connection.sendall(b"220 smtp.example ready\r\n\r\n")


@pytest.mark.parametrize("reaction", [hang_up, hang_up_midway, talk_nonsense])
@pytest.mark.parametrize(("effect", "kind"), [(Effect.UNSAFE, ErrorKind.LOST), (Effect.PURE, ErrorKind.UNREACHABLE)])
def test_a_broken_connection_after_the_request(
    execute: Execute, target: HttpTarget, reaction, effect: Effect, kind: ErrorKind
) -> None:
    target.reactions["/x"] = reaction

    result = execute(http_tool(post(target, "/x"), effect))

    assert (result.error, result.sent) == (kind, True)
    assert len(target.received) == 1, "Nothing is sent twice."


def silent(connection: socket.socket, received: Received) -> None:
    connection.recv(1)  # until the caller is gone


def drip_head(connection: socket.socket, received: Received) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while True:  # until the caller is gone
        time.sleep(0.05)
        connection.sendall(b"x")


def drip_body(connection: socket.socket, received: Received) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:  # until the caller is gone
        time.sleep(0.05)
        connection.sendall(b"x")


@pytest.mark.parametrize("reaction", [silent, drip_head, drip_body])
@pytest.mark.parametrize(("effect", "kind"), [(Effect.UNSAFE, ErrorKind.LOST), (Effect.PURE, ErrorKind.TIMEOUT)])
def test_the_deadline_is_for_the_whole_call(
    execute: Execute, target: HttpTarget, reaction, effect: Effect, kind: ErrorKind
) -> None:
    target.reactions["/x"] = reaction
    started = time.monotonic()

    result = execute(http_tool(post(target, "/x"), effect), seconds=CUT_SECONDS)

    assert (result.error, result.sent) == (kind, True)
    assert time.monotonic() - started > 0.9 * CUT_SECONDS


def test_a_target_that_does_not_take_the_body_cannot_hold_the_slot(execute: Execute) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        config = {"method": "POST", "url": f"http://127.0.0.1:{deaf.getsockname()[1]}/"}

        result = execute(http_tool(config), {"text": "x" * 10_000_000}, seconds=CUT_SECONDS)

    assert (result.error, result.sent) == (ErrorKind.LOST, True)


@pytest.mark.parametrize("effect", [Effect.UNSAFE, Effect.PURE])
@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x", "http://no-such-host.invalid/x"])
def test_what_cannot_be_reached_was_not_sent(execute: Execute, effect: Effect, url: str) -> None:
    result = execute(http_tool({"method": "POST", "url": url}, effect), seconds=5)

    assert (result.error, result.sent) == (ErrorKind.UNREACHABLE, False)


def test_a_name_that_is_not_resolved_in_time_was_not_sent(execute: Execute, monkeypatch: pytest.MonkeyPatch) -> None:
    real, may_go_on = socket.getaddrinfo, threading.Event()

    def slow(host, *args, **kwargs):
        if host == "slow.invalid" and "flags" not in kwargs:
            may_go_on.wait(2 * PATIENCE_SECONDS)
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    started = time.monotonic()

    result = execute(http_tool({"method": "POST", "url": "http://slow.invalid/"}), seconds=0.3)

    may_go_on.set()
    assert (result.error, result.sent) == (ErrorKind.UNREACHABLE, False)
    assert time.monotonic() - started < PATIENCE_SECONDS


def test_a_target_without_tls_was_not_sent_anything_of_the_request(execute: Execute, target: HttpTarget) -> None:
    config = {"method": "POST", "url": f"https://127.0.0.1:{target.port}/x"}

    result = execute(http_tool(config), {"a": "confidential"}, seconds=0.5)

    assert (result.error, result.sent) == (ErrorKind.UNREACHABLE, False)
    assert target.received == []


def endless(connection: socket.socket, received: Received) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"2710\r\n" + b"x" * 10_000 + b"\r\n")


@pytest.mark.parametrize("reaction", [answer(200, b"x" * 5_000_000), endless])
def test_reading_stops_at_the_limit(execute: Execute, target: HttpTarget, reaction) -> None:
    target.reactions["/x"] = reaction

    result = execute(http_tool(get(target, "/x")), limit=50_000)

    assert (result.error, result.sent) == (ErrorKind.TOO_LARGE, True)
    assert "the limit is 50,000 bytes" in result.content


@pytest.mark.parametrize(
    ("body", "kind", "content"),
    [
        (b"plain words", "text/plain", "plain words"),
        ('{"é": 12345678901234567890}'.encode(), "application/problem+json", '{"é":"12345678901234567890"}'),
        (b"{broken", "application/json", "{broken"),
        (b"", "application/json", "null"),
    ],
)
def test_how_an_answer_reads(execute: Execute, target: HttpTarget, body: bytes, kind: str, content: str) -> None:
    target.reactions["/x"] = answer(200, body, kind=kind)

    assert execute(http_tool(get(target, "/x"))).content == content


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (answer(200, b'{"a": "\xff"}'), "not UTF-8"),
        (answer(200, b'{"a": [NaN]}'), "the result.a[0] is nan"),
        (answer(200, b"[" * 30_000 + b"]" * 30_000), "nested"),
        (answer(200, b"\x1f\x8b", "Content-Encoding: gzip"), "has no end"),
        (answer(200, b"\x1f\x8b", "Content-Encoding: br"), "not asked for"),
        (answer(200, b"plain", "Content-Encoding: gzip"), "not packed as it says"),
    ],
)
def test_an_answer_that_cannot_be_given(execute: Execute, target: HttpTarget, reply: bytes, sentence: str) -> None:
    target.reactions["/x"] = reply

    result = execute(http_tool(get(target, "/x")))

    assert (result.error, result.sent) == (ErrorKind.INVALID_RESULT, True)
    assert sentence in result.content


@pytest.mark.parametrize("order", ["../admin", "%2e%2e/admin", "x\r\nHost: evil.example", "", None])
def test_a_value_that_could_leave_its_place_is_never_sent(execute: Execute, target: HttpTarget, order: object) -> None:
    result = execute(http_tool(get(target, "/orders/{order}")), {"order": order})

    assert (result.error, result.sent) == (ErrorKind.INVALID_ARGUMENTS, False)
    assert result.content.startswith("order")
    assert target.connections == 0


@pytest.mark.parametrize("order", ["@evil.example", "//evil.example", "?x#y", "\\\\evil.example"])
def test_no_value_leads_to_another_host(execute: Execute, target: HttpTarget, order: str) -> None:
    execute(http_tool(get(target, "/orders/{order}")), {"order": order})

    [received] = target.received
    assert received.headers["host"] == f"127.0.0.1:{target.port}"
    assert received.target.startswith("/orders/%")


def test_an_argument_without_a_place_is_not_dropped_in_silence(execute: Execute, target: HttpTarget) -> None:
    result = execute(http_tool(get(target, "/orders/{order}")), {"order": "1", "force": True})

    assert (result.error, result.sent) == (ErrorKind.INVALID_ARGUMENTS, False)
    assert "force" in result.content
    assert target.connections == 0


def test_the_endpoint_is_what_the_ledger_names() -> None:
    tool = http_tool({"method": "POST", "url": "http://127.0.0.1:9000/refunds/{order}", "query": ["dry"]})

    assert executors.endpoint(tool, {"order": "B 1", "dry": 1}) == "http:POST http://127.0.0.1:9000/refunds/B%201?dry=1"
    assert executors.endpoint(tool, {}) == "http:POST http://127.0.0.1:9000/refunds/{order}"


@pytest.mark.parametrize(
    ("status", "expected"), [(200, Found), (404, Absent), (202, CannotTell), (403, CannotTell), (500, CannotTell)]
)
def test_a_lookup_by_status(target: HttpTarget, status: int, expected: type) -> None:
    target.reactions["/refunds/key-1"] = answer(status, b'{"refund": 1}')
    config = post(target, "/refunds", lookup={"url": target.url + "/refunds/{key}"}, headers={"X-Key": "env:SHOP_KEY"})

    found = executors.lookup(http_tool(config, Effect.VERIFIABLE), call_context(), 5)

    assert isinstance(found, expected)
    assert target.received[0].headers["x-key"] == SECRET
    if isinstance(found, Found):
        assert found.result.content == '{"refund":1}'


def test_a_lookup_that_reaches_nobody_cannot_tell() -> None:
    config = {"method": "POST", "url": "http://127.0.0.1:1/", "lookup": {"url": "http://127.0.0.1:1/{key}"}}

    assert isinstance(executors.lookup(http_tool(config), call_context(), 5), CannotTell)
    assert isinstance(executors.lookup(http_tool({"method": "GET", "url": "http://h/"}), call_context(), 5), CannotTell)
