from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.core.management import call_command, sql
from django.db import OperationalError, connections, transaction
from django.db.backends.postgresql.operations import DatabaseOperations
from django.db.backends.utils import CursorWrapper
from pytest_django import DjangoDbBlocker

TRIES = 5
# What `post_migrate` writes. It is left where it stands while it is as it was written, since to write it anew takes
# longer than everything else.
STANDING = ("django_content_type", "auth_permission", "auth_group", "auth_group_permissions")

_written: str | None = None
_is_left = False


def empty_tables(operations: DatabaseOperations, sql_list: Sequence[str]) -> None:
    """Django's flush after a transactional test, past the triggers that keep events from being deleted.

    The few tables that hold rows are emptied by DELETE, which is ten times as fast as TRUNCATE of all; whoever
    is still writing is waited for. Tried again when it meets a living worker: the one that loses the deadlock may be
    us.
    """
    for left in reversed(range(TRIES)):
        try:
            _empty(operations)
            break
        except OperationalError:
            if not left:
                raise


@contextmanager
def rows_of_a_module(blocker: DjangoDbBlocker) -> Iterator[None]:
    """What is written within stays for tests that see it with `django_db` and change nothing; emptied at the end."""
    from agents import roster

    roster.forget()  # what a test before read in its own transaction is of no database
    with blocker.unblock():
        try:
            yield
        finally:
            call_command("flush", verbosity=0, interactive=False)


def migrated(verbosity: int, interactive: bool, db: str, **rest: Any) -> None:
    """Instead of Django's own after a flush: `post_migrate`, where what it writes was emptied."""
    global _written
    if _is_left:
        from agents import roster

        roster.forget()
        return
    sql.emit_post_migrate_signal(verbosity, interactive, db, **rest)
    with connections[db].cursor() as cursor:
        _written = _standing(cursor)


def _empty(operations: DatabaseOperations) -> None:
    global _is_left
    connection = operations.connection
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("SET LOCAL lock_timeout = '5s'")
        tables = operations.connection.introspection.django_table_names(True, include_views=False)
        cursor.execute(f"LOCK TABLE {', '.join(map(operations.quote_name, tables))} IN ACCESS EXCLUSIVE MODE")
        _is_left = _standing(cursor) == _written
        emptied = [operations.quote_name(name) for name in tables if not (_is_left and name in STANDING)]
        for each in _deletes(cursor, emptied):
            cursor.execute(each)


def _standing(cursor: CursorWrapper) -> str:
    tables = " || ".join(
        f"(SELECT md5(coalesce(string_agg(t::text, ';' ORDER BY id), '')) FROM {t} t)" for t in STANDING
    )
    cursor.execute(f"SELECT {tables}")
    return cursor.fetchone()[0]


def _deletes(cursor: CursorWrapper, tables: list[str]) -> list[str]:
    cursor.execute(f"SELECT {', '.join(f'EXISTS (SELECT FROM {table})' for table in tables)}")
    return [f"DELETE FROM {table}" for table, has_rows in zip(tables, cursor.fetchone(), strict=True) if has_rows]
