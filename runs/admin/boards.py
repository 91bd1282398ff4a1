"""Rules that watch blackboards, to be edited; what was posted, to be read."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from orchestrator_site.core.admin_bases import Growing, Recorded, among_newest, run_link, shown_as_text
from runs.models import BoardEntry, WatchRule


@admin.register(WatchRule)
class WatchRuleAdmin(Recorded):
    recorded_as = "watch_rule"
    list_display = ["name", "priority", "condition", "agent", "limit", "active"]
    list_filter = ["active"]
    search_fields = ["name", "agent__slug"]
    list_select_related = ["agent"]
    fieldsets = [
        (None, {"fields": ["name", ("priority", "active")]}),
        ("When", {"fields": ["condition"]}),
        ("Then", {"fields": [("agent", "limit"), "task", "categories"]}),
    ]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        told = {"categories": 'which entries it is told, as a JSON list: ["claim", "source"]; empty: all'}
        return super().get_form(request, obj, change, **kwargs | {"help_texts": told})

    def facts(self, row: WatchRule) -> dict[str, Any]:
        return {"rule": row.name, "condition": row.condition, "agent": row.agent.slug, "limit": row.limit}


@admin.register(BoardEntry)
class BoardEntryAdmin(Growing):
    id_paths = ("run", "dispatch")
    list_display = ["number", "category", "agent", "run_shown", "confidence", "created_at"]
    search_fields = ["=category", "=agent"]
    search_help_text = among_newest("The id of a run", "a category, an agent")
    content_shown = shown_as_text("content")
    fields = ["run_shown", "number", "category", "agent", "content_shown", "reference", "confidence", "created_at"]

    @admin.display(description="run")
    def run_shown(self, entry: BoardEntry) -> str:
        return run_link(entry.run_id)
