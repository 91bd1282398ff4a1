"""Where tools may lead, as operators edit it: named lists of destinations, and the rules of egress."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from orchestrator_site.core.admin_bases import Recorded, short
from tools.models.outbound import DestinationList, EgressRule


@admin.register(DestinationList)
class DestinationListAdmin(Recorded):
    recorded_as = "destination_list"
    list_display = ["name", "kind", "holds", "note"]
    list_filter = ["kind"]
    search_fields = ["name", "lines", "note"]
    fields = ["name", "kind", "lines", "note"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Rules ask for it by its name."""
        return ["name"] if obj is not None else []

    @admin.display(description="holds")
    def holds(self, row: DestinationList) -> str:
        return short(", ".join(row.values))

    def facts(self, row: DestinationList) -> dict[str, Any]:
        return {"name": row.name, "kind": row.kind, "lines": list(row.values)}


@admin.register(EgressRule)
class EgressRuleAdmin(Recorded):
    recorded_as = "egress_rule"
    list_display = ["rule", "tool", "credential", "note"]
    list_filter = ["scheme"]
    search_fields = ["place", "tool__name", "credential", "note"]
    list_select_related = ["tool"]
    fieldsets = [
        ("Where to", {"fields": [("scheme", "place", "port")]}),
        (
            "For whom",
            {
                "fields": [("tool", "credential")],
                "description": "What the URL of an http tool names needs no rule while it is public. Cloud metadata, "
                "this platform, its database and its Redis are out of reach whatever stands here.",
            },
        ),
        (None, {"fields": ["note"]}),
    ]

    @admin.display(description="rule", ordering="place")
    def rule(self, row: EgressRule) -> str:
        return str(row)

    def facts(self, row: EgressRule) -> dict[str, Any]:
        return {"rule": str(row), "tool": row.tool.name if row.tool else "", "credential": row.credential}
