"""What kind of address an address is, whatever it is wrapped in. Pure."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from tools.egress.hosts import Address

Network = IPv4Network | IPv6Network

# IANA's registries of special-purpose addresses, and multicast: none of them is somewhere on the public internet.
SPECIAL_IPV4 = {
    "0.0.0.0/8": "this machine",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "carrier-grade NAT",
    "127.0.0.0/8": "loopback",
    "169.254.0.0/16": "link-local",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "reserved",
    "192.0.2.0/24": "documentation",
    "192.88.99.0/24": "6to4 relay",
    "192.168.0.0/16": "private",
    "198.18.0.0/15": "benchmarking",
    "198.51.100.0/24": "documentation",
    "203.0.113.0/24": "documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
}
SPECIAL_IPV6 = {
    "::/128": "this machine",
    "::1/128": "loopback",
    "64:ff9b:1::/48": "local NAT64",
    "fc00::/7": "private",
    "fe80::/10": "link-local",
    "fec0::/10": "site-local",
    "ff00::/8": "multicast",
    "2001:db8::/32": "documentation",
    "2001::/32": "Teredo",
    "2001::/23": "reserved",
    "2002::/16": "6to4",
    "3fff::/20": "documentation",
}
GLOBAL_IPV6 = IPv6Network("2000::/3")
NAT64 = IPv6Network("64:ff9b::/96")
NAT64_LOCAL = IPv6Network("64:ff9b:1::/48")
SIX_TO_FOUR = IPv6Network("2002::/16")
TEREDO = IPv6Network("2001::/32")
# In their last 32 bits: IPv4-mapped, IPv4-compatible, IPv4-translated (SIIT).
IN_THE_LAST_BITS = [IPv6Network("::ffff:0:0/96"), IPv6Network("::/96"), IPv6Network("::ffff:0:0:0/96"), NAT64]
ISATAP = {0x00005EFE, 0x02005EFE}

# Where clouds tell a machine its own credentials; Azure's lies among public addresses.
METADATA = frozenset(
    {
        *map(IPv4Address, ["169.254.169.254", "169.254.169.253", "169.254.170.2", "169.254.170.23"]),
        *map(IPv4Address, ["100.100.100.200", "192.0.0.192", "168.63.129.16"]),
        *map(IPv6Address, ["fd00:ec2::254", "fd00:ec2::253", "fd00:ec2::23", "fd20:ce::254", "fd00:a9fe:a9fe::254"]),
    }
)
METADATA_NAMES = frozenset(
    "metadata metadata.google.internal metadata.goog instance-data instance-data.ec2.internal".split()
)

_SPECIAL_IPV4 = {IPv4Network(text): word for text, word in SPECIAL_IPV4.items()}
_SPECIAL_IPV6 = {IPv6Network(text): word for text, word in SPECIAL_IPV6.items()}


def forms(address: Address) -> tuple[Address, ...]:
    """What a packet to this address may reach: the address itself, and every IPv4 address wrapped in it.

    An IPv4-mapped address is only another spelling of the one in it, so that alone is answered.
    """
    if isinstance(address, IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    bare = IPv6Address(int(address))  # without a zone
    return tuple(dict.fromkeys([bare, *_wrapped(bare)]))


def special(address: Address) -> str:
    """The kind of a special-purpose address, in a word or two; "" for one on the public internet. Unwraps nothing."""
    if isinstance(address, IPv4Address):
        return next((word for network, word in _SPECIAL_IPV4.items() if address in network), "")
    if found := next((word for network, word in _SPECIAL_IPV6.items() if address in network), ""):
        return found
    return "" if address in GLOBAL_IPV6 or address in NAT64 else "reserved"


def _wrapped(address: IPv6Address) -> Iterator[IPv4Address]:
    number = int(address)
    if any(address in network for network in IN_THE_LAST_BITS) and number > 1:
        yield IPv4Address(number & 0xFFFFFFFF)
    if address in NAT64_LOCAL:
        yield from _of_local_nat64(number)
    if address in SIX_TO_FOUR:
        yield IPv4Address(number >> 80 & 0xFFFFFFFF)
    if address in TEREDO:
        yield IPv4Address(number >> 64 & 0xFFFFFFFF)
        yield IPv4Address(~number & 0xFFFFFFFF)
    if number >> 32 & 0xFFFFFFFF in ISATAP:
        yield IPv4Address(number & 0xFFFFFFFF)


def _of_local_nat64(number: int) -> Iterator[IPv4Address]:
    """The prefix may be 48, 56, 64 or 96 bits long (RFC 6052, which leaves bits 64 to 71 free)."""
    yield IPv4Address((number >> 64 & 0xFFFF) << 16 | number >> 40 & 0xFFFF)
    yield IPv4Address((number >> 64 & 0xFF) << 24 | number >> 32 & 0xFFFFFF)
    yield IPv4Address(number >> 24 & 0xFFFFFFFF)
    yield IPv4Address(number & 0xFFFFFFFF)
