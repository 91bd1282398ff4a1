"""How the connection pool comes back after the database was away, or took no writes."""

from typing import Any

from psycopg import Connection, OperationalError
from psycopg_pool.base import AttemptWithBackoff

AGAIN_SECONDS = 0.5


def try_steadily() -> None:
    """Ask for a new connection every half second until there is one.

    As it comes the pool doubles its pause without an upper bound, so that after an outage of minutes every process
    would stand still for as long again. There is no parameter for it; tests/services/test_pool.py holds this in place.
    """
    AttemptWithBackoff.INITIAL_DELAY = AGAIN_SECONDS
    AttemptWithBackoff.DELAY_BACKOFF = 1.0


def refuse_read_only(session: Connection[Any]) -> None:
    """For a pool's `reset`: a session that began read-only, as on a standby, stays so, and is not kept.

    Asks nobody: the server reports both by itself. Raises OperationalError, and the pool opens another.
    """
    said = session.info.parameter_status
    if "on" in (said("default_transaction_read_only"), said("in_hot_standby")):
        raise OperationalError("the session takes no writes")
