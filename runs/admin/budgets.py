"""Budgets, to be edited; their counters period by period, and what runs drew, to be read."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import display

from orchestrator_site.core import events
from orchestrator_site.core.admin_bases import Growing, Recorded, row_link, run_link
from orchestrator_site.core.templatetags.plain import usd
from runs import budgets
from runs.budgets import standing
from runs.budgets.standing import Standing
from runs.engine.shortage import refills_at
from runs.models import Allotment, Budget, BudgetPeriod

PERIODS_SHOWN = 31
STAYS = "What it counts in stays: it would begin anew. For another, switch this one off and make another."


def money(amount: Any) -> str:
    return f"{amount:,.4f}"


def bar(stands: Standing) -> SafeString:
    """What is spent, and what is drawn beside it, of the cap."""
    told = f"{money(stands.spent_usd)} spent, {money(stands.held_usd)} drawn, of {money(stands.limit_usd)} USD"
    return format_html(
        '<span class="baton-stands"><span class="baton-bar {}" title="{}">'
        '<span style="width:{}%"></span><i style="width:{}%"></i></span><span class="baton-dim">{}</span></span>',
        "is-low" if stands.is_low else "",
        told,
        stands.percent_spent,
        stands.percent_held,
        told,
    )


@admin.register(Budget)
class BudgetAdmin(Recorded):
    """One that holds no longer is switched off: its periods stay as they were."""

    recorded_as = "budget"
    list_display = ["whose_shown", "period", "zone", "cap_shown", "now_shown", "active"]
    list_filter = ["level", "period", "active"]
    search_fields = ["owner__username", "agent__slug"]
    list_select_related = ["owner", "agent"]
    readonly_fields = ["now_shown", "periods_shown"]
    fieldsets = [
        (None, {"fields": [("level", "active"), ("owner", "agent")]}),
        ("How much, and for how long", {"fields": [("cap_usd", "period"), "zone"]}),
        ("Now", {"fields": ["now_shown"]}),
        ("Before", {"fields": ["periods_shown"]}),
    ]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """How it stands is told of one that there is."""
        if obj is None:
            return self.fieldsets[:2]
        fieldsets: Any = self.fieldsets
        whose, (title, how_much), *told = fieldsets
        return [whose, (title, how_much | {"description": STAYS}), *told]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Disabled and not read-only, so that what has to be unique is still seen in the form."""
        form = super().get_form(request, obj, change, **kwargs)
        for name in {"period", "zone"} & form.base_fields.keys() if obj is not None else ():
            form.base_fields[name].disabled = True
        return form

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Budget, form: Any, change: bool) -> None:
        """A cap that is lowered bites at the next reservation."""
        with events.recording() as log:
            budgets.change(obj)
            log.platform("budget_saved", actor=f"user:{request.user.get_username()}", **self.facts(obj))

    def facts(self, row: Budget) -> dict[str, Any]:
        return {
            "budget": str(row),
            "level": row.level,
            "owner": row.owner.get_username() if row.owner else None,
            "agent": row.agent.slug if row.agent else None,
            "period": row.period,
            "zone": row.zone,
            "cap_usd": str(row.cap_usd),
            "active": row.active,
        }

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """How they stand, for the whole page at once."""
        shown = super().get_changelist_instance(request)
        rows = list(shown.result_list)
        for row, stands in zip(rows, standing.now(rows), strict=True):
            row.stands = stands
        shown.result_list = rows
        return shown

    @admin.display(description="budget of")
    def whose_shown(self, budget: Budget) -> str:
        return budget.whose

    @admin.display(description="cap", ordering="cap_usd")
    def cap_shown(self, budget: Budget) -> str:
        return usd(budget.cap_usd)

    @admin.display(description="spent and drawn now")
    def now_shown(self, budget: Budget) -> str:
        if budget.period == "run":
            return "each run has its own"
        return bar(getattr(budget, "stands", None) or standing.now([budget])[0])

    @admin.display(description="newest periods")
    def periods_shown(self, budget: Budget) -> str:
        newest = BudgetPeriod.objects.filter(budget=budget).select_related("budget__owner", "budget__agent", "run")
        told = standing.of_periods(newest.order_by("-begins_at")[:PERIODS_SHOWN])
        rows = ((row_link(each.period, _named(each.period)), bar(each)) for each in told if each.period)
        lines = format_html_join("", "<tr><td>{}</td><td>{}</td></tr>", rows)
        return format_html('<table class="baton-table">{}</table>', lines) if told else "Nothing was drawn yet."


def _named(period: BudgetPeriod) -> str:
    return f"{period.begins_at:%Y-%m-%d %H:%M} UTC" if period.run_id is None else f"run {str(period.run_id)[:8]}…"


@admin.register(BudgetPeriod)
class BudgetPeriodAdmin(Growing):
    id_paths = ("run",)
    list_display = ["budget", "begins_at", "ends_at", "now_shown", "added_usd", "warned_at"]
    list_filter = ["budget__level", "budget__period"]
    search_fields = ["budget__owner__username", "budget__agent__slug"]
    search_help_text = "The id of a run with a budget of its own, an owner or an agent"
    fields = [
        "budget",
        "live",
        "begins_at",
        "ends_at",
        "refills",
        "now_shown",
        "cap_usd",
        "added_usd",
        "granted_usd",
        "spent_usd",
        "warned_at",
        "request",
        "declined_at",
        "declined_why",
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[BudgetPeriod]:
        return super().get_queryset(request).select_related("budget__owner", "budget__agent", "run")

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        shown = super().get_changelist_instance(request)
        rows = list(shown.result_list)
        for row, stands in zip(rows, standing.of_periods(rows), strict=True):
            row.stands = stands
        shown.result_list = rows
        return shown

    @admin.display(description="live page")
    def live(self, period: BudgetPeriod) -> str:
        return run_link(period.run_id)

    @admin.display(description="refills")
    def refills(self, period: BudgetPeriod) -> str:
        return refills_at(period) or "never"

    @admin.display(description="spent and drawn")
    def now_shown(self, period: BudgetPeriod) -> str:
        return bar(getattr(period, "stands", None) or standing.of_periods([period])[0])


@admin.register(Allotment)
class AllotmentAdmin(Growing):
    id_paths = ("run",)
    list_display = ["of", "run_shown", "granted_usd", "reserved_usd", "spent_usd", "is_live", "touched_at"]
    search_fields = ["period__budget__owner__username", "period__budget__agent__slug"]
    search_help_text = "A run's id, an owner or an agent"
    list_select_related = ["period__budget__owner", "period__budget__agent", "node"]
    fields = ["of", "run_shown", "granted_usd", "reserved_usd", "spent_usd", "counted_usd", "is_live", "touched_at"]

    @display(description="of")
    def of(self, allotment: Allotment) -> str:
        return str(allotment.period or f"all that works for {allotment.node}")

    @admin.display(description="run")
    def run_shown(self, allotment: Allotment) -> str:
        return run_link(allotment.run_id)
