"""The data folder and its lock: one supervisor at a time, and nothing of an earlier one left running."""

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

import psutil

from .errors import FolderInUse
from .places import made, socket_folder

LEFTOVER_SECONDS = 15  # a fast PostgreSQL shutdown after its parent's death takes one or two


class DataFolder:
    """Holds `<data>/lock` from `take()` to `release()`.

    Servers inherit the descriptor, so the lock lives as long as any of them does. The file says who they are, one
    line `name pid started` each: after a kill -9 the next supervisor knows which processes to end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock_fd = -1
        self._rows: dict[str, int] = {}

    def take(self) -> None:
        made(self.path)
        fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._lock(fd)
        except BaseException:
            os.close(fd)
            raise
        self.lock_fd = fd
        self.record("supervisor", os.getpid())
        self._make_socket_folder()

    def record(self, name: str, pid: int) -> None:
        self._rows[name] = pid
        lines = "".join(f"{name} {pid} {_started(pid)}\n" for name, pid in self._rows.items())
        os.ftruncate(self.lock_fd, 0)
        os.pwrite(self.lock_fd, lines.encode(), 0)

    def release(self) -> None:
        if self.lock_fd >= 0:
            os.ftruncate(self.lock_fd, 0)
            os.close(self.lock_fd)
            self.lock_fd = -1
            with suppress(OSError):  # a server that was not stopped still has its socket there
                socket_folder(self.path).rmdir()

    def _lock(self, fd: int) -> None:
        deadline = time.monotonic() + LEFTOVER_SECONDS
        while not _locked(fd):
            rows = _running(fd)
            holder = rows.pop("supervisor", None)
            if holder is not None or time.monotonic() > deadline:
                who = f"process {holder.pid}" if holder else "a process that cannot be seen from here"
                raise FolderInUse(f"{self.path} is in use by {who}: stop it, or set BATON_DATA_DIR to another folder.")
            _end(list(rows.values()))
            time.sleep(0.05)
        _end(list(_running(fd).values()))  # workers and web processes hold no lock

    def _make_socket_folder(self) -> None:
        folder = socket_folder(self.path)
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink() or folder.stat().st_uid not in {os.geteuid(), NOBODY}:
            raise FolderInUse(f"{folder} belongs to somebody else; set TMPDIR to a folder of your own.")


NOBODY = 65534


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _running(fd: int) -> dict[str, psutil.Process]:
    """The processes named in the lock file that still run; a pid that was given to another one since does not count."""
    found = {}
    for line in os.pread(fd, 65536, 0).decode(errors="replace").splitlines():
        name, _, rest = line.partition(" ")
        pid, _, started = rest.partition(" ")
        if pid.isdigit() and started and _started(int(pid)) == started:
            found[name] = psutil.Process(int(pid))
    return found


def _started(pid: int) -> str:
    try:
        process = psutil.Process(pid)
        return "" if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.NoSuchProcess:
        return ""


def _end(processes: list[psutil.Process]) -> None:
    """What outlived its supervisor: SIGINT is PostgreSQL's fast shutdown and an ordinary end for the others."""
    for process in processes:
        _signal(process, hard=False)
    _, stubborn = psutil.wait_procs(processes, timeout=LEFTOVER_SECONDS)
    for process in stubborn:
        _signal(process, hard=True)


def _signal(process: psutil.Process, *, hard: bool) -> None:
    try:
        if hard:
            process.kill()
        else:
            process.send_signal(2)
    except psutil.NoSuchProcess:
        pass
