"""A model server that costs next to nothing: raw asyncio on uvloop, replies filled into templates.

    python -m benchmarks.model_server --port 0 --latency 0.0

The first user text holds `[[bench turns=K size=P tool=NAME]]`. Requests that bring fewer than K - 1 tool results are
answered with one tool call, whose arguments differ from turn to turn; the next ends the turn. Streamed if asked for.
`GET /count` says how many model calls came in, and how many were under way at most; `POST /latency/SECONDS` sets it.
"""

import argparse
import asyncio
import itertools
import json
import re
import signal
from collections.abc import Callable
from typing import cast

import uvloop

_ORDER = re.compile(rb"\[\[bench turns=(\d+) size=(\d+) tool=(\w+)\]\]")
_RESULT = b'"tool_result"'
_STREAM = (b'"stream":true', b'"stream": true')

_USAGE = b'{"input_tokens":120,"output_tokens":24,"cache_creation_input_tokens":0,"cache_read_input_tokens":0}'
_CALL = b'{"type":"tool_use","id":"toolu_%012x","name":"%s","input":{"record":%d,"size":%s}}'
_DONE = b'{"type":"text","text":"All records were looked up."}'
_MESSAGE = (
    b'{"id":"msg_%012x","type":"message","role":"assistant","model":"bench","content":[%s],'
    b'"stop_reason":"%s","stop_sequence":null,"usage":' + _USAGE + b"}"
)


def _events(*events: tuple[str, bytes]) -> bytes:
    return b"".join(b"event: %s\ndata: %s\n\n" % (kind.encode(), data) for kind, data in events)


_START = (
    b'{"type":"message_start","message":{"id":"msg_%012x","type":"message","role":"assistant","model":"bench",'
    b'"content":[],"stop_reason":null,"stop_sequence":null,"usage":' + _USAGE + b"}}"
)
_BLOCK_STOP = ("content_block_stop", b'{"type":"content_block_stop","index":0}')
_END = b'{"type":"message_delta","delta":{"stop_reason":"%s","stop_sequence":null},"usage":{"output_tokens":24}}'
_STOP = ("message_stop", b'{"type":"message_stop"}')
_CALL_STREAM = _events(
    ("message_start", _START),
    (
        "content_block_start",
        b'{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"toolu_%012x","name":"%s",'
        b'"input":{}}}',
    ),
    (
        "content_block_delta",
        b'{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta",'
        b'"partial_json":"{\\"record\\": %d, \\"size\\": %s}"}}',
    ),
    _BLOCK_STOP,
    ("message_delta", _END % b"tool_use"),
    _STOP,
)
_DONE_STREAM = _events(
    ("message_start", _START),
    (
        "content_block_start",
        b'{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}',
    ),
    (
        "content_block_delta",
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"All records were looked up."}}',
    ),
    _BLOCK_STOP,
    ("message_delta", _END % b"end_turn"),
    _STOP,
)

_JSON_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nrequest-id: req_%012x\r\ncontent-length: %d\r\n\r\n%s"
)
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nrequest-id: req_%012x\r\n"
    b"transfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"
)
_REFUSED = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s",
    b'{"type":"error","error":{"type":"invalid_request_error","message":"No [[bench ...]] order in the request."}}',
)


class Mind:
    """Answers and counts; one for all connections."""

    def __init__(self, latency_seconds: float) -> None:
        self.latency_seconds = latency_seconds
        self.calls = self.received_bytes = self.under_way = self.most_under_way = 0
        self._ids = itertools.count(1)

    def answer(self, body: bytes) -> bytes:
        """The whole HTTP response to one Messages request."""
        order = _ORDER.search(body)
        if order is None:
            return _REFUSED[0] % (len(_REFUSED[1]), _REFUSED[1])
        turns, size, tool = order.groups()
        done, number = body.count(_RESULT), next(self._ids)
        self.calls += 1
        self.received_bytes += len(body)
        is_last = done >= int(turns) - 1
        if any(mark in body for mark in _STREAM):
            text = _DONE_STREAM % number if is_last else _CALL_STREAM % (number, number, tool, done + 1, size)
            return _STREAM_HEAD % (number, len(text), text)
        content = _DONE if is_last else _CALL % (number, tool, done + 1, size)
        message = _MESSAGE % (number, content, b"end_turn" if is_last else b"tool_use")
        return _JSON_HEAD % (number, len(message), message)

    def counts(self) -> bytes:
        counted = {"calls": self.calls, "received_bytes": self.received_bytes, "most_under_way": self.most_under_way}
        self.calls = self.received_bytes = self.most_under_way = 0
        return json.dumps(counted).encode()


class Connection(asyncio.Protocol):
    def __init__(self, mind: Mind, call_later: Callable[..., object]) -> None:
        self._mind, self._call_later = mind, call_later
        self._unread = bytearray()
        self._wanted = 0  # bytes of the request being received, as far as its head is known
        self._body_at = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass of it

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while self._unread:
            if not self._wanted and not self._read_head():
                return
            if len(self._unread) < self._wanted:
                return
            request = bytes(self._unread[: self._wanted])
            del self._unread[: self._wanted]
            self._wanted = 0
            self._serve(request)

    def _read_head(self) -> bool:
        end = self._unread.find(b"\r\n\r\n")
        if end < 0:
            return False
        self._body_at = end + 4
        head = bytes(self._unread[: self._body_at]).lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 : head.index(b"\r\n", at)]) if at >= 0 else 0
        self._wanted = self._body_at + length
        return True

    def _serve(self, request: bytes) -> None:
        if request.startswith(b"POST /v1/messages"):
            self._mind.under_way += 1
            self._mind.most_under_way = max(self._mind.most_under_way, self._mind.under_way)
            response = self._mind.answer(request[self._body_at :])
            if self._mind.latency_seconds:
                self._call_later(self._mind.latency_seconds, self._reply, response)
            else:
                self._reply(response)
            return
        if request.startswith(b"POST /latency/"):
            self._mind.latency_seconds = float(request[14 : request.index(b" ", 14)])
        said = self._mind.counts()
        self._write(_JSON_HEAD % (0, len(said), said))

    def _reply(self, response: bytes) -> None:
        self._mind.under_way -= 1
        self._write(response)

    def _write(self, response: bytes) -> None:
        if self._transport is not None:
            self._transport.write(response)


async def serve(host: str, port: int, latency_seconds: float) -> None:
    loop = asyncio.get_running_loop()
    mind = Mind(latency_seconds)
    server = await loop.create_server(lambda: Connection(mind, loop.call_later), host, port, backlog=2048)
    stopped = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stopped.set)
    print(f"bench model ready on http://{host}:{server.sockets[0].getsockname()[1]}", flush=True)
    await stopped.wait()
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each reply")
    options = parser.parse_args()
    uvloop.run(serve(options.host, options.port, options.latency))


if __name__ == "__main__":
    main()
