"""Every way to write a forbidden address, as a real connection towards a server that counts who comes."""

import time
import urllib.parse
from ipaddress import ip_address

import pytest

from tests.tools.egress import spellings
from tests.tools.egress.conftest import Allow
from tests.tools.targets import HttpTarget
from tools.egress import client, live, targets
from tools.egress.rules import Caller

# Whatever a public name could be allowed: everything by name, and no network.
EVERY_NAME = ("*://.example:*", "*://.com:*", "*://localhost:*", "*://metadata.google.internal:*", "*://metadata:*")


def attempt(url: str, *, tool: str = "web", seconds: float = 3) -> str:
    """As a tool whose own URL this is. "reached", or what was said instead."""
    try:
        target = targets.parsed(url)
        caller = Caller(tool, configured=frozenset({target.origin}))
        request = client.Request("GET", target)
        client.send(request, caller, live.rules(), deadline=time.monotonic() + seconds, limit_bytes=1000, follow=True)
    except targets.BadUrl as error:
        return f"bad: {error}"
    except client.Refused as refused:
        return f"refused: {refused}" if not refused.sent else "asked, and then refused"
    return "reached"


def here(port: int) -> list[str]:
    hosts = [f"http://{host}:{port}/" for host in spellings.LOOPBACK]
    return hosts + [each.format(port=port) for each in spellings.URLS]


def urls(port: int) -> list[str]:
    return here(port) + [f"http://{host}:{port}/" for host in spellings.ELSEWHERE]


def test_no_spelling_reaches_the_canary(canary: HttpTarget, allow: Allow, capsys: pytest.CaptureFixture[str]) -> None:
    allow(*EVERY_NAME)
    said = {url: attempt(url) for url in urls(canary.port)}

    assert [url for url, what in said.items() if not what.startswith(("refused: ", "bad: "))] == []
    assert (canary.connections, canary.received) == (0, [])
    assert len(said) >= 80
    with capsys.disabled():
        print(f"\n{len(said)} spellings of forbidden addresses: {canary.connections} hits")


def test_the_same_spellings_get_past_a_check_of_the_text(canary: HttpTarget, allow: Allow) -> None:
    """The control: these connections are real, and a check that compares texts, as many do, lets many of them go."""
    allow("*://127.0.0.0/8:*", "*://[::/96]:*", "*://0.0.0.0/8:*")

    passed = [url for url in here(canary.port) if naively_public(url)]
    reached = [url for url in passed if _reaches(url)]

    assert len(reached) >= 20
    assert len(canary.received) == len(reached)


def naively_public(url: str) -> bool:
    """What a first attempt at this looks like."""
    try:
        host = urllib.parse.urlsplit(url).hostname or ""
        if host in ("localhost", "metadata") or host.startswith(
            ("127.0.0.", "10.", "192.168.", "169.254.", "fc", "fd")
        ):
            return False
        return ip_address(host).is_global
    except ValueError:
        return True  # no address at all: a name, which is fine


def _reaches(url: str) -> bool:
    try:
        return attempt(url, seconds=1) == "reached"
    except client.NoAnswer:
        return False


def test_where_a_rule_names_the_network_it_is_reached(canary: HttpTarget, allow: Allow) -> None:
    allow(f"http://127.0.0.1:{canary.port}")

    assert attempt(canary.url) == "reached"
    assert attempt(f"http://[::ffff:127.0.0.1]:{canary.port}") == "reached"


@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        ("127.1", "127.0.0.1 is not on the public internet: loopback. An egress rule like http://127.0.0.1/32:{port}"),
        ("[2002:a00:1::1]", "2002:a00:1::1 is not on the public internet: 6to4."),
        ("[64:ff9b::a00:1]", "64:ff9b::a00:1 is not on the public internet (it stands for 10.0.0.1): private."),
        ("[::ffff:a9fe:a9fe]", "where a cloud tells its machines their credentials; no rule allows it"),
    ],
)
def test_the_sentence_names_the_address_and_the_way_out(canary: HttpTarget, host: str, sentence: str) -> None:
    assert sentence.format(port=canary.port) in attempt(f"http://{host}:{canary.port}/")


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "168.63.129.16"]
)
def test_no_rule_opens_the_metadata_of_a_cloud(allow: Allow, host: str) -> None:
    allow("*://0.0.0.0/0:*", "*://[::/0]:*")

    assert "no rule allows it" in attempt(f"http://{host}/latest/meta-data/")
