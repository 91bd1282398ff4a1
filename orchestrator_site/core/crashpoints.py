"""Named points at which a process can be told, by its environment, to die or to stand still: how crash safety is shown
on real processes.

`BATON_CRASH_AT` names one point; `BATON_CRASH_ONCE` names a file that is made when it fires, and disarms it after.
`BATON_HOLD_IN` names a folder: whoever reaches a point waits there for as long as the folder has a file of that name,
and adds one byte to the file, so that whoever put it there can count who has come.
"""

import os
import signal
import time
from pathlib import Path

POINTS = (
    "before_claim_commit",
    "after_claim",
    "after_reserve",
    "after_reply",
    "before_reply_commit",
    "after_reply_commit",
    "before_intent_commit",
    "after_intent",
    "after_send",
    "before_record_commit",
    "after_record_commit",
    "before_doorbell",
)
_LOOK_EVERY_SECONDS = 0.02


def reach(point: str) -> None:
    """Kill this process with SIGKILL, or keep this thread, when it is armed for this point."""
    if os.environ.get("BATON_CRASH_AT") == point:
        _die_once()
    if folder := os.environ.get("BATON_HOLD_IN"):
        _stand_still(Path(folder, point))


def _die_once() -> None:
    once = os.environ["BATON_CRASH_ONCE"]
    try:
        os.close(os.open(once, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def _stand_still(sign: Path) -> None:
    try:
        held = os.open(sign, os.O_WRONLY | os.O_APPEND)
    except FileNotFoundError:
        return
    os.write(held, b".")
    os.close(held)
    while sign.exists():
        time.sleep(_LOOK_EVERY_SECONDS)
