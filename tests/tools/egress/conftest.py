import socket
from collections.abc import Callable, Iterator

import pytest

from tests.tools import targets
from tools import outbound
from tools.egress import rules

Allow = Callable[..., None]


@pytest.fixture
def canary() -> Iterator[targets.HttpTarget]:
    """A real server on this machine, where no tool may come unless a rule says so."""
    with targets.http_target() as running:
        running.reactions["/"] = targets.answer(200, b'"reached"')
        yield running


@pytest.fixture(autouse=True)
def allow(monkeypatch: pytest.MonkeyPatch) -> Allow:
    """`allow("http://127.0.0.1:9000", …)`: these are the rules; without it there are none."""

    def put(*written: str) -> None:
        made = outbound.Outbound(rules=tuple(map(rules.parsed, written)))
        monkeypatch.setattr(outbound, "_source", lambda: made)

    put()
    return put


Resolver = Callable[..., list[str]]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    """`resolver(name, [first answer], [second answer], …)`: the last is repeated. Answers with the names asked for.

    It stands where the C library's resolver is called, and nowhere above.
    """
    answers: dict[str, list[list[str]]] = {}
    asked: list[str] = []
    real = socket.getaddrinfo

    def getaddrinfo(host, port, *args, **kwargs):  # type: ignore[no-untyped-def]
        if host not in answers:
            return real(host, port, *args, **kwargs)
        asked.append(host)
        now = answers[host].pop(0) if len(answers[host]) > 1 else answers[host][0]
        families = [
            (socket.AF_INET6, (text, port or 0, 0, 0)) if ":" in text else (socket.AF_INET, (text, port or 0))
            for text in now
        ]
        return [(family, socket.SOCK_STREAM, 6, "", where) for family, where in families]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    def put(name: str, *sequence: list[str]) -> list[str]:
        answers[name] = list(sequence)
        return asked

    return put
