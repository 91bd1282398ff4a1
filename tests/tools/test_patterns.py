"""Patterns of arguments: a matcher for each, and nothing beside them."""

import pytest

from tools import patterns
from tools.matchers import Matcher

PATTERN = {
    "amount": Matcher("at_most", ("50",)),
    "to": Matcher("domain", ("shop.example",)),
    "note": Matcher("any", ()),
}


@pytest.mark.parametrize(
    ("arguments", "covered"),
    [
        ({"amount": 50, "to": "ann@shop.example", "note": "x"}, True),
        ({"amount": 50, "to": "ann@shop.example"}, True),
        ({"amount": 50.01, "to": "ann@shop.example"}, False),
        ({"amount": "50", "to": "ann@shop.example", "note": {"deep": [1]}}, True),
        ({"amount": 5, "to": "ann@shop.example.evil.example"}, False),
        ({"amount": 5, "to": "ann@shop.example", "cc": "x@evil.example"}, False),
        ({"amount": 5}, False),
        ({}, False),
    ],
)
def test_what_a_pattern_covers(arguments, covered):
    assert patterns.covers(PATTERN, arguments) is covered


def test_an_empty_pattern_covers_the_empty_call_only():
    assert patterns.covers({}, {})
    assert not patterns.covers({}, {"x": 1})


ARGUMENTS = {"amount": 19.5, "to": "ann@shop.example", "code": "007", "list": ["a", 1], "yes": True, "none": None}


def test_what_is_suggested_covers_the_call_it_was_made_from_and_no_more():
    suggested = patterns.suggested(ARGUMENTS)

    assert patterns.faults(suggested, ARGUMENTS) == {}
    assert patterns.covers(suggested, ARGUMENTS | {"amount": 3})
    for name, other in (
        ("amount", 20),
        ("to", "bo@shop.example"),
        ("code", 7),
        ("yes", 1),
        ("none", ""),
        ("list", ["a"]),
    ):
        assert not patterns.covers(suggested, ARGUMENTS | {name: other}), name


def test_a_number_that_only_names_something_is_suggested_as_it_is():
    assert patterns.suggested({"order_number": 7})["order_number"] == Matcher("equal", ("7",))


def test_it_is_read_as_it_was_written():
    assert patterns.read(patterns.written(PATTERN)) == PATTERN


@pytest.mark.parametrize(
    ("pattern", "fault"),
    [
        ({}, "Say what it may be"),
        ({"amount": Matcher("at_most", ("5",))}, "does not match what is asked here"),
        ({"amount": Matcher("at_most", ("many",))}, "not a plain decimal number"),
        ({"amount": Matcher("at_most", ())}, "one value"),
        ({"amount": Matcher("about", ("5",))}, "no kind of matcher"),
    ],
)
def test_faults_name_their_argument(pattern, fault):
    assert fault in patterns.faults(pattern, {"amount": 6})["amount"]


def test_an_argument_the_call_does_not_have_is_a_fault():
    assert "no such argument" in patterns.faults({"cc": Matcher("any", ())}, {})["cc"]
