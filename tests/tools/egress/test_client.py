"""One connection at a time: what is checked is what is connected to, and a redirect is a target like any other."""

import gzip
import socket
import time
import tracemalloc
import zlib
from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx2
import pytest

from tests.tools.egress.conftest import Allow, Resolver
from tests.tools.targets import HttpTarget, Received, answer, http_target
from tests.waiting import CUT_SECONDS
from tools import executors
from tools.egress import client, live, targets
from tools.egress.hosts import address
from tools.egress.rules import Caller, Own, Rules, parsed
from tools.values import CallContext, Effect, ErrorKind, ExecutorKind, ToolResult, ToolSpec

PUBLIC = "93.184.215.14"


def caller(url: str, *secrets: str) -> Caller:
    return Caller("web", frozenset(secrets), frozenset({targets.parsed(url).origin}))


def fetch(url: str, *, headers: dict[str, str] | None = None, limit: int = 1000, seconds: float = 3) -> client.Answer:
    request = client.Request("GET", targets.parsed(url), headers or {})
    deadline = time.monotonic() + seconds
    return client.send(request, caller(url, "KEY"), live.rules(), deadline=deadline, limit_bytes=limit, follow=True)


def call(
    url: str, effect: Effect = Effect.PURE, *, limit: int = 1000, seconds: float = 3, **config: object
) -> ToolResult:
    method = "GET" if effect is Effect.PURE else "POST"
    spec = ToolSpec(
        "web", 1, "", {"type": "object"}, ExecutorKind.HTTP, {"method": method, "url": url} | config, effect
    )
    context = CallContext("key-1", UUID(int=1), UUID(int=2), UUID(int=3))
    return executors.run(spec, {}, timeout_seconds=seconds, result_limit_bytes=limit, call=context)


# What a tool's call comes to


@pytest.mark.parametrize("effect", [Effect.PURE, Effect.UNSAFE])
def test_a_refused_call_is_a_result_of_its_own_kind(canary: HttpTarget, effect: Effect) -> None:
    result = call(canary.url + "/", effect)

    assert (result.error, result.sent) == (ErrorKind.EGRESS_REFUSED, False)
    assert f"An egress rule like http://127.0.0.1/32:{canary.port} would allow it." in result.content
    assert canary.connections == 0


def test_a_rule_for_another_tool_or_another_secret_does_not_help(canary: HttpTarget, allow: Allow) -> None:
    allow(f"http://127.0.0.1:{canary.port}")
    [rule] = live.rules().rules
    origin = targets.parsed(canary.url).origin

    assert rule.covers(Caller("web"), origin)
    assert not replace(rule, tool="other").covers(Caller("web"), origin)
    assert not replace(rule, credential="KEY").covers(Caller("web"), origin)
    assert replace(rule, tool="web", credential="KEY").covers(Caller("web", frozenset({"KEY"})), origin)
    assert not replace(rule, port=canary.port + 1).covers(Caller("web"), origin)
    assert not replace(rule, scheme="https").covers(Caller("web"), origin)


# Names


def test_a_name_that_moves_after_the_check_leads_nowhere(
    canary: HttpTarget, allow: Allow, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rebinding: public when it is checked, this machine whenever it is asked again."""
    asked = resolver("rebinding.test", [PUBLIC], ["127.0.0.1"])
    connected: list[object] = []

    def connect(self: socket.socket, where: object) -> None:
        connected.append(where)
        raise ConnectionRefusedError("nobody is connected to in this test")

    with monkeypatch.context() as patched:
        patched.setattr(socket.socket, "connect", connect)
        with pytest.raises(client.NoAnswer):
            fetch(f"http://rebinding.test:{canary.port}/")

    assert asked == ["rebinding.test"]
    assert connected == [(PUBLIC, canary.port)]
    assert canary.connections == 0


def test_the_control_of_rebinding(canary: HttpTarget, resolver: Resolver) -> None:
    """Checked by one look and connected to by another, as most clients do, it reaches the canary."""
    asked = resolver("rebinding.test", [PUBLIC], ["127.0.0.1"])

    [(*_, checked)] = socket.getaddrinfo("rebinding.test", canary.port)
    answered = httpx2.get(f"http://rebinding.test:{canary.port}/", trust_env=False)

    assert checked[0] == PUBLIC
    assert (answered.text, len(asked), canary.connections) == ('"reached"', 2, 1)


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], [PUBLIC, "127.0.0.1"], ["2606:4700::1", "::1"], ["64:ff9b::7f00:1"], ["::ffff:127.0.0.1", PUBLIC]],
)
def test_one_forbidden_answer_among_many_refuses_the_name(
    canary: HttpTarget, resolver: Resolver, addresses: list[str]
) -> None:
    asked = resolver("mixed.test", addresses)

    with pytest.raises(client.Refused, match=r"to which mixed\.test leads, is not on the public internet"):
        fetch(f"http://mixed.test:{canary.port}/")

    assert (asked, canary.connections) == (["mixed.test"], 0)


def test_a_name_is_connected_to_at_its_address_and_named_in_the_request(
    canary: HttpTarget, allow: Allow, resolver: Resolver
) -> None:
    resolver("shop.test", ["127.0.0.1"])
    allow(f"http://127.0.0.1/32:{canary.port}")

    assert fetch(f"http://SHOP.test:{canary.port}/").body == b'"reached"'
    assert canary.received[0].headers["host"] == f"shop.test:{canary.port}"


# The platform itself


def test_our_own_origin_is_out_of_reach_whatever_the_rules_say(
    canary: HttpTarget, allow: Allow, resolver: Resolver, settings: Any
) -> None:
    settings.BATON_PUBLIC_URL = f"http://127.0.0.1:{canary.port}"
    resolver("alias.test", ["127.0.0.1"])
    allow("*://0.0.0.0/0:*", "*://[::/0]:*", "*://.test:*", "*://localhost:*")

    for host in ("127.0.0.1", "localhost", "127.1", "[::1]", "[::ffff:127.0.0.1]", "0", "127.9.9.9", "alias.test"):
        with pytest.raises(client.Refused, match="the platform's own, and no rule allows it"):
            fetch(f"http://{host}:{canary.port}/")
    assert canary.connections == 0


def test_database_and_redis_are_the_platforms_own(canary: HttpTarget, allow: Allow, settings: Any) -> None:
    allow("*://0.0.0.0/0:*")
    assert fetch(canary.url + "/").status == 200

    settings.REDIS_URL = f"redis://127.0.0.1:{canary.port}/0"

    with pytest.raises(client.Refused, match="the platform's own"):
        fetch(canary.url + "/")


def test_own_is_a_matter_of_port_too() -> None:
    own = Own(ports_here=frozenset({8000}))
    loopback = address("127.0.0.1")
    assert loopback is not None
    assert own.is_at(loopback, 8000)
    assert not own.is_at(loopback, 8026)


# Redirects


def redirect(to: str, status: int = 302) -> bytes:
    return answer(status, b"", f"Location: {to}")


FORBIDDEN = """
http://169.254.169.254/latest/ http://127.1:{other}/ http://[::ffff:127.0.0.1]:{other}/ //localhost:{other}/
http://2130706433:{other}/ http://metadata.google.internal/ http://0x7f.1:{other}/ http://moved.test:{other}/
""".split()


@pytest.mark.parametrize("location", FORBIDDEN)
def test_a_redirect_to_a_forbidden_place_is_not_followed(
    canary: HttpTarget, allow: Allow, resolver: Resolver, location: str
) -> None:
    resolver("moved.test", [PUBLIC, "127.0.0.1"])
    with http_target() as public:
        public.reactions["/"] = redirect("/next").replace(b"302", b"307")
        public.reactions["/next"] = redirect(location.format(other=canary.port))
        allow(f"http://127.0.0.1/32:{public.port}", "*://localhost:*", "*://.test:*")

        result = call(public.url + "/")

    assert (result.error, result.sent) == (ErrorKind.EGRESS_REFUSED, True)
    assert result.content.startswith("A redirect led to ")
    assert [received.target for received in public.received] == ["/", "/next"]
    assert canary.connections == 0


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "gopher://127.0.0.1/", "ftp://x/", "http://a@b/", "http://[::1"]
)
def test_a_redirect_to_what_is_no_place_is_the_answer(allow: Allow, canary: HttpTarget, location: str) -> None:
    allow(f"http://127.0.0.1/32:{canary.port}")
    canary.reactions["/"] = redirect(location)

    assert fetch(canary.url + "/").status == 302


def test_a_redirect_to_another_host_needs_a_rule_that_names_it(
    canary: HttpTarget, allow: Allow, resolver: Resolver
) -> None:
    resolver("elsewhere.test", [PUBLIC])
    canary.reactions["/"] = redirect("http://elsewhere.test/")
    allow(f"http://127.0.0.1/32:{canary.port}")

    with pytest.raises(client.Refused, match=r"No egress rule names http://elsewhere\.test for web"):
        fetch(canary.url + "/")


def test_credentials_stay_with_the_host_they_are_for(canary: HttpTarget, allow: Allow) -> None:
    headers = {"Authorization": "Bearer s3cret", "X-Api-Key": "s3cret", "Cookie": "a=b", "Accept": "text/plain"}
    with http_target() as first:
        first.reactions |= {"/": redirect("/same"), "/same": redirect(canary.url + "/away")}
        canary.reactions["/away"] = redirect(first.url + "/back")
        first.reactions["/back"] = answer(200, b'"done"')
        allow("http://127.0.0.1/32:*")

        assert fetch(first.url + "/", headers=headers).body == b'"done"'

    [here, same, back] = first.received
    [away] = canary.received
    assert here.headers["authorization"] == same.headers["authorization"] == "Bearer s3cret"
    for request in (away, back):
        assert "s3cret" not in str(request.headers)
        assert "cookie" not in request.headers
        assert request.headers["accept"] == "text/plain"


def test_a_rule_of_the_secret_does_not_hold_where_the_secret_does_not_go(canary: HttpTarget, allow: Allow) -> None:
    with http_target() as first:
        first.reactions["/"] = redirect(canary.url + "/")
        rules = Rules(
            (parsed(f"http://127.0.0.1:{first.port}"), replace(parsed("http://127.0.0.1:*"), credential="KEY"))
        )
        request = client.Request("GET", targets.parsed(first.url + "/"))

        with pytest.raises(client.Refused):
            client.send(
                *(request, caller(first.url, "KEY"), rules),
                deadline=time.monotonic() + 3,
                limit_bytes=10,
                follow=True,
            )
    assert canary.connections == 0


def test_a_circle_of_redirects_ends(canary: HttpTarget, allow: Allow) -> None:
    canary.reactions["/"] = redirect("/")
    allow(f"http://127.0.0.1/32:{canary.port}")

    assert fetch(canary.url + "/").status == 302
    assert len(canary.received) == 1 + client.MOST_REDIRECTS


# Bytes and time


def packed(kind: str, body: bytes) -> bytes:
    if kind == "gzip":
        return gzip.compress(body)
    raw = zlib.compressobj(9, zlib.DEFLATED, -15 if kind == "raw" else 15)
    return raw.compress(body) + raw.flush()


@pytest.mark.parametrize("kind", ["gzip", "zlib", "raw"])
def test_packed_answers_are_unpacked(canary: HttpTarget, allow: Allow, kind: str) -> None:
    encoding = "gzip" if kind == "gzip" else "deflate"
    body = packed(kind, b'{"a": "' + b"x" * 500 + b'"}')
    canary.reactions["/"] = answer(200, body, f"Content-Encoding: {encoding}")
    allow(f"http://127.0.0.1/32:{canary.port}")

    assert call(canary.url + "/").content == '{"a":"' + "x" * 500 + '"}'
    assert "gzip" in canary.received[0].headers["accept-encoding"]


@pytest.mark.parametrize("limit", [1000, 9_000_000])
@pytest.mark.parametrize("kind", ["gzip", "zlib", "raw"])
def test_a_bomb_is_too_large_and_costs_little(canary: HttpTarget, allow: Allow, kind: str, limit: int) -> None:
    """Of 60 MB, whether the limit or the ratio ends it."""
    encoding = "gzip" if kind == "gzip" else "deflate"
    canary.reactions["/"] = answer(200, BOMBS[kind], f"Content-Encoding: {encoding}")
    allow(f"http://127.0.0.1/32:{canary.port}")

    tracemalloc.start()
    result = call(canary.url + "/", limit=limit, seconds=20)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (result.error, result.sent) == (ErrorKind.TOO_LARGE, True)
    assert most < 30_000_000


BOMBS = {kind: packed(kind, b"\x00" * 60_000_000) for kind in ("gzip", "zlib", "raw")}


def test_packed_bytes_that_come_to_nothing_end_too(canary: HttpTarget, allow: Allow) -> None:
    empty_blocks = b"\x00\x00\x00\xff\xff" * 100_000
    canary.reactions["/"] = answer(200, empty_blocks, "Content-Encoding: deflate")
    allow(f"http://127.0.0.1/32:{canary.port}")

    assert call(canary.url + "/").error is ErrorKind.TOO_LARGE


def drip(connection: socket.socket, received: Received) -> None:
    connection.sendall(b"HTTP/1.1 200 X\r\nContent-Length: 1000\r\n\r\n")
    while True:  # until the caller is gone
        connection.sendall(b"x")
        time.sleep(0.05)


def test_a_drip_feed_ends_at_the_deadline_also_behind_a_redirect(canary: HttpTarget, allow: Allow) -> None:
    canary.reactions |= {"/": redirect("/drip"), "/drip": drip}
    allow(f"http://127.0.0.1/32:{canary.port}")

    assert call(canary.url + "/", seconds=CUT_SECONDS).error is ErrorKind.TIMEOUT
