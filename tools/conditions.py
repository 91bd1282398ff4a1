"""Conditions in CEL over plain facts, compiled once. One that cannot be evaluated never relaxes anything."""

import re
from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Any

from cel_expr_python import cel

_PATTERN = re.compile(r"""\bmatches\s*\(\s*([rR]?"(?:[^"\\]|\\.)*"|[rR]?'(?:[^'\\]|\\.)*')\s*\)""")
_ERROR = re.compile(r"ERROR: [^:\n]*:(\d+):(\d+): (.*)")
_APPLIED = re.compile(r"found no matching overload for '([^']*)' applied to '\((.*)\)'")
_UNDECLARED = re.compile(r"undeclared reference to '([^']*)'")
_MISSING = re.compile(r'NOT_FOUND: Key not found in map : "(.*)"|No value with name "(.*)" found')
# A whole number and one with a fraction are compared by value; only the compiler tells them apart.
_NUMBERS = frozenset({"int", "uint", "double"})


class Kind(StrEnum):
    """What a fact is, where a condition is held to it when it is saved."""

    TEXT = "text"
    NUMBER = "a number"
    FLAG = "true or false"
    MOMENT = "a point in time"
    TEXTS = "a list of texts"
    FLAGS = "true or false by name"
    ANY = "anything"


_TYPES: Mapping[Kind, cel.Type] = {
    Kind.TEXT: cel.Type.STRING,
    Kind.NUMBER: cel.Type.DOUBLE,
    Kind.FLAG: cel.Type.BOOL,
    Kind.MOMENT: cel.Type.TIMESTAMP,
    Kind.TEXTS: cel.Type.List(cel.Type.STRING),
    Kind.FLAGS: cel.Type.Map(cel.Type.STRING, cel.Type.BOOL),
    Kind.ANY: cel.Type.DYN,
}
_WORDS = {
    "string": "text",
    "int": "a whole number",
    "uint": "a whole number",
    "double": "a number",
    "bool": "true or false",
    "google.protobuf.Timestamp": "a point in time",
    "google.protobuf.Duration": "a length of time",
    "null_type": "null",
}


class ConditionFailed(Exception):
    """The condition could not be evaluated over these facts."""


class FactMissing(ConditionFailed):
    """It asks for a fact that is not known, or for a key that is not in one of the facts' maps."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"there is no {name!r} among the facts")


@lru_cache(maxsize=64)
def _environment(names: frozenset[str]) -> cel.Env:
    return cel.NewEnv(variables=dict.fromkeys(names, cel.Type.DYN))


@lru_cache(maxsize=2048)
def _compiled(expression: str, names: frozenset[str]) -> cel.Expression:
    """Raises RuntimeError."""
    return _environment(names).compile(expression)


def fault(expression: str, sample: Mapping[str, Any], kinds: Mapping[str, Kind] | None = None) -> str | None:
    """What is wrong with an expression, with its column, or None.

    `sample` holds every fact that there is, with a value of its kind: what names another fact, a function that does not
    exist or a pattern that is none, or does not come to true or false, is at fault. What only misses a key of the
    sample's maps is not. With `kinds`, what compares a fact with something that it can never be is at fault as well.
    """
    try:
        program = _compiled(expression, frozenset(sample))
    except RuntimeError as error:
        return _said(str(error), sample)
    return _ill_matched(expression, sample, kinds or {}) or _no_answer(program) or _fails(expression, sample)


def _no_answer(program: cel.Expression) -> str | None:
    if (given := program.return_type().name().lower()) not in ("bool", "dyn"):
        return f"it gives {_WORDS.get(given, given)}, not true or false"
    return None


def _ill_matched(expression: str, sample: Mapping[str, Any], kinds: Mapping[str, Kind]) -> str | None:
    if not kinds:
        return None
    try:
        variables = {name: _TYPES[kinds.get(name, Kind.ANY)] for name in {*sample, *kinds}}
        cel.NewEnv(variables=variables).compile(expression)
    except RuntimeError as error:
        return _said(str(error), sample)
    return None


def _said(error: str, sample: Mapping[str, Any]) -> str | None:
    """The compiler's first complaint that is one, in plain words; None where it only minds two kinds of numbers."""
    found = _ERROR.findall(error)
    for line, column, complaint in found:
        if sentence := _in_words(complaint, sample):
            return f"{f'line {line}, ' if line != '1' else ''}column {column}: {sentence}"
    return None if found else error.strip() or "it does not compile"


def _in_words(complaint: str, sample: Mapping[str, Any]) -> str | None:
    if unknown := _UNDECLARED.search(complaint):
        return f"there is no {unknown[1]!r}: a condition may ask for {', '.join(sorted(sample))}"
    if "input '<EOF>'" in complaint:
        return "it ends where something is still to come"
    if not (applied := _APPLIED.search(complaint)):
        return complaint.split(", expecting")[0].split(" expecting {")[0]
    operator, kinds = applied[1].strip("_").replace("@", ""), applied[2].split(", ")
    if len(kinds) == 2 and set(kinds) <= _NUMBERS:
        return None
    return f"{operator} has no meaning between {' and '.join(_WORDS.get(kind, kind) for kind in kinds)}"


def _fails(expression: str, sample: Mapping[str, Any]) -> str | None:
    """Patterns one by one too: what stands ahead of them may keep them from being tried."""
    try:
        for pattern in _PATTERN.findall(expression):
            is_true(f'"".matches({pattern})', {})
        is_true(expression, sample)
    except FactMissing:
        return None
    except ConditionFailed as failure:
        return str(failure)
    return None


def holds(expression: str, arguments: Mapping[str, Any]) -> bool:
    """Of a call's arguments, which it knows as `args`. Raises ConditionFailed."""
    return is_true(expression, {"args": dict(arguments)})


def is_true(expression: str, facts: Mapping[str, Any]) -> bool:
    """Of facts by name, which may be dotted. Raises ConditionFailed when it does not come to true or false."""
    return Facts(facts, frozenset(facts)).is_true(expression)


class Facts:
    """Facts by name that any number of conditions are put to: they are handed over once, which costs more than most
    conditions do.

    `names` are those that there may be: one of them that is not among `known` raises FactMissing where it is asked for.
    """

    def __init__(self, known: Mapping[str, Any], names: frozenset[str]) -> None:
        self._known = known
        self._names = names

    @cached_property
    def _handed_over(self) -> cel.Activation:
        asked = {name: value for name, value in self._known.items() if name in self._names}
        return _environment(self._names).Activation(asked)

    def is_true(self, expression: str) -> bool:
        """Raises ConditionFailed when it does not come to true or false."""
        try:
            given = _compiled(expression, self._names).eval(self._handed_over)
        except RuntimeError as error:
            raise ConditionFailed(_said(str(error), self._known) or str(error)) from error
        value = given.plain_value()
        if value is True or value is False:
            return value
        if given.type().name() == "ERROR":
            if missing := _MISSING.search(value):
                raise FactMissing(missing[1] or missing[2])
            raise ConditionFailed(value.partition(": ")[2] or value)
        raise ConditionFailed(f"it gives {value!r}, not true or false")
