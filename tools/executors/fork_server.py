"""The process that children are forked from: one a worker, single-threaded, with Django loaded and no connection open.

A fork of the worker at work would copy its threads' locks in whatever state they are; a new interpreter for every call
would take a second. So the worker is copied once, before it has threads; should that copy die, a new interpreter takes
its place. multiprocessing's own fork server does not do: its children hold the pipe that tells it of the worker's
death, run the worker's main module again, and polls of its process list race between threads.

The worker asks by one byte with two descriptors: the child's end of the channel, and the end of a pipe on which the
exit status is told once the child is reaped. When the worker is gone, so is its end of the socket: every child's group
is killed and the server ends. When the server itself is killed, the kernel kills the children (PR_SET_PDEATHSIG).
"""

import gc
import os
import selectors
import signal
import socket
import struct
from contextlib import suppress

import django
from django.db import connections

from tools.executors import child

READY = b"R"
FORK = b"F"
NUMBER = struct.Struct("!i")  # the child's pid, or the negative errno of a fork that failed; later the exit status
LOOK_AROUND_SECONDS = 1.0


def main(control_fd: int, worker_pid: int) -> None:
    with suppress(OSError):
        os.dup2(2, 1)  # what tools print belongs into the log
    control = socket.socket(fileno=control_fd)
    control.set_inheritable(False)
    if os.environ.get("DJANGO_SETTINGS_MODULE"):
        django.setup()
        connections.close_all()
    gc.collect()
    gc.freeze()  # keeps the collector of a child from copying every page
    _Server(control, worker_pid).serve()


class _Server:
    def __init__(self, control: socket.socket, worker_pid: int):
        self.control = control
        self.worker_pid = worker_pid
        self.status_fds: dict[int, int] = {}
        self.bell, self.clapper = socket.socketpair()

    def serve(self) -> None:
        for end in (self.bell, self.clapper):
            end.setblocking(False)
        signal.set_wakeup_fd(self.clapper.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        selector = selectors.DefaultSelector()
        selector.register(self.control, selectors.EVENT_READ)
        selector.register(self.bell, selectors.EVENT_READ)
        self.control.sendall(READY)
        while os.getppid() == self.worker_pid:
            ready = {key.fileobj for key, _ in selector.select(LOOK_AROUND_SECONDS)}
            self.reap()
            if self.control in ready and not self.fork_one(selector):
                break
        for pid in self.status_fds:
            _kill_group(pid)

    def fork_one(self, selector: selectors.BaseSelector) -> bool:
        """False when the worker is gone."""
        try:
            asked, fds, _, _ = socket.recv_fds(self.control, 1, 2)
        except ConnectionError:
            return False
        if asked != FORK or len(fds) != 2:
            return False
        for fd in fds:
            os.set_inheritable(fd, False)
        channel = socket.socket(fileno=fds[0])
        server_pid = os.getpid()
        try:
            number = os.fork()
        except OSError as error:
            number = -(error.errno or 1)
        if number == 0:
            self.forget_everything(selector, fds[1])
            child.live(channel, server_pid)
        if number > 0:
            self.status_fds[number] = fds[1]
        else:
            os.close(fds[1])
        with suppress(OSError), channel:
            channel.sendall(NUMBER.pack(number))
        return True

    def forget_everything(self, selector: selectors.BaseSelector, status_fd: int) -> None:
        """In the child: an end of someone else's pipe kept open here would hide that the other side is gone."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        selector.close()
        for end in (self.control, self.bell, self.clapper):
            end.close()
        for fd in (status_fd, *self.status_fds.values()):
            os.close(fd)

    def reap(self) -> None:
        with suppress(BlockingIOError):
            self.bell.recv(4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            # What the child left running. Numbers are given out in a circle: nobody else has this one yet.
            _kill_group(pid)
            status_fd = self.status_fds.pop(pid, None)
            if status_fd is not None:
                with suppress(OSError):
                    os.write(status_fd, NUMBER.pack(os.waitstatus_to_exitcode(status)))
                os.close(status_fd)


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
