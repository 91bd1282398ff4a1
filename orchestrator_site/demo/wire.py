"""A small HTTP/1.1 server on asyncio, shared by the demo's own processes.

Written by hand rather than on a framework because the test-suite needs what frameworks hide: a connection
that is reset in the middle of a stream, a body that stops short, a reply that never comes.
"""

import argparse
import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LONGEST_HEAD_BYTES = 64 * 1024
LONGEST_BODY_BYTES = 64 * 1024 * 1024


class BadRequest(Exception):
    """The request could not be read as HTTP or as JSON."""


class Reset(Exception):
    """Raised inside a stream: the connection is cut off with a TCP reset."""


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise BadRequest(f"The body is not JSON: {error}.") from None


@dataclass
class Response:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    stream: AsyncIterator[bytes] | None = None


Handler = Callable[[Request], Awaitable[Response]]


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(status, body, {"content-type": "application/json", **(headers or {})})


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request on a connection, or None when the client has closed it between two requests."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial.strip():
            raise BadRequest("The connection ended inside the head of a request.") from None
        return None
    except asyncio.LimitOverrunError:
        raise BadRequest("The head of the request is too long.") from None
    first, *lines = head.decode("latin-1").split("\r\n")
    try:
        method, target, _version = first.split(" ", 2)
    except ValueError:
        raise BadRequest("The request line cannot be read.") from None
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
    }
    url = urlsplit(target)
    query = {name: values[-1] for name, values in parse_qs(url.query).items()}
    return Request(method, unquote(url.path), query, headers, await _read_body(reader, headers))


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return await _read_chunks(reader)
    try:
        length = int(headers.get("content-length") or 0)
    except ValueError:
        raise BadRequest("Content-Length is not a number.") from None
    if not 0 <= length <= LONGEST_BODY_BYTES:
        raise BadRequest("The body is too long.")
    return await reader.readexactly(length)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
        if len(body) > LONGEST_BODY_BYTES:
            raise BadRequest("The body is too long.")
    await reader.readline()
    return body


def _head(response: Response, *, keep_alive: bool) -> bytes:
    try:
        phrase = HTTPStatus(response.status).phrase
    except ValueError:
        phrase = "Overloaded"
    headers = dict(response.headers)
    headers["connection"] = "keep-alive" if keep_alive else "close"
    if response.stream is None:
        headers["content-length"] = str(len(response.body))
    else:
        headers["transfer-encoding"] = "chunked"
    lines = [f"HTTP/1.1 {response.status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def _send(writer: asyncio.StreamWriter, response: Response, *, keep_alive: bool) -> None:
    writer.write(_head(response, keep_alive=keep_alive) + response.body)
    if response.stream is not None:
        async for chunk in response.stream:
            writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
    await writer.drain()


async def _answer(handler: Handler, request: Request) -> Response:
    try:
        return await handler(request)
    except BadRequest as error:
        return json_response({"error": str(error)}, 400)


async def _serve_connection(handler: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while (request := await read_request(reader)) is not None:
            keep_alive = request.headers.get("connection", "").lower() != "close"
            await _send(writer, await _answer(handler, request), keep_alive=keep_alive)
            if not keep_alive:
                break
    except Reset:
        writer.transport.abort()
    except BadRequest as error:
        await _send(writer, json_response({"error": str(error)}, 400), keep_alive=False)
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def serve(handler: Handler, host: str, port: int, *, announce: str = "") -> None:
    """Serve until SIGTERM or SIGINT. Port 0 takes a free one; the line printed when ready names it."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A connection still open when the process is told to stop is cancelled; that is no error.
        with contextlib.suppress(asyncio.CancelledError):
            await _serve_connection(handler, reader, writer)

    server = await asyncio.start_server(connected, host, port, limit=LONGEST_HEAD_BYTES, backlog=512)
    bound = server.sockets[0].getsockname()[1]
    print(f"{announce or 'server'} ready on http://{host}:{bound}", flush=True)
    await stop.wait()
    # Open streams are dropped on purpose: a demo process that is told to stop, stops.
    server.close()


def run(handler: Handler, host: str, port: int, *, announce: str) -> None:
    asyncio.run(serve(handler, host, port, announce=announce))


def parser(description: str, *, port: int) -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument("--host", default="127.0.0.1")
    arguments.add_argument("--port", type=int, default=port, help="0 takes a free port (default: %(default)s)")
    return arguments
