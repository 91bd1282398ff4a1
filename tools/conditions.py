"""Conditions in CEL over a call's arguments, compiled once. One that cannot be evaluated never relaxes anything."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import cel


class ConditionFailed(Exception):
    """The condition could not be evaluated over these arguments."""


@lru_cache(maxsize=1024)
def _compiled(expression: str) -> cel.Program:
    return cel.compile(expression)


def fault(expression: str) -> str | None:
    """What is wrong with an expression, or None when it compiles."""
    try:
        _compiled(expression)
    except Exception as error:  # the compiler's errors have no common type
        return str(error).strip() or "it does not compile"
    return None


def holds(expression: str, arguments: Mapping[str, Any]) -> bool:
    """Raises ConditionFailed when it does not evaluate to true or false."""
    try:
        value = _compiled(expression).execute({"args": dict(arguments)})
    except Exception as error:  # evaluation errors have no common type either
        raise ConditionFailed(str(error)) from error
    if not isinstance(value, bool):
        raise ConditionFailed(f"it gives {value!r}, not true or false")
    return value
