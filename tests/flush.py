from collections.abc import Sequence

from django.db import OperationalError, transaction
from django.db.backends.postgresql.operations import DatabaseOperations

TRIES = 5


def empty_tables(operations: DatabaseOperations, sql_list: Sequence[str]) -> None:
    """Django's flush after a transactional test, past the triggers that keep events from being deleted.

    Tried again when it meets a living worker: the one that loses the deadlock may be us.
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
        for sql in sql_list:
            cursor.execute(sql)
