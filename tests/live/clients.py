"""Browsers and applications as the tests play them."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.waiting import PATIENCE_SECONDS


def socket_to(url: str, path: str, cookie: str = "", **options: Any) -> ClientConnection:
    """Signed in by the cookie, from a page of the same site unless `origin` says otherwise."""
    headers = {"Cookie": f"sessionid={cookie}"} if cookie else {}
    settings = {"origin": url, "additional_headers": headers, "compression": None, "close_timeout": 1}
    return connect(url.replace("http", "ws", 1) + path, **settings | options)


@dataclass
class Watcher:
    """A page: keeps all it is told, and `last`, the seq with which it would come again."""

    socket: ClientConnection
    told: list[dict[str, Any]] = field(default_factory=list)

    def until(self, enough: Callable[[dict[str, Any]], bool], seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """Listen until a message is enough, and return it."""
        deadline = time.monotonic() + seconds
        while True:
            message = json.loads(self.socket.recv(timeout=max(deadline - time.monotonic(), 0)))
            self.told.append(message)
            if enough(message):
                return message

    def until_type(self, type: str, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        return self.until(lambda message: message["type"] == type, seconds)

    def until_seq(self, seq: int) -> None:
        self.until(lambda message: message["seq"] == seq)

    def close_code(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Listen until the server closes."""
        with pytest.raises(ConnectionClosed) as closed:
            self.until(lambda message: False, seconds)
        assert closed.value.rcvd is not None, "the server went without a word"
        return closed.value.rcvd.code

    @property
    def seqs(self) -> list[int]:
        return [message["seq"] for message in self.told if message["seq"] is not None]

    @property
    def degraded(self) -> list[bool]:
        return [message["data"]["degraded"] for message in self.told if message["type"] == "live"]


@dataclass
class Sent:
    """One server-sent event."""

    id: int | None
    type: str
    data: dict[str, Any]


class Stream:
    """An application that reads a stream of server-sent events."""

    def __init__(self, url: str, path: str, **headers: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE_SECONDS)
        self._connection.request("GET", path, headers=headers)
        self.answer = self._connection.getresponse()
        self.status = self.answer.status
        self.comments: list[str] = []

    def problem(self) -> dict[str, Any]:
        assert self.answer.headers["Content-Type"] == "application/problem+json"
        return json.loads(self.answer.read())

    def events(self) -> Iterator[Sent]:
        lines: dict[str, str] = {}
        while raw := self.answer.readline():
            name, _, value = raw.decode().rstrip("\n").partition(": ")
            if name:
                lines[name] = value
            elif raw.startswith(b":"):
                self.comments.append(value)
            elif lines:
                yield Sent(int(lines["id"]) if "id" in lines else None, lines["event"], json.loads(lines["data"]))
                lines = {}

    def close(self) -> None:
        self._connection.close()


def together(*works: Callable[[], Any]) -> None:
    """Do these at the same time, each in a thread; the first error is raised."""
    errors: list[BaseException] = []

    def work_of(work: Callable[[], Any]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work_of, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
