"""One process that belongs to its parent: it dies with it, logs to its own file and is stopped in its own way."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .errors import ChildFailed

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None  # loaded before any fork


@dataclass(kw_only=True)
class Child:
    """What to start and how. The same object is started again after a death.

    ready: asked until it says True; None = ready as soon as it runs.
    stop_signal: what it takes for an orderly end. death_signal: what the kernel sends when the parent is gone (Linux).
    stage: stopping goes from low to high, one stage after the other.
    keep_open: file descriptors the child inherits, such as the lock of the data folder.
    user: uid to run as; None = our own. folder: where it runs.
    is_never_given_up: it is started again however often it dies, since that may be the fault of what it was given.
    """

    name: str
    argv: Sequence[str]
    log: Path
    env: Mapping[str, str] | None = None
    ready: Callable[["Child"], bool] | None = None
    ready_seconds: float = 60
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 25
    death_signal: signal.Signals = signal.SIGKILL
    stage: int = 0
    keep_open: tuple[int, ...] = ()
    user: int | None = None
    folder: Path = Path("/")
    is_never_given_up: bool = False
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def pid(self) -> int:
        if self.process is None:
            raise ChildFailed(f"{self.name} was never started.")
        return self.process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs, and before its first start; asking also reaps it."""
        return self.process.poll() if self.process else None

    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def is_ready(self) -> bool:
        return self.is_alive() and (self.ready is None or self.ready(self))

    def start(self) -> None:
        """Spawn only. Call it from the main thread: the kernel takes the end of the spawning thread for a death."""
        self.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.argv,
                cwd=self.folder,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C reaches the supervisor alone, which then stops in order
                pass_fds=self.keep_open,
                user=self.user,
                group=self.user,
                extra_groups=None if self.user is None else [],
                preexec_fn=_die_with(os.getpid(), self.death_signal),
            )

    def wait_ready(self, *, until: Callable[[], None] = lambda: None) -> None:
        """`until` is called between looks and may raise to give up."""
        deadline = time.monotonic() + self.ready_seconds
        while not self.is_ready():
            until()
            if not self.is_alive():
                raise ChildFailed(f"{self.name} ended with {self.exit_code} while starting. {self.last_words()}")
            if time.monotonic() > deadline:
                raise ChildFailed(f"{self.name} was not ready after {self.ready_seconds:g} s. {self.last_words()}")
            time.sleep(0.02)

    def ask_to_stop(self) -> None:
        self.send(self.stop_signal)

    def wait_stopped(self, seconds: float) -> bool:
        """Whether it went by itself; what is still there after `seconds` is killed."""
        if self.process is None:
            return True
        try:
            self.process.wait(max(seconds, 0))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return False
        return True

    def stop(self) -> bool:
        self.ask_to_stop()
        return self.wait_stopped(self.stop_seconds)

    def kill(self) -> None:
        """End it as a crash would, and reap it."""
        self.send(signal.SIGKILL)
        self.wait_stopped(10)

    def send(self, signum: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(signum)  # does nothing once the process was reaped

    def last_words(self, lines: int = 8) -> str:
        """The end of its log, for an error that a person reads."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        end = "\n".join(f"    {line}" for line in text.splitlines()[-lines:])
        return f"Its log, {self.log}, ends:\n{end}" if end else f"Its log, {self.log}, is empty."


def _die_with(parent: int, signum: signal.Signals) -> Callable[[], None] | None:
    if _libc is None:
        return None
    prctl = _libc.prctl

    def in_child() -> None:
        prctl(PR_SET_PDEATHSIG, int(signum))
        if os.getppid() != parent:  # it died between fork and prctl
            os._exit(1)

    return in_child
