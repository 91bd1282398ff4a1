"""The fast way of writing canonical JSON writes the same bytes as the library, or is not taken."""

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator_site.core import canonical

numbers = st.integers() | st.floats()
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
    max_leaves=30,
)


@given(values)
@example({"\ufb33": 1, "\U0001f600": 2, "z": 3})  # sorted by UTF-16 units, not by code points
@example({"a": '\x00\x1f\x7f\u2028"\\/\b\f\n\r\t€'})
@example([2**53 - 1, 1 - 2**53, 2**53, True, 1.0, 1e21])
@example("\ud800")
def test_the_same_bytes_as_the_library_or_the_same_refusal(value):
    try:
        expected = rfc8785.dumps(value).decode()
    except (rfc8785.CanonicalizationError, UnicodeEncodeError):
        with pytest.raises(canonical.NotCanonical):
            canonical.dumps(value)
    else:
        assert canonical.dumps(value) == expected


def test_what_the_fast_way_cannot_write_right_is_left_to_the_library():
    assert not any(map(canonical._is_plain, [1.5, 2**53, {"é": 1}, {1: 2}, b"", ["\ud800"], {"a": [float("nan")]}]))
    assert canonical._is_plain({"a": [1, None, True, "é€\U0001f600", {"b": ()}]})
