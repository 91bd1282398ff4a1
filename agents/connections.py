"""Connections to a model server: each call in hand has one of its own, and leaves it to the next."""

import socket
import threading
from collections.abc import Callable, Iterator

import httpx2

from agents import deadlines

# One connection each: the library's own pool looks through all of its connections at every request.
_ONE = httpx2.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=60)


def stacked(client: httpx2.Client) -> httpx2.Client:
    """The same client, obeying `deadlines.within`, on connections as above; where a proxy is named, on its own pool."""
    if not client._mounts:
        context = httpx2.create_ssl_context()
        client._transport.close()
        client._transport = _Stack(
            lambda: deadlines.limit(httpx2.HTTPTransport(verify=context, limits=_ONE, socket_options=_KEPT_ALIVE))
        )
    return deadlines.limited(client)


# As the SDK asks for: a peer that went away without a word is noticed.
_KEPT_ALIVE = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)] + [
    (socket.IPPROTO_TCP, getattr(socket, name), value)
    for name, value in (("TCP_KEEPINTVL", 60), ("TCP_KEEPCNT", 5), ("TCP_KEEPIDLE", 60))
    if hasattr(socket, name)
]


class _Stack(httpx2.BaseTransport):
    """Transports of one connection each; the one that was used last is used next, and the cold ones time out."""

    def __init__(self, make: Callable[[], httpx2.BaseTransport]) -> None:
        self._make = make
        self._idle: list[httpx2.BaseTransport] = []
        self._lock = threading.Lock()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        transport = self._take()
        try:
            response = transport.handle_request(request)
        except BaseException:
            transport.close()
            raise
        assert isinstance(response.stream, httpx2.SyncByteStream)
        response.stream = _Returning(response.stream, lambda: self._give_back(transport))
        return response

    def _take(self) -> httpx2.BaseTransport:
        with self._lock:
            return self._idle.pop() if self._idle else self._make()

    def _give_back(self, transport: httpx2.BaseTransport) -> None:
        with self._lock:
            self._idle.append(transport)

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for transport in idle:
            transport.close()


class _Returning(httpx2.SyncByteStream):
    """A reply's body; when it is closed, its connection goes back."""

    def __init__(self, body: httpx2.SyncByteStream, give_back: Callable[[], None]) -> None:
        self._body = body
        self._give_back: Callable[[], None] | None = give_back

    def __iter__(self) -> Iterator[bytes]:
        yield from self._body

    def close(self) -> None:
        give_back, self._give_back = self._give_back, None
        try:
            self._body.close()
        finally:
            if give_back is not None:
                give_back()
