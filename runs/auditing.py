"""The reconciler's part in the audit: sign what is due, and keep the second place up with the database."""

import logging

from django.db import Error as DatabaseError

from orchestrator_site.core import checkpoints, second_place, signing
from runs import restored

logger = logging.getLogger(__name__)

_said: set[str] = set()


def keep_up() -> None:
    """What cannot be signed or copied now is told once, and tried again. Raises DatabaseError alone."""
    try:
        if restored.look():
            _sign()
    except DatabaseError:
        raise
    except Exception:
        logger.exception("the reconciler's keep_up failed")


def _sign() -> None:
    try:
        if checkpoints.make_if_due() is not None:
            second_place.copy()
        _said.clear()
    except (signing.KeyUnusable, OSError) as error:
        if str(error) not in _said:
            _said.add(str(error))
            logger.error("the audit's checkpoints fall behind: %s", error)
