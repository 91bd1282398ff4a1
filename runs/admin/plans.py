"""Plan templates, to be edited; nodes and plans of runs, to be read."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from unfold.decorators import display

from agents.values import AgentKind
from orchestrator_site.core import canonical
from orchestrator_site.core.admin_bases import (
    COLOURS,
    Growing,
    Recorded,
    among_newest,
    run_link,
    short,
    shown_as_json,
    shown_as_text,
)
from runs.models import Node, Plan, PlanTemplate
from runs.planning import templates

EXAMPLE_PARAMETERS = {
    "type": "object",
    "properties": {"order": {"type": "string", "description": "The order's number."}},
    "required": ["order"],
}
EXAMPLE_PLAN = {
    "goal": "{{request}}",
    "nodes": [
        {"key": "lookup", "agent": "orders", "task": "Where is order {{order}}?"},
        {"key": "letter", "agent": "letters", "task": "Write to the customer.", "depends_on": ["lookup"]},
    ],
}


class PlanTemplateForm(forms.ModelForm):
    """What keeps a template from working is a fault of the field that it stands in."""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if {"content", "parameters"} <= cleaned.keys():
            for problem in templates.problems(
                PlanTemplate(**{name: cleaned[name] for name in ("content", "parameters")})
            ):
                self.add_error(problem.field.partition(".")[0], str(problem))
        planner = cleaned.get("planner")
        if planner is not None and (planner.published is None or planner.published.kind != AgentKind.PLANNER):
            self.add_error("planner", f"{planner.slug} is no planner at work.")
        return cleaned


@admin.register(PlanTemplate)
class PlanTemplateAdmin(Recorded):
    form = PlanTemplateForm
    recorded_as = "plan_template"
    list_display = ["slug", "title", "nodes", "planner", "ask", "active"]
    list_filter = ["active"]
    search_fields = ["slug", "title"]
    list_select_related = ["planner"]
    fieldsets = [
        (None, {"fields": [("slug", "active"), "title", "description"]}),
        ("Plan", {"fields": ["parameters", "content"]}),
        ("Who", {"fields": ["planner", "ask"]}),
    ]

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """A plan of two nodes with a parameter each, to be written over."""
        example = {"parameters": EXAMPLE_PARAMETERS, "content": EXAMPLE_PLAN}
        return example | super().get_changeform_initial_data(request)

    @admin.display(description="nodes")
    def nodes(self, template: PlanTemplate) -> int:
        return len(template.content.get("nodes", []))

    def facts(self, row: PlanTemplate) -> dict[str, Any]:
        return {"template": row.slug, "active": row.active, "digest": canonical.digest(canonical.dumps(row.content))}


@admin.register(Node)
class NodeAdmin(Growing):
    id_paths = ("pk", "run")
    list_display = ["name", "status_shown", "run_shown", "kind", "agent", "message", "created_at"]
    list_filter = ["status", "kind", "role"]
    search_fields = ["=key", "agent__slug"]
    search_help_text = among_newest("The id of a node or of its run", "its key, an agent")
    list_select_related = ["agent"]
    spec_shown = shown_as_json("spec")
    task_shown = shown_as_text("task")
    output_shown = shown_as_text("output")
    fieldsets = [
        (None, {"fields": ["run_shown", "key", "number", "status_shown", "stop_reason", "message", "waiting_on"]}),
        ("What", {"fields": ["kind", "role", "agent", "task_shown", "spec_shown", "within", "plan", "superseded"]}),
        ("Came to", {"fields": ["dispatch", "answered_by", "output_shown", "artifact", "tried"]}),
        ("Counted", {"fields": ["parents_open", "inner_open", "inner_at_work", "inner_limit", "depth"]}),
        ("When", {"fields": ["created_at", "due_at", "finished_at"]}),
    ]

    @admin.display(description="node")
    def name(self, node: Node) -> str:
        return f"#{node.number} {short(node.key, 50)}"

    @display(description="status", label=COLOURS)
    def status_shown(self, node: Node) -> str:
        return node.status

    @admin.display(description="run")
    def run_shown(self, node: Node) -> str:
        return run_link(node.run_id)


@admin.register(Plan)
class PlanAdmin(Growing):
    id_paths = ("pk", "run")
    list_display = ["name", "status_shown", "run_shown", "source", "made_by", "created_at"]
    list_filter = ["status", "source"]
    search_fields = ["made_by"]
    search_help_text = among_newest("The id of a plan or of its run", "who made it")
    proposed_shown = shown_as_json("proposed")
    content_shown = shown_as_json("content")
    fields = [
        "run_shown",
        "status_shown",
        "source",
        "made_by",
        "round",
        "node",
        "content_shown",
        "proposed_shown",
        "request",
        "created_at",
    ]

    @admin.display(description="plan")
    def name(self, plan: Plan) -> str:
        return f"{short(str(plan.pk), 13)}, round {plan.round}"

    @display(description="status", label=COLOURS)
    def status_shown(self, plan: Plan) -> str:
        return plan.status

    @admin.display(description="run")
    def run_shown(self, plan: Plan) -> str:
        return run_link(plan.run_id)
