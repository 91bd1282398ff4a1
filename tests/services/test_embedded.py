import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from redis import Redis

from orchestrator_site.services import postgres as embedded
from orchestrator_site.services.child import Child
from orchestrator_site.services.errors import FolderInUse
from orchestrator_site.services.folder import DataFolder
from orchestrator_site.services.places import redis_socket, socket_folder
from orchestrator_site.services.postgres import UNSAFE_SETTINGS, create_database, postgres
from orchestrator_site.services.redis import redis


@contextmanager
def running(data: Path, settings: dict[str, str] = UNSAFE_SETTINGS) -> Iterator[tuple[Child, Child]]:
    folder = DataFolder(data)
    folder.take()
    children = redis(folder), postgres(folder, settings=settings)
    try:
        for child in children:
            child.start()
            child.wait_ready()
        yield children
    finally:
        for child in reversed(children):
            child.stop()
        folder.release()


def connect(data: Path, name: str = "postgres") -> psycopg.Connection:
    return psycopg.connect(host=str(socket_folder(data)), user="postgres", dbname=name)


def test_rows_and_keys_survive_a_restart(data: Path) -> None:
    with running(data):
        assert create_database(socket_folder(data), "kept") is True
        with connect(data, "kept") as connection:
            connection.execute("CREATE TABLE note AS SELECT 'still here' AS text")
        Redis(unix_socket_path=str(redis_socket(data))).set("note", "still here")

    with running(data):
        assert create_database(socket_folder(data), "kept") is False
        with connect(data, "kept") as connection:
            assert connection.execute("SELECT text FROM note").fetchone() == ("still here",)
        assert Redis(unix_socket_path=str(redis_socket(data))).get("note") == b"still here"


def test_the_extensions_the_platform_counts_on_are_there(data: Path) -> None:
    with running(data), connect(data) as connection:
        for extension in ("pg_trgm", "vector", "btree_gin", "unaccent"):
            connection.execute(f"CREATE EXTENSION {extension}")
        assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)


def test_servers_killed_hard_come_back_with_what_was_committed(data: Path) -> None:
    with running(data, settings={}) as (_, server):  # the settings a real installation runs with
        with connect(data) as connection:
            connection.execute("CREATE TABLE note AS SELECT 1 AS number")
        server.kill()

    with running(data), connect(data) as connection:
        assert connection.execute("SELECT number FROM note").fetchone() == (1,)


def test_one_folder_has_one_holder(data: Path) -> None:
    first, second = DataFolder(data), DataFolder(data)
    first.take()

    with pytest.raises(FolderInUse, match=f"{data} is in use by process {os.getpid()}"):
        second.take()

    first.release()
    second.take()
    second.release()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands PostgreSQL to another user")
def test_root_can_keep_the_platform_where_nobody_else_may_look(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As under /root: the cluster and the binaries go where `nobody` can walk, and a link says where."""
    closed, place = data / "closed", data / "open"
    closed.mkdir(mode=0o700)
    monkeypatch.setattr(embedded, "ROOTS_PLACE", place)
    monkeypatch.setattr(embedded, "is_open_to_others", lambda folder: False)

    for made in (True, False):
        with running(closed / "data"):
            assert create_database(socket_folder(closed / "data"), "kept") is made

    assert (closed / "data" / "postgres").resolve().parent == place
    assert not socket_folder(closed / "data").is_relative_to(closed)
    assert not socket_folder(closed / "data").exists()
