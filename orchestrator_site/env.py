"""Typed readers of environment variables: a wrong value stops the start and names its variable."""

import json
import os
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

N = TypeVar("N", int, float)


def text(name: str, default: str | None = None) -> str:
    value = os.environ.get(name, default)
    if value is None:
        raise ImproperlyConfigured(f"{name} is not set, and it has no safe default.")
    return value


def integer(name: str, default: int, *, at_least: int = 0) -> int:
    if (raw := os.environ.get(name)) is None:
        return default
    value = _read(name, raw, int, "a whole number")
    if value < at_least:
        raise ImproperlyConfigured(f"{name} must be at least {at_least}, not {value}.")
    return value


def seconds(name: str, default: float, *, above: float = 0) -> float:
    if (raw := os.environ.get(name)) is None:
        return default
    value = _read(name, raw, float, "a number of seconds")
    if value <= above:
        raise ImproperlyConfigured(f"{name} must be above {above:g} seconds, not {raw}.")
    return value


def _read(name: str, raw: str, kind: Callable[[str], N], what: str) -> N:
    try:
        return kind(raw)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be {what}, not {raw!r}.") from None


def share(name: str, default: float) -> float:
    """A number from 0 to 1."""
    if (raw := os.environ.get(name)) is None:
        return default
    value = _read(name, raw, float, "a number from 0 to 1")
    if not 0 <= value <= 1:
        raise ImproperlyConfigured(f"{name} must be from 0 to 1, not {raw}.")
    return value


def boolean(name: str, default: bool) -> bool:
    raw = os.environ.get(name)
    if raw is None:
        return default
    if raw.lower() in {"1", "true", "yes", "on"}:
        return True
    if raw.lower() in {"0", "false", "no", "off", ""}:
        return False
    raise ImproperlyConfigured(f"{name} must be true or false, not {raw!r}.")


def words(name: str, default: list[str]) -> list[str]:
    raw = os.environ.get(name)
    return default if raw is None else [word.strip() for word in raw.split(",") if word.strip()]


def json_object(name: str, default: dict[str, Any]) -> dict[str, Any]:
    raw = os.environ.get(name)
    if raw is None:
        return default
    try:
        value = json.loads(raw)
    except ValueError as error:
        # The value itself stays out of the message: it may hold a key.
        raise ImproperlyConfigured(f"{name} must be a JSON object: {error}.") from None
    if not isinstance(value, dict):
        raise ImproperlyConfigured(f"{name} must be a JSON object, in braces.")
    return value


def optional(name: str) -> str | None:
    """The text of the variable; None when it is unset or empty."""
    return os.environ.get(name) or None


def postgres(name: str, default: str) -> dict[str, Any]:
    """Django's connection settings out of a `postgresql://user:password@host:port/name?sslmode=…` URL.

    A socket folder goes into the query, `?host=/run/postgresql`; every other query part is passed to libpq as it is.
    """
    url = _url(name, default, {"postgres", "postgresql"})
    database = unquote(url.path.removeprefix("/"))
    if not database:
        raise ImproperlyConfigured(f"{name} names no database: postgresql://user:password@host:5432/NAME.")
    query = dict(parse_qsl(url.query))
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": database,
        "USER": unquote(url.username or ""),
        "PASSWORD": unquote(url.password or ""),
        "HOST": query.pop("host", url.hostname or ""),
        "PORT": query.pop("port", str(url.port or "")),
        "OPTIONS": dict(query),
    }


def redis(name: str, default: str) -> str:
    """A `redis://`, `rediss://` or `unix:///path/to.sock?db=0` URL, as the redis client reads it."""
    _url(name, default, {"redis", "rediss", "unix"})
    return os.environ.get(name, default)


def _url(name: str, default: str, schemes: set[str]) -> SplitResult:
    raw = os.environ.get(name, default)
    try:
        url = urlsplit(raw)
        _ = url.port
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} is not a valid URL: {error}.") from None
    if url.scheme not in schemes:
        # The value itself stays out of the message: it may hold a password.
        raise ImproperlyConfigured(f"{name} must start with {' or '.join(sorted(f'{s}://' for s in schemes))}.")
    return url


def one_of(name: str, allowed: tuple[str, ...]) -> str:
    """The first is the default."""
    value = os.environ.get(name, allowed[0])
    if value not in allowed:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(allowed)}, not {value!r}.")
    return value
