"""A template's gaps are filled: rows become a plan."""

import re
from collections.abc import Mapping
from typing import Any

import jsonschema

from agents.values import Problem
from runs.models.templates import PlanTemplate
from runs.planning import checking
from runs.planning.checking import NotAPlan, Setting
from runs.planning.values import PlanSpec

GAP = re.compile(r"\{\{\s*(\w+)\s*\}\}")
REQUEST = "request"


def fill(value: Any, given: Mapping[str, Any]) -> Any:
    """Every gap with what is given for it. A text that is one gap becomes the value, of whatever type. Pure.

    Raises KeyError for a gap that nothing is given for.
    """
    match value:
        case str():
            if alone := GAP.fullmatch(value):
                return given[alone[1]]
            return GAP.sub(lambda gap: str(given[gap[1]]), value)
        case Mapping():
            return {name: fill(inner, given) for name, inner in value.items()}
        case list() | tuple():
            return [fill(inner, given) for inner in value]
    return value


def gaps(value: Any) -> set[str]:
    """The names of the gaps in a content. Pure."""
    match value:
        case str():
            return set(GAP.findall(value))
        case Mapping():
            return set().union(*(gaps(inner) for inner in value.values()))
        case list() | tuple():
            return set().union(*(gaps(inner) for inner in value))
    return set()


def plan_of(template: PlanTemplate, parameters: Mapping[str, Any], request: str, setting: Setting) -> PlanSpec:
    """Raises NotAPlan: a parameter is missing or wrong, or the plan that comes out cannot be accepted."""
    if found := _parameter_problems(template, parameters):
        raise NotAPlan(found)
    try:
        content = fill(template.content, {**parameters, REQUEST: request})
    except KeyError as error:
        raise NotAPlan([Problem(f"parameters.{error.args[0]}", "it is missing.")]) from error
    return checking.read_checked(content, setting)


def _parameter_problems(template: PlanTemplate, parameters: Mapping[str, Any]) -> list[Problem]:
    schema = {"type": "object", "additionalProperties": False} | template.parameters
    validator = jsonschema.Draft202012Validator(schema)
    return [
        Problem(".".join(["parameters", *map(str, error.absolute_path)]), f"{error.message}.")
        for error in validator.iter_errors(dict(parameters))
    ]


def problems(template: PlanTemplate) -> list[Problem]:
    """What keeps a template from being saved: a schema that is none, a gap without a parameter, a plan that is none
    even when its gaps are filled as they may be."""
    if fault := checking.schema_fault(template.parameters):
        return [Problem("parameters", fault)]
    declared = set(template.parameters.get("properties", {}))
    unknown = sorted(gaps(template.content) - declared - {REQUEST})
    if unknown:
        return [Problem("content", f"{{{{{name}}}}} is no parameter: declare it in parameters.") for name in unknown]
    samples = {name: _sample(shape) for name, shape in template.parameters.get("properties", {}).items()}
    try:
        checking.read_checked(fill(template.content, {**samples, REQUEST: "the request"}), Setting())
    except NotAPlan as error:
        return [Problem(f"content.{problem.field}", problem.sentence) for problem in error.problems]
    return []


def _sample(shape: Any) -> Any:
    """A value of a parameter's type, to try the plan with."""
    shape = shape if isinstance(shape, Mapping) else {}
    if "default" in shape or shape.get("enum"):
        return shape.get("default", (shape.get("enum") or [None])[0])
    samples: dict[str, Any] = {"array": ["sample"], "integer": 1, "number": 1, "boolean": True, "object": {}}
    return samples.get(str(shape.get("type")), "sample")
