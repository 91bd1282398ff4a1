"""A socket that answers one HTTP request with exactly these bytes, piece by piece, as no well-behaved server would."""

import json
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.waiting import PATIENCE_SECONDS

STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


def sse(kind: str, **data: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode()


def response(status: int, body: Any, headers: dict[str, str] | None = None) -> bytes:
    written = json.dumps(body).encode()
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(written)}\r\n{lines}"
    return (head + "connection: close\r\n\r\n").encode() + written


def message_start(**usage: int) -> bytes:
    message: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
    }
    return sse("message_start", message=message | {"usage": {"input_tokens": 7, "output_tokens": 1, **usage}})


def message_end(stop_reason: str | None) -> bytes:
    delta = {"stop_reason": stop_reason, "stop_sequence": None}
    return sse("message_delta", delta=delta, usage={"output_tokens": 3}) + sse("message_stop")


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> bytes:
    opening = sse("content_block_start", index=index, content_block=start)
    middle = b"".join(sse("content_block_delta", index=index, delta=delta) for delta in deltas)
    return opening + middle + sse("content_block_stop", index=index)


@contextmanager
def answering(*pieces: bytes, drip: Iterable[bytes] = (), drip_seconds: float = 0.05) -> Iterator[str]:
    """`drip` goes out after the pieces, one every `drip_seconds`, until it ends or the client is gone."""
    stopping = threading.Event()

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            _read_request(connection)
            try:
                for piece in pieces:
                    connection.sendall(piece)
                for piece in drip:
                    if stopping.wait(drip_seconds):
                        return
                    connection.sendall(piece)
            except OSError:
                return  # the client has cut the connection, as it should

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            stopping.set()
            thread.join(timeout=PATIENCE_SECONDS)


def _read_request(connection: socket.socket) -> None:
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65536)
    head, _, body = received.partition(b"\r\n\r\n")
    [length] = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
    while len(body) < length:
        body += connection.recv(65536)
