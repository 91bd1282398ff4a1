"""The life of one child process: read one request, call one function, report once, end.

On the channel, from the worker: eight bytes of length and a JSON request. From the child: `E` right before the function
is entered, then one report: its kind (one byte), eight bytes of length, and the body. Ahead of the report it may ask
for something from the network: `H`, eight bytes of length and a JSON request, answered by eight bytes of length and
JSON. Nothing is ever unpickled.
"""

import ctypes
import importlib
import inspect
import json
import logging
import os
import signal
import socket
import struct
import sys
import threading
from collections.abc import Mapping
from functools import partial
from typing import Any, NoReturn
from uuid import UUID

from django.conf import settings
from django.db import connections

from tools import callables
from tools.executors import isolation
from tools.executors.invocation import DoesNotFit, invoke, keywords
from tools.executors.provided import Http
from tools.values import CallContext, ErrorKind

logger = logging.getLogger(__name__)

ENTERED = b"E"
RESULT = b"R"  # body: the content of the result
NOTHING = b"N"  # the function returned None; body: empty
FAILURE = b"F"  # body: JSON {"kind", "content"}
ASK = b"H"
LENGTH = struct.Struct("!Q")
PR_SET_PDEATHSIG = 1

# What a tool's `network` may say: everything; the provided client alone; nothing.
OPEN, PROVIDED, NONE = NETWORKS = ("open", "provided", "none")
NO_NAMESPACE = (
    "The tool is to run without a network, and this machine does not let a process leave it ({why}). "
    'Let workers make network namespaces, or set the tool\'s network to "open".'
)

# Loaded before any fork, so that a child has only the call to make.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def live(channel: socket.socket, server_pid: int) -> NoReturn:
    """Never returns, and leaves without the fork server's exit handlers."""
    status = os.EX_SOFTWARE
    try:
        die_with(server_pid)
        os.setsid()
        _answer(channel, server_pid)
        status = os.EX_OK
    except EOFError as error:
        logger.info("%s", error)
    except Exception:
        logger.exception("The child of a tool call failed by itself.")
    finally:
        os._exit(status)


def die_with(parent_pid: int) -> None:
    """From here on this process is killed when its parent ends, however it ends."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(os.EX_SOFTWARE)


def _answer(channel: socket.socket, server_pid: int) -> None:
    request = json.loads(_read(channel, LENGTH.unpack(_read(channel, LENGTH.size))[0]))
    _use_own_connections(request["databases"])
    try:
        if request["network"] != OPEN:
            isolation.leave_network()
            die_with(server_pid)  # a change of credentials may have made the kernel forget it
        function, given = _prepared(request, _client(channel))
    except OSError as error:
        _report_failure(channel, ErrorKind.EGRESS_REFUSED, NO_NAMESPACE.format(why=error.strerror or error))
    except callables.UnknownCallable as error:
        _report_failure(channel, ErrorKind.UNKNOWN_TOOL, str(error))
    except DoesNotFit as error:
        _report_failure(channel, ErrorKind.INVALID_ARGUMENTS, str(error))
    else:
        channel.sendall(ENTERED)
        result, returned_none = invoke(function, given, request["limit_bytes"])
        _leave_quietly()
        if result.error is not None:
            _report_failure(channel, result.error, result.content)
        elif returned_none:
            _report(channel, NOTHING, b"")
        else:
            _report(channel, RESULT, result.content.encode())


def _client(channel: socket.socket) -> Http:
    """Asks the worker, which opens the connection. One thread at a time: the channel is one."""
    turn = threading.Lock()

    def ask(asked: dict[str, Any]) -> dict[str, Any]:
        with turn:
            _report(channel, ASK, json.dumps(asked).encode())
            return json.loads(_read(channel, LENGTH.unpack(_read(channel, LENGTH.size))[0]))

    return Http(ask)


def _prepared(request: Mapping[str, Any], http: Http) -> tuple[Any, dict[str, Any]]:
    """The function and what to call it with. Raises UnknownCallable or DoesNotFit."""
    registered = _loaded(request["callable"], request["module"])
    if request["lookup_key"] is None:
        call = CallContext(request["call"]["idempotency_key"], *(UUID(id_) for id_ in request["call"]["ids"]))
        return registered.function, keywords(registered, request["arguments"], call, http)
    if registered.lookup is None:
        raise callables.UnknownCallable(f"{registered.name} has no lookup.")
    given = {"http": http} if "http" in inspect.signature(registered.lookup).parameters else {}
    return partial(registered.lookup, request["lookup_key"]), given


def _loaded(name: str, module: str) -> callables.RegisteredCallable:
    """`module` is where the worker's own registry found the function: code named it, no row of data."""
    try:
        return callables.get(name)
    except callables.UnknownCallable:
        pass
    try:
        importlib.import_module(module)
    except Exception as error:  # a module may raise anything while it is imported, and nothing was called yet
        logger.info("A tool's module could not be imported.", exc_info=True)
        raise callables.UnknownCallable(
            f"{name} could not be loaded from {module}: {type(error).__name__}: {error}."
        ) from None
    return callables.get(name)


def _use_own_connections(names: Mapping[str, str]) -> None:
    """The worker's databases, by connections of this child's own and without a pool's threads."""
    for alias, name in names.items():
        settings.DATABASES[alias]["NAME"] = name
        settings.DATABASES[alias]["CONN_MAX_AGE"] = 0
        settings.DATABASES[alias].get("OPTIONS", {}).pop("pool", None)


def _leave_quietly() -> None:
    """What a normal exit would do; nothing of it may cost the report."""
    try:
        sys.stdout.flush()
        if settings.configured:
            connections.close_all()
    except Exception:
        logger.warning("The child of a tool call could not clean up after itself.", exc_info=True)


def _report_failure(channel: socket.socket, kind: ErrorKind, content: str) -> None:
    _report(channel, FAILURE, json.dumps({"kind": kind, "content": content}).encode())


def _report(channel: socket.socket, kind: bytes, body: bytes) -> None:
    channel.sendall(kind + LENGTH.pack(len(body)) + body)


def _read(channel: socket.socket, length: int) -> bytes:
    read = bytearray()
    while len(read) < length:
        chunk = channel.recv(min(length - len(read), 1 << 20))
        if not chunk:
            raise EOFError("The worker closed the channel before it had asked.")
        read += chunk
    return bytes(read)
