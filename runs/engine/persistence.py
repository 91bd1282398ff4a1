"""A write that must not be given up because the database is away for a moment."""

import logging
import time
from collections.abc import Callable

from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError, connection

from orchestrator_site.core import outages

logger = logging.getLogger(__name__)

# About a minute: after that the lease is another worker's, and what was brought would be late evidence at best.
PAUSES_SECONDS = (0.2, 0.5, *[1.0] * 60)


def may_pass(error: DatabaseError) -> bool:
    """Trouble of the connection or of the server, and not of what was written."""
    return isinstance(error, (OperationalError, InterfaceError)) or outages.is_away(error)


def until_written(write: Callable[[], None]) -> None:
    """Run a transaction of its own until it is committed. It may have been, although its try failed: `write` has to
    see that for itself. Raises what the last try raised, and at once what is no trouble of the connection.
    """
    for pause in PAUSES_SECONDS:
        try:
            return write()
        except DatabaseError as error:
            if not may_pass(error):
                raise
            logger.warning("not written, and tried again: %s", error)
            connection.close()
            time.sleep(pause)
    return write()
