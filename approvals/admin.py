"""Requests and decisions, to be read. Deciding is the queue's: nothing is decided here."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.decorators import display

from approvals import kinds
from approvals.models import MAY_DECIDE, ApprovalRequest, Decision, StandingApproval
from orchestrator_site.core.admin_bases import (
    COLOURS,
    Growing,
    among_newest,
    holds,
    link,
    row_link,
    run_link,
    short,
    shown_as_json,
)


class KindFilter(admin.SimpleListFilter):
    title = parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(kind.name, kind.label) for kind in kinds.registered()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApprovalRequest]) -> QuerySet[ApprovalRequest]:
        return queryset.filter(kind=self.value()) if self.value() else queryset


@admin.register(ApprovalRequest)
class ApprovalRequestAdmin(Growing):
    id_paths = ("pk", "run_id")
    list_display = ["asked", "kind", "risk_shown", "status_shown", "requester", "run", "created_at", "deadline_at"]
    list_filter = ["status", "risk", KindFilter, "addressed_to"]
    search_fields = ["title", "requester__username"]
    search_help_text = among_newest("The id of a request or of its run", "words of a title, who started the run")
    list_select_related = ["requester"]
    frozen_shown = shown_as_json("frozen", "what was asked, frozen")
    edited_shown = shown_as_json("edited_frozen", "what a person made of it")
    fieldsets = [
        (None, {"fields": ["title", "status_shown", "on_its_page", "kind", "run", "risk_shown", "reasons_shown"]}),
        ("Asked", {"fields": ["reasoning", "frozen_shown", "digest", "policy_version", "created_at", "deadline_at"]}),
        (
            "Who",
            {
                "fields": [
                    "requester",
                    "addressed_to",
                    "four_eyes",
                    "approvers",
                    "group",
                    "assents_shown",
                    "not_by",
                    "supersedes",
                ]
            },
        ),
        (
            "Decided",
            {
                "fields": [
                    "decision_shown",
                    "decided_at",
                    "edited_shown",
                    "edited_digest",
                    "consumed_at",
                    "consumed_by_attempt",
                ]
            },
        ),
    ]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return holds(request, MAY_DECIDE) or super().has_view_permission(request, obj)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApprovalRequest]:
        return super().get_queryset(request).visible_to(request.user)

    @admin.display(description="asked")
    def asked(self, asked: ApprovalRequest) -> str:
        return short(asked.title)

    @display(description="risk", label=COLOURS, ordering="risk")
    def risk_shown(self, asked: ApprovalRequest) -> str:
        return asked.risk

    @display(description="status", label=COLOURS | {"expired": "danger"})
    def status_shown(self, asked: ApprovalRequest) -> str:
        return asked.status

    @admin.display(description="run")
    def run(self, asked: ApprovalRequest) -> str:
        return run_link(asked.run_id)

    @admin.display(description="page")
    def on_its_page(self, asked: ApprovalRequest) -> str:
        return link("open the page to decide on", "approvals:page", asked.pk)

    @admin.display(description="why a person is asked")
    def reasons_shown(self, asked: ApprovalRequest) -> str:
        return "\n".join(map(str, asked.reasons)) or "-"

    @admin.display(description="approved by")
    def assents_shown(self, asked: ApprovalRequest) -> str:
        return "\n".join(f"{each.by_name}, {each.at:%Y-%m-%d %H:%M} UTC" for each in asked.assents.all()) or "-"

    @admin.display(description="decision")
    def decision_shown(self, asked: ApprovalRequest) -> str:
        return row_link(Decision.objects.filter(request=asked).first())


@admin.register(StandingApproval)
class StandingApprovalAdmin(Growing):
    id_paths = ("run_id", "decision__request")
    list_display = ["tool", "status_shown", "risk_shown", "given_by_name", "given_at", "expires_at", "uses", "of"]
    list_filter = ["status", "risk"]
    search_fields = ["tool", "given_by_name"]
    search_help_text = among_newest("The id of a run or of the request it was given with", "a tool, a person")
    pattern_shown = shown_as_json("pattern", "what the arguments may be")
    fieldsets = [
        (None, {"fields": ["tool", "tool_version", "agent", "run_id", "pattern_shown", "risk_shown", "group"]}),
        ("Given", {"fields": ["decision", "given_by", "given_by_name", "given_at", "reason", "expires_at", "of"]}),
        ("Since", {"fields": ["status_shown", "uses", "on_its_page", "ended_at", "ended_by_name", "ended_why"]}),
    ]

    @display(description="risk", label=COLOURS, ordering="risk")
    def risk_shown(self, given: StandingApproval) -> str:
        return given.risk

    @display(description="status", label=COLOURS | {"expired": "danger", "revoked": "danger"})
    def status_shown(self, given: StandingApproval) -> str:
        return given.status

    @admin.display(description="uses at most", ordering="uses_at_most")
    def of(self, given: StandingApproval) -> str:
        return "-" if given.uses_at_most is None else str(given.uses_at_most)

    @admin.display(description="page")
    def on_its_page(self, given: StandingApproval) -> str:
        return link("open the list to revoke it", "approvals:standing")


@admin.register(Decision)
class DecisionAdmin(Growing):
    id_paths = ("pk", "request", "request__run_id")
    list_display = ["summary", "verdict_shown", "by_name", "via", "stop", "override", "why", "at"]
    list_filter = ["verdict", "via", "stop", "override"]
    search_fields = ["by_name", "reason"]
    search_help_text = among_newest("The id of a decision, a request or a run", "a person, words of a reason")
    arguments_shown = shown_as_json("arguments", "the edit, as posted")
    fields = [
        "request",
        "run",
        "verdict_shown",
        "by",
        "by_name",
        "via",
        "at",
        "reason",
        "stop",
        "override",
        "answer",
        "arguments_shown",
        "digest",
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Decision]:
        """Its requests in a query of their own: joined, a filtered list reads them all."""
        return super().get_queryset(request).prefetch_related("request")

    @admin.display(description="request")
    def summary(self, decision: Decision) -> str:
        return short(decision.request.title)

    @display(description="verdict", label=COLOURS | {"expired": "danger"}, ordering="verdict")
    def verdict_shown(self, decision: Decision) -> str:
        return decision.verdict

    @admin.display(description="reason")
    def why(self, decision: Decision) -> str:
        return short(decision.reason) or "-"

    @admin.display(description="run")
    def run(self, decision: Decision) -> str:
        return run_link(decision.request.run_id)
