"""One HTTP/1.1 request over one fresh connection, all of it before one deadline.

httpx2 times each operation by itself, so that a server dripping one byte a second is never late. Here its engine
(httpcore2) is given a stream on which every read and write has only what is left until the deadline. There is no pool,
no retry, no redirect, no proxy from the environment, no cookie and no decompression.
"""

import queue
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

import httpcore2
import httpx2

from tools.executors.addresses import Address


class NoAnswer(Exception):
    """The message says what happened, ready to stand after "<target> ".

    `sent`: at least one byte of the request left. `timed_out`: the deadline came.
    """

    def __init__(self, message: str, *, sent: bool, timed_out: bool):
        super().__init__(message)
        self.sent = sent
        self.timed_out = timed_out


@dataclass(frozen=True)
class Answer:
    """`body` is None when it is larger than what the caller wanted to read."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None

    def header(self, name: str) -> str:
        return self.headers.get(name.lower(), "")


def exchange(
    method: str,
    address: Address,
    headers: Mapping[str, str],
    content: bytes | None,
    *,
    deadline: float,
    limit_bytes: int,
) -> Answer:
    """`deadline` in monotonic seconds. Raises NoAnswer."""
    stream = None
    try:
        stream = _connected(address, deadline)
        url = httpcore2.URL(
            scheme=address.template.scheme,
            host=address.template.host,
            port=address.template.port,
            target=address.target,
        )
        connection = httpcore2.HTTP11Connection(url.origin, stream)
        all_headers = {"Host": address.template.authority, "Connection": "close"} | dict(headers)
        with connection.stream(method, url, headers=list(all_headers.items()), content=content) as response:
            told = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
            return Answer(response.status, told, _read(response, limit_bytes))
    except httpcore2.TimeoutException:
        sent = stream is not None and stream.sent
        what = "did not answer in time" if sent else "could not be reached in time"
        raise NoAnswer(what, sent=sent, timed_out=True) from None
    except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
        sent = stream is not None and stream.sent
        what = "broke the connection off" if sent else "could not be reached"
        raise NoAnswer(f"{what} ({error})", sent=sent, timed_out=False) from None
    finally:
        if stream is not None:
            stream.close()


def _read(response: httpcore2.Response, limit_bytes: int) -> bytes | None:
    body = bytearray()
    for chunk in response.iter_stream():
        body += chunk
        if len(body) > limit_bytes:
            return None
    return bytes(body)


class _Stream(httpcore2.NetworkStream):
    """A socket on which nothing outlasts the deadline, and which remembers whether anything was sent."""

    def __init__(self, connected: socket.socket, deadline: float):
        self.socket = connected
        self.deadline = deadline
        self.sent = False

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            self.socket.settimeout(_left(self.deadline))
            return self.socket.recv(max_bytes)
        except TimeoutError:
            raise httpcore2.ReadTimeout from None
        except OSError as error:
            raise httpcore2.ReadError(_reason(error)) from None

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        view = memoryview(buffer)
        try:
            while view:
                self.socket.settimeout(_left(self.deadline))
                self.sent = True
                view = view[self.socket.send(view) :]
        except TimeoutError:
            raise httpcore2.WriteTimeout from None
        except OSError as error:
            raise httpcore2.WriteError(_reason(error)) from None

    def close(self) -> None:
        self.socket.close()


def _connected(address: Address, deadline: float) -> _Stream:
    template = address.template
    try:
        plain = _first_that_connects(_resolved(template.host, template.port, deadline), deadline)
        if template.scheme == "https":
            try:
                plain.settimeout(_left(deadline))
                return _Stream(_tls().wrap_socket(plain, server_hostname=template.host), deadline)
            except BaseException:
                plain.close()
                raise
        return _Stream(plain, deadline)
    except TimeoutError:
        raise httpcore2.ConnectTimeout from None
    except (OSError, ssl.CertificateError) as error:
        raise httpcore2.ConnectError(_reason(error)) from None


def _first_that_connects(found: list[tuple], deadline: float) -> socket.socket:
    trouble: OSError = OSError("the name has no address")
    for family, kind, protocol, _, where in found:
        candidate = socket.socket(family, kind, protocol)
        try:
            candidate.settimeout(_left(deadline))
            candidate.connect(where)
            candidate.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return candidate
        except OSError as error:
            candidate.close()
            trouble = error
    raise trouble


def _resolved(host: str, port: int, deadline: float) -> list[tuple]:
    """The system's resolver knows no deadline, so it is asked in a thread that may be left behind."""
    with suppress(socket.gaierror):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    answers: queue.SimpleQueue[list[tuple] | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            answers.put(error)
        except UnicodeError:
            answers.put(OSError("the host's name is not valid"))

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    try:
        answer = answers.get(timeout=_left(deadline))
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(answer, OSError):
        raise answer
    return answer


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


@cache
def _tls() -> ssl.SSLContext:
    return httpx2.create_ssl_context()
