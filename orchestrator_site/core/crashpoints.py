"""Named points at which a process can be told, by its environment, to die: how crash safety is shown on real processes.

`BATON_CRASH_AT` names one point; `BATON_CRASH_ONCE` names a file that is made when it fires, and disarms it after.
"""

import os
import signal

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


def reach(point: str) -> None:
    """Kill this process with SIGKILL when it is armed for this point."""
    if os.environ.get("BATON_CRASH_AT") != point:
        return
    once = os.environ["BATON_CRASH_ONCE"]
    try:
        os.close(os.open(once, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
