"""A process without a network: a network namespace of its own, in which there is not even a way to itself.

Linux only, and only where the kernel lets a process make one: as root, or through a user namespace. What is reached by
a path, such as the socket of a database on the same machine, is not network and stays within reach.
"""

import ctypes
import os
import subprocess
import sys
from contextlib import suppress
from functools import cache

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
PROBE_SECONDS = 10

# Loaded before any fork, so that a child has only the call to make.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def leave_network() -> None:
    """From here on this process, and whatever it starts, has no network. It must have one thread. Raises OSError."""
    uid, gid = os.geteuid(), os.getegid()
    try:
        _unshare(CLONE_NEWNET)
    except PermissionError:
        _unshare(CLONE_NEWUSER | CLONE_NEWNET)
        _keep_identity(uid, gid)


def _unshare(flags: int) -> None:
    if _libc is None:
        raise OSError("only Linux has network namespaces")
    if _libc.unshare(flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _keep_identity(uid: int, gid: int) -> None:
    """Otherwise it would be nobody to itself; what it may do to files is the same either way."""
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with suppress(OSError), open(f"/proc/self/{name}", "w") as file:
            file.write(text)


@cache
def is_possible() -> bool:
    """Whether a child of this process can leave the network. Tried once, in a process of its own."""
    try:
        tried = subprocess.run(
            [sys.executable, "-S", "-E", __file__],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROBE_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return tried.returncode == 0


if __name__ == "__main__":
    leave_network()
