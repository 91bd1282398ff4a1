from collections.abc import Sequence

from django.db import OperationalError, transaction
from django.db.backends.postgresql.operations import DatabaseOperations
from django.db.backends.utils import CursorWrapper

TRIES = 5


def empty_tables(operations: DatabaseOperations, sql_list: Sequence[str]) -> None:
    """Django's flush after a transactional test, past the triggers that keep events from being deleted.

    With nobody else in the database the few tables that hold rows are emptied by DELETE, which is ten times as fast;
    TRUNCATE waits for whoever is still writing. Tried again when it meets a living worker: the one that loses the
    deadlock may be us.
    """
    for left in reversed(range(TRIES)):
        try:
            _empty(operations, sql_list)
            break
        except OperationalError:
            if not left:
                raise


def _empty(operations: DatabaseOperations, sql_list: Sequence[str]) -> None:
    connection = operations.connection
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("SET LOCAL lock_timeout = '5s'")
        for sql in _deletes(operations, cursor) if _is_alone(cursor) else sql_list:
            cursor.execute(sql)


def _is_alone(cursor: CursorWrapper) -> bool:
    cursor.execute(
        "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND backend_type = 'client backend')"
    )
    return cursor.fetchone()[0]


def _deletes(operations: DatabaseOperations, cursor: CursorWrapper) -> list[str]:
    introspection = operations.connection.introspection
    tables = [operations.quote_name(name) for name in introspection.django_table_names(True, include_views=False)]
    cursor.execute(f"SELECT {', '.join(f'EXISTS (SELECT FROM {table})' for table in tables)}")
    return [f"DELETE FROM {table}" for table, has_rows in zip(tables, cursor.fetchone(), strict=True) if has_rows]
