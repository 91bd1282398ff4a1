"""The outside world and the judge: a process nobody kills, on one thread, so that every effect is one atomic act.

POST /<class> {mark, amount, trouble?}, header Idempotency-Key    makes an effect; class pure, keyed, verifiable, unsafe
GET /effects/<key>      200 with the effect, 404 without; final once the connection that asked for it is closed
GET /truth/<key>        {"made": n, "in_hand": n}: for the people, who look before they say what happened

A keyed target keeps its first answer under the key. A line is written for everything before anybody is told of it:
{at, what, class, key, arguments}, `what` one of arrived, effect, read, refused.

`trouble` befalls the first request of a key, and later ones go well:
    slow    effect, and a late reply            late    effect after a while, unless the caller has gone
    hang    effect, and no reply                deaf    no effect, no reply
    500     effect, then a 500                  500-before    a 500 without effect
    reset   effect, then a reset                reset-before  a reset without effect
    422     the target's own no
"""

import argparse
import asyncio
import json
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

CLASSES = ("pure", "keyed", "verifiable", "unsafe")
SLOW_SECONDS = 1.2
LATE_SECONDS = 1.0
HANG_SECONDS = 30.0

Reply = tuple[int, Any]


class Cut(Exception):
    """The connection is reset."""


class Ledger:
    def __init__(self, log: TextIO) -> None:
        self.log = log
        self.made: dict[str, list[dict[str, Any]]] = {}
        self.kept: dict[str, Reply] = {}  # the first answer of a keyed target
        self.arrived: Counter[str] = Counter()
        self.in_hand: Counter[str] = Counter()

    def write(self, what: str, kind: str, key: str, arguments: Any) -> None:
        line = {"at": time.time(), "what": what, "class": kind, "key": key, "arguments": arguments}
        self.log.write(json.dumps(line) + "\n")
        self.log.flush()

    async def post(self, kind: str, key: str, arguments: dict[str, Any], gone: asyncio.Event) -> Reply:
        self.write("arrived", kind, key, arguments)
        self.arrived[key] += 1
        self.in_hand[key] += 1
        try:
            trouble = arguments.get("trouble", "") if self.arrived[key] == 1 else ""
            return await self._act(kind, key, arguments, trouble, gone)
        finally:
            self.in_hand[key] -= 1

    async def _act(self, kind: str, key: str, arguments: dict[str, Any], trouble: str, gone: asyncio.Event) -> Reply:
        match trouble:
            case "422":
                self.write("refused", kind, key, arguments)
                return self._keep(kind, key, (422, {"error": "The target does not want it."}))
            case "500-before":
                return 500, {"error": "Something broke before anything was done."}
            case "reset-before":
                raise Cut
            case "deaf":
                await _until(gone, HANG_SECONDS)
                raise Cut
            case "late":
                await _until(gone, LATE_SECONDS)
                if gone.is_set():
                    raise Cut
        reply = self._make(kind, key, arguments)
        match trouble:
            case "slow":
                await _until(gone, SLOW_SECONDS)
            case "hang":
                await _until(gone, HANG_SECONDS)
            case "500":
                return 500, {"error": "Something broke after it was done."}
            case "reset":
                raise Cut
        return reply

    def _make(self, kind: str, key: str, arguments: dict[str, Any]) -> Reply:
        if kind == "pure":
            self.write("read", kind, key, arguments)
            return 200, {"read": arguments.get("mark")}
        if key in self.kept:
            return self.kept[key]
        self.write("effect", kind, key, arguments)
        self.made.setdefault(key, []).append(arguments)
        return self._keep(kind, key, (200, {"made": arguments.get("mark")}))

    def _keep(self, kind: str, key: str, reply: Reply) -> Reply:
        if kind == "keyed":
            self.kept[key] = reply
        return reply

    def get(self, path: str) -> Reply:
        _, room, key = [*path.split("/"), "", ""][:3]
        if room == "truth":
            return 200, {"made": len(self.made.get(key, [])), "in_hand": self.in_hand[key]}
        if room == "effects" and key in self.made:
            return 200, {"made": self.made[key][0].get("mark")}
        return 404, {"error": "no such effect"}


async def _until(gone: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(gone.wait(), seconds)


# -- HTTP, one request a connection ------------------------------------------------------------------------------
async def converse(ledger: Ledger, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        method, path, headers, body = await _request(reader)
        gone = asyncio.Event()
        listener = asyncio.create_task(_notice(reader, gone))
        try:
            if method == "POST":
                reply = await ledger.post(path.strip("/"), headers.get("idempotency-key", ""), json.loads(body), gone)
            else:
                reply = ledger.get(path)
            writer.write(_written(*reply))
            await writer.drain()
        finally:
            listener.cancel()
    except Cut:
        writer.transport.abort()
    except (ConnectionError, asyncio.IncompleteReadError, ValueError):
        pass
    finally:
        writer.close()


async def _notice(reader: asyncio.StreamReader, gone: asyncio.Event) -> None:
    try:
        while await reader.read(1024):
            pass
    except ConnectionError:
        pass
    gone.set()


async def _request(reader: asyncio.StreamReader) -> tuple[str, str, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return method, path, headers, await reader.readexactly(int(headers.get("content-length") or 0))


def _written(status: int, value: Any) -> bytes:
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\nconnection: close\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


async def serve(port: int, path: Path) -> None:
    with path.open("a") as log:
        ledger = Ledger(log)
        server = await asyncio.start_server(lambda reader, writer: converse(ledger, reader, writer), "127.0.0.1", port)
        print(f"outside ledger ready on http://127.0.0.1:{port}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--log", type=Path, required=True)
    given = options.parse_args()
    asyncio.run(serve(given.port, given.log))
