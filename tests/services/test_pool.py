import logging
import time
from pathlib import Path

import pytest
from psycopg_pool import ConnectionPool

from orchestrator_site.services.folder import DataFolder
from orchestrator_site.services.places import socket_folder
from orchestrator_site.services.postgres import UNSAFE_SETTINGS, postgres

OUTAGE_SECONDS = 8.0


@pytest.mark.crash
def test_a_pool_is_back_soon_after_a_long_outage(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "psycopg.pool")
    folder = DataFolder(data)
    folder.take()
    server = postgres(folder, settings=UNSAFE_SETTINGS)
    server.start()
    server.wait_ready()
    conninfo = f"host={socket_folder(data)} user=postgres dbname=postgres"
    check = ConnectionPool.check_connection
    try:
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

            assert time.monotonic() - back_at < 2, "without steady tries it stands still for seven more seconds"
    finally:
        server.stop()
        folder.release()


def _ask_in_vain(pool: ConnectionPool) -> None:
    """As workers do while it is away: each try is noticed by the pool."""
    with pytest.raises(Exception, match="couldn't get a connection"), pool.connection(timeout=0.5):
        pass
