"""What tools are pointed at in tests: callables that behave badly in every known way, and a scriptable HTTP target."""

import ctypes
import datetime as dt
import decimal
import os
import random
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.waiting import eventually
from tools.callables import register
from tools.values import CallContext


@register("targets.echo", trusted=True)
def echo(**arguments: Any) -> Any:
    return arguments


@register("targets.pid", trusted=True)
def pid() -> int:
    return os.getpid()


@register("targets.group")
def group() -> dict[str, int]:
    return {"pid": os.getpid(), "parent": os.getppid(), "session": os.getsid(0), "stdin": len(sys.stdin.read())}


@register("targets.with_call")
def with_call(number: str, call: CallContext) -> str:
    return f"{number} under {call.idempotency_key} of {call.run_id}"


@register("targets.spoil", trusted=True)
def spoil(items: list[int]) -> int:
    items.append(0)
    return len(items)


@register("targets.raises")
def raises(kind: str = "") -> None:
    if kind == "exit":
        sys.exit("enough")
    if kind == "silent":
        raise Unprintable
    raise ValueError("the order is closed already")


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@register("targets.dies")
def dies(how: str) -> None:
    if how == "exit":
        os._exit(3)
    ctypes.string_at(0)


@register("targets.hangs")
def hangs(pid_file: str) -> None:
    Path(pid_file).write_text(str(os.getpid()))
    time.sleep(600)


@register("targets.appends")
def appends(path: str) -> None:
    """Writes every 50 ms, and so does a process it starts."""
    ticking = "import time,sys\nwhile True: open(sys.argv[1], 'a').write('x'); time.sleep(0.05)"
    grandchild = subprocess.Popen([sys.executable, "-S", "-c", ticking, f"{path}.grandchild"])
    Path(f"{path}.pid").write_text(str(grandchild.pid))
    while True:
        with open(path, "a") as file:
            file.write("x")
        time.sleep(0.05)


@register("targets.leaves_one_behind")
def leaves_one_behind(pid_file: str, then_dies: bool) -> None:
    Path(pid_file).write_text(str(subprocess.Popen(["sleep", "600"]).pid))
    if then_dies:
        os._exit(0)


@register("targets.noisy")
def noisy() -> str:
    print("a line on stdout\n" * 200)
    print("R\x00\x00\x00 on stderr", file=sys.stderr)
    os.write(1, b"E" * 100)
    return "fine"


@register("targets.returns")
def returns(what: str, size: int = 0) -> Any:
    circle: list[Any] = []
    circle.append({"again": circle})
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    return {
        "nan": {"prices": [1.0, float("nan")]},
        "bytes": {"photo": b"\x00"},
        "set": {1, 2},
        "keys": {1: "one"},
        "circle": circle,
        "deep": deep,
        "object": {"at": object()},
        "surrogate": "half \ud800",
        "text": 'plain "text"\nas it is',
        "nul": "a\x00b",
        "none": None,
        "rich": {
            "at": dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC),
            "day": dt.date(2026, 1, 2),
            "price": decimal.Decimal("9.90"),
            "id": uuid.UUID(int=7),
            "big": 2**60,
            "b": (1, 2.5, True),
        },
        "large": "x" * size,
        "large_list": ["x" * 1000] * (size // 1000),
    }[what]


_made: dict[str, str] = {}


def find(key: str) -> Any:
    match key.split("-")[0]:
        case "found":
            return {"refund": key}
        case "raises":
            raise LookupError("the shop is closed")
        case "hangs":
            time.sleep(600)
    return None


@register("targets.verifiable", lookup=find)
def verifiable() -> str:
    return "done"


@register("targets.database")
def database() -> dict[str, object]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database()")
        return {"name": cursor.fetchone()[0], "pool": connection.settings_dict["OPTIONS"].get("pool")}


@register("targets.random")
def some_random() -> float:
    return random.random()


@register("targets.meets")
def meets(place: str, of: int) -> int:
    """How many processes there were at once, where it is so many that are waited for."""
    (Path(place) / str(os.getpid())).touch()
    return eventually(lambda: (there := len([*Path(place).iterdir()])) >= of and there)


def fetch(url: str, http: Any, method: str = "GET", headers: dict[str, str] | None = None, body: Any = None) -> Any:
    answered = http.request(method, url, headers=headers, json=body)
    return {"status": answered.status, "text": answered.text, "url": answered.url}


register("targets.fetches")(fetch)
register("targets.fetches_here", trusted=True)(fetch)


@register("targets.fetches_many")
def fetches_many(url: str, http: Any) -> list[str]:
    """By several threads over the one channel."""
    found: list[str] = []
    threads = [threading.Thread(target=lambda n=n: found.append(http.get(f"{url}/{n}").text)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(found)


@register("targets.goes_alone")
def goes_alone(port: int) -> dict[str, Any]:
    """By a socket of its own, past every client; and what it then is to itself and to files."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
        said = "reached"
    except OSError as error:
        said = type(error).__name__
    return {"said": said, "uid": os.getuid(), "interfaces": [name for _, name in socket.if_nameindex()]}


def find_by_http(key: str, http: Any) -> Any:
    answered = http.get(key)
    return answered.json() if answered.ok else None


@register("targets.looks_up", lookup=find_by_http)
def looks_up() -> str:
    return "done"


@register("targets.rude")
def rude(http: Any) -> list[Any]:
    """Talks to the worker by hand, as if the client were not there."""
    asked = [{}, [1], {"method": "GET"}, {"method": "GET", "url": 7, "headers": {}, "body": "%"}]
    return [http.ask(each).get("kind") for each in asked]


def answer(status: int, body: bytes = b"", *headers: str, kind: str = "application/json") -> bytes:
    head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", f"Content-Type: {kind}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


@dataclass
class Received:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Reaction = bytes | Callable[[socket.socket, Received], None]


@dataclass
class HttpTarget:
    """Answers as `reactions` say, by path; everything else is 404."""

    port: int
    reactions: dict[str, Reaction] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def serve(self, listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                self.connections += 1
                threading.Thread(target=self._talk, args=[connection], daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            received = _request(connection)
            self.received.append(received)
            reaction = self.reactions.get(received.target.split("?")[0], answer(404, b"nothing here"))
            if callable(reaction):
                reaction(connection, received)
            else:
                connection.sendall(reaction)


def _request(connection: socket.socket) -> Received:
    read = b""
    while b"\r\n\r\n" not in read:
        chunk = connection.recv(65536)
        if not chunk:
            raise OSError("closed before a request")
        read += chunk
    head, _, body = read.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65536)
    method, target, _ = first.split(" ")
    return Received(method, target, headers, body)


@contextmanager
def http_target() -> Iterator[HttpTarget]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        target = HttpTarget(listening.getsockname()[1])
        threading.Thread(target=target.serve, args=[listening], daemon=True).start()
        yield target
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
