"""The one clock that decides: the database's."""

import datetime as dt

from django.db import connection


def database_now() -> dt.datetime:
    """The database's wall clock at this moment, aware UTC; unlike `now()` it moves inside a transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cursor.fetchone()[0]
