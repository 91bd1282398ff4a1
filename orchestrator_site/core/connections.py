"""How the database's library works for us where it has no parameter for it; tests/services/test_pool.py holds it.

The pool comes back soon after an outage, asks a connection only when there is something to hear from it, keeps none
that takes no writes, and long statements are read once.
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
    """Before one from the pool is used: raises OperationalError when the server has closed it, or it is used up.

    A server that is gone has hung up, so that only a connection with something to read is asked; as it comes, the pool
    asks each time. What is raised here, once it is closed, has the pool open another.
    """
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN)
    if poll.poll(0):
        connection.execute("")
    if _is_used_up(connection):
        connection.close()
        raise psycopg.OperationalError("the session takes no writes")


def _is_used_up(connection: psycopg.Connection) -> bool:
    """A session that began read-only, as on a standby, stays so, and serves once. The server reports it unasked."""
    is_new = not hasattr(connection, "_served")
    connection._served = True  # type: ignore[attr-defined]
    said = connection.info.parameter_status
    return not is_new and "on" in (said("default_transaction_read_only"), said("in_hot_standby"))
