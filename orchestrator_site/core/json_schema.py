"""Values against a JSON Schema (Draft 2020-12). Pure; a schema that points outside itself never makes a request."""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

MOST_SENTENCES = 10
LONGEST_QUOTE = 120


class Unusable(Exception):
    """The schema itself is wrong; the message goes on from "the schema …"."""


def mistakes(schema: Mapping[str, Any], value: Any, *, root: str, unknown: str) -> list[str]:
    """One sentence a mistake, each naming its field; empty when the value fits. Raises Unusable.

    `root` is what the value is called as a whole, `unknown` what a field is said to be that the schema does not know.
    """
    try:
        validator = _validator(json.dumps(schema, sort_keys=True))
        errors = sorted(validator.iter_errors(value), key=lambda error: error.json_path)
    except SchemaError as error:
        raise Unusable(f"is not valid: {error.message}") from error
    except Unresolvable as error:
        raise Unusable(f"points at {error.ref!r}, which is not part of it") from error
    except RecursionError:
        return [f"{root}: nested too deeply to be checked."]
    sentences = [_sentence(error, root, unknown) for error in errors[:MOST_SENTENCES]]
    if len(errors) > MOST_SENTENCES:
        sentences.append(f"There are {len(errors) - MOST_SENTENCES} more mistakes.")
    return sentences


def problems(schema: Any) -> list[str]:
    """What keeps this from being a schema that values can be held against."""
    if not isinstance(schema, Mapping):
        return ["a JSON Schema is an object."]
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        where = error.json_path.removeprefix("$").removeprefix(".")
        return [f"not a valid JSON Schema: {where + ': ' if where else ''}{error.message}."]
    return [f"it points at {reference!r}, which is not part of it." for reference in _lost_references(schema)]


def _lost_references(schema: Mapping[str, Any]) -> list[str]:
    resolver = Registry().resolver_with_root(DRAFT202012.create_resource(schema))
    lost = []
    for reference in _references(schema):
        try:
            resolver.lookup(reference)
        except Unresolvable:
            lost.append(reference)
    return lost


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, Mapping):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for inner in part.values():
            yield from _references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _references(inner)


# An empty registry: a `$ref` out of the schema is an error here, and never a request to another host.
@lru_cache(maxsize=512)
def _validator(schema_text: str) -> Draft202012Validator:
    schema = json.loads(schema_text)
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, registry=Registry(), format_checker=Draft202012Validator.FORMAT_CHECKER)


def _sentence(error: ValidationError, root: str, unknown: str) -> str:
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        return " ".join(f"{_inside(error, name, root)} is missing." for name in missing)
    if error.validator == "additionalProperties" and isinstance(error.instance, Mapping):
        known = error.schema.get("properties", {})
        strange = [name for name in error.instance if name not in known]
        return " ".join(f"{_inside(error, name, root)} {unknown}." for name in strange)
    # The message begins with the value itself, which may be pages of text.
    message = error.message if len(error.message) <= LONGEST_QUOTE else f"… {error.message[-LONGEST_QUOTE:]}"
    return f"{_field(error, root)}: {message}."


def _field(error: ValidationError, root: str) -> str:
    return error.json_path.removeprefix("$").removeprefix(".") or root


def _inside(error: ValidationError, name: str, root: str) -> str:
    return name if error.json_path == "$" else f"{_field(error, root)}.{name}"
