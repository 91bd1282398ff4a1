"""What is left to be done once a transaction is committed."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from django.db import transaction

logger = logging.getLogger(__name__)


def after_commit(act: Callable[..., object], *args: Any, **more: Any) -> None:
    """Call it once the caller's transaction is committed, at once where there is none.

    What was committed stands, so whatever goes wrong in `act` is logged and costs nobody an answer.
    """
    transaction.on_commit(partial(_act, act, args, more))


def _act(act: Callable[..., object], args: tuple[Any, ...], more: dict[str, Any]) -> None:
    # Not `robust=True`: Django names the hook that failed by its `__qualname__`, which a partial has not.
    try:
        act(*args, **more)
    except Exception:
        logger.exception("committed, and then %s failed", getattr(act, "__qualname__", act))
