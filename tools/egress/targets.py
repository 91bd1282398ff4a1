"""One place to connect to, out of a URL, however it is written. Pure."""

import re
from dataclasses import dataclass, replace
from urllib.parse import quote, urljoin

from tools.egress import hosts

# What stands ahead of the path is read by hand: readers of URLs differ in what they make of user names and backslashes.
SHAPE = re.compile(r"(https?)://([^/?#\\]*)([^#]*)(?:#.*)?", re.IGNORECASE)
AUTHORITY = re.compile(r"(\[[^\]]*\]|[^:@\[\]]+)(?::([0-9]{1,5}))?")
PORTS = {"http": 80, "https": 443}
SAFE = "/?:@!$&'()*+,;=-._~%[]"


class BadUrl(ValueError):
    """The message is a sentence about the URL."""


@dataclass(frozen=True)
class Origin:
    """`host` is canonical."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{shown}" + ("" if self.port == PORTS[self.scheme] else f":{self.port}")

    def leads_on_to(self, other: "Origin") -> bool:
        """The same origin, or its upgrade from http to https on the default ports."""
        return other in (self, self.upgraded)

    @property
    def upgraded(self) -> "Origin":
        is_plain = (self.scheme, self.port) == ("http", 80)
        return replace(self, scheme="https", port=443) if is_plain else self


@dataclass(frozen=True)
class Target:
    origin: Origin
    path: str  # with the query, as it stands in the request line

    @property
    def url(self) -> str:
        return f"{self.origin}{self.path}"

    @property
    def authority(self) -> str:
        """The Host header."""
        return str(self.origin).partition("://")[2]


def origin(scheme: str, host: str, port: int) -> Origin:
    """`host` as a person wrote it, IPv6 without brackets. Raises BadUrl."""
    try:
        return Origin(scheme, hosts.lenient(f"[{host}]" if ":" in host else host), port)
    except hosts.BadHost as error:
        raise BadUrl(f"The host {host!r} {error}.") from None


def parsed(url: str) -> Target:
    """Raises BadUrl."""
    shape = SHAPE.fullmatch(url) if url.isprintable() else None
    if not shape:
        raise BadUrl("A URL begins with http:// or https:// and holds no control characters.")
    authority = AUTHORITY.fullmatch(shape[2])
    if not authority:
        raise BadUrl("A URL names host and port plainly, without user name or password.")
    scheme = shape[1].lower()
    port = int(authority[2] or PORTS[scheme])
    if not 0 < port < 65536:
        raise BadUrl(f"{port} is not a port.")
    path = shape[3] if shape[3].startswith("/") else f"/{shape[3]}"
    return Target(origin(scheme, authority[1].strip("[]"), port), quote(path, safe=SAFE))


def pointed_to(here: Target, location: str) -> Target:
    """Where a redirect leads. Raises BadUrl."""
    try:
        return parsed(urljoin(here.url, location.strip(" \t")))
    except BadUrl:
        raise
    except ValueError:
        raise BadUrl("The redirect's address cannot be read.") from None
