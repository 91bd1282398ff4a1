"""The worker's side of child processes: have one forked, ask it, listen until the deadline, see it dead.

Every entry point may be used by many threads at once; the only thing they share is the fork server.
"""

import atexit
import json
import math
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tools.executors import fork_server, processes
from tools.executors.child import ASK, ENTERED, LENGTH
from tools.executors.fork_server import FORK, NUMBER, READY

START_LIMIT_SECONDS = 60.0
FORK_LIMIT_SECONDS = 10.0
DEATH_LIMIT_SECONDS = 5.0
REPORT_OVERHEAD_BYTES = 4096
# A request in base64, with its headers.
MOST_ASKED_BYTES = 6_000_000
BOOT = (
    "import sys; sys.path[:] = sys.argv[3:]; "
    "from tools.executors.fork_server import main; main(int(sys.argv[1]), int(sys.argv[2]))"
)


class CannotStart(Exception):
    """No child could be made; nothing was called."""


@dataclass(frozen=True)
class Report:
    """All that became known of one child.

    `entered`: the function was certainly begun. `kind` and `body`: its report, None when there was none.
    `declared_bytes`: the size of a report that was not read because it is over the limit.
    `exit_status`: as of subprocess, None when unknown. `seen_dead`: False only if the child outlived SIGKILL.
    """

    entered: bool
    kind: bytes | None
    body: bytes
    declared_bytes: int | None
    timed_out: bool
    exit_status: int | None
    seen_dead: bool


Answering = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def in_child(request: Mapping[str, Any], *, timeout_seconds: float, limit_bytes: int, answer: Answering) -> Report:
    """Run one request in a process of its own; its whole group is dead when this returns. Raises CannotStart.

    `answer` is asked, in this thread and until the deadline, what the child asks for from the network. The time counts
    from the fork on: the first call of a worker does not pay for the start of the fork server.
    """
    asked = json.dumps(request).encode()
    child = _forked()
    deadline = time.monotonic() + timeout_seconds
    try:
        child.ask(asked, deadline)
        timed_out = child.listen(deadline, limit_bytes, answer)
    finally:
        child.kill(limit_bytes)
        child.close()
    said = child.said
    return Report(
        entered=said.entered or not child.seen_dead,
        kind=said.kind if said.is_whole else None,
        body=said.body if said.is_whole else b"",
        declared_bytes=said.declared_bytes if said.is_over(limit_bytes) else None,
        timed_out=timed_out,
        exit_status=child.exit_status,
        seen_dead=child.seen_dead,
    )


def copy_this_process() -> None:
    """Make the fork server out of this process as it is: half the time and memory of a new interpreter.

    For a worker that has read in everything and has no thread and no connection yet; where other threads run, whose
    locks a copy would have in whatever state they are, the first call starts a server as ever. Raises CannotStart.
    """
    global _current
    with _lock:
        if _current is None and threading.active_count() == 1:
            _current = _ForkServer(_Copy)


def server_identity() -> str:
    """Identity of this worker's fork server, started if need be. Raises CannotStart."""
    return _server().identity


@dataclass
class _Said:
    """What the child wrote so far."""

    raw: bytearray = field(default_factory=bytearray)

    @property
    def entered(self) -> bool:
        return self.raw[:1] == ENTERED

    @property
    def declared_bytes(self) -> int | None:
        start = self._start + 1
        header = bytes(self.raw[start : start + LENGTH.size])
        return LENGTH.unpack(header)[0] if len(header) == LENGTH.size else None

    @property
    def kind(self) -> bytes:
        return bytes(self.raw[self._start : self._start + 1])

    @property
    def body(self) -> bytes:
        start = self._start + 1 + LENGTH.size
        return bytes(self.raw[start : start + (self.declared_bytes or 0)])

    def is_over(self, limit_bytes: int) -> bool:
        most = MOST_ASKED_BYTES if self.kind == ASK else limit_bytes + REPORT_OVERHEAD_BYTES
        return self.declared_bytes is not None and self.declared_bytes > most

    def asked(self) -> bytes | None:
        """What the child asks for, once it is whole; taken out, so that a report may follow."""
        if self.kind != ASK or not self.is_whole:
            return None
        body = self.body
        del self.raw[self._start : self._start + 1 + LENGTH.size + len(body)]
        return body

    @property
    def is_whole(self) -> bool:
        declared = self.declared_bytes
        return declared is not None and len(self.raw) >= self._start + 1 + LENGTH.size + declared

    @property
    def _start(self) -> int:
        return 1 if self.entered else 0


class _Child:
    def __init__(self, channel: socket.socket, status_fd: int, pid: int):
        self.channel = channel
        self.status_fd = status_fd
        self.pid = pid
        self.said = _Said()
        self.exit_status: int | None = None
        self.seen_dead = False
        # It waits for the request, so it lives unless someone killed it.
        try:
            self.identity = processes.identity(pid)
        except OSError:
            self.identity = ""

    def ask(self, request: bytes, deadline: float) -> None:
        with suppress(OSError):  # a child that died says so by its silence
            self.channel.settimeout(max(deadline - time.monotonic(), 0.001))
            self.channel.sendall(LENGTH.pack(len(request)) + request)

    def listen(self, deadline: float, limit_bytes: int, answer: Answering) -> bool:
        """Until the report is whole or too large, or the child ended. True when the deadline came first."""
        self.channel.setblocking(False)
        poller = select.poll()
        poller.register(self.channel, select.POLLIN)
        poller.register(self.status_fd, select.POLLIN)
        while not self.said.is_over(limit_bytes):
            if (asked := self.said.asked()) is not None:
                self._reply(asked, deadline, answer)
                continue
            if self.said.is_whole:
                break
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return True
            ready = [fd for fd, _ in poller.poll(math.ceil(remaining * 1000))]
            if self.channel.fileno() in ready and not self._read(limit_bytes):
                return False
            if self.status_fd in ready:
                self._read(limit_bytes)
                return False
        return False

    def _reply(self, asked: bytes, deadline: float, answer: Answering) -> None:
        told = json.dumps(answer(_object(asked))).encode()
        with suppress(OSError):  # a child that died meanwhile says so by its silence
            self.channel.settimeout(max(deadline - time.monotonic(), 0.001))
            self.channel.sendall(LENGTH.pack(len(told)) + told)
        self.channel.setblocking(False)

    def kill(self, limit_bytes: int) -> None:
        """SIGKILL to the child and all it started, and wait to see the child gone; then read its last words."""
        give_up = time.monotonic() + DEATH_LIMIT_SECONDS
        self._look(0)
        if self.exit_status is None:
            self._signal()
        while not self.seen_dead and time.monotonic() < give_up:
            self._look(0.02)
        self._read(limit_bytes)

    def close(self) -> None:
        self.channel.close()
        os.close(self.status_fd)

    def _look(self, seconds: float) -> None:
        """The server's word when it reaped the child; without a server, what this host says of the process."""
        if self._status_is_ready(seconds):
            told = os.read(self.status_fd, NUMBER.size)
            if len(told) == NUMBER.size:
                self.exit_status = NUMBER.unpack(told)[0]
                self.seen_dead = True
                return
            time.sleep(seconds)
        if seconds and self.identity and processes.is_dead(self.identity):
            self.seen_dead = True

    def _status_is_ready(self, seconds: float) -> bool:
        poller = select.poll()
        poller.register(self.status_fd, select.POLLIN)
        return bool(poller.poll(seconds * 1000))

    def _signal(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            # Killed in the moment before it had made a group of its own.
            if self.identity and processes.is_dead(self.identity) is False:
                with suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
        except PermissionError:
            pass  # the function changed its user; it is waited for, and reported when it outlives that

    def _read(self, limit_bytes: int) -> bool:
        """Whatever is there now. False at the end of the stream."""
        most = max(limit_bytes, MOST_ASKED_BYTES) + 2 * REPORT_OVERHEAD_BYTES
        while len(self.said.raw) < most:
            try:
                chunk = self.channel.recv(1 << 18)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not chunk:
                return False
            self.said.raw += chunk
        return True


def _object(text: bytes) -> dict[str, Any]:
    """Whatever else a child may say comes to nothing."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _pair() -> tuple[socket.socket, socket.socket]:
    """Two ends, of which another process waits at one, as it means to: whether an end blocks is kept in the kernel and
    handed on with it, and a default timeout (Celery sets one while a worker stops) makes ends that do not.
    """
    ours, theirs = socket.socketpair()
    theirs.setblocking(True)
    return ours, theirs


def _new_interpreter(theirs: socket.socket) -> subprocess.Popen:
    command = [sys.executable, "-c", BOOT, str(theirs.fileno()), str(os.getpid()), *sys.path]
    return subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True)


class _Copy:
    """A fork of this process: as much of a `subprocess.Popen` as is asked of a fork server, by one thread at a time."""

    def __init__(self, theirs: socket.socket) -> None:
        self.returncode: int | None = None
        worker_pid = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self._live(theirs.fileno(), worker_pid)
            except BaseException:
                traceback.print_exc()
                os._exit(os.EX_SOFTWARE)
            os._exit(os.EX_OK)

    def _live(self, control_fd: int, worker_pid: int) -> None:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.closerange(3, control_fd)
        os.closerange(control_fd + 1, os.sysconf("SC_OPEN_MAX"))
        fork_server.main(control_fd, worker_pid)

    def poll(self) -> int | None:
        return self._reap(os.WNOHANG)

    def wait(self) -> int | None:
        return self._reap(0)

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def _reap(self, options: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode


class _ForkServer:
    def __init__(self, begin: Callable[[socket.socket], "subprocess.Popen | _Copy"] = _new_interpreter) -> None:
        self.sending = threading.Lock()
        self.control, theirs = _pair()
        with theirs:
            self.process = begin(theirs)
        self.identity = processes.identity(self.process.pid)
        self.control.settimeout(START_LIMIT_SECONDS)
        try:
            is_ready = self.control.recv(1) == READY
        except OSError:
            is_ready = False
        if not is_ready:
            self.stop()
            raise CannotStart("The process that tool calls are forked from did not start; its log says why.")

    def is_running(self) -> bool:
        return self.process.poll() is None

    def fork(self) -> _Child | None:
        """None when the server is no more. Raises CannotStart."""
        ours, theirs = _pair()
        status_r, status_w = os.pipe()
        try:
            with theirs, self.sending:
                socket.send_fds(self.control, [FORK], [theirs.fileno(), status_w])
            ours.settimeout(FORK_LIMIT_SECONDS)
            told = ours.recv(NUMBER.size)
        except OSError:
            told = b""
        finally:
            os.close(status_w)
        number = NUMBER.unpack(told)[0] if len(told) == NUMBER.size else 0
        if number > 0:
            return _Child(ours, status_r, number)
        ours.close()
        os.close(status_r)
        if number < 0:
            raise CannotStart(f"No process could be made for the call: {os.strerror(-number)}.")
        return None

    def stop(self) -> None:
        with self.sending:  # nobody may be about to write to a number that then belongs to another file
            self.control.close()
        self.process.kill()
        self.process.wait()


_lock = threading.Lock()
_current: _ForkServer | None = None


def _server() -> _ForkServer:
    global _current
    with _lock:
        if _current is not None and not _current.is_running():
            _current.stop()
            _current = None
        if _current is None:
            _current = _ForkServer()
        return _current


def _forked() -> _Child:
    """Nothing was asked of a child whose server died meanwhile, so another try does no harm."""
    try:
        for _ in range(3):
            server = _server()
            if (child := server.fork()) is not None:
                return child
            _discard(server)
    except OSError as error:
        raise CannotStart(f"No process could be made for the call: {error.strerror}.") from error
    raise CannotStart("The process that tool calls are forked from keeps ending.")


def _discard(server: _ForkServer) -> None:
    global _current
    with _lock:
        if _current is server:
            _current = None
            server.stop()


def _after_fork_in_child() -> None:
    """A forked copy of a worker is another worker: it starts a server of its own."""
    global _current, _lock
    _lock = threading.Lock()
    if _current is not None:
        _current.control.close()
        _current.process.returncode = 0  # not this process's child
        _current = None


@atexit.register
def _stop_at_exit() -> None:
    if _current is not None:
        _current.stop()


os.register_at_fork(after_in_child=_after_fork_in_child)
