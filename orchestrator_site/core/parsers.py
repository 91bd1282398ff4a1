"""What a request's body may be."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import IO, Any

from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from orchestrator_site.core.problems import Problem, invalid


class JsonParser(BaseParser):
    """JSON that can be kept: within the size limit, finite numbers, no NUL and no half of a surrogate pair."""

    media_type = "application/json"

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        content = stream.read(limit + 1)
        if len(content) > limit:
            raise Problem(413, f"The body is larger than {limit:,} bytes.")
        try:
            value = json.loads(content.decode(), parse_constant=_refuse_constant)
            faults = dict(_unkeepable(value))
        except (ValueError, RecursionError) as error:
            raise ParseError(f"The body is not JSON: {error}") from error
        if faults:
            raise invalid(faults)
        if not isinstance(value, dict):
            raise ParseError("The body has to be a JSON object.")
        return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _unkeepable(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    match value:
        case str() if "\x00" in value:
            yield path, "It holds a NUL character, which cannot be kept."
        case str() if any("\ud800" <= character <= "\udfff" for character in value):
            yield path, "It holds half of a surrogate pair, which is no character."
        case float() if not math.isfinite(value):
            yield path, "The number is too large."
        case dict():
            for name, inner in value.items():
                inside = f"{path}.{name}" if path else name
                if any(_unkeepable(name)):
                    yield path, "One of its names holds a character that cannot be kept."
                else:
                    yield from _unkeepable(inner, inside)
        case list():
            for index, inner in enumerate(value):
                yield from _unkeepable(inner, f"{path}.{index}" if path else str(index))
