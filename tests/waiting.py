"""Waiting for what others bring about. How long it takes shows nothing: no limit here is a claim about speed."""

import time
from collections.abc import Callable
from typing import Any

# Many times what anything takes on a machine that does nothing else; on a busy one it must still not be the end.
PATIENCE_SECONDS = 300
# A deadline that is meant to pass: long enough that what it cuts has certainly begun.
CUT_SECONDS = 3


def eventually(
    question: Callable[[], Any], *, within_seconds: float = PATIENCE_SECONDS, told: Callable[[], Any] = lambda: ""
) -> Any:
    """The first true answer; fails when there is none in time, and then says what is `told`."""
    ends_at = time.monotonic() + within_seconds
    while not (answer := question()):
        assert time.monotonic() < ends_at, f"did not come true within {within_seconds:g} s {told()}"
        time.sleep(0.02)
    return answer
