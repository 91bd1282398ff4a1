"""Named lists of destinations, as they are now."""

from collections.abc import Mapping
from typing import Any

from tools import outbound
from tools.matchers import Matcher, matches


def current() -> Mapping[str, Matcher]:
    """By name; read once an epoch of the roster, so that asking costs no query."""
    return outbound.current().destinations


def listing(value: Any, lists: Mapping[str, Matcher]) -> list[str]:
    """Names of the lists that have this value, or every item of it. Pure; sorted."""
    return sorted(name for name, matcher in lists.items() if matches(matcher, value))


def holding(lists: Mapping[str, Matcher], arguments: Mapping[str, Any]) -> dict[str, list[str]]:
    """By argument, the lists that have its value; arguments that none has are left out. Pure."""
    return {name: listed for name, value in arguments.items() if (listed := listing(value, lists))}
