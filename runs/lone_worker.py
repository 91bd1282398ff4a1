"""`python -m runs.lone_worker DISPATCH PARENT`: the process that carries one suspect for a slice, and ends.

It outlives the worker that started it for as long as it takes to hand on: the end of that one says nothing of the
suspect.
"""

import ctypes
import os
import signal
import sys
from typing import Any
from uuid import UUID

import django

PR_SET_PDEATHSIG = 1


def main(dispatch_id: UUID, parent: int) -> None:
    django.setup()
    from runs import carrier, worker

    def hand_on(*received: Any) -> None:
        worker.drain()

    signal.signal(signal.SIGTERM, hand_on)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))
    if os.getppid() != parent:  # it died before we could ask to be told
        return
    carrier.carry(dispatch_id, alone=True)


if __name__ == "__main__":
    main(UUID(sys.argv[1]), int(sys.argv[2]))
