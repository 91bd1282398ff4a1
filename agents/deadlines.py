"""One deadline over everything an HTTP call does: name it once, and a server that drips for ever is cut all the same.

The client's own timeouts are silences between two bytes. Here every single wait on the network (connect, handshake,
write, each read) is given what is left of the whole.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpcore2
import httpx2

# A synchronous client does all its reading and writing on the thread that calls it.
_call = threading.local()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """What clients made by `limited` do on this thread ends in `seconds`, by the client's own timeout error."""
    _call.ends_at = time.monotonic() + seconds
    try:
        yield
    finally:
        _call.ends_at = None


def limited(client: httpx2.Client) -> httpx2.Client:
    """The same client, obeying `within`, through proxies too."""
    for transport in [client._transport, *client._mounts.values()]:
        if isinstance(transport, httpx2.HTTPTransport):
            limit(transport)
    return client


def limit(transport: httpx2.HTTPTransport) -> httpx2.HTTPTransport:
    """The same transport, obeying `within`."""
    # It has no parameter for it; test_llm's dripping server holds this line in place.
    pool: Any = transport._pool
    pool._network_backend = _Backend(pool._network_backend)
    return transport


def _left(timeout: float | None, expired: type[Exception]) -> float | None:
    ends_at = getattr(_call, "ends_at", None)
    if ends_at is None:
        return timeout
    left = ends_at - time.monotonic()
    if left <= 0:
        raise expired("The deadline of the whole call has passed.")
    return left if timeout is None else min(left, timeout)


class _Backend(httpcore2.NetworkBackend):
    def __init__(self, inner: httpcore2.NetworkBackend) -> None:
        self._inner = inner

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, *args: Any, **kwargs: Any
    ) -> httpcore2.NetworkStream:
        left = _left(timeout, httpcore2.ConnectTimeout)
        return _Stream(self._inner.connect_tcp(host, port, left, *args, **kwargs))

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, *args: Any, **kwargs: Any
    ) -> httpcore2.NetworkStream:
        left = _left(timeout, httpcore2.ConnectTimeout)
        return _Stream(self._inner.connect_unix_socket(path, left, *args, **kwargs))

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class _Stream(httpcore2.NetworkStream):
    def __init__(self, inner: httpcore2.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(timeout, httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left(timeout, httpcore2.WriteTimeout))

    def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> Any:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, _left(timeout, httpcore2.ConnectTimeout)))

    def close(self) -> None:
        self._inner.close()

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
