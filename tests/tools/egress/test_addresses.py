"""What an address is: our reading beside the C library's, and every wrapping of an address that is not public."""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tools.egress import hosts, ranges, rules, targets
from tools.egress.hosts import BadHost
from tools.egress.rules import Caller, Own, Rules

NUMBER = st.one_of(
    st.integers(0, 300).map(str),
    st.integers(0, 2**33).map(str),
    st.integers(0, 2**33).map(hex),
    st.integers(0, 2**33).map(lambda number: f"0{number:o}"),
    st.integers(0, 300).map(lambda number: f"{number:04}"),
)
NUMERIC = st.lists(NUMBER, min_size=1, max_size=5).map(".".join)
SCRIBBLE = st.text("0123456789abcdefx.:[]%-", max_size=24)
PUBLIC = IPv4Address("93.184.215.14")


@given(text=NUMERIC | SCRIBBLE)
@example(text="127.1")
@example(text="0x7f.0x0.1")
@example(text="1.2.3.4.")
@example(text="[::ffff:1.2.3.4]")
@example(text="..")
def test_whatever_the_c_library_takes_for_an_address_is_read_as_the_same(text: str) -> None:
    """Or refused; never read as a name, which would be asked for elsewhere."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        [(*_, where), *_] = socket.getaddrinfo(bare, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return
    try:
        ours = hosts.address(hosts.lenient(text))
    except BadHost:
        return

    assert str(ours) == str(IPv6Address(where[0]) if ":" in str(where[0]) else where[0])


@given(text=NUMERIC)
def test_inet_aton_and_we_agree(text: str) -> None:
    try:
        theirs = IPv4Address(socket.inet_aton(text))
    except OSError:
        return

    assert hosts.address(hosts.lenient(text)) == theirs


WRAPPINGS = {
    "mapped": lambda number: 0xFFFF << 32 | number,
    "compatible": lambda number: number,
    "translated": lambda number: 0xFFFF << 48 | number,
    "NAT64": lambda number: 0x64FF9B << 96 | number,
    "local NAT64, 96": lambda number: 0x64FF9B0001 << 80 | number,
    "local NAT64, 48": lambda number: 0x64FF9B0001 << 80 | (number >> 16) << 64 | (number & 0xFFFF) << 40,
    "local NAT64, 56": lambda number: 0x64FF9B0001 << 80 | (number >> 24) << 64 | (number & 0xFFFFFF) << 32,
    "local NAT64, 64": lambda number: 0x64FF9B0001 << 80 | number << 24,
    "6to4": lambda number: 0x2002 << 112 | number << 80 | 1,
    "Teredo": lambda number: 0x2001 << 112 | 0x0808_0808 << 64 | (number ^ 0xFFFFFFFF),
    "ISATAP": lambda number: 0x2A00 << 112 | 0x5EFE << 32 | number,
}
NETWORKS = [ip_network(text) for text in ranges.SPECIAL_IPV4]
FORBIDDEN = st.sampled_from(NETWORKS).flatmap(lambda net: st.integers(int(net[0]), int(net[-1]))).map(IPv4Address)


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@given(address=FORBIDDEN.filter(lambda address: int(address) > 1))
def test_no_wrapping_hides_an_address(wrapping: str, address: IPv4Address) -> None:
    wrapped = IPv6Address(WRAPPINGS[wrapping](int(address)))

    assert address in ranges.forms(wrapped)
    assert _refusal(wrapped)


@given(address=FORBIDDEN | FORBIDDEN.map(lambda address: IPv6Address(0xFFFF << 32 | int(address))))
def test_what_is_not_public_needs_a_rule_and_gets_through_by_it(address: IPv4Address | IPv6Address) -> None:
    [form] = ranges.forms(address)

    assert _refusal(address)
    assert bool(_refusal(address, f"*://{form}/32:*")) == (form in ranges.METADATA)


@given(address=st.integers(0, 2**32 - 1).map(IPv4Address) | st.integers(0, 2**128 - 1).map(IPv6Address))
def test_what_we_call_public_python_calls_global(address: IPv4Address | IPv6Address) -> None:
    if not _refusal(address):
        assert all(form.is_global for form in ranges.forms(address) if form not in ranges.NAT64)


def test_public_addresses_are_within_reach() -> None:
    """The control: not everything is refused."""
    for text in ("93.184.215.14", "8.8.8.8", "2606:4700::1111", "2a00:1450:4001::5", "64:ff9b::808:808"):
        address = hosts.address(text)
        assert address is not None
        assert _refusal(address) == ""


@given(addresses=st.permutations([PUBLIC, IPv4Address("10.0.0.1"), IPv6Address("::1"), IPv4Address("8.8.8.8")]))
def test_one_forbidden_address_refuses_in_any_order(addresses: list[IPv4Address | IPv6Address]) -> None:
    origin = targets.parsed("http://shop.example/").origin

    assert rules.refusal(Rules(), Caller("web", configured=frozenset({origin})), origin, addresses)


PLACES = [
    "http://10.0.0.0/8:80",
    "*://.example:*",
    "https://api.example.com:443",
    "*://[fd00::/8]:*",
    "*://shop.example:8080",
]


@given(
    kept=st.lists(st.sampled_from(PLACES), unique=True),
    more=st.sampled_from(PLACES),
    url=st.sampled_from(
        ["http://shop.example:8080/", "http://10.1.2.3/", "https://api.example.com/", "http://x.example/"]
    ),
    address=st.sampled_from([PUBLIC, IPv4Address("10.1.2.3"), IPv6Address("fd00::1"), IPv4Address("169.254.169.254")]),
)
def test_rules_only_add(kept: list[str], more: str, url: str, address: IPv4Address | IPv6Address) -> None:
    origin = targets.parsed(url).origin

    def allowed(written: list[str]) -> bool:
        made = Rules(tuple(map(rules.parsed, written)))
        return not rules.refusal(made, Caller("web"), origin, [address])

    assert not allowed(kept) or allowed([*kept, more])
    assert not allowed([])


def test_only_rules_takes_the_tools_own_url_away() -> None:
    origin = targets.parsed("https://api.example.com/").origin
    caller = Caller("web", configured=frozenset({origin}))

    assert rules.refusal(Rules(), caller, origin, [PUBLIC]) == ""
    assert "No egress rule names https://api.example.com" in rules.refusal(Rules(only=True), caller, origin, [PUBLIC])


def test_a_rule_is_read_as_it_is_written() -> None:
    for text in PLACES:
        assert rules.text(rules.parsed(text)) == text


def _refusal(address: IPv4Address | IPv6Address, *allowed: str) -> str:
    origin = targets.parsed("http://shop.example/").origin
    made = Rules(tuple(map(rules.parsed, allowed)), own=Own())
    return rules.refusal(made, Caller("web", configured=frozenset({origin})), origin, [address])
