"""Stands between our processes and PostgreSQL, and cuts connections in the middle of a COMMIT when it is told to.

Orders come as lines on a port of its own, each answered with a line:
    before N    the next N commits never arrive: the connection is cut with the message in hand
    after N     the next N commits arrive, and the word that they did is lost
    all         every connection is cut now
    calm        forget what was ordered
Messages are recognised by their bytes: a cut in the wrong place is a fault like any other.
"""

import argparse
import asyncio
from contextlib import suppress

COMMIT = b"COMMIT\x00"


class Orders:
    def __init__(self) -> None:
        self.before = self.after = 0
        self.connections: set[Connection] = set()
        self.cuts = 0

    def take(self, line: str) -> str:
        word, _, number = line.partition(" ")
        match word:
            case "before":
                self.before += int(number)
            case "after":
                self.after += int(number)
            case "calm":
                self.before = self.after = 0
            case "all":
                for connection in [*self.connections]:
                    connection.cut()
        return f"{self.cuts}\n"


class Connection:
    """One client and its server, as a pair of protocols."""

    def __init__(self, orders: Orders, server_path: str) -> None:
        self.orders, self.server_path = orders, server_path
        self.client: asyncio.Transport | None = None
        self.server: asyncio.Transport | None = None
        self.early = bytearray()
        self.is_mute = False
        orders.connections.add(self)

    async def reach_server(self) -> None:
        try:
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_unix_connection(lambda: _ServerSide(self), self.server_path)
        except OSError:
            self.cut()
            return
        self.server = transport  # type: ignore[assignment]
        if self.client is None or self.client.is_closing():
            self.cut()
        elif self.early:
            transport.write(bytes(self.early))  # type: ignore[attr-defined]

    def from_client(self, data: bytes) -> None:
        if self.server is None:
            self.early += data
            return
        if COMMIT in data and self.orders.before > 0:
            self.orders.before -= 1
            self.orders.cuts += 1
            self.cut()
            return
        if COMMIT in data and self.orders.after > 0:
            self.orders.after -= 1
            self.orders.cuts += 1
            self.is_mute = True
        self.server.write(data)

    def from_server(self, data: bytes) -> None:
        if self.is_mute:
            self.cut()  # it has answered, so it is done
        elif self.client is not None:
            self.client.write(data)

    def cut(self) -> None:
        self.orders.connections.discard(self)
        for side in (self.client, self.server):
            if side is not None and not side.is_closing():
                side.abort()

    def ended(self) -> None:
        """One side closed in good order: what was said before is still delivered."""
        self.orders.connections.discard(self)
        for side in (self.client, self.server):
            if side is not None and not side.is_closing():
                side.close()


class _ClientSide(asyncio.Protocol):
    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.connection.client = transport  # type: ignore[assignment]
        self.reaching = asyncio.ensure_future(self.connection.reach_server())

    def data_received(self, data: bytes) -> None:
        self.connection.from_client(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.connection.ended()


class _ServerSide(asyncio.Protocol):
    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def data_received(self, data: bytes) -> None:
        self.connection.from_server(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.connection.ended()


async def serve(port: int, orders_port: int, server_path: str) -> None:
    orders = Orders()

    async def obey(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while line := await reader.readline():
                writer.write(orders.take(line.decode().strip()).encode())
                await writer.drain()
        writer.close()

    loop = asyncio.get_running_loop()
    await asyncio.start_server(obey, "127.0.0.1", orders_port)
    server = await loop.create_server(lambda: _ClientSide(Connection(orders, server_path)), "127.0.0.1", port)
    print(f"proxy ready on 127.0.0.1:{port}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--orders-port", type=int, required=True)
    options.add_argument("--server", required=True, help="path of PostgreSQL's socket")
    given = options.parse_args()
    asyncio.run(serve(given.port, given.orders_port, given.server))
