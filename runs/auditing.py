"""The reconciler's part in the audit: sign what is due, and keep the second place up with the database."""

import logging

from orchestrator_site.core import checkpoints, second_place, signing

logger = logging.getLogger(__name__)

_said: set[str] = set()


def keep_up() -> None:
    """Nothing of the work waits for it: what cannot be signed or copied now is told once, and tried again."""
    try:
        checkpoints.make_if_due()
        second_place.copy()
        _said.clear()
    except (signing.KeyUnusable, OSError) as error:
        if str(error) not in _said:
            _said.add(str(error))
            logger.error("the audit's checkpoints fall behind: %s", error)
