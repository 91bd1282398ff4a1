"""A dispatch that has ended worker after worker is carried in a process of its own: its next death is its own alone.

Why: docs/decisions/suspects-alone.md.
"""

import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from uuid import UUID

from django.db import Error as DatabaseError
from django.db import connection

from runs import leases

logger = logging.getLogger(__name__)

# Each costs the memory of a worker. Who finds no place is rung for again by a reconciler.
AT_ONCE = 2
LOOK_EVERY_SECONDS = 0.1
FREE_TRIES, FREE_PAUSE_SECONDS = 10, 1.0
_HOME = Path(__file__).resolve().parents[1]

_places = threading.BoundedSemaphore(AT_ONCE)
_under_way: set[UUID] = set()


def carry(dispatch_id: UUID, stop: threading.Event) -> bool:
    """Carry it for a slice in a new process, and wait for that; once `stop` is set, ask it to hand on.

    False when as many as may are under way, or this one is.
    """
    if dispatch_id in _under_way or not _places.acquire(blocking=False):
        return False
    _under_way.add(dispatch_id)
    try:
        connection.close()
        logger.warning("dispatch %s ended its workers before: it is carried in a process of its own", dispatch_id)
        _await_end(_start(dispatch_id), stop)
    finally:
        _under_way.discard(dispatch_id)
        _places.release()
    return True


def _start(dispatch_id: UUID) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "runs.lone_worker", str(dispatch_id), str(os.getpid())]
    return subprocess.Popen(argv, cwd=_HOME, stdin=subprocess.DEVNULL, start_new_session=True)


def _await_end(process: subprocess.Popen[bytes], stop: threading.Event) -> None:
    was_asked = False
    while process.poll() is None:
        if stop.is_set() and not was_asked:
            process.terminate()
            was_asked = True
        time.sleep(LOOK_EVERY_SECONDS)
    if process.returncode:
        logger.warning("it ended its own process, %s, with %s", process.pid, process.returncode)
    _free(process.pid)


def _free(pid: int) -> None:
    """What it still held is free at once; where the database cannot be told, the lease runs out."""
    for _ in range(FREE_TRIES):
        try:
            leases.process_exited("lone worker", pid)
            return
        except DatabaseError as error:
            logger.warning("nobody could be told that the lone worker %s is gone: %s", pid, error)
            connection.close()
            time.sleep(FREE_PAUSE_SECONDS)
