"""Typed matchers of arguments: what a value is, never what text it contains. Pure.

    equal     the same JSON value as one of the values; a value that is not JSON stands for itself as text
    at_most   a number no larger than the one value
    between   a number between the two values, both included
    domain    a host, or the host of one e-mail address or URL: "example.com", or ".example.com" for all names below it
    email     one e-mail address; the domain in any case, what stands ahead of it as it is
    account   an IBAN or account number, written with or without blanks and dashes
    path      a file or folder at or below one of the values
    url       scheme, host and port of one of the values, and its path or one below it

A list matches when it has items and every one matches. What cannot be read with certainty does not match: a spelling
that two readers could take for two destinations is none.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from orchestrator_site.core import canonical
from tools.egress import hosts

DESTINATIONS = ("domain", "email", "account", "path", "url")
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,29})(?:\.[0-9]{1,18})?")
# Without % and !, by which some mail servers are told to send on to somebody else.
EMAIL = re.compile(r"([A-Za-z0-9#$&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9#$&'*+/=?^_`{|}~-]+)*)@([^@\s,;:<>()\"\\]+)")
URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(\[[^\]/?#@]*\]|[^/?#@:\[\]\\]*)(?::([0-9]{1,5}))?([/?#].*)?")
PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443, "ftp": 21, "ssh": 22, "sftp": 22}
ACCOUNT = re.compile(r"[A-Z0-9]{4,34}")
IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
DRIVE = re.compile(r"[A-Za-z]:")
ENCODED = re.compile(r"%[0-9A-Fa-f]{2}")
# Decoded, these would end a segment, climb, or be decoded a second time.
ENCODED_MEANING = re.compile(r"%(?:2[eEfF5]|5[cC]|[01][0-9A-Fa-f]|7[fF])|%(?![0-9A-Fa-f]{2})")
MOST_CHARACTERS = 4096


@dataclass(frozen=True)
class Matcher:
    """`values` as a person wrote them; what they mean is `kind`'s."""

    kind: str
    values: tuple[str, ...]


class Unreadable(ValueError):
    """The message ends a sentence that began with the value: "is not a number"."""


def matches(matcher: Matcher, value: Any) -> bool:
    """False for whatever cannot be read, the matcher's own values included. Never raises."""
    test = KINDS.get(matcher.kind)
    if test is None or len(matcher.values) != (test.values or len(matcher.values) or 1):
        return False
    try:
        wanted = _read_values(matcher.kind, matcher.values)
    except Unreadable:
        return False
    if isinstance(value, list | tuple):
        whole = matcher.kind == "equal" and _holds(test, wanted, list(value))
        return whole or (bool(value) and all(_holds(test, wanted, item) for item in value))
    return _holds(test, wanted, value)


def problems(kind: str, values: Sequence[str]) -> list[str]:
    """One sentence a mistake, naming the value by its number."""
    if kind not in KINDS:
        return [f"{kind!r} is no kind of matcher; the kinds are {', '.join(KINDS)}."]
    read, needed = KINDS[kind].read, KINDS[kind].values
    if needed is not None and len(values) != needed:
        return [f"{kind} takes {'one value' if needed == 1 else f'{needed} values'}, not {len(values)}."]
    if not values:
        return ["At least one value is needed."]
    found = []
    for number, value in enumerate(values, 1):
        try:
            read(value)
        except Unreadable as error:
            found.append(f"Value {number}, {value[:80]!r}, {error}.")
    if kind == "between" and not found and Decimal(values[0].strip()) > Decimal(values[1].strip()):
        found.append("The first value of between must not be larger than the second.")
    return found


@dataclass(frozen=True)
class _Kind:
    """`read` a value as a person wrote it, `facts` a value of a call; both raise Unreadable. `values`: how many."""

    read: Callable[[str], Any]
    facts: Callable[[Any], Any]
    holds: Callable[[Sequence[Any], Any], bool]
    values: int | None = None


def _holds(kind: _Kind, wanted: Sequence[Any], value: Any) -> bool:
    try:
        return kind.holds(wanted, kind.facts(value))
    except Unreadable:
        return False


@lru_cache(maxsize=1024)
def _read_values(kind: str, values: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(KINDS[kind].read(value) for value in values)


# equal


def _json(text: str) -> str:
    try:
        return _canonical(json.loads(text, parse_constant=_no_number))
    except (ValueError, RecursionError):
        return _canonical(text)


def _no_number(text: str) -> Any:
    raise ValueError(text)


def _canonical(value: Any) -> str:
    try:
        return canonical.dumps(value)
    except canonical.NotCanonical:
        raise Unreadable("has no canonical JSON form") from None


# Numbers


def _number(value: Any) -> Decimal:
    """Exact decimals only: no exponent, no blanks, no digits but 0-9, no NaN."""
    if isinstance(value, bool):
        raise Unreadable("is not a number")
    if isinstance(value, float):
        value = canonical.dumps(value) if value == value and abs(value) < 1e15 else ""
    text = str(value) if isinstance(value, int | Decimal | str) else ""
    if not NUMBER.fullmatch(text):
        raise Unreadable("is not a plain decimal number such as 200 or 19.90")
    return Decimal(text)


def _written_number(text: str) -> Decimal:
    return _number(text.strip())


# Hosts and addresses


def _text(value: Any) -> str:
    """Text without control, format or separator characters, other than a plain blank inside."""
    if not isinstance(value, str) or len(value) > MOST_CHARACTERS:
        raise Unreadable("is not text")
    if value != value.strip() or any(unicodedata.category(c) in _INVISIBLE for c in value if c != " "):
        raise Unreadable("holds characters that cannot be seen, or blanks around it")
    return value


_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"}


def _host(text: str) -> str:
    try:
        return hosts.canonical(text)
    except hosts.BadHost as error:
        raise Unreadable(str(error)) from None


def _host_pattern(text: str) -> str:
    try:
        return hosts.canonical_pattern(_text(text.strip()))
    except hosts.BadHost as error:
        raise Unreadable(f"{error}; write a host, or .example.com for all names below it") from None


def _host_of(value: Any) -> str:
    text = _text(value)
    if "://" in text:
        return _url(text).host
    if "@" in text:
        return _email(text)[1]
    return _host(text)


def _email(value: Any) -> tuple[str, str]:
    """Exactly one address and nothing beside it: a name in front, or a second address, may be read as another."""
    parts = EMAIL.fullmatch(_text(value))
    if not parts:
        raise Unreadable("is not one plain e-mail address")
    return parts[1], _host(parts[2])


# Accounts


def _account(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    number = re.sub("[ -]", "", _text(value)).upper()
    if not ACCOUNT.fullmatch(number) or not str(value).isascii():
        raise Unreadable("is not an account number of 4 to 34 letters and digits")
    if IBAN.fullmatch(number) and not _has_checksum(number):
        raise Unreadable("looks like an IBAN and has not its checksum")
    return number


def _has_checksum(iban: str) -> bool:
    return int("".join(str(int(character, 36)) for character in iban[4:] + iban[:4])) % 97 == 1


# Paths


def _path(value: Any) -> tuple[str, ...]:
    """Its segments, the first "/" where it is absolute. Lexical: no link is followed, so no `..` can be allowed."""
    text = _text(value)
    if not text or "\\" in text or ENCODED.search(text) or unicodedata.normalize("NFKC", text) != text:
        raise Unreadable("is not a path that is read in one way only")
    if text.startswith(("//", "~")) or DRIVE.match(text) or "://" in text:
        raise Unreadable("is not a plain absolute or relative path")
    segments = [segment for segment in text.split("/") if segment not in ("", ".")]
    if any(not segment.strip(". ") for segment in segments):
        raise Unreadable("must not climb by ..")
    return ("/", *segments) if text.startswith("/") else tuple(segments)


def _written_path(text: str) -> tuple[str, ...]:
    return _path(text.strip())


def _is_below(roots: Sequence[tuple[str, ...]], path: tuple[str, ...]) -> bool:
    return any(path[: len(root)] == root and (bool(root) or path[:1] != ("/",)) for root in roots)


# URLs


@dataclass(frozen=True)
class _Url:
    scheme: str
    host: str
    port: int | None
    path: tuple[str, ...]


def _url(value: Any, *, host: Callable[[str], str] = _host) -> _Url:
    """Query and fragment are left out: they lead nowhere else."""
    text = _text(value)
    if " " in text or "\\" in text or not (parts := URL.fullmatch(text)):
        raise Unreadable("is not a plain URL with scheme and host, without user name")
    scheme, port = parts[1].lower(), int(parts[3]) if parts[3] else PORTS.get(parts[1].lower())
    path = re.split("[?#]", parts[4] or "", maxsplit=1)[0]
    return _Url(scheme, host(parts[2]), port, _url_path(path))


def _url_path(path: str) -> tuple[str, ...]:
    if ENCODED_MEANING.search(path) or unicodedata.normalize("NFKC", path) != path:
        raise Unreadable("has a path in which something is encoded that could lead elsewhere")
    segments = [unquote(segment) for segment in path.split("/") if segment]
    if any(not segment.split(";")[0].strip(". ") for segment in segments):
        raise Unreadable("must not climb by ..")
    return tuple(segments)


def _written_url(text: str) -> _Url:
    return _url(text.strip(), host=_host_pattern)


def _leads_to(wanted: Sequence[_Url], url: _Url) -> bool:
    return any(
        (each.scheme, each.port) == (url.scheme, url.port)
        and hosts.covers(each.host, url.host)
        and url.path[: len(each.path)] == each.path
        for each in wanted
    )


def _is_one(wanted: Sequence[Any], value: Any) -> bool:
    return value in wanted


def _is_covered(patterns: Sequence[str], host: str) -> bool:
    return any(hosts.covers(pattern, host) for pattern in patterns)


KINDS: dict[str, _Kind] = {
    "equal": _Kind(_json, _canonical, _is_one),
    "at_most": _Kind(_written_number, _number, lambda limits, number: number <= limits[0], values=1),
    "between": _Kind(_written_number, _number, lambda limits, number: limits[0] <= number <= limits[1], values=2),
    "domain": _Kind(_host_pattern, _host_of, _is_covered),
    "email": _Kind(lambda text: _email(text.strip()), _email, _is_one),
    "account": _Kind(lambda text: _account(text.strip()), _account, _is_one),
    "path": _Kind(_written_path, _path, _is_below),
    "url": _Kind(_written_url, _url, _leads_to),
}
