"""Python callables that tools may name: registered in code, never looked up by a dotted path from data."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class RegisteredCallable:
    """`trusted`: reads only and cannot hang, so it may run in the worker's own thread; all others get a child process.

    `lookup(key)` returns the result of the effect made under an idempotency key, or None when there was none; it may
    name `http` as well.
    """

    name: str
    function: Callable[..., Any]
    trusted: bool
    wants_call: bool
    wants_http: bool
    lookup: Callable[..., Any] | None


class UnknownCallable(LookupError):
    """A tool definition names a callable that no installed app registers."""


_registered: dict[str, RegisteredCallable] = {}


def register(
    name: str, *, trusted: bool = False, lookup: Callable[..., Any] | None = None
) -> Callable[[Function], Function]:
    """Register under a unique name. The function takes the tool's arguments by keyword, and what it names of these:
    `call`, a `tools.values.CallContext`; `http`, a `tools.executors.provided.Http`, bound by the tool's egress rules.
    """

    def decorate(function: Function) -> Function:
        if name in _registered and _registered[name].function is not function:
            raise ValueError(f"A callable named {name!r} is registered already.")
        named = inspect.signature(function).parameters
        _registered[name] = RegisteredCallable(name, function, trusted, "call" in named, "http" in named, lookup)
        return function

    return decorate


def get(name: str) -> RegisteredCallable:
    """Raises UnknownCallable."""
    try:
        return _registered[name]
    except KeyError:
        raise UnknownCallable(f"No callable named {name!r} is registered.") from None


def names() -> list[str]:
    return sorted(_registered)
