import logging
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import _queries
from psycopg_pool import ConnectionPool, PoolTimeout

from orchestrator_site.core import connections
from orchestrator_site.services.child import Child
from orchestrator_site.services.folder import DataFolder
from orchestrator_site.services.places import socket_folder
from orchestrator_site.services.postgres import UNSAFE_SETTINGS, postgres

OUTAGE_SECONDS = 8.0


@pytest.fixture
def server(data: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Child]:
    """A PostgreSQL of its own, which may be killed."""
    caplog.set_level(logging.CRITICAL, "psycopg.pool")
    folder = DataFolder(data)
    folder.take()
    child = postgres(folder, settings=UNSAFE_SETTINGS)
    child.start()
    child.wait_ready()
    try:
        yield child
    finally:
        child.stop()
        folder.release()


def place(data: Path) -> str:
    return f"host={socket_folder(data)} user=postgres dbname=postgres"


@pytest.mark.crash
def test_a_pool_is_back_soon_after_a_long_outage(data: Path, server: Child) -> None:
    conninfo, check = place(data), ConnectionPool.check_connection
    with ConnectionPool(conninfo, min_size=2, max_size=2, timeout=30, check=check) as pool:
        with pool.connection() as connection:
            connection.execute("SELECT 1")
        server.kill()
        _ask_in_vain(pool)
        time.sleep(OUTAGE_SECONDS)

        server.start()
        server.wait_ready()
        back_at = time.monotonic()
        with pool.connection() as connection:
            connection.execute("SELECT 1")

        assert time.monotonic() - back_at < 6, "without steady tries it stands still for seven more seconds"


@pytest.mark.crash
def test_a_connection_that_its_server_closed_is_never_handed_out(data: Path, server: Child) -> None:
    """Beside it, one that is well is handed out without a word to the server."""
    conninfo, check = place(data), ConnectionPool.check_connection
    with ConnectionPool(conninfo, min_size=2, max_size=2, timeout=30, check=check) as pool:
        pool.wait()
        first = _pid(pool)
        with psycopg.connect(conninfo, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", [first])
            other.execute("SELECT pg_sleep(0.2)")

        assert first not in [_pid(pool) for _ in range(4)]

    with ConnectionPool(conninfo, min_size=1, max_size=1, check=lambda _: None) as careless:
        pid = _pid(careless)
        with psycopg.connect(conninfo, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", [pid])
            other.execute("SELECT pg_sleep(0.2)")
        with pytest.raises(psycopg.OperationalError):
            _pid(careless)


def _pid(pool: ConnectionPool) -> int:
    with pool.connection() as connection:
        connection.execute("SELECT 1")
        return connection.info.backend_pid


def test_a_statement_with_many_values_is_read_once() -> None:
    connections.tune()
    query = f"SELECT {', '.join(['%s'] * 100)}".encode()
    before = _queries._query2pg.cache_info()

    for _ in range(3):
        _queries.PostgresQuery(psycopg.adapt.Transformer()).convert(query, list(range(100)))

    after = _queries._query2pg.cache_info()
    assert (after.misses - before.misses, after.hits - before.hits) == (1, 2)


def _ask_in_vain(pool: ConnectionPool) -> None:
    """As workers do while it is away: each try is noticed by the pool."""
    ends_at = time.monotonic() + 10
    while time.monotonic() < ends_at:  # a session may outlive its server by a moment
        try:
            with pool.connection(timeout=0.5) as connection:
                connection.execute("SELECT 1")
        except PoolTimeout:
            return
        except psycopg.OperationalError:
            continue
        time.sleep(0.02)
    pytest.fail("The server that was killed goes on answering.")
