"""Names of processes that stay true after their death, so that "the old attempt is dead" can be seen, not guessed."""

import os
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil

PROC = Path("/proc")


def identity(pid: int) -> str:
    """ "bootid/pidns-inode/pid/starttime"; raises ProcessLookupError when there is no such process.

    The start time tells two processes with one number apart, the boot id and the namespace two hosts or containers.
    """
    return f"{_here()}/{pid}/{_start(pid)}"


def is_dead(name: str) -> bool | None:
    """True: seen to be gone, on this very host. False: alive. None: cannot be told from here."""
    here, pid, started = ["", "", *name.rsplit("/", 2)][-3:]
    if here != _here() or not pid.isdecimal():
        return None
    try:
        # Asked by signal first: /proc may be mounted so that it hides the processes of other users.
        with suppress(PermissionError):
            os.kill(int(pid), 0)
        return _start(int(pid)) != started or _is_zombie(int(pid))
    except ProcessLookupError:
        return True
    except FileNotFoundError:
        return True
    except (OSError, psutil.AccessDenied):
        return None


@cache
def _here() -> str:
    if sys.platform != "linux":
        return f"{int(psutil.boot_time())}/{sys.platform}"
    boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"


def _start(pid: int) -> str:
    if sys.platform != "linux":
        return str(_process(pid).create_time())
    return _stat(pid)[19]


def _is_zombie(pid: int) -> bool:
    if sys.platform != "linux":
        return _process(pid).status() == psutil.STATUS_ZOMBIE
    # A main thread that ended alone looks like a zombie, while the others work on.
    return _stat(pid)[0] in "ZX" and len(os.listdir(PROC / str(pid) / "task")) <= 1


def _stat(pid: int) -> list[str]:
    """Fields of /proc/<pid>/stat from the state on: the name before them may hold spaces and brackets."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except FileNotFoundError:
        # Hidden, or gone meanwhile: the signal tells which.
        os.kill(pid, 0)
        raise PermissionError(f"/proc hides process {pid}.") from None
    return text.rpartition(")")[2].split()


def _process(pid: int) -> psutil.Process:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        raise ProcessLookupError(f"No process {pid}.") from None
