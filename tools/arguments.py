"""Tool arguments, against a tool's JSON Schema and as numbers. Pure: the gate, the forms and the executors ask here."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from orchestrator_site.core import json_schema


def validate_arguments(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> list[str]:
    """One sentence a mistake, each naming its field; empty when the arguments fit."""
    try:
        return json_schema.mistakes(schema, arguments, root="arguments", unknown="is not an argument of this tool")
    except json_schema.Unusable as error:
        return [f"The tool's own schema {error}."]


def as_number(value: Any) -> Decimal | None:
    """A number, or text that reads as one; None for everything else, and for what is not finite."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
