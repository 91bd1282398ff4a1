"""Edits as forms post them. A field's name says how to read it: `edit:<type>:<name>`.

Types are text, long, lines (a list of texts), integer, number, boolean, choice and json; with `?` behind the type, an
empty field is left out.
Nothing here is trusted: the kind of the request validates and rules upon the whole edit anew.
"""

import json
from collections.abc import Mapping
from typing import Any

from approvals.errors import InvalidEdit

PREFIX = "edit:"


def field_name(type: str, name: str, *, optional: bool = False) -> str:
    return f"{PREFIX}{type}{'?' if optional else ''}:{name}"


def read(posted: Mapping[str, str]) -> dict[str, Any]:
    """The edit as values. Raises InvalidEdit naming each field that cannot be read."""
    edit: dict[str, Any] = {}
    faults: dict[str, str] = {}
    for key in posted:
        if not key.startswith(PREFIX):
            continue
        type, _, name = key.removeprefix(PREFIX).partition(":")
        text = posted[key].replace("\r\n", "\n")
        if type.endswith("?") and not text.strip():
            continue
        try:
            edit[name] = _value(type.removesuffix("?"), text)
        except ValueError as error:
            faults[name] = f"{name.replace('_', ' ')}: {error}"
    if faults:
        raise InvalidEdit(faults)
    return edit


def _value(type: str, text: str) -> Any:
    match type:
        case "integer" | "number":
            return _number(type, text)
        case "boolean":
            return text == "true"
        case "json":
            return _json(text)
        case "lines":
            return [line.strip() for line in text.splitlines() if line.strip()]
        case _:
            return text


def _number(type: str, text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number; write it like 1234.50.") from None
    if type == "integer" and not number.is_integer():
        raise ValueError(f"{text!r} is not a whole number.")
    return number


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"It is not JSON: {error.msg} in line {error.lineno}, column {error.colno}.") from None
