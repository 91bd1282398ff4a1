"""Tool arguments against a tool's JSON Schema (Draft 2020-12). Pure: the gate, the forms and the executors ask here."""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable

MOST_SENTENCES = 10
LONGEST_QUOTE = 120


def validate_arguments(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> list[str]:
    """One sentence a mistake, each naming its field; empty when the arguments fit."""
    try:
        validator = _validator(json.dumps(schema, sort_keys=True))
        errors = sorted(validator.iter_errors(arguments), key=lambda error: error.json_path)
    except SchemaError as error:
        return [f"The tool's own schema is not valid: {error.message}."]
    except Unresolvable as error:
        return [f"The tool's own schema points at {error.ref!r}, which is not part of it."]
    except RecursionError:
        return ["The arguments are nested too deeply to be checked."]
    sentences = [_sentence(error) for error in errors[:MOST_SENTENCES]]
    if len(errors) > MOST_SENTENCES:
        sentences.append(f"There are {len(errors) - MOST_SENTENCES} more mistakes.")
    return sentences


def schema_problems(schema: Any) -> list[str]:
    """What keeps this from being a tool's input schema: arguments are always one JSON object."""
    if not isinstance(schema, Mapping) or schema.get("type") != "object":
        return ['The schema must be a JSON object with "type": "object".']
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        return [f"{_field(error)}: {error.message}."]
    return []


# An empty registry: a `$ref` out of the schema is an error here, and never a request to another host.
@lru_cache(maxsize=512)
def _validator(schema_text: str) -> Draft202012Validator:
    schema = json.loads(schema_text)
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, registry=Registry(), format_checker=Draft202012Validator.FORMAT_CHECKER)


def _sentence(error: ValidationError) -> str:
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        return " ".join(f"{_inside(error, name)} is missing." for name in missing)
    if error.validator == "additionalProperties" and isinstance(error.instance, Mapping):
        known = error.schema.get("properties", {})
        unknown = [name for name in error.instance if name not in known]
        return " ".join(f"{_inside(error, name)} is not an argument of this tool." for name in unknown)
    # The message begins with the value itself, which may be pages of text.
    message = error.message if len(error.message) <= LONGEST_QUOTE else f"… {error.message[-LONGEST_QUOTE:]}"
    return f"{_field(error)}: {message}."


def _field(error: ValidationError) -> str:
    return error.json_path.removeprefix("$").removeprefix(".") or "arguments"


def _inside(error: ValidationError, name: str) -> str:
    return name if error.json_path == "$" else f"{_field(error)}.{name}"
