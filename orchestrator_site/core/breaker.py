"""What does not answer is left alone for a while: a server that hangs costs one caller his patience, not all."""

import threading
import time


class Breaker:
    """`may_ask`, and then say how it went: `worked` or `failed`. Any number of threads."""

    def __init__(self, pause_seconds: float) -> None:
        self.pause_seconds = pause_seconds
        self._again_at = 0.0  # 0: it is well
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """It failed when it was last asked."""
        return bool(self._again_at)

    def may_ask(self) -> bool:
        """After a failure False until the pause is over; then True for one, and for the others after his answer."""
        with self._lock:
            if not self._again_at:
                return True
            if time.monotonic() < self._again_at:
                return False
            self._again_at = time.monotonic() + self.pause_seconds
            return True

    def worked(self) -> None:
        self._again_at = 0.0

    def failed(self) -> None:
        self._again_at = time.monotonic() + self.pause_seconds
