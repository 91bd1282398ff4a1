"""What the cards of plans show, and the form that starts a run by one."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from django import template

from runs import node_list
from runs.drawing import Drawing
from runs.models import PlanTemplate
from runs.templatetags.request_cards import Field, field_of, in_schema_order

register = template.Library()

# More nodes than these are edited as JSON.
EDITED_APART = 30


@dataclass(frozen=True)
class PlanLine:
    """A node of a proposed plan. `rest` is whatever else it says: nothing of what is approved stays unseen."""

    key: str
    who: str
    agent: str
    task: str
    after: list[str]
    rest: dict[str, Any]


_TOLD = ("key", "agent", "task", "depends_on")


@register.filter
def plan_lines(content: Mapping[str, Any]) -> list[PlanLine]:
    return [
        PlanLine(
            key=node["key"],
            who=node_list.who(node),
            agent=node.get("agent") or "",
            task=node.get("task", ""),
            after=list(node.get("depends_on", ())),
            rest={name: value for name, value in node.items() if name not in _TOLD},
        )
        for node in content["nodes"]
    ]


@register.filter
def edited_apart(lines: list[PlanLine]) -> list[PlanLine]:
    """Those that have small fields of their own."""
    return lines if len(lines) <= EDITED_APART else []


@register.filter
def plan_rest(content: Mapping[str, Any]) -> dict[str, Any]:
    """What a plan says beside its nodes and its goal."""
    return {name: value for name, value in content.items() if name not in ("nodes", "goal") and value}


@register.filter
def plan_drawing(content: Mapping[str, Any]) -> Drawing | None:
    return node_list.proposed(content)


# -- starting by a template --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class ParameterField:
    field: Field
    fault: str


@register.simple_tag
def plan_templates() -> list[PlanTemplate]:
    return list(PlanTemplate.objects.at_work().defer("content"))


@register.simple_tag
def chosen_template(templates: list[PlanTemplate], slug: str | None) -> PlanTemplate | None:
    return next((each for each in templates if each.slug == slug), None)


@register.simple_tag
def parameter_fields(
    of: PlanTemplate | None, typed: Mapping[str, str], faults: Mapping[str, str]
) -> list[ParameterField]:
    """A field for each parameter, with what was typed and what was wrong with it. One left empty is not given."""
    if of is None:
        return []
    schema = of.parameters
    required = schema.get("required", [])
    return [
        ParameterField(_parameter(name, shape, name in required, typed), _fault(faults, name))
        for name, shape in in_schema_order(schema.get("properties", {}), schema).items()
    ]


def _parameter(name: str, shape: Mapping[str, Any], is_required: bool, typed: Mapping[str, str]) -> Field:
    field = field_of(name, shape, shape.get("default"), is_required, {})
    if shape.get("type") == "array" and shape.get("items", {}).get("type") == "string":
        field = replace(field, type="lines", value="\n".join(shape.get("default", ())))
    field = replace(field, leaves_out_empty=True)
    return replace(field, value=typed[field.posted_as]) if field.posted_as in typed else field


def _fault(faults: Mapping[str, str], name: str) -> str:
    at = f"plan.parameters.{name}"
    return " ".join(said for field, said in faults.items() if field == at or field.startswith(f"{at}."))


@register.filter
def beside_fields(faults: Mapping[str, str] | None, fields: list[ParameterField]) -> list[str]:
    """The faults that stand at none of the form's fields, as sentences."""
    told = {"input", "agent", "budget_usd"}
    beside = {name: said for name, said in (faults or {}).items() if name not in told}
    for each in fields:
        at = f"plan.parameters.{each.field.name}"
        beside = {name: said for name, said in beside.items() if name != at and not name.startswith(f"{at}.")}
    return [f"{name}: {said}" if name.startswith("plan.") else said for name, said in beside.items()]
