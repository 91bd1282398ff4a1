"""How the database's library works for us where it has no parameter for it; tests/services/test_pool.py holds it.

The pool comes back soon after an outage, asks a connection only when there is something to hear from it, and long
statements are read once.
"""

import select

import psycopg
from psycopg import _queries
from psycopg_pool import ConnectionPool
from psycopg_pool.base import AttemptWithBackoff

AGAIN_SECONDS = 0.5
# A commit's statement may carry hundreds of values; as it comes, psycopg reads one with more than 50 anew each time.
MOST_VALUES_KEPT, LONGEST_KEPT = 400, 32_768


def tune() -> None:
    AttemptWithBackoff.INITIAL_DELAY = AGAIN_SECONDS
    # As it comes the pool doubles its pause without an upper bound, so that after an outage of minutes every process
    # would stand still for as long again.
    AttemptWithBackoff.DELAY_BACKOFF = 1.0
    ConnectionPool.check_connection = staticmethod(check)  # type: ignore[method-assign,assignment]
    _queries.MAX_CACHED_STATEMENT_PARAMS, _queries.MAX_CACHED_STATEMENT_LENGTH = MOST_VALUES_KEPT, LONGEST_KEPT


def check(connection: psycopg.Connection) -> None:
    """Raises when the server has closed the connection, which lay idle until now: a server that is gone has hung up,
    so that only a connection with something to read is asked. As it comes, the pool asks each time."""
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN)
    if poll.poll(0):
        connection.execute("")
