"""What a tool returned, as the text a model reads; and what went wrong, as one plain sentence.

Text is given as it is. Everything else becomes canonical JSON, where dates and times (ISO 8601), Decimal, UUID and
integers beyond 2^53 become strings and an Enum becomes its value: what would otherwise be lost or rounded is kept.
Half characters (lone surrogates), which are not Unicode text, become U+FFFD, and so does NUL, which PostgreSQL cannot
store; escaped inside JSON it stays.
"""

import datetime as dt
import decimal
import enum
import json
import math
import re
import uuid
from typing import Any

from orchestrator_site.core import canonical
from tools.values import ErrorKind, ToolResult

DEEPEST = 100
LONGEST_SENTENCE = 1000
LARGEST_INTEGER = 2**53 - 1


class Unfit(Exception):
    """A value that cannot be a result; `kind` and the message say why."""

    def __init__(self, kind: ErrorKind, sentence: str):
        super().__init__(sentence)
        self.kind = kind


def failure(kind: ErrorKind, sentence: str, *, sent: bool) -> ToolResult:
    cleaned = _storable(" ".join(sentence.split()))
    if len(cleaned) > LONGEST_SENTENCE:
        cleaned = cleaned[: LONGEST_SENTENCE - 1] + "…"
    return ToolResult(cleaned, kind, sent)


def success(content: str) -> ToolResult:
    return ToolResult(_storable(content))


def rendered(value: Any, limit_bytes: int) -> str:
    """Raises Unfit."""
    if isinstance(value, str) and not isinstance(value, enum.Enum):
        text = _storable(str(value))
        return _within(text, _size(text), limit_bytes)
    value = plain(value, "the result", ())
    # Measured by the fast encoder first: canonical JSON of something huge would take seconds to find out the same.
    size = _size(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    _within("", size, limit_bytes)
    text = canonical.dumps(value)
    return _within(text, _size(text), limit_bytes)


def plain(value: Any, where: str, inside: tuple[int, ...]) -> Any:
    """The value in JSON's own types, or Unfit naming the place that has none. `inside`: ids of what encloses it."""
    match value:
        case enum.Enum():
            return plain(value.value, where, inside)
        case None | bool():
            return value
        case str():
            return _whole(str(value))
        case int():
            return int(value) if abs(value) <= LARGEST_INTEGER else str(int(value))
        case float():
            if not math.isfinite(value):
                raise _no_form(f"{where} is {value}")
            return float(value)
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()
        case decimal.Decimal() | uuid.UUID():
            return str(value)
        case dict() | list() | tuple():
            return _container(value, where, inside)
    raise _no_form(f"{where} is of type {type(value).__name__}")


def too_large(size: int, limit_bytes: int) -> Unfit:
    return Unfit(ErrorKind.TOO_LARGE, f"The result is {size:,} bytes; the limit is {limit_bytes:,} bytes.")


def _container(value: dict | list | tuple, where: str, inside: tuple[int, ...]) -> Any:
    if id(value) in inside:
        raise _no_form(f"{where} contains itself")
    if len(inside) == DEEPEST:
        raise _no_form(f"it is nested deeper than {DEEPEST} levels")
    inside = (*inside, id(value))
    if not isinstance(value, dict):
        return [plain(item, f"{where}[{index}]", inside) for index, item in enumerate(value)]
    for key in value:
        if not isinstance(key, str):
            raise _no_form(f"{where} has the key {key!r}, which is not text")
    return {_whole(str(key)): plain(item, f"{where}.{key}", inside) for key, item in value.items()}


def _no_form(what: str) -> Unfit:
    return Unfit(ErrorKind.INVALID_RESULT, f"The result has no JSON form: {what}.")


def _within(text: str, size: int, limit_bytes: int) -> str:
    if size > limit_bytes:
        raise too_large(size, limit_bytes)
    return text


def _size(text: str) -> int:
    return len(text.encode())


def _whole(text: str) -> str:
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def _storable(text: str) -> str:
    return _whole(text).replace("\x00", "\ufffd")
