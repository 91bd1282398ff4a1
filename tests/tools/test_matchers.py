"""Typed matchers against spellings that are meant to deceive."""

import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.matchers import DESTINATIONS, KINDS, Matcher, matches, problems

IBAN = "DE89 3704 0044 0532 0130 00"
LISTED = {
    "good.com": ("domain", "good.com"),
    ".good.com": ("domain", ".good.com"),
    "bücher": ("domain", "bücher.example"),
    "ann": ("email", "ann@good.com"),
    "iban": ("account", IBAN),
    "number": ("account", "12-3456 789"),
    "/srv": ("path", "/srv/data"),
    "reports": ("path", "reports"),
    "url": ("url", "https://good.com/api/v1"),
    "any path": ("url", "https://.good.com:8443"),
    "twelve": ("equal", "12"),
    "text": ("equal", "EUR", '{"b": 1, "a": [true]}'),
    "limit": ("at_most", "19.90"),
    "range": ("between", "1", "100"),
}

# Which list, which value, whether it matches.
TABLE: list[tuple[str, Any, bool]] = [
    # domain
    ("good.com", "good.com", True),
    ("good.com", "GOOD.com.", True),
    ("good.com", "a@good.com", True),
    ("good.com", "https://good.com/x?y=@evil.com", True),
    ("good.com", "https://good.com:8443", True),
    ("good.com", "mail.good.com", False),
    ("good.com", "good.com.evil.com", False),
    ("good.com", "evilgood.com", False),
    ("good.com", "good.community", False),
    ("good.com", "good.com@evil.com", False),
    ("good.com", "a@evil.com?good.com", False),
    ("good.com", "https://good.com@evil.com/", False),
    ("good.com", "https://evil.com/good.com", False),
    ("good.com", "https://evil.com#good.com", False),
    ("good.com", "https://evil.com\\@good.com", False),
    ("good.com", "https://good.com\\.evil.com", False),
    ("good.com", "https://user:pw@good.com/", False),
    ("good.com", "https:good.com", False),
    ("good.com", "//good.com", False),
    ("good.com", "good.com/", False),
    ("good.com", "good.com:25", False),
    ("good.com", "good.com..", False),
    ("good.com", ".good.com", False),
    ("good.com", "a@good.com, b@evil.com", False),
    ("good.com", "a@good.com;b@evil.com", False),
    ("good.com", "a@good.com b@evil.com", False),
    ("good.com", "b@evil.com <a@good.com>", False),
    ("good.com", "Ann <a@good.com>", False),
    ("good.com", '"a@evil.com"@good.com', False),
    ("good.com", "b%evil.com@good.com", False),
    ("good.com", "evil.com!b@good.com", False),
    ("good.com", "@evil.com:a@good.com", False),
    ("good.com", "a@good.com\r\nBcc: b@evil.com", False),
    ("good.com", "a@good.com\n", False),
    ("good.com", "\ta@good.com", False),
    ("good.com", "good.com\x00.evil.com", False),
    ("good.com", "a@good.com(evil.com)", False),
    ("good.com", "ｇｏｏｄ.com", False),
    ("good.com", "good．com", False),
    ("good.com", "ⓖood.com", False),
    ("good.com", "gооd.com", False),  # two Cyrillic letters
    ("good.com", "good.c\u200bom", False),
    ("good.com", "good\u00ad.com", False),
    ("good.com", "\u202emoc.doog", False),
    ("good.com", "good.com／.evil.com", False),
    ("good.com", "good.com。evil.com", False),
    ("good.com", ["good.com", "a@good.com"], True),
    ("good.com", ["a@good.com", "b@evil.com"], False),
    ("good.com", [], False),
    ("good.com", [["a@good.com"]], False),
    ("good.com", None, False),
    ("good.com", 7, False),
    ("good.com", "", False),
    ("good.com", {"to": "good.com"}, False),
    (".good.com", "mail.good.com", True),
    (".good.com", "a@x.mail.GOOD.com", True),
    (".good.com", "good.com", False),
    (".good.com", "evilgood.com", False),
    (".good.com", "mail.good.com.evil.com", False),
    (".good.com", "..good.com", False),
    ("bücher", "BÜCHER.example", True),
    ("bücher", "xn--bcher-kva.example", True),
    ("bücher", "bu\u0308cher.example", True),  # composed to the same
    ("bücher", "bucher.example", False),
    # email
    ("ann", "ann@GOOD.com", True),
    ("ann", "Ann@good.com", False),
    ("ann", "ann+x@good.com", False),
    ("ann", "ann@good.com.", True),
    ("ann", "ann@mail.good.com", False),
    ("ann", "Ann <ann@good.com>", False),
    ("ann", "ann@good.com,eve@evil.com", False),
    ("ann", "ann@good.com\x00", False),
    ("ann", "mailto:ann@good.com", False),
    ("ann", ["ann@good.com", "ann@good.com"], True),
    # account
    ("iban", "DE89370400440532013000", True),
    ("iban", "de89 3704-0044 0532 0130 00", True),
    ("iban", "DE88370400440532013000", False),
    ("iban", "DE89370400440532013001", False),
    ("iban", "DE89370400440532013000 or GB33BUKB20201555555555", False),
    ("iban", "ＤＥ89370400440532013000", False),
    ("iban", "DE8937040044053201300O", False),
    ("iban", "DE٨٩370400440532013000", False),
    ("number", "123456789", True),
    ("number", 123456789, True),
    ("number", 12345678, False),
    ("number", "0123456789", False),
    ("number", True, False),
    # path
    ("/srv", "/srv/data/a.txt", True),
    ("/srv", "/srv//data/./a b.txt", True),
    ("/srv", "/srv/data", True),
    ("/srv", "/srv/database", False),
    ("/srv", "/srv/data/../secret", False),
    ("/srv", "/srv/data/x/../a.txt", False),
    ("/srv", "srv/data/a.txt", False),
    ("/srv", "//srv/data/a.txt", False),
    ("/srv", "/srv/data\\..\\secret", False),
    ("/srv", "/srv/data/%2e%2e/secret", False),
    ("/srv", "/srv/data/.. /secret", False),
    ("/srv", "/srv/data/…/secret", False),
    ("/srv", "/srv/data/．．/secret", False),
    ("/srv", "/srv/data/a\x00.txt", False),
    ("/srv", "/SRV/data/a.txt", False),
    ("/srv", "file:///srv/data/a.txt", False),
    ("/srv", "", False),
    ("reports", "reports/may.pdf", True),
    ("reports", "./reports/may.pdf", True),
    ("reports", "/reports/may.pdf", False),
    ("reports", "~/reports/may.pdf", False),
    ("reports", "C:reports", False),
    # url
    ("url", "https://good.com/api/v1", True),
    ("url", "HTTPS://GOOD.com:443/api//v1/orders?to=evil.com#x", True),
    ("url", "https://good.com/%61pi/v1/x", True),
    ("url", "https://good.com/api/v10", False),
    ("url", "https://good.com/api/v1/../v2", False),
    ("url", "https://good.com/api/v1/%2e%2e/v2", False),
    ("url", "https://good.com/api/v1/%252e%252e/v2", False),
    ("url", "https://good.com/api/v1/..;/v2", False),
    ("url", "https://good.com/api/v1/..%2fv2", False),
    ("url", "https://good.com/api/v1\\..\\v2", False),
    ("url", "http://good.com/api/v1", False),
    ("url", "https://good.com:444/api/v1", False),
    ("url", "https://u@good.com/api/v1", False),
    ("url", "https://good.com@evil.com/api/v1", False),
    ("url", "https://good.com.evil.com/api/v1", False),
    ("url", "https://evil.com?https://good.com/api/v1", False),
    ("url", "https:///good.com/api/v1", False),
    ("url", " https://good.com/api/v1", False),
    ("url", "https://good.com/api/v1\r\nHost: evil.com", False),
    ("url", "https://2130706433/api/v1", False),
    ("any path", "https://x.good.com:8443/anything", True),
    ("any path", "https://good.com:8443/anything", False),
    ("any path", "https://x.good.com/anything", False),
    # equal
    ("twelve", 12, True),
    ("twelve", 12.0, True),
    ("twelve", "12", False),
    ("twelve", True, False),
    ("twelve", [12, 12], True),
    ("text", "EUR", True),
    ("text", "EUR ", False),
    ("text", "eur", False),
    ("text", {"a": [True], "b": 1.0}, True),
    ("text", {"a": [True], "b": 1, "c": 0}, False),
    ("text", float("nan"), False),
    # numbers
    ("limit", "19.90", True),
    ("limit", 19.9, True),
    ("limit", Decimal("19.900"), True),
    ("limit", -1, True),
    ("limit", "19.91", False),
    ("limit", "1e1", False),
    ("limit", "١", False),
    ("limit", " 1", False),
    ("limit", "1,0", False),
    ("limit", "1_0", False),
    ("limit", True, False),
    ("limit", float("nan"), False),
    ("limit", float("-inf"), False),
    ("limit", None, False),
    ("limit", [1, 19, "20"], False),
    ("range", 1, True),
    ("range", "100.00", True),
    ("range", "0.99", False),
    ("range", 101, False),
]


@pytest.mark.parametrize(("listed", "value", "expected"), TABLE, ids=lambda cell: repr(cell)[:60])
def test_what_matches(listed: str, value: Any, expected: bool) -> None:
    kind, *values = LISTED[listed]

    assert problems(kind, values) == []
    assert matches(Matcher(kind, tuple(values)), value) is expected


def test_a_substring_would_be_deceived() -> None:
    """The control: the table holds many values that a check by substring lets pass."""
    deceiving = [value for listed, value, expected in TABLE if listed == "good.com" and not expected]

    assert sum("good.com" in str(value) for value in deceiving) > 25
    assert sum(bool(re.search(r"@good\.com\b", str(value))) for value in deceiving) > 8


def test_every_kind_is_in_the_table() -> None:
    assert {kind for kind, *_ in LISTED.values()} == set(KINDS)
    assert set(DESTINATIONS) < set(KINDS)


@pytest.mark.parametrize(
    ("kind", "values", "sentence"),
    [
        ("substring", ["x"], "no kind of matcher"),
        ("domain", [], "At least one value"),
        ("domain", ["good.com", "a@good.com"], "Value 2"),
        ("domain", ["*.good.com"], "write a host, or .example.com for all names below it"),
        ("domain", ["127.1"], "four plain decimal parts"),
        ("domain", [".127.0.0.1"], "no names lie below an address"),
        ("email", ["@good.com"], "not one plain e-mail address"),
        ("account", ["DE88 3704 0044 0532 0130 00"], "not its checksum"),
        ("path", ["/srv/../etc"], "must not climb"),
        ("url", ["good.com/api"], "not a plain URL"),
        ("url", ["https://user@good.com/"], "without user name"),
        ("at_most", ["ten"], "19.90"),
        ("at_most", ["1", "2"], "takes one value"),
        ("between", ["5", "2"], "must not be larger"),
    ],
)
def test_a_value_that_is_none_is_named(kind: str, values: list[str], sentence: str) -> None:
    [told] = problems(kind, values)

    assert sentence in told
    assert not matches(Matcher(kind, tuple(values)), values[0] if values else "")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.decimals() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
NAME = st.from_regex(r"[a-z]{1,8}(-[a-z]{1,4})?", fullmatch=True)


@given(kind=st.sampled_from(list(KINDS)), wanted=st.text(max_size=30), value=ANYTHING)
def test_nothing_makes_it_raise(kind: str, wanted: str, value: Any) -> None:
    assert matches(Matcher(kind, (wanted, wanted)), value) in (True, False)
    assert all(isinstance(sentence, str) for sentence in problems(kind, [wanted]))


@given(before=st.text(max_size=12), after=st.text(max_size=12))
def test_whatever_is_put_around_a_host_leads_nowhere_else(before: str, after: str) -> None:
    """A value that matches has, in plain reading, exactly this host: in any case, perhaps with a dot at its end."""
    value = f"{before}good.com{after}"

    if matches(Matcher("domain", ("good.com",)), value):
        bare = value.lower().split("://", 1)[-1] if "://" in before else value.lower().rsplit("@", 1)[-1]
        assert re.match(r"good\.com\.?($|[:/?#])", bare)


@given(parts=st.lists(NAME, min_size=2, max_size=4), below=NAME)
def test_a_name_below_is_matched_by_the_dot_only(parts: list[str], below: str) -> None:
    host = ".".join([*parts, "test"])

    assert matches(Matcher("domain", (host,)), host.upper())
    assert matches(Matcher("domain", (f".{host}",)), f"{below}.{host}")
    assert not matches(Matcher("domain", (host,)), f"{below}.{host}")
    assert not matches(Matcher("domain", (f".{host}",)), f"{below}{host}")


@given(segments=st.lists(st.text(min_size=1, max_size=6), max_size=6))
def test_a_path_that_matches_stays_below_its_root(segments: list[str]) -> None:
    path = "/srv/data/" + "/".join(segments)

    if matches(Matcher("path", ("/srv/data",)), path):
        assert not {"..", "."} & {segment.strip() for segment in re.split(r"[/\\]", path)} - {"."}
