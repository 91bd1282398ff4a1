"""Whether the database is away, or there and saying no."""

from django.db import Error, InterfaceError, InternalError, OperationalError

# admin_shutdown, crash_shutdown, cannot_connect_now, too_many_connections; class 08 is the connection itself.
_AWAY = {"57P01", "57P02", "57P03", "53300"}
# idle_in_transaction_session_timeout: we stood still, and it hung up.
_READ_ONLY = "25006"
_AWAY_FOR_US = {"25P03", _READ_ONLY}


def is_away(error: Error) -> bool:
    """True when the connection broke, or none was to be had that writes: the same statement may do well in a moment.

    A statement that ran too long or a deadlock is an OperationalError too, and the database was there to say so.
    """
    state = getattr(error.__cause__, "sqlstate", None)
    if isinstance(error, InternalError):
        return state in _AWAY_FOR_US
    if not isinstance(error, (OperationalError, InterfaceError)):
        return False
    return state is None or state in _AWAY or state.startswith("08")


def is_read_only(error: Error) -> bool:
    """It is there, and takes no writes."""
    return getattr(error.__cause__, "sqlstate", None) == _READ_ONLY
