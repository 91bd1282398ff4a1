"""One HTTP/1.1 request over one fresh connection, all of it before one deadline.

httpx2 times each operation by itself, so that a server dripping one byte a second is never late. Here its engine
(httpcore2) is given a stream on which every read and write has only what is left until the deadline. There is no pool,
no retry, no redirect, no proxy from the environment and no cookie.
"""

import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import httpcore2
import httpx2

from tools.egress import decoding
from tools.egress.hosts import Address
from tools.egress.resolving import left
from tools.egress.targets import Origin, Target


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
    """`body` is None when it is larger than what the caller wanted to read, and when `fault` says why it is no body."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None
    fault: str = ""
    url: str = ""

    def header(self, name: str) -> str:
        return self.headers.get(name.lower(), "")


def exchange(
    method: str,
    target: Target,
    addresses: Sequence[Address],
    headers: Mapping[str, str],
    content: bytes | None,
    *,
    deadline: float,
    limit_bytes: int,
) -> Answer:
    """Connect to the first of these addresses that answers, and to no other. `deadline` in monotonic seconds.

    Host and SNI are the target's. `limit_bytes` bounds the body as it comes and as it is unpacked. Raises NoAnswer.
    """
    stream = None
    try:
        stream = _connected(target.origin, addresses, deadline)
        origin = target.origin
        url = httpcore2.URL(scheme=origin.scheme, host=origin.host, port=origin.port, target=target.path)
        connection = httpcore2.HTTP11Connection(url.origin, stream)
        all_headers = {"Host": target.authority, "Connection": "close"} | dict(headers)
        with connection.stream(method, url, headers=list(all_headers.items()), content=content) as response:
            told = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
            body, fault = _read(response, told.get("content-encoding", ""), limit_bytes)
            return Answer(response.status, told, body, fault, target.url)
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


def _read(response: httpcore2.Response, encoding: str, limit_bytes: int) -> tuple[bytes | None, str]:
    try:
        return decoding.body(response.iter_stream(), encoding, limit_bytes), ""
    except decoding.TooLarge:
        return None, ""
    except decoding.Undecodable as fault:
        return None, str(fault)


class _Stream(httpcore2.NetworkStream):
    """A socket on which nothing outlasts the deadline, and which remembers whether anything was sent."""

    def __init__(self, connected: socket.socket, deadline: float):
        self.socket = connected
        self.deadline = deadline
        self.sent = False

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            self.socket.settimeout(left(self.deadline))
            return self.socket.recv(max_bytes)
        except TimeoutError:
            raise httpcore2.ReadTimeout from None
        except OSError as error:
            raise httpcore2.ReadError(_reason(error)) from None

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        view = memoryview(buffer)
        try:
            while view:
                self.socket.settimeout(left(self.deadline))
                self.sent = True
                view = view[self.socket.send(view) :]
        except TimeoutError:
            raise httpcore2.WriteTimeout from None
        except OSError as error:
            raise httpcore2.WriteError(_reason(error)) from None

    def close(self) -> None:
        self.socket.close()


def _connected(origin: Origin, addresses: Sequence[Address], deadline: float) -> _Stream:
    try:
        plain = _first_that_connects(addresses, origin.port, deadline)
        if origin.scheme == "https":
            try:
                plain.settimeout(left(deadline))
                return _Stream(_tls().wrap_socket(plain, server_hostname=origin.host), deadline)
            except BaseException:
                plain.close()
                raise
        return _Stream(plain, deadline)
    except TimeoutError:
        raise httpcore2.ConnectTimeout from None
    except (OSError, ssl.CertificateError) as error:
        raise httpcore2.ConnectError(_reason(error)) from None


def _first_that_connects(addresses: Sequence[Address], port: int, deadline: float) -> socket.socket:
    trouble: OSError = OSError("the name has no address")
    for address in addresses:
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        try:
            candidate = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            trouble = error
            continue
        try:
            candidate.settimeout(left(deadline))
            candidate.connect((str(address), port))
            candidate.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return candidate
        except OSError as error:
            candidate.close()
            trouble = error
    raise trouble


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


@cache
def _tls() -> ssl.SSLContext:
    return httpx2.create_ssl_context()
