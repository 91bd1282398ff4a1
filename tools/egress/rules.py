"""Whether a tool may connect to a target at its addresses. Pure: no row, no resolver, no clock.

A connection needs two things. Its target must be named: by the URL that a person wrote into the tool, or by a rule. And
each address must be within reach: public, or inside a network that a rule names. Cloud metadata and the platform's own
services are out of reach whatever the rules say.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tools.egress import hosts, ranges
from tools.egress.hosts import Address
from tools.egress.ranges import Network
from tools.egress.targets import Origin

SCHEMES = ("https", "http")
RULE = re.compile(r"(\*|https?)://(.+):(\*|[0-9]{1,5})")


@dataclass(frozen=True)
class Rule:
    """`place`: a host, ".example.com" for all names below it, or a network; `scheme` and `port`: None for any.

    `tool` and `credential` narrow it to calls of this tool, or with this secret: both "" means every call.
    A host lets through names, and only to public addresses; a network lets through addresses, under any name.
    """

    place: str | Network
    scheme: str | None = None
    port: int | None = None
    tool: str = ""
    credential: str = ""

    def covers(self, caller: "Caller", origin: Origin) -> bool:
        """Whatever the place."""
        return (
            self.scheme in (None, origin.scheme)
            and self.port in (None, origin.port)
            and self.tool in ("", caller.tool)
            and (not self.credential or self.credential in caller.credentials)
        )

    def names(self, origin: Origin) -> bool:
        return isinstance(self.place, str) and hosts.covers(self.place, origin.host)

    def holds(self, address: Address) -> bool:
        return not isinstance(self.place, str) and address in self.place


class BadRule(ValueError):
    """The message is a sentence about the place or the rule."""


@dataclass(frozen=True)
class Caller:
    """On whose behalf a connection is opened. `credentials`: names of the secrets that are sent with it.

    `configured`: the origins that a person wrote into the tool itself.
    """

    tool: str
    credentials: frozenset[str] = frozenset()
    configured: frozenset[Origin] = frozenset()


@dataclass(frozen=True)
class Own:
    """Where the platform itself, its database and its Redis are reached: hosts and addresses with their ports."""

    names: frozenset[tuple[str, int]] = frozenset()
    addresses: frozenset[tuple[Address, int]] = frozenset()
    ports_here: frozenset[int] = frozenset()  # ports of ours on this machine, by whatever address of it
    addresses_here: frozenset[Address] = frozenset()

    def is_at(self, address: Address, port: int) -> bool:
        here = address.is_loopback or address.is_unspecified or address in self.addresses_here
        return (address, port) in self.addresses or (here and port in self.ports_here)


@dataclass(frozen=True)
class Rules:
    """`only`: what a tool's own URL names needs a rule as well."""

    rules: tuple[Rule, ...] = ()
    only: bool = False
    own: Own = field(default_factory=Own)


def refusal_by_name(rules: Rules, origin: Origin) -> str:
    """Of hosts that are never reached, before anybody is asked for their addresses. "" where there is none."""
    if origin.host in ranges.METADATA_NAMES:
        return f"{origin} is where a cloud tells its machines their credentials, and no rule allows it."
    if (origin.host, origin.port) in rules.own.names:
        return f"{origin} is the platform's own, and no rule allows it."
    return ""


def refusal(rules: Rules, caller: Caller, origin: Origin, addresses: Iterable[Address]) -> str:
    """Why nothing is opened: one sentence with the address and the way out. "" when every address is allowed."""
    applying = [rule for rule in rules.rules if rule.covers(caller, origin)]
    for address in addresses:
        said = _never(rules.own, origin, address) or _out_of_reach(applying, origin, address)
        if said or (said := _unnamed(rules, applying, caller, origin, address)):
            return said
    return ""


def _never(own: Own, origin: Origin, address: Address) -> str:
    for form in ranges.forms(address):
        if form in ranges.METADATA:
            return f"{_led(origin, address)} is where a cloud tells its machines their credentials; no rule allows it."
        if own.is_at(form, origin.port):
            return f"{_led(origin, address)}, port {origin.port}, is the platform's own, and no rule allows it."
    return ""


def _out_of_reach(applying: Sequence[Rule], origin: Origin, address: Address) -> str:
    for form in ranges.forms(address):
        kind = ranges.special(form)
        if kind and not any(rule.holds(form) for rule in applying):
            wrapped = "" if form == address else f" (it stands for {form})"
            needed = text(Rule(_network(form), origin.scheme, origin.port))
            return (
                f"{_led(origin, address)} is not on the public internet{wrapped}: {kind}. "
                f"An egress rule like {needed} would allow it."
            )
    return ""


def _unnamed(rules: Rules, applying: Sequence[Rule], caller: Caller, origin: Origin, address: Address) -> str:
    if not rules.only and any(origin == each for each in caller.configured):
        return ""
    if any(rule.names(origin) or any(map(rule.holds, ranges.forms(address))) for rule in applying):
        return ""
    needed = text(Rule(origin.host, origin.scheme, origin.port))
    return f"No egress rule names {origin} for {caller.tool}. A rule like {needed} would allow it."


def _led(origin: Origin, address: Address) -> str:
    return str(address) if str(address) == origin.host else f"{address}, to which {origin.host} leads,"


def _network(address: Address) -> Network:
    return ipaddress.ip_network(address)


# Rules as text


def place(written: str) -> str | Network:
    """A host, ".example.com" or a network like 10.0.0.0/8; an address is the network of it alone. Raises BadRule."""
    bare = written.strip().removeprefix("[").removesuffix("]")
    try:
        network = ipaddress.ip_network(bare)
    except ValueError as error:
        if "/" in bare or ":" in bare:
            told = f"{written!r} is neither a host alone nor a network like 10.0.0.0/8 or fd00::/8"
            raise BadRule(f"{told}: {error}.") from None
    else:
        return _plain_network(written, network)
    try:
        return hosts.canonical_pattern(written.strip())
    except hosts.BadHost as error:
        raise BadRule(f"{written!r} {error}; write a host, .example.com, or a network like 10.0.0.0/8.") from None


def _plain_network(written: str, network: Network) -> Network:
    first = network.network_address
    if isinstance(first, ipaddress.IPv6Address) and first.ipv4_mapped is not None:
        raise BadRule(f"{written!r} is IPv4 in another spelling; write the IPv4 network.")
    return network


def parsed(written: str) -> Rule:
    """As in BATON_EGRESS: scheme://place:port, with * for any scheme or port. Raises BadRule."""
    parts = RULE.fullmatch(written.strip())
    if not parts:
        raise BadRule(f"{written!r} is not written as scheme://place:port, like https://api.example.com:443.")
    port = None if parts[3] == "*" else int(parts[3])
    if port is not None and not 0 < port < 65536:
        raise BadRule(f"{written!r}: {port} is not a port.")
    return Rule(place(parts[2]), None if parts[1] == "*" else parts[1], port)


def text(rule: Rule) -> str:
    shown = f"[{rule.place}]" if ":" in str(rule.place) else rule.place
    return f"{rule.scheme or '*'}://{shown}:{rule.port or '*'}"
