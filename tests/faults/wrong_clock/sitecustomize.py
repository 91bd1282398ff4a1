"""Loaded by the interpreter itself where this folder is on PYTHONPATH: all that Python knows of the wall clock is
`BATON_TEST_CLOCK_OFF_SECONDS` away from the truth. What measures spans of time goes on as it did.
"""

import datetime
import os
import time
from typing import Any

OFF_SECONDS = int(os.environ["BATON_TEST_CLOCK_OFF_SECONDS"])
_right_time, _right_time_ns = time.time, time.time_ns
_right = datetime.datetime


class Off(_right):
    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return _right.now(tz) + datetime.timedelta(seconds=OFF_SECONDS)

    @classmethod
    def utcnow(cls) -> Any:
        return _right.utcnow() + datetime.timedelta(seconds=OFF_SECONDS)


time.time = lambda: _right_time() + OFF_SECONDS
time.time_ns = lambda: _right_time_ns() + OFF_SECONDS * 1_000_000_000
datetime.datetime = Off  # type: ignore[misc]
