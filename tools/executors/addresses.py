"""URL templates like "http://127.0.0.1:9000/refunds/{order_number}". Pure. No argument can choose scheme, host or port,
nor leave its own place in the path: every value is percent-encoded whole, and what could still climb is refused."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote

from orchestrator_site.core import canonical

TEMPLATE = re.compile(r"(https?)://([^/?#]*)(/[^?#]*)?(\?[^#]*)?")
AUTHORITY = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")
PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
LITERAL = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*")
PORTS = {"http": 80, "https": 443}
DOTS = frozenset({".", ".."})
MOST_DECODINGS = 4


class BadTemplate(ValueError):
    """The message is a sentence about the template."""


class BadValue(ValueError):
    """The message is a sentence naming the argument."""


@dataclass(frozen=True)
class Template:
    scheme: str
    host: str
    port: int
    authority: str
    path: str
    query: str

    @property
    def names(self) -> list[str]:
        return PLACEHOLDER.findall(self.path + self.query)


@dataclass(frozen=True)
class Address:
    template: Template
    target: str  # path and query, as they stand in the request line

    @property
    def url(self) -> str:
        return f"{self.template.scheme}://{self.template.authority}{self.target}"


@lru_cache(maxsize=512)
def parsed(text: str) -> Template:
    """Raises BadTemplate."""
    if not (match := TEMPLATE.fullmatch(text)):
        raise BadTemplate("must begin with http:// or https://, followed by host and path, without a fragment.")
    scheme, authority, path, query = match.groups(default="")
    if not (parts := AUTHORITY.fullmatch(authority)):
        raise BadTemplate("host and port must be written out, without user name, placeholder or special characters.")
    port = int(parts[2] or PORTS[scheme])
    if not 0 < port < 65536:
        raise BadTemplate(f"{port} is not a port.")
    if not LITERAL.fullmatch(PLACEHOLDER.sub("", path + query)):
        raise BadTemplate("path and query may hold placeholders like {name} and the characters that URLs allow.")
    if any(unquote(segment) in DOTS for segment in path.split("/")):
        raise BadTemplate("the path must not hold . or .. as a segment.")
    return Template(scheme, parts[1].strip("[]"), port, authority, path or "/", query)


def expanded(template: Template, values: Mapping[str, Any], query: Sequence[str] = ()) -> Address:
    """`query` names values that are added as name=value; one that is absent or null is left out. Raises BadValue."""
    path = PLACEHOLDER.sub(lambda match: _in_path(match[1], values), template.path)
    if any(unquote(segment) in DOTS for segment in path.split("/")):
        raise BadValue("The path of the request would climb out of its place.")
    written = PLACEHOLDER.sub(lambda match: _encoded(match[1], _text(match[1], values)), template.query)
    added = [pair for name in query if values.get(name) is not None for pair in _pairs(name, values[name])]
    for pair in added:
        written += f"{'&' if written else '?'}{pair}"
    return Address(template, path + written)


def _pairs(name: str, value: Any) -> list[str]:
    """A list becomes one pair an item."""
    items = value if isinstance(value, list) else [value]
    return [f"{quote(name, safe='')}={_encoded(name, _text(name, {name: item}))}" for item in items]


def _in_path(name: str, values: Mapping[str, Any]) -> str:
    text = _text(name, values)
    if not text:
        raise BadValue(f"{name} is empty, and it is a part of the path.")
    # As servers and proxies may read it, decoded more than once.
    seen = text
    for _ in range(MOST_DECODINGS):
        if any(piece.split(";")[0].strip() in DOTS for piece in re.split(r"[/\\]", seen)) or _has_control(seen):
            raise BadValue(f"{name} must not hold . or .. as a part of the path, nor control characters.")
        seen = unquote(seen)
    return _encoded(name, text)


def _text(name: str, values: Mapping[str, Any]) -> str:
    match values.get(name):
        case None:
            raise BadValue(f"{name} is missing, and the address needs it.")
        case bool() as value:
            return str(value).lower()
        case str() as text:
            pass
        case int() | float() as number:
            text = _number(name, number)
        case _:
            raise BadValue(f"{name} must be text or a number to stand in the address.")
    if _has_control(text):
        raise BadValue(f"{name} must not hold control characters.")
    return text


def _number(name: str, number: float) -> str:
    """As canonical JSON writes it, which is what was approved."""
    try:
        return canonical.dumps(number)
    except canonical.NotCanonical:
        raise BadValue(f"{name} must be a number that JSON can hold exactly.") from None


def _encoded(name: str, text: str) -> str:
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        raise BadValue(f"{name} holds half a character (a lone surrogate).") from None


def _has_control(text: str) -> bool:
    return any(unicodedata.category(character) == "Cc" for character in text)
