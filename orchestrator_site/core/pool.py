"""How the connection pool comes back after the database was away."""

from psycopg_pool.base import AttemptWithBackoff

AGAIN_SECONDS = 0.5


def try_steadily() -> None:
    """Ask for a new connection every half second until there is one.

    As it comes the pool doubles its pause without an upper bound, so that after an outage of minutes every process
    would stand still for as long again. There is no parameter for it; tests/services/test_pool.py holds this in place.
    """
    AttemptWithBackoff.INITIAL_DELAY = AGAIN_SECONDS
    AttemptWithBackoff.DELAY_BACKOFF = 1.0
