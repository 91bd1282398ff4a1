"""What the cards of the conductor's requests show beside the request itself."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django import template

from agents import roster
from agents.models import Agent
from approvals import edits
from approvals.models import ApprovalRequest
from orchestrator_site.core.templatetags.plain import EFFECT_WORDS
from runs.models import Artifact, Dispatch, Handoff
from tools.models import ToolVersion

register = template.Library()

LONG_TEXT = 60


@dataclass(frozen=True)
class Field:
    """One field of an edit form, made from the tool's schema."""

    name: str
    label: str
    type: str
    value: str
    is_required: bool
    hint: str
    choices: list[str]
    minimum: Any = None
    maximum: Any = None

    @property
    def posted_as(self) -> str:
        return edits.field_name(self.type, self.name, optional=not self.is_required)


@register.simple_tag
def dispatch_of(request: ApprovalRequest) -> Dispatch | None:
    """Who asks, for which run: one query."""
    if request.dispatch_id is None:
        return None
    return Dispatch.objects.select_related("run__owner", "manifest__agent").filter(pk=request.dispatch_id).first()


@register.simple_tag
def handoff_of(request: ApprovalRequest) -> Handoff | None:
    """Read once, although several blocks of a card ask for it."""
    if not hasattr(request, "shown_handoff"):
        rows = Handoff.objects.select_related("target__published", "source__manifest")
        request.shown_handoff = rows.filter(request=request).first()  # type: ignore[attr-defined]
    return request.shown_handoff  # type: ignore[attr-defined]


@register.simple_tag
def passed_on(handoff: Handoff) -> list[Artifact]:
    """The artifacts a proposal refers to; its references were checked when it was made."""
    ids = [reference.removeprefix("artifact:") for reference in handoff.artifacts]
    return list(Artifact.objects.filter(pk__in=ids)) if ids else []


@register.simple_tag
def candidates(slugs: list[str]) -> list[tuple[str, str]]:
    """Agents with what they own, in the order asked; those no longer at work are left out."""
    rows = Agent.objects.at_work().filter(slug__in=slugs).select_related("published")
    owns = {agent.slug: agent.published.owns for agent in rows if agent.published}
    return [(slug, owns[slug]) for slug in slugs if slug in owns]


@register.simple_tag
def edit_fields(request: ApprovalRequest, typed: Mapping[str, str]) -> list[Field]:
    """A field for each argument the tool's schema knows or the call brought, filled with what was typed before."""
    content = request.content
    schema = _schema(request)
    properties = schema.get("properties", {})
    names = _names({*properties, *content["arguments"]}, schema)
    required = {*schema.get("required", []), *content["arguments"]}
    return [
        _field(name, properties.get(name, {}), content["arguments"].get(name), name in required, typed)
        for name in names
    ]


def _schema(request: ApprovalRequest) -> Mapping[str, Any]:
    """Of the very version that was ruled upon, read once."""
    if not hasattr(request, "shown_schema"):
        version = ToolVersion.objects.filter(pk=request.content["tool_version"]).first()
        request.shown_schema = version.input_schema if version else {}  # type: ignore[attr-defined]
    return request.shown_schema  # type: ignore[attr-defined]


@register.simple_tag
def in_order(request: ApprovalRequest, arguments: Mapping[str, Any]) -> Any:
    """The arguments, what the tool's schema requires first: an address reads like one. Nothing is left out."""
    return _in_order(arguments, _schema(request))


def _in_order(value: Any, schema: Mapping[str, Any]) -> Any:
    if not isinstance(value, dict):
        return value
    properties = schema.get("properties", {})
    return {name: _in_order(value[name], properties.get(name, {})) for name in _names(value, schema)}


def _names(names: Iterable[str], schema: Mapping[str, Any]) -> list[str]:
    """The database keeps no order of an object's keys, but that of the list of required ones."""
    required = schema.get("required", [])
    return [name for name in required if name in names] + sorted(name for name in names if name not in required)


def _field(name: str, schema: Mapping[str, Any], value: Any, is_required: bool, typed: Mapping[str, str]) -> Field:
    type = _type(schema, value)
    field = Field(
        name=name,
        label=name.replace("_", " ").capitalize(),
        type=type,
        value=_as_text(type, value, schema),
        is_required=is_required,
        hint=schema.get("description", ""),
        choices=[str(choice) for choice in schema.get("enum", [])],
        minimum=schema.get("minimum", schema.get("exclusiveMinimum")),
        maximum=schema.get("maximum", schema.get("exclusiveMaximum")),
    )
    if field.posted_as not in typed:
        return field
    return Field(**{**vars(field), "value": typed[field.posted_as]})


def _type(schema: Mapping[str, Any], value: Any) -> str:
    """How a field is shown and read; what has no simple form is JSON."""
    declared = schema.get("type")
    if declared is None and value is not None:
        declared = _TYPES.get(type(value), "json")
    if declared == "string" and (value is None or isinstance(value, str)):
        if schema.get("enum"):
            return "choice"
        is_long = (schema.get("maxLength") or 0) > 300 or len(value or "") > LONG_TEXT or "\n" in (value or "")
        return "long" if is_long else "text"
    if declared in ("integer", "number", "boolean") and not isinstance(value, (str, dict, list)):
        return declared
    return "json"


_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number"}


def _as_text(type: str, value: Any, schema: Mapping[str, Any]) -> str:
    if value is None:
        return ""
    if type == "json":
        return json.dumps(_in_order(value, schema), indent=2, ensure_ascii=False)
    if type == "boolean":
        return "true" if value else "false"
    return str(value)


@register.filter
def effect_words(effect: str) -> str:
    return EFFECT_WORDS.get(effect, "")


@register.filter
def confidence_words(confidence: float | None) -> str:
    """A number from a model, phrased as no more than it is."""
    if confidence is None:
        return "The agent did not say how sure it is."
    if confidence >= 0.9:
        return "The agent says that it is sure."
    if confidence >= 0.7:
        return "The agent says that it is fairly sure."
    if confidence >= 0.4:
        return "The agent says that it is not sure."
    return "The agent says that it is guessing."


@register.simple_tag
def at_work() -> list[tuple[str, str]]:
    """Slug and title of every agent a run can be given to; a web process has no listener, so the epoch is asked for."""
    live = roster.current(min_epoch=roster.database_epoch())
    return [(slug, entry.spec.title) for slug, entry in sorted(live.entries.items())]


@register.simple_tag
def typed(card: Any, name: str) -> str:
    """What was posted in a field whose name a template cannot spell as a lookup."""
    return card.typed.get(name, "")
