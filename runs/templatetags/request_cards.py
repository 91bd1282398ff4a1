"""What the cards of the conductor's requests show beside the request itself."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django import template

from agents import roster
from agents.models import Agent
from agents.values import Transfer
from approvals import edits, standing, standing_form, states
from approvals.models import ApprovalRequest
from approvals.presentation import Batch
from orchestrator_site.core import canonical
from orchestrator_site.core.templatetags.plain import EFFECT_WORDS
from runs import handoff_kinds
from runs.handing_over import preconditions
from runs.handing_over.preconditions import Precondition
from runs.models import Artifact, Dispatch, Handoff, Run, ToolCall
from runs.orchestration import handoffs
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
    leaves_out_empty: bool = False

    @property
    def posted_as(self) -> str:
        return edits.field_name(self.type, self.name, optional=self.leaves_out_empty or not self.is_required)


@register.simple_tag
def dispatch_of(request: ApprovalRequest) -> Dispatch | None:
    """Who asks, for which run: one query."""
    if request.dispatch_id is None:
        return None
    return Dispatch.objects.select_related("run__owner", "manifest__agent").filter(pk=request.dispatch_id).first()


@register.simple_tag
def run_input(request: ApprovalRequest) -> str:
    """What the run was asked to do, for a request that none of its agents makes: one query."""
    return Run.objects.values_list("input", flat=True).get(pk=request.run_id)


@register.simple_tag
def handoff_of(request: ApprovalRequest) -> Handoff | None:
    """Read once, although several blocks of a card ask for it."""
    if not hasattr(request, "shown_handoff"):
        rows = Handoff.objects.select_related("target__published", "source__manifest__agent", "source__run__owner")
        request.shown_handoff = rows.filter(request=request).first()  # type: ignore[attr-defined]
    return request.shown_handoff  # type: ignore[attr-defined]


@register.simple_tag
def passed_on(handoff: Handoff) -> list[Artifact]:
    """The artifacts a proposal refers to; its references were checked when it was made."""
    ids = [reference.removeprefix("artifact:") for reference in handoff.artifacts]
    return list(Artifact.objects.filter(pk__in=ids)) if ids else []


@register.simple_tag
def preconditions_of(request: ApprovalRequest) -> list[Precondition]:
    """As they are now, while it is open; as they were when it was decided, after that. Looked at once a card."""
    if not hasattr(request, "shown_preconditions"):
        handoff = handoff_of(request)
        request.shown_preconditions = [] if handoff is None else _looked_at(request, handoff)  # type: ignore[attr-defined]
    return request.shown_preconditions  # type: ignore[attr-defined]


def _looked_at(request: ApprovalRequest, handoff: Handoff) -> list[Precondition]:
    is_open = request.status == states.OPEN
    return preconditions.now(handoff) if is_open else preconditions.read(handoff.preconditions)


@register.simple_tag
def obstacles(checks: Iterable[Precondition]) -> list[str]:
    """What a yes has to override, a sentence each."""
    return [each.obstacle for each in checks if each.blocks]


@register.filter
def check_icon(outcome: str) -> str:
    return _CHECKS[outcome][0]


@register.filter
def check_words(outcome: str) -> str:
    return _CHECKS[outcome][1]


_CHECKS = {
    preconditions.SAID: ("check_box_outline_blank", "nobody has checked it"),
    preconditions.GREEN: ("check_circle", "holds"),
    preconditions.RED: ("cancel", "does not hold"),
    preconditions.UNKNOWN: ("help", "could not be evaluated"),
}


@register.filter
def transfer_words(transfer: str) -> str:
    return _TRANSFERS[Transfer(transfer)]


_TRANSFERS = {
    Transfer.STRUCTURED: "what it names",
    Transfer.SELECTIVE: "steps that it chose",
    Transfer.SUMMARY: "a summary",
    Transfer.FULL: "all that it did",
}


@register.simple_tag
def redirects_of(handoff: Handoff) -> list[tuple[str, str]]:
    """Slug and title of whom it may go to, the proposed one first; empty where there is nobody else."""
    others = handoff_kinds.redirects(handoff)
    titles = dict(at_work())
    return [(slug, titles.get(slug, slug)) for slug in [handoff.target.slug, *others]] if others else []


@register.simple_tag
def may_be_sent_back(handoff: Handoff) -> bool:
    return handoffs.may_be_guided(handoff.source.node_id)


@register.simple_tag
def candidates(slugs: list[str]) -> list[tuple[str, str]]:
    """Agents with what they own, in the order asked; those no longer at work are left out."""
    rows = Agent.objects.at_work().filter(slug__in=slugs).select_related("published")
    owns = {agent.slug: agent.published.owns for agent in rows if agent.published}
    return [(slug, owns[slug]) for slug in slugs if slug in owns]


@register.filter
def explained(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The candidates of a question, each with its one line, as they were offered."""
    return [(each, content["explained"].get(each, "")) for each in content["candidates"]]


@register.simple_tag
def edit_fields(request: ApprovalRequest, typed: Mapping[str, str]) -> list[Field]:
    """A field for each argument the tool's schema knows or the call brought, filled with what was typed before."""
    content = request.content
    schema = _schema(request)
    properties = schema.get("properties", {})
    names = _names({*properties, *content["arguments"]}, schema)
    required = {*schema.get("required", []), *content["arguments"]}
    return [
        field_of(name, properties.get(name, {}), content["arguments"].get(name), name in required, typed)
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
    return in_schema_order(arguments, _schema(request))


@register.simple_tag
def columns_in_order(request: ApprovalRequest, batch: Batch) -> list[int]:
    """Where the columns of a batch's comparison stand, what the tool's schema requires first: it tells them apart."""
    columns = batch.comparison.columns
    return [columns.index(name) for name in _names(columns, _schema(request))]


@register.filter
def picked(row: Sequence[Any], places: Sequence[int]) -> list[Any]:
    return [row[place] for place in places]


@register.simple_tag
def origins_of(request: ApprovalRequest) -> dict[str, str]:
    """By argument that nobody vouches for, where its value comes from. Of those that a person has written, nothing."""
    if request.call_id is None:
        return {}
    call = ToolCall.objects.filter(pk=request.call_id).only("ruling", "proposed_arguments").first()
    if call is None or not call.ruling:
        return {}
    rewritten = call.rewritten(request.effective_content["arguments"])
    origins = canonical.loads(call.ruling)["facts"].get("origins", {})
    return {name: where[:1].upper() + where[1:] for name, where in origins.items() if name not in rewritten}


def in_schema_order(value: Any, schema: Mapping[str, Any]) -> Any:
    if not isinstance(value, dict):
        return value
    properties = schema.get("properties", {})
    return {name: in_schema_order(value[name], properties.get(name, {})) for name in _names(value, schema)}


def _names(names: Iterable[str], schema: Mapping[str, Any]) -> list[str]:
    """The database keeps no order of an object's keys, but that of the list of required ones."""
    required = schema.get("required", [])
    return [name for name in required if name in names] + sorted(name for name in names if name not in required)


def field_of(name: str, schema: Mapping[str, Any], value: Any, is_required: bool, typed: Mapping[str, str]) -> Field:
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
        return json.dumps(in_schema_order(value, schema), indent=2, ensure_ascii=False)
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
def standing_lines(card: Any) -> list[standing_form.Line]:
    """An argument each of what may be approved beforehand with this call; empty where nothing may."""
    if standing.why_not_for(card.request):
        return []
    lines = {line.name: line for line in standing_form.lines(card.request, card.typed)}
    return [lines[name] for name in _names(lines, _schema(card.request))]


@register.simple_tag
def at_work() -> list[tuple[str, str]]:
    """Slug and title of every agent a run can be given to; a web process has no listener, so the epoch is asked for."""
    live = roster.current(min_epoch=roster.database_epoch())
    return [(slug, entry.spec.title) for slug, entry in sorted(live.entries.items())]


@register.simple_tag
def typed(card: Any, name: str) -> str:
    """What was posted in a field whose name a template cannot spell as a lookup."""
    return card.typed.get(name, "")


@register.filter
def who(actor: str) -> str:
    """The name of an actor: `user:ann` is ann."""
    return actor.partition(":")[2] or actor


@register.filter
def pretty_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
