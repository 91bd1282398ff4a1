"""Where the platform itself is reached, so that no tool is: its web address, its database and its Redis."""

import socket
import threading
import time
from collections.abc import Iterator
from functools import cache
from urllib.parse import urlsplit

import psutil
from django.conf import settings

from tools.egress import hosts, resolving
from tools.egress.hosts import Address
from tools.egress.rules import Own
from tools.egress.targets import PORTS

# A name of ours may move; one that cannot be resolved is still refused by its name.
KEPT_SECONDS = 60.0
RESOLVE_SECONDS = 2.0

_lock = threading.Lock()
_known: tuple[float, tuple[object, ...], Own] | None = None


def current() -> Own:
    """Asks the resolver at most once a minute, and again when a setting it is made of differs."""
    global _known
    made_of = _settings()
    with _lock:
        if _known is None or _known[1] != made_of or time.monotonic() - _known[0] > KEPT_SECONDS:
            _known = (time.monotonic(), made_of, _read())
        return _known[2]


def _settings() -> tuple[object, ...]:
    database = settings.DATABASES["default"]
    return (
        *(settings.BATON_PUBLIC_URL, tuple(settings.BATON_OWN_ORIGINS), tuple(settings.ALLOWED_HOSTS)),
        *(settings.REDIS_URL, database.get("HOST"), database.get("PORT")),
    )


def _read() -> Own:
    ours = set(_web()) | set(_services())
    addresses = {(address, port) for host, port in ours for address in _addresses(host)}
    return Own(
        names=frozenset(ours),
        addresses=frozenset(addresses),
        ports_here=frozenset(port for _, port in ours),
        addresses_here=_of_this_machine(),
    )


def _web() -> Iterator[tuple[str, int]]:
    public = urlsplit(settings.BATON_PUBLIC_URL)
    ports = {public.port or PORTS.get(public.scheme, 443)}
    bound = [urlsplit(origin) for origin in settings.BATON_OWN_ORIGINS]
    ports |= {each.port or PORTS.get(each.scheme, 443) for each in bound}
    if ports & set(PORTS.values()):
        ports |= set(PORTS.values())
    exact = [name for name in settings.ALLOWED_HOSTS if name != "*" and not name.startswith(".")]
    for name in [public.hostname, *(each.hostname for each in bound), *exact]:
        for port in ports:
            yield from _named(name, port)


def _services() -> Iterator[tuple[str, int]]:
    """The database and Redis where they are reached by TCP."""
    database, redis = settings.DATABASES["default"], urlsplit(settings.REDIS_URL)
    for host in str(database.get("HOST") or "").split(","):
        if not host.startswith("/"):
            yield from _named(host, int(str(database.get("PORT") or 5432).split(",")[0]))
    if redis.scheme != "unix":
        yield from _named(redis.hostname, redis.port or 6379)


def _named(name: str | None, port: int) -> Iterator[tuple[str, int]]:
    bare = (name or "").removeprefix("[").removesuffix("]")
    try:
        yield (hosts.lenient(f"[{bare}]" if ":" in bare else bare), port)
    except hosts.BadHost:
        return


@cache
def _of_this_machine() -> frozenset[Address]:
    """By interface; read once, as a worker's machine keeps its addresses."""
    written = [each for many in psutil.net_if_addrs().values() for each in many]
    found = [each.address.partition("%")[0] for each in written if each.family in (socket.AF_INET, socket.AF_INET6)]
    return frozenset(address for text in found if (address := hosts.address(text)) is not None)


def _addresses(host: str) -> tuple[Address, ...]:
    try:
        return resolving.resolved(host, time.monotonic() + RESOLVE_SECONDS)
    except OSError:
        return ()
