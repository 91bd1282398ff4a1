"""Patterns of a call's arguments: a typed matcher for each, or a person's word that it may be anything. Pure.

As JSON: {argument: {"kind": a kind of matcher or "any", "values": [text]}}.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from orchestrator_site.core import canonical
from tools import matchers
from tools.matchers import Matcher

ANY = "any"
AMOUNT = re.compile(r"amount|price|total|sum|cost|fee|usd|eur|gbp|cents|quantity", re.IGNORECASE)
KINDS = (*matchers.KINDS, ANY)
Pattern = Mapping[str, Matcher]


def covers(pattern: Pattern, arguments: Mapping[str, Any]) -> bool:
    """Every argument of the call is one of the pattern's and matches; and none is left out that the pattern holds to
    something: what stands in its place then is the tool's own."""
    held = {name for name, matcher in pattern.items() if matcher.kind != ANY}
    return held <= arguments.keys() <= pattern.keys() and all(
        name not in held or matchers.matches(pattern[name], value) for name, value in arguments.items()
    )


def faults(pattern: Pattern, arguments: Mapping[str, Any]) -> dict[str, str]:
    """By argument, why this pattern cannot be given for a call with these arguments."""
    found = {name: "Say what it may be, or “any”." for name in arguments if name not in pattern}
    for name, matcher in pattern.items():
        if name not in arguments:
            found[name] = "The call has no such argument."
        elif matcher.kind != ANY and (problems := matchers.problems(matcher.kind, matcher.values)):
            found[name] = " ".join(problems)
        elif matcher.kind != ANY and not matchers.matches(matcher, arguments[name]):
            found[name] = "It does not match what is asked here."
    return found


def suggested(arguments: Mapping[str, Any]) -> dict[str, Matcher]:
    """For amounts, by their name: from nothing to this much; for everything else: exactly this."""
    return {name: _suggested(name, value) for name, value in arguments.items()}


def is_amount(name: str, value: Any) -> bool:
    """A number that can be large or small, and is no mere name of something, as an order's number is."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and AMOUNT.search(name) is not None


def _suggested(name: str, value: Any) -> Matcher:
    if is_amount(name, value) and value >= 0:
        return Matcher("between", ("0", canonical.dumps(value)))
    return Matcher("equal", (value if isinstance(value, str) and not _is_json(value) else canonical.dumps(value),))


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def read(text: str) -> dict[str, Matcher]:
    return {name: Matcher(each["kind"], tuple(each["values"])) for name, each in sorted(canonical.loads(text).items())}


def written(pattern: Pattern) -> str:
    """Canonical JSON."""
    return canonical.dumps({name: {"kind": each.kind, "values": list(each.values)} for name, each in pattern.items()})


def in_words(matcher: Matcher) -> str:
    """The rest of a sentence that begins with the argument's name."""
    values = " or ".join(matcher.values)
    match matcher.kind:
        case "any":
            return "anything"
        case "equal":
            return values
        case "between":
            return f"between {' and '.join(matcher.values)}"
        case kind:
            return f"{_WORDS.get(kind, kind)} {values}"


_WORDS = {
    "at_most": "at most",
    "domain": "at",
    "email": "the address",
    "account": "the account",
    "path": "at or below",
    "url": "at or below",
}
