from collections.abc import Sequence
from typing import Any

from django.core.management import sql
from django.db import OperationalError, connections, transaction
from django.db.backends.postgresql.operations import DatabaseOperations
from django.db.backends.utils import CursorWrapper

TRIES = 5
# What `post_migrate` writes. It is left where it stands while it is as it was written, since to write it anew takes
# longer than everything else.
STANDING = ("django_content_type", "auth_permission", "auth_group", "auth_group_permissions")

_written: str | None = None
_is_left = False


def empty_tables(operations: DatabaseOperations, sql_list: Sequence[str]) -> None:
    """Django's flush after a transactional test, past the triggers that keep events from being deleted.

    The few tables that hold rows are emptied by DELETE, which is ten times as fast as TRUNCATE of all; where others are
    in the database, whoever is still writing is waited for. Tried again when it meets a living worker: the one that
    loses the deadlock may be us.
    """
    for left in reversed(range(TRIES)):
        try:
            _empty(operations)
            break
        except OperationalError:
            if not left:
                raise


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
        if not _is_alone(cursor):
            cursor.execute(f"LOCK TABLE {', '.join(_tables(operations))} IN ACCESS EXCLUSIVE MODE")
        _is_left = _standing(cursor) == _written
        for each in _deletes(operations, cursor):
            cursor.execute(each)


def _is_alone(cursor: CursorWrapper) -> bool:
    cursor.execute(
        "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND backend_type = 'client backend')"
    )
    return cursor.fetchone()[0]


def _standing(cursor: CursorWrapper) -> str:
    tables = " || ".join(
        f"(SELECT md5(coalesce(string_agg(t::text, ';' ORDER BY id), '')) FROM {t} t)" for t in STANDING
    )
    cursor.execute(f"SELECT {tables}")
    return cursor.fetchone()[0]


def _tables(operations: DatabaseOperations) -> list[str]:
    names = operations.connection.introspection.django_table_names(True, include_views=False)
    return [operations.quote_name(name) for name in names]


def _deletes(operations: DatabaseOperations, cursor: CursorWrapper) -> list[str]:
    tables = [name for name in _tables(operations) if not (_is_left and name.strip('"') in STANDING)]
    cursor.execute(f"SELECT {', '.join(f'EXISTS (SELECT FROM {table})' for table in tables)}")
    return [f"DELETE FROM {table}" for table, has_rows in zip(tables, cursor.fetchone(), strict=True) if has_rows]
