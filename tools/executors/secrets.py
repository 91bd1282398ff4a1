"""References to secrets in headers: resolved here, right before sending, and taken out of whatever comes back."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from orchestrator_site.core.own_secrets import PLATFORM_OWN

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
REFERENCE = re.compile(rf"(?P<before>[A-Za-z][A-Za-z0-9-]* )?env:(?P<name>{NAME.pattern})")


class SecretMissing(Exception):
    """The message names the variable and never holds its value."""


@dataclass(frozen=True)
class Secrets:
    """The secret values of one request, by name."""

    values: Mapping[str, str]

    def scrubbed(self, value: Any) -> Any:
        """Text or plain JSON without any of the values, however they were quoted on the way."""
        match value:
            case str():
                return self._text(value)
            case list():
                return [self.scrubbed(item) for item in value]
            case dict():
                return {self._text(key): self.scrubbed(item) for key, item in value.items()}
            case bool() | None:
                return value
        text = self._text(str(value))
        return value if text == str(value) else text

    def _text(self, text: str) -> str:
        for name, secret in self.values.items():
            for form in (secret, json.dumps(secret)[1:-1], quote(secret, safe=""), quote(secret)):
                text = text.replace(form, f"[secret {name}]")
        return text


def resolved(headers: Mapping[str, str]) -> tuple[dict[str, str], Secrets]:
    """The headers as they are sent. Raises SecretMissing."""
    values: dict[str, str] = {}
    sent: dict[str, str] = {}
    for header, value in headers.items():
        if reference := REFERENCE.fullmatch(value):
            name = reference["name"]
            values[name] = _read(name)
            sent[header] = (reference["before"] or "") + values[name]
        else:
            sent[header] = value
    return sent, Secrets(values)


def names_in(headers: Mapping[str, Any]) -> frozenset[str]:
    """The names of the secrets that these headers refer to."""
    references = [REFERENCE.fullmatch(value) for value in headers.values() if isinstance(value, str)]
    return frozenset(reference["name"] for reference in references if reference)


def declared(config: Mapping[str, Any]) -> frozenset[str]:
    """The names of the secrets that a tool is sent with, by its settings: references in `headers`, or `credentials`."""
    headers, names = config.get("headers"), config.get("credentials")
    referred = names_in(headers) if isinstance(headers, Mapping) else frozenset()
    return referred | frozenset(names if isinstance(names, list) else [])


def _read(name: str) -> str:
    if name in PLATFORM_OWN:
        raise SecretMissing(f"{name} is the platform's own secret and is given to no tool.")
    value = os.environ.get(name, "").strip()
    if not value:
        raise SecretMissing(f"The environment variable {name}, which this tool needs as a secret, is not set.")
    if not (value.isascii() and value.isprintable()):
        raise SecretMissing(f"The environment variable {name} holds characters that a header cannot carry.")
    return value
