"""Hosts as people and machines spell them, brought to one spelling before anything is compared. Pure."""

import ipaddress
import re
import unicodedata
from contextlib import suppress

import idna

LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
# What readers of names disagree on: IDNA of 2003 folds the first two and drops the joiners, that of 2008 keeps them.
DEVIATING = frozenset("ßς\u200c\u200d")
# Dots of other scripts, which IDNA takes for ours.
DOTS = str.maketrans("。｡", "..")
LONGEST_NAME = 253
NUMERIC = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class BadHost(ValueError):
    """The message ends a sentence that began with the host: "is empty"."""


def canonical(text: str) -> str:
    """A name in lower case ASCII without trailing dot, or an IP address as `ipaddress` writes it, without brackets.

    Strict: compatibility characters (full width, enclosed), deviating ones, and numbers that only some readers take for
    an address (octal, short, decimal) are refused, for their readers would not agree on whom they mean. Raises BadHost.
    """
    if text.startswith("["):
        return _ipv6(text)
    composed = unicodedata.normalize("NFC", text)
    if unicodedata.normalize("NFKC", composed) != composed or DEVIATING & set(composed):
        raise BadHost("holds characters that are read in more than one way")
    name = _ascii(composed.removesuffix("."))
    return _ipv4(name) if NUMERIC.fullmatch(name.rsplit(".", 1)[-1]) else name


def lenient(text: str) -> str:
    """As `canonical`, of whatever any program would take for a host: every spelling of an address is read.

    For what is about to be connected to and judged by its address; never for comparing with a list. Raises BadHost.
    """
    if "%" in text:
        raise BadHost("holds a % (a zone, or something encoded)")
    if text.startswith("["):
        return _ipv6(text)
    plain = unicodedata.normalize("NFKC", text.translate(DOTS)).translate(DOTS).removesuffix(".")
    if (found := _aton(plain)) is not None:
        return str(found)
    name = _ascii(plain)
    if NUMERIC.fullmatch(name.rsplit(".", 1)[-1]):
        raise BadHost("ends in a number and is no address")
    return name


def address(host: str) -> Address | None:
    """Of a canonical host; None of a name."""
    with suppress(ValueError):
        return ipaddress.ip_address(host)
    return None


def covers(pattern: str, host: str) -> bool:
    """Both canonical. ".example.com" covers every name below example.com and not example.com itself."""
    return host.endswith(pattern) and len(host) > len(pattern) if pattern.startswith(".") else host == pattern


def canonical_pattern(text: str) -> str:
    """A host, or with a dot in front all names below it. Raises BadHost."""
    if not text.startswith("."):
        return canonical(text)
    name = canonical(text[1:])
    if address(name) is not None:
        raise BadHost("is an address, and no names lie below an address")
    return f".{name}"


def _ascii(name: str) -> str:
    if not name:
        raise BadHost("is empty")
    try:
        ascii_name = name.lower() if name.isascii() else idna.encode(name, uts46=True, std3_rules=True).decode()
    except (idna.IDNAError, UnicodeError):
        raise BadHost("is not a valid internationalised name") from None
    if len(ascii_name) > LONGEST_NAME or not all(LABEL.fullmatch(label) for label in ascii_name.split(".")):
        raise BadHost("is not a valid host name")
    return ascii_name


def _ipv4(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise BadHost("is a number that is no address in four plain decimal parts") from None


def _aton(text: str) -> ipaddress.IPv4Address | None:
    """One to four numbers, decimal, octal (0...) or hexadecimal (0x...), the last filling what is left: inet_aton."""
    parts = text.split(".")
    if len(parts) > 4 or not all(NUMERIC.fullmatch(part) for part in parts):
        return None
    try:
        *first, last = [_c_number(part) for part in parts]
    except ValueError:
        return None
    if any(number > 255 for number in first) or last >= 256 ** (4 - len(first)):
        return None
    return ipaddress.IPv4Address(sum(number << (24 - 8 * place) for place, number in enumerate(first)) + last)


def _c_number(text: str) -> int:
    if text[:2].lower() == "0x":
        return int(text[2:] or "0", 16)
    return int(text, 8) if text.startswith("0") else int(text)


def _ipv6(text: str) -> str:
    if not text.endswith("]") or "%" in text:
        raise BadHost("is not an IPv6 address in brackets")
    try:
        return str(ipaddress.IPv6Address(text[1:-1]))
    except ValueError:
        raise BadHost("is not an IPv6 address in brackets") from None
