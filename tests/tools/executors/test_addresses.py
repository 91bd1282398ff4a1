import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.executors import addresses
from tools.executors.addresses import BadTemplate, BadValue

ORDER = addresses.parsed("http://127.0.0.1:9000/refunds/{order}/lines?by={by}")


def address(order: object, by: object = "x") -> str:
    return addresses.expanded(ORDER, {"order": order, "by": by}).url


@pytest.mark.parametrize(
    ("order", "by", "path"),
    [
        ("B-1", "x", "B-1/lines?by=x"),
        ("a/b", "x", "a%2Fb/lines?by=x"),
        ("@evil.example", "x", "%40evil.example/lines?by=x"),
        ("//evil.example", "x", "%2F%2Fevil.example/lines?by=x"),
        ("?a=1#b", "&c=2", "%3Fa%3D1%23b/lines?by=%26c%3D2"),
        ("{by}", "x", "%7Bby%7D/lines?by=x"),
        ("...", "..", ".../lines?by=.."),
        ("é", True, "%C3%A9/lines?by=true"),
        (7, 1.0, "7/lines?by=1"),
    ],
)
def test_values_are_encoded_whole(order: object, by: object, path: str) -> None:
    assert address(order, by) == f"http://127.0.0.1:9000/refunds/{path}"


@pytest.mark.parametrize(
    "order",
    [
        ".", "..", "../admin", "a/../../admin", "%2e%2e", "%2e%2e/admin", "%252e%252e%2fadmin", "..\\admin",
        "..;/admin", "a\r\nHost: evil", "%0d%0aHost:evil", "\x00", "\x85", "", None,
        ["a"], {"a": 1}, float("nan"), 2**60, "\ud800",
    ],
)  # fmt: skip
def test_values_that_could_leave_their_place_are_refused(order: object) -> None:
    with pytest.raises(BadValue, match="order"):
        address(order)


def test_literal_and_value_together_make_no_dots_either() -> None:
    with pytest.raises(BadValue):
        addresses.expanded(addresses.parsed("http://h/.{x}{y}/secret"), {"x": ".", "y": "a"}).url  # noqa: B018
    with pytest.raises(BadValue):
        addresses.expanded(addresses.parsed("http://h/%2e{x}"), {"x": "%2e"}).url  # noqa: B018


@pytest.mark.parametrize(
    "template",
    [
        "ftp://h/", "/refunds", "http://{host}/", "http://h{x}/", "http://h:{port}/", "{scheme}://h/", "http://user@h/",
        "http://user:pw@h/", "http:///x", "http://h:0/", "http://h:99999/", "http://h/a b", "http://h/{a", "http://h/{1}",
        "http://h/#x", "http://h\\@evil/", "http://h/\r\n", "http://h/../x", "http://h/%2e%2e/x", "http://h/%zz", "http://é/",
    ],
)  # fmt: skip
def test_templates_that_are_refused(template: str) -> None:
    with pytest.raises(BadTemplate):
        addresses.parsed(template)


def test_named_arguments_become_the_query() -> None:
    template = addresses.parsed("https://shop.example/orders")

    address = addresses.expanded(
        template, {"state": ["open", "a&b"], "page": 2, "gone": None}, ["state", "page", "gone"]
    )

    assert address.url == "https://shop.example/orders?state=open&state=a%26b&page=2"
    assert address.template.port == 443


@given(order=st.text(min_size=1), by=st.text())
def test_no_value_changes_the_shape_of_the_address(order: str, by: str) -> None:
    try:
        made = addresses.expanded(ORDER, {"order": order, "by": by})
    except BadValue:
        return

    assert made.url.startswith("http://127.0.0.1:9000/refunds/")
    assert made.target.isascii()
    assert made.target.isprintable()
    path, _, query = made.target.partition("?")
    assert [path.count("/"), query.count("&"), query.count("=")] == [3, 0, 1]
    assert not {".", "..", ""} & set(path.split("/")[1:])
