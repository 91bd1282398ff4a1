"""The form of a manifest draft. Whatever is wrong comes back at its field, with everything that was typed."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.db.models import F
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from pydantic import ValidationError
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from agents import manifests
from agents.models import SLUG, SLUG_LENGTH, Agent, Manifest, ModelEntry
from agents.roster import slug_of
from agents.values import AgentKind, GrantSpec, Limits, ManifestSpec, Problem
from orchestrator_site.core import canonical
from tools import registry
from tools.models import ToolVersion
from tools.values import Risk, ToolSpec

KINDS = [
    (AgentKind.WORKER.value, "worker: does the work with its tools"),
    (AgentKind.ROUTER.value, "router: passes requests to the agents who own them"),
    (AgentKind.SUPERVISOR.value, "supervisor: works, and may dispatch to others"),
    (AgentKind.PLANNER.value, "planner: answers with a plan, which is carried out"),
]
LIMITS = tuple(Limits.model_fields)
OVERRIDES = ("risk_floor", "always_confirm", "timeout_seconds", "result_limit_bytes")


# The model chain


class ModelChainWidget(forms.Widget):
    """One select a place in the chain, and two more for longer ones; an empty place is left out."""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        chosen = [str(model) for model in value] if isinstance(value, list | tuple) else []
        context = {"name": name, "places": [*chosen, "", ""], "catalogue": _catalogue(chosen)}
        return render_to_string("admin/agents/model_chain.html", context)

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[str]:
        return [model for model in data.getlist(name) if model]

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return name not in data


def _catalogue(chosen: Iterable[str]) -> list[tuple[str, str]]:
    """Every model with its prices, and those in use that the catalogue has lost: they can be seen and replaced."""
    entries = list(ModelEntry.objects.all())
    told = [(entry.name, _model_line(entry)) for entry in entries]
    known = {entry.name for entry in entries}
    return told + [(name, f"{name} (not in the catalogue)") for name in dict.fromkeys(chosen) if name not in known]


def _model_line(entry: ModelEntry) -> str:
    if entry.input_price is None or entry.output_price is None:
        prices = "no price: it is never asked"
    else:
        prices = f"{entry.input_price.normalize():f} / {entry.output_price.normalize():f} USD per million tokens"
    return f"{entry.name} · {prices}" + ("" if entry.enabled else " · disabled")


class ModelChainField(forms.Field):
    widget = ModelChainWidget

    def has_changed(self, initial: Any, data: Any) -> bool:
        return list(initial or []) != list(data or [])


# The grants


@dataclass(frozen=True)
class GrantRow:
    """One tool in the table: what it is, whether it is granted, and the overrides as they were typed."""

    tool: str
    spec: ToolSpec | None
    version: str
    granted: bool
    typed: Mapping[str, Any]


class GrantsWidget(forms.Widget):
    """All tools there are, the granted ones first and in the order in which the model is offered them."""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        context = {"name": name, "rows": _grant_rows(value or []), "risks": [risk.value for risk in Risk]}
        return render_to_string("admin/agents/grants.html", context)

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[dict[str, Any]]:
        """Every row of the table as typed, granted or not, so that a page shown again has lost nothing."""
        granted = set(data.getlist(name))
        rows = []
        for tool in data.getlist(f"{name}-row"):
            typed = {part: data.get(f"{name}-{tool}-{part}", "").strip() for part in OVERRIDES}
            rows.append({"tool": tool, "granted": tool in granted, **typed})
        return rows

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return f"{name}-row" not in data


def _grant_rows(value: Sequence[Mapping[str, Any]]) -> list[GrantRow]:
    """`value` is a manifest's own list of grants, or a table as typed, which says `granted` in each row."""
    typed = {str(row["tool"]): row for row in value if isinstance(row, Mapping) and "tool" in row}
    granted = [tool for tool, row in typed.items() if row.get("granted", True)]
    specs, numbers = _all_tools()
    order = [*granted, *(name for name in sorted({*specs, *typed}) if name not in granted)]
    return [
        GrantRow(tool, specs.get(tool), numbers.get(tool, "-"), tool in granted, typed.get(tool, {})) for tool in order
    ]


def _all_tools() -> tuple[dict[str, ToolSpec], dict[str, str]]:
    """Current versions and the platform's own tools; `dispatch_to_*` are the roster's to offer."""
    rows = list(ToolVersion.objects.with_tool().filter(tool__current=F("pk")))
    platform = [name for name in registry.platform_names() if slug_of(name) is None]
    specs = {row.tool.name: row.spec() for row in rows} | registry.specs(platform)
    return specs, {row.tool.name: f"v{row.number}" for row in rows} | dict.fromkeys(platform, "platform")


class SchemaField(forms.JSONField):
    """A JSON Schema as an operator reads it; nothing where there is none."""

    def prepare_value(self, value: Any) -> Any:
        return json.dumps(value, indent=2, ensure_ascii=False) if isinstance(value, dict) else value or ""


class GrantsField(forms.Field):
    widget = GrantsWidget

    def clean(self, value: Any) -> list[dict[str, Any]]:
        """A list of grants as JSON; raises with one sentence for each override that cannot be read."""
        faults: list[str] = []
        grants = [_grant(row, faults) for row in value or [] if row.get("granted", True)]
        if faults:
            raise forms.ValidationError(faults)
        return [grant for grant in grants if grant is not None]

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return list(initial or []) != self.clean(data)
        except forms.ValidationError:
            return True


def _grant(row: Mapping[str, Any], faults: list[str]) -> dict[str, Any] | None:
    content = {"tool": row["tool"], **{part: row[part] for part in OVERRIDES if row.get(part) not in ("", None)}}
    try:
        return GrantSpec.model_validate(content).model_dump(mode="json")
    except ValidationError as error:
        faults += [f"{row['tool']}, {_words(part['loc'])}: {part['msg']}." for part in error.errors()]
        return None


def _words(path: Sequence[Any]) -> str:
    return " ".join(str(part).replace("_", " ") for part in path)


# The exemplars


class ExemplarsField(forms.CharField):
    """One request a line; a list of them."""

    widget = UnfoldAdminTextareaWidget({"rows": 8})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(map(str, value)) if isinstance(value, list | tuple) else value

    def clean(self, value: Any) -> list[str]:  # type: ignore[override]
        return [line.strip() for line in super().clean(value).splitlines() if line.strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return list(initial or []) != self.clean(data)


# The form


def _limit(name: str, label: str) -> forms.Field:
    """A typed field with the bounds, the default and the description of `Limits`."""
    limit = Limits.model_fields[name]
    bounds = {word: getattr(rule, word) for rule in limit.metadata for word in ("ge", "le") if hasattr(rule, word)}
    told = f"{limit.description or 'calls of one turn'}; {bounds.get('ge', 0)} to {bounds.get('le', 'any')}"
    common: dict[str, Any] = {
        "label": label,
        "required": limit.default is not None,
        "initial": limit.default,
        "help_text": f"{told[:1].upper()}{told[1:]}.".replace(" to any.", " or more."),
        "min_value": bounds.get("ge"),
        "max_value": bounds.get("le"),
    }
    if name == "cost_usd":
        return forms.DecimalField(max_digits=12, decimal_places=6, widget=UnfoldAdminDecimalFieldWidget, **common)
    return forms.IntegerField(widget=UnfoldAdminIntegerFieldWidget, **common)


class ManifestForm(forms.ModelForm):
    """A draft: new when it has no row, of a new agent when `agent` is None.

    `publishing` also asks for everything that publishing needs. Valid, it holds the `spec`. `seen` is the digest of
    the draft as the page showed it: who would save over somebody else's newer save is told so.
    """

    slug = forms.CharField(
        max_length=SLUG_LENGTH,
        widget=UnfoldAdminTextInputWidget({"class": "baton-code"}),
        help_text="The agent's name for programs and models; it cannot be changed later. For example: order-desk.",
    )
    title = forms.CharField(
        max_length=120, widget=UnfoldAdminTextInputWidget, help_text="Its name for people, for example: Order desk."
    )
    owns = forms.CharField(
        max_length=300,
        widget=UnfoldAdminTextInputWidget,
        help_text="One line: what it is responsible for. Routers choose by it.",
    )
    kind = forms.ChoiceField(choices=KINDS, widget=UnfoldAdminSelectWidget)
    system_prompt = forms.CharField(
        strip=False,
        required=False,
        widget=UnfoldAdminTextareaWidget({"rows": 22, "class": "baton-prompt"}),
        help_text="What the model is told before anything else. Sent as it stands here.",
    )
    models = ModelChainField(help_text="Tried in this order: the next one when a model cannot serve.")
    grants = GrantsField(
        required=False,
        label="Tools",
        help_text="The agent is offered exactly what is ticked. Overrides only tighten what the tool itself says.",
    )
    handoff_targets = forms.MultipleChoiceField(
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        label="May propose a handoff to",
        help_text="A person accepts or declines each proposal.",
    )
    output_schema = SchemaField(
        required=False,
        widget=UnfoldAdminTextareaWidget({"rows": 8, "class": "baton-prompt"}),
        label="JSON Schema of its answer",
        help_text="Empty: it answers in any words. Else its answer is JSON alone; one that does not fit is returned to "
        "it once with what is wrong, and a second one ends it. It writes the properties in the order of “required”.",
    )
    routable = forms.BooleanField(
        required=False,
        initial=True,
        widget=UnfoldBooleanSwitchWidget,
        label="Requests may be routed to it",
        help_text="By what they are like. Off for judges, summarisers and others whom the platform gives their work.",
    )
    exemplars = ExemplarsField(
        required=False,
        label="Requests like these are its own",
        help_text="One a line, in the words that people use. From five on it is routed to without a question.",
    )
    seen = forms.CharField(required=False, widget=forms.HiddenInput)
    iterations = _limit("iterations", "Model calls")
    tokens_per_call = _limit("tokens_per_call", "Tokens of a reply")
    tokens_total = _limit("tokens_total", "Tokens in all")
    cost_usd = _limit("cost_usd", "US dollars")
    wall_seconds = _limit("wall_seconds", "Seconds")
    tool_calls_per_turn = _limit("tool_calls_per_turn", "Tool calls of a turn")
    children = _limit("children", "Agents a supervisor may dispatch")
    context_tokens = _limit("context_tokens", "Tokens of a request")
    summariser = forms.ChoiceField(
        required=False,
        widget=UnfoldAdminSelectWidget,
        label="Its old turns are summarised by",
        help_text="Asked when they no longer fit into its model's window and leaving out old results is not enough.",
    )

    class Meta:
        model = Manifest
        fields = [
            "title",
            "owns",
            "kind",
            "system_prompt",
            "models",
            "grants",
            "handoff_targets",
            "summariser",
            "output_schema",
            "routable",
            "exemplars",
        ]

    agent: Agent | None = None
    publishing = False
    spec: ManifestSpec

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.agent = self.instance.agent
        if self.agent is not None:
            del self.fields["slug"]
        self.initial = {**self._limits(), **self.initial, "seen": _digest(self.instance)}
        targets: Any = self.fields["handoff_targets"]
        targets.choices = self._targets()
        summarisers: Any = self.fields["summariser"]
        summarisers.choices = [("", "the installation's summariser"), *self._others(self.initial.get("summariser"))]

    def _limits(self) -> dict[str, Any]:
        kept = self.instance.limits if isinstance(self.instance.limits, dict) else {}
        return {name: kept[name] for name in LIMITS if name in kept}

    def _targets(self) -> list[tuple[str, str]]:
        return self._others(*self.initial.get("handoff_targets") or [])

    def _others(self, *chosen: str | None) -> list[tuple[str, str]]:
        """Every other agent, and those that are named and are not there."""
        own = self.agent.slug if self.agent else ""
        agents = Agent.objects.exclude(slug=own).select_related("published")
        told = [(agent.slug, _agent_line(agent)) for agent in agents]
        known = dict(told)
        return told + [(slug, f"{slug} (no such agent)") for slug in chosen if slug and slug not in known]

    def clean_slug(self) -> str:
        slug = self.cleaned_data["slug"]
        if not re.match(SLUG, slug):
            raise forms.ValidationError("Use lower-case letters, digits and single dashes between them.")
        if Agent.objects.filter(slug=slug).exists():
            raise forms.ValidationError("There is an agent of this name: open it, and draft its next version there.")
        return slug

    def clean_system_prompt(self) -> str:
        """Browsers send line ends of their own; kept, they would make every line differ from the version before."""
        return self.cleaned_data["system_prompt"].replace("\r\n", "\n")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if self.instance.pk and cleaned.get("seen") != _digest(Manifest.objects.get(pk=self.instance.pk)):
            self.add_error(
                None,
                "Somebody else saved this draft after you had opened it. What you typed is still here: open the draft "
                "in another window, and take over what you need.",
            )
        if not self.errors:
            self._read(cleaned)
        return cleaned

    def _read(self, cleaned: Mapping[str, Any]) -> None:
        content = {name: cleaned[name] for name in self.Meta.fields}
        try:
            self.spec = ManifestSpec(**content, limits=Limits(**{name: cleaned[name] for name in LIMITS}))
        except ValidationError as error:
            self._place(Problem(".".join(map(str, part["loc"])), f"{part['msg']}.") for part in error.errors())
            return
        if self.publishing:
            self._place(self.problems())

    def problems(self) -> list[Problem]:
        """What stands in the way of publishing what was read."""
        return manifests.problems(self.spec, self.agent or Agent(slug=self.cleaned_data["slug"]))

    def _place(self, problems: Iterable[Problem]) -> None:
        for problem in problems:
            field, sentence = place(problem)
            self.add_error(field if field in self.fields else None, sentence)

    def _post_clean(self) -> None:
        """The row is written by the verbs from `spec`: the form puts nothing into it."""


def place(problem: Problem) -> tuple[str, str]:
    """The form's field that a problem belongs to, and its sentence with a capital."""
    first, _, rest = problem.field.partition(".")
    field = rest.partition(".")[0] if first == "limits" and rest else first
    return field, f"{problem.sentence[:1].upper()}{problem.sentence[1:]}"


def _agent_line(agent: Agent) -> str:
    title = agent.published.title if agent.published else "no published version"
    return f"{agent.slug} · {title}" + ("" if agent.active else " · retired")


def _digest(manifest: Manifest) -> str:
    """Of a draft's content; empty for one that was never saved."""
    if not manifest.pk:
        return ""
    content = {name: getattr(manifest, name) for name in ManifestSpec.model_fields}
    return canonical.digest(canonical.dumps(content))
