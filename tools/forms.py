"""The form that defines a tool: every fault of a definition comes back at the field it belongs to."""

import json
from collections.abc import Mapping
from typing import Any

from django import forms
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from tools import definitions
from tools.definitions import InvalidDefinition
from tools.models import Tool, ToolVersion
from tools.values import Confirmation, Effect, ExecutorKind, Label, Risk

CODE = {"class": "baton-code", "spellcheck": "false", "autocomplete": "off"}
EMPTY_SCHEMA = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}

EFFECTS = [
    (Effect.UNSAFE, "unsafe: never repeated by the machine"),
    (Effect.VERIFIABLE, "verifiable: asks lookup(key) before it repeats"),
    (Effect.KEYED, "keyed: may be repeated with the same idempotency key"),
    (Effect.PURE, "pure: changes nothing, may be repeated freely"),
]
EXECUTORS = [
    (ExecutorKind.PYTHON, "python: a callable registered by the installation"),
    (ExecutorKind.HTTP, "http: one request to a web service"),
]
RISKS = [(risk.value, risk.value) for risk in Risk]
CONFIRMATIONS = [
    (Confirmation.BY_RISK, "by risk: a person is asked from high risk on"),
    (Confirmation.ALWAYS, "always: a person is asked at every call"),
    (Confirmation.NEVER, "never: runs without asking, whatever its risk"),
]


class IndentedJSON(forms.JSONField):
    """JSON in a monospaced box, indented; what cannot be read is told with its line."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(widget=UnfoldAdminTextareaWidget(CODE | {"rows": kwargs.pop("rows", 8)}), **kwargs)

    def prepare_value(self, value: Any) -> Any:
        if value is None and not self.required:
            return ""
        return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)

    def bound_data(self, data: Any, initial: Any) -> Any:
        return data

    def to_python(self, value: Any) -> Any:
        try:
            return json.loads(value) if isinstance(value, str) and value.strip() else value or None
        except ValueError as error:
            raise forms.ValidationError(f"This is not JSON: {error}.") from error


class RiskRulesWidget(forms.Widget):
    """Three columns, a row for each rule and two empty ones; a row with nothing in it is no rule."""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        kept = [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []
        blank = {"when": "", "risk": "", "reason": ""}
        context = {"rows": [*kept, blank, blank], "risks": [risk.value for risk in Risk], "name": name}
        return render_to_string("admin/tools/risk_rules.html", context)

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[dict[str, str]]:
        columns = [[text.strip() for text in data.getlist(f"{name}-{part}")] for part in ("when", "risk", "reason")]
        rows = zip(*columns, strict=False)
        return [{"when": when, "risk": risk, "reason": why} for when, risk, why in rows if when or risk or why]

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return f"{name}-when" not in data


class RiskRulesField(forms.Field):
    widget = RiskRulesWidget

    def has_changed(self, initial: Any, data: Any) -> bool:
        return (initial or []) != (data or [])


class SwitchesForm(forms.ModelForm):
    """What a person says of a tool, at any time; labels that are none are told at their field."""

    family = forms.CharField(
        required=False,
        max_length=40,
        widget=UnfoldAdminTextInputWidget,
        help_text="Such as payments or mail: a rule of the policy can cover all tools of a family.",
    )
    brings = forms.MultipleChoiceField(
        required=False,
        choices=[
            (Label.UNTRUSTED, "untrusted: written by whoever, and may hold instructions"),
            (Label.SENSITIVE, "sensitive: must not leave"),
        ],
        widget=forms.CheckboxSelectMultiple,
        help_text="What its results carry to the agent. None of them: a trusted source, whose word vouches.",
    )
    sinks = IndentedJSON(
        required=False,
        rows=7,
        help_text='What its arguments do, by name: {"iban": {"kind": "destination", "lists": ["suppliers"]}, "sum": '
        '{"kind": "amount"}, "text": {"kind": "content"}, "script": {"kind": "code"}}. Members of the lists need '
        "nobody to vouch for them. {}: none of them matters. Empty: nobody has said, so each of them counts.",
    )

    class Meta:
        model = Tool
        fields = ["enabled", "risk", "confirmation", "family", "brings", "sinks"]

    def clean_sinks(self) -> Any:
        """An empty object is a statement; an empty field is none."""
        return self.cleaned_data["sinks"] if str(self.data.get("sinks", "")).strip() else None

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        labels: dict[str, Any] = {name: cleaned[name] for name in ("family", "brings", "sinks") if name in cleaned}
        schema = self.instance.current.input_schema if self.instance.current else {}
        for field, sentence in definitions.label_faults(labels, schema).items():
            self.add_error(field, f"{sentence[:1].upper()}{sentence[1:]}.")
        return cleaned


class DefinitionForm(forms.ModelForm):
    """A new tool, or with `tool` the next version of one. `content` is what `registry.define` takes."""

    name = forms.CharField(
        max_length=64,
        widget=UnfoldAdminTextInputWidget({"class": "baton-code"}),
        help_text="What the model calls it: letters, digits, dashes and underscores.",
    )
    risk = forms.ChoiceField(
        choices=RISKS,
        initial=Risk.HIGH,
        widget=UnfoldAdminSelectWidget,
        help_text="The risk it starts with. It is a live switch: change it on the tool's own page at any time.",
    )
    description = forms.CharField(
        widget=UnfoldAdminTextareaWidget({"rows": 4}),
        help_text="The model reads it: what the tool does, when to call it, what to look up first.",
    )
    input_schema = IndentedJSON(
        rows=14,
        initial=EMPTY_SCHEMA,
        help_text='JSON Schema of the arguments; its "type" is "object". Descriptions in it are read by the model.',
    )
    executor = forms.ChoiceField(choices=EXECUTORS, widget=UnfoldAdminSelectWidget)
    config = IndentedJSON(
        rows=7,
        required=False,
        initial={"callable": ""},
        help_text='python: {"callable": "registered.name"}. http: {"method": "POST", "url": "https://…", '
        '"headers": {"Authorization": "Bearer env:NAME"}, "idempotency_header": "Idempotency-Key"}. '
        "Secrets stand here as env:NAME, never as text.",
    )
    effect = forms.ChoiceField(
        choices=EFFECTS,
        initial=Effect.UNSAFE,
        widget=UnfoldAdminSelectWidget,
        help_text="What repeating a call would do. It decides what happens after a crash; when in doubt, unsafe.",
    )
    risk_rules = RiskRulesField(
        required=False,
        help_text="Where “when” holds, the call's risk is at least this. CEL over args, for example "
        "double(args.amount) > 200.0. A condition that cannot be evaluated counts as if it held.",
    )
    timeout_seconds = forms.FloatField(
        initial=30, min_value=0.1, max_value=3600, widget=UnfoldAdminDecimalFieldWidget, help_text="Seconds for a call."
    )
    result_limit_bytes = forms.IntegerField(
        initial=64_000, min_value=1, max_value=10_000_000, widget=UnfoldAdminIntegerFieldWidget, help_text="Bytes."
    )

    class Meta:
        model = ToolVersion
        fields = [
            "description",
            "input_schema",
            "executor",
            "config",
            "effect",
            "risk_rules",
            "timeout_seconds",
            "result_limit_bytes",
        ]

    tool: Tool | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.tool is not None and "name" in self.fields:
            del self.fields["name"], self.fields["risk"]

    @property
    def content(self) -> dict[str, Any]:
        return {name: self.cleaned_data[name] for name in self.Meta.fields}

    def clean_description(self) -> str:
        """Browsers send line ends of their own."""
        return self.cleaned_data["description"].replace("\r\n", "\n")

    def clean_config(self) -> Any:
        return self.cleaned_data["config"] or {}

    def clean_risk_rules(self) -> Any:
        return self.cleaned_data["risk_rules"] or []

    def clean_name(self) -> str:
        name = self.cleaned_data["name"]
        if Tool.objects.filter(name=name).exists():
            raise forms.ValidationError("There is a tool of this name: open it, and define its next version there.")
        return name

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        name = self.tool.name if self.tool else cleaned.get("name", "unnamed")
        try:
            definitions.check(name, {field: cleaned.get(field) for field in self.Meta.fields})
        except InvalidDefinition as invalid:
            self._place(invalid.faults)
        return cleaned

    def _place(self, faults: Mapping[str, str]) -> None:
        for path, sentence in faults.items():
            field, _, rule = path.partition(".")
            # What is said of the configuration begins with the name of a setting, which is written small.
            begun = sentence if field == "config" else f"{sentence[:1].upper()}{sentence[1:]}"
            told = f"Rule {int(rule) + 1}: {sentence}." if rule.isdigit() else f"{begun}."
            if field not in self.fields:
                self.add_error(None, f"{path}: {told}")
            elif field not in self.errors or field == "risk_rules":
                self.add_error(field, told.replace("..", "."))
