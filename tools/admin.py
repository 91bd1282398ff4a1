"""The registry as operators edit it: switches that bite at once, and definitions that are versioned."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html_join
from unfold.decorators import action, display

from orchestrator_site.core.admin_bases import (
    COLOURS,
    Page,
    Viewed,
    each,
    holds,
    row_link,
    row_url,
    short,
    shown_as_json,
    shown_as_text,
    who,
)
from tools import executors, outbound_pages, registry  # noqa: F401  the pages register themselves
from tools.forms import CONFIRMATIONS, DefinitionForm, SwitchesForm
from tools.models import Tool, ToolVersion
from tools.values import Confirmation, Risk

SWITCHES = ("enabled", "risk", "confirmation")
FLOW = ("family", "brings", "sinks")


@admin.register(Tool)
class ToolAdmin(Page):
    """A tool's page edits its live switches only; what it is, is its current version's."""

    form = SwitchesForm
    list_display = ["name", "does", "effect", "risk_shown", "confirmation_shown", "state", "executor", "version"]
    list_filter = ["enabled", "risk", "confirmation", "current__effect", "current__executor"]
    search_fields = ["name", "current__description"]
    list_select_related = ["current__tool"]
    actions = ["enable", "disable", "risk_low", "risk_medium", "risk_high", "risk_critical"]
    actions_detail = ["define_next"]
    readonly_fields = ["name", "does_in_full", "effect", "executor", "version", "versions_shown"]
    fieldsets = [
        (
            "Live switches",
            {
                "fields": [*SWITCHES],
                "description": "They bite at the very next call, also of agents that are at work already.",
            },
        ),
        (
            "What goes in and out",
            {
                "fields": [*FLOW],
                "description": "The gate asks before an agent that has read untrusted content acts on it. These bite "
                "at the very next call too.",
            },
        ),
        (
            "What it is",
            {
                "fields": ["name", "does_in_full", "effect", "executor", "version", "versions_shown"],
                "description": "A version never changes. To change any of this, define the next one.",
            },
        ),
    ]

    def formfield_for_choice_field(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        spoken = {"confirmation": {"choices": CONFIRMATIONS}}.get(db_field.name, {})
        return super().formfield_for_choice_field(db_field, request, **spoken, **kwargs)

    def add_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:tools_toolversion_add"))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return holds(request, "tools.add_toolversion")

    def save_model(self, request: HttpRequest, obj: Tool, form: Any, change: bool) -> None:
        changed = {name: form.cleaned_data[name] for name in (*SWITCHES, *FLOW) if name in form.changed_data}
        if changed:
            registry.switch(obj, by=who(request), **changed)

    def _switch(self, request: HttpRequest, chosen: QuerySet[Tool], done: str, **switches: Any) -> None:
        each(
            self,
            request,
            chosen,
            lambda tool: registry.switch(tool, by=who(request), **switches),
            done=done,
            refuses=(),
        )

    @admin.action(description="Enable", permissions=["change"])
    def enable(self, request: HttpRequest, chosen: QuerySet[Tool]) -> None:
        self._switch(request, chosen, "Enabled: {rows}.", enabled=True)

    @admin.action(description="Disable: refused from the next call on", permissions=["change"])
    def disable(self, request: HttpRequest, chosen: QuerySet[Tool]) -> None:
        self._switch(request, chosen, "Disabled, and refused from the next call on: {rows}.", enabled=False)

    @admin.action(description="Set risk: low", permissions=["change"])
    def risk_low(self, request: HttpRequest, chosen: QuerySet[Tool]) -> None:
        self._switch(request, chosen, "Low risk from now on: {rows}.", risk=Risk.LOW)

    @admin.action(description="Set risk: medium", permissions=["change"])
    def risk_medium(self, request: HttpRequest, chosen: QuerySet[Tool]) -> None:
        self._switch(request, chosen, "Medium risk from now on: {rows}.", risk=Risk.MEDIUM)

    @admin.action(description="Set risk: high", permissions=["change"])
    def risk_high(self, request: HttpRequest, chosen: QuerySet[Tool]) -> None:
        self._switch(request, chosen, "High risk from now on: {rows}.", risk=Risk.HIGH)

    @admin.action(description="Set risk: critical", permissions=["change"])
    def risk_critical(self, request: HttpRequest, chosen: QuerySet[Tool]) -> None:
        self._switch(request, chosen, "Critical risk from now on: {rows}.", risk=Risk.CRITICAL)

    def has_define_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return holds(request, "tools.add_toolversion")

    @action(description="Define next version", icon="add", permissions=["define"])
    def define_next(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return HttpResponseRedirect(f"{reverse('admin:tools_toolversion_add')}?{urlencode({'tool': object_id})}")

    @admin.display(description="what it does")
    def does(self, tool: Tool) -> str:
        return short(tool.current.description) if tool.current else "-"

    @admin.display(description="what it does")
    def does_in_full(self, tool: Tool) -> str:
        return tool.current.description if tool.current else "-"

    @display(description="effect", label=COLOURS, ordering="current__effect")
    def effect(self, tool: Tool) -> str:
        return tool.current.effect if tool.current else ""

    @display(description="risk", label=COLOURS, ordering="risk")
    def risk_shown(self, tool: Tool) -> str:
        return tool.risk

    @display(description="asks", label={"never": "danger", "always": "info"}, ordering="confirmation")
    def confirmation_shown(self, tool: Tool) -> str:
        return Confirmation(tool.confirmation).value.replace("_", " ")

    @display(description="state", label=COLOURS, ordering="enabled")
    def state(self, tool: Tool) -> str:
        return "on" if tool.enabled else "off"

    @admin.display(description="executor", ordering="current__executor")
    def executor(self, tool: Tool) -> str:
        return tool.current.executor if tool.current else "-"

    @admin.display(description="version")
    def version(self, tool: Tool) -> str:
        return row_link(tool.current, f"v{tool.current.number}") if tool.current else "-"

    @admin.display(description="all versions")
    def versions_shown(self, tool: Tool) -> str:
        rows = tool.versions.select_related("created_by")
        cells = (
            (row_link(row, f"v{row.number}"), f"{row.created_at:%Y-%m-%d %H:%M}", row.created_by or "-") for row in rows
        )
        return format_html_join("", '<div class="baton-line">{} <span>{}</span> <span>{}</span></div>', cells)


@admin.register(ToolVersion)
class ToolVersionAdmin(Viewed):
    """Shown, never changed; adding one is defining a tool or the next version of one."""

    list_display = ["title", "does", "effect_shown", "executor", "created_at", "created_by"]
    list_filter = ["effect", "executor"]
    search_fields = ["tool__name", "description"]
    list_select_related = ["tool", "created_by"]
    sortable_by = ["created_at"]
    change_form_before_template = "admin/heading.html"
    actions_detail = ["define_from_here"]
    description_shown = shown_as_text("description")
    input_schema_shown = shown_as_json("input_schema")
    config_shown = shown_as_json("config")
    risk_rules_shown = shown_as_json("risk_rules")
    add_fieldsets: list[tuple[str, dict[str, Any]]] = [
        ("What it is", {"fields": ["name", "description", "input_schema"]}),
        ("How it runs", {"fields": ["executor", "config", ("timeout_seconds", "result_limit_bytes")]}),
        ("How careful the platform is", {"fields": ["effect", "risk", "risk_rules"]}),
    ]
    fieldsets = [
        (None, {"fields": ["tool", "number", "created_at", "created_by"]}),
        ("What it is", {"fields": ["description_shown", "input_schema_shown"]}),
        ("How it runs", {"fields": ["executor", "config_shown", "timeout_seconds", "result_limit_bytes"]}),
        ("How careful the platform is", {"fields": ["effect", "risk_rules_shown"]}),
    ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return holds(request, "tools.add_toolversion")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is not None or self._named(request) is None:
            return super().get_fieldsets(request, obj)
        given = {"name", "risk"}
        return [
            (title, {"fields": [name for name in part["fields"] if name not in given]})
            for title, part in self.add_fieldsets
        ]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if change:
            return super().get_form(request, obj, change, **kwargs)
        return type("DefinitionForm", (DefinitionForm,), {"tool": self._named(request)})

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """The next version starts as the current one, or as the version that `from` names."""
        tool = self._named(request)
        start = request.GET.get("from", "")
        version = ToolVersion.objects.filter(tool=tool, pk=start).first() if start.isdigit() else None
        version = version or (tool.current if tool else None)
        return {name: getattr(version, name) for name in DefinitionForm.Meta.fields} if version else {}

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        tool = self._named(request)
        title = f"Define the next version of {tool.name}" if tool else "Define a tool"
        return super().add_view(request, form_url, {**(extra_context or {}), "title": title})

    def save_model(self, request: HttpRequest, obj: ToolVersion, form: Any, change: bool) -> None:
        name = form.tool.name if form.tool else form.cleaned_data["name"]
        risk = Risk(form.cleaned_data.get("risk") or Risk.HIGH)
        version = registry.define(name, risk=risk, by=who(request), **form.content)
        obj.pk, obj.tool, obj.number = version.pk, version.tool, version.number

    def response_add(self, request: HttpRequest, obj: ToolVersion, post_url_continue: Any = None) -> HttpResponse:
        self.message_user(request, f"{obj} is the current version; the next call uses it.", messages.SUCCESS)
        if said := executors.foreseen_refusal(registry.version_spec(obj.pk)):
            self.message_user(request, f"Its calls will be refused: {said}", messages.WARNING)
        return HttpResponseRedirect(row_url(obj.tool))

    def _named(self, request: HttpRequest) -> Tool | None:
        named = request.GET.get("tool", "")
        return Tool.objects.select_related("current").filter(pk=named).first() if named.isdigit() else None

    def has_define_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return holds(request, "tools.add_toolversion")

    @action(description="Define next version from this one", icon="add", permissions=["define"])
    def define_from_here(self, request: HttpRequest, object_id: str) -> HttpResponse:
        version = self.get_object(request, object_id)
        query = urlencode({"tool": version.tool_id, "from": version.pk}) if version else ""
        return HttpResponseRedirect(f"{reverse('admin:tools_toolversion_add')}?{query}")

    @admin.display(description="version", ordering="tool__name")
    def title(self, version: ToolVersion) -> str:
        return str(version)

    @admin.display(description="what it does")
    def does(self, version: ToolVersion) -> str:
        return short(version.description)

    @display(description="effect", label=COLOURS)
    def effect_shown(self, version: ToolVersion) -> str:
        return version.effect
