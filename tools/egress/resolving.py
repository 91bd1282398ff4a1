"""A host's addresses, asked for once; what is checked is what is connected to."""

import ipaddress
import queue
import socket
import threading
import time

from tools.egress import hosts
from tools.egress.hosts import Address


def resolved(host: str, deadline: float) -> tuple[Address, ...]:
    """All addresses of a canonical host, in the resolver's order; an address has itself alone.

    `deadline` in monotonic seconds. Raises OSError, TimeoutError among them. The system's resolver knows no deadline,
    so it is asked in a thread that may be left behind.
    """
    if (literal := hosts.address(host)) is not None:
        return (literal,)
    answers: queue.SimpleQueue[tuple[Address, ...] | OSError] = queue.SimpleQueue()
    threading.Thread(target=_ask, args=(host, answers), name="resolve", daemon=True).start()
    try:
        answer = answers.get(timeout=left(deadline))
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(answer, OSError):
        raise answer
    if not answer:
        raise OSError("the name has no address")
    return answer


def left(deadline: float) -> float:
    """Seconds until then. Raises TimeoutError."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def _ask(host: str, answers: "queue.SimpleQueue[tuple[Address, ...] | OSError]") -> None:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        written = [str(where[0]).partition("%")[0] for *_, where in found]
        answers.put(tuple(dict.fromkeys(map(ipaddress.ip_address, written))))
    except OSError as error:
        answers.put(error)
    except ValueError:  # UnicodeError among them
        answers.put(OSError("the host's name is not valid"))
