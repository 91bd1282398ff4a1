"""Canonical JSON (RFC 8785) and its SHA-256: the one way bytes are made when a person or an auditor relies on them."""

import hashlib
import json
from typing import Any

import rfc8785


class NotCanonical(ValueError):
    """The value has no canonical JSON form (NaN, infinity, an integer beyond 2^53, bytes, a non-string key)."""


def dumps(value: Any) -> str:
    """Raises NotCanonical."""
    try:
        return rfc8785.dumps(value).decode()
    except (rfc8785.CanonicalizationError, RecursionError, UnicodeEncodeError) as error:
        raise NotCanonical(str(error)) from error


def loads(text: str) -> Any:
    return json.loads(text)


def digest(text: str) -> str:
    """Hex SHA-256 of the text's UTF-8 bytes."""
    return hashlib.sha256(text.encode()).hexdigest()
