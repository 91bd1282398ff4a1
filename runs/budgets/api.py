"""The API of budgets: how they stand. They are set in the admin."""

from decimal import Decimal

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from orchestrator_site.core.api import Listing, Page
from orchestrator_site.core.permissions import Access
from orchestrator_site.core.serializers import PageQuery
from runs.budgets import standing
from runs.models import Budget


class BudgetSerializer(serializers.Serializer):
    """A budget above runs, as it stands now. Money is US dollars."""

    id = serializers.IntegerField(source="budget.pk")
    level = serializers.CharField(source="budget.level")
    whose = serializers.CharField(source="budget.whose")
    period = serializers.CharField(source="budget.period", help_text="run, day or month.")
    zone = serializers.CharField(source="budget.zone", help_text="Whose midnight it is.")
    active = serializers.BooleanField(source="budget.active")
    cap_usd = serializers.DecimalField(source="budget.cap_usd", max_digits=18, decimal_places=9)
    added_usd = serializers.DecimalField(
        source="period.added_usd",
        default=Decimal(0),
        max_digits=18,
        decimal_places=9,
        help_text="What people have added to this period.",
    )
    spent_usd = serializers.DecimalField(max_digits=18, decimal_places=9)
    held_usd = serializers.DecimalField(
        max_digits=18, decimal_places=9, help_text="Drawn by runs and not spent yet; part of it is reserved."
    )
    reserved_usd = serializers.DecimalField(
        max_digits=18, decimal_places=9, help_text="For model calls in flight, of what is held."
    )
    begins_at = serializers.DateTimeField(source="period.begins_at", default=None, allow_null=True)
    refills_at = serializers.DateTimeField(source="period.ends_at", default=None, allow_null=True)


class Budgets(Listing):
    access = {"GET": Access("runs:read", "runs.view_budget")}

    @extend_schema(
        operation_id="budgets_list", parameters=[PageQuery], responses=BudgetSerializer(many=True), tags=["budgets"]
    )
    def get(self, request: Request) -> Response:
        """Every budget above runs, with its day or month as it is now."""
        self.asked(PageQuery)
        page = Page("pk")
        rows = page.paginate_queryset(Budget.objects.select_related("owner", "agent"), request, view=self)
        return page.get_paginated_response(BudgetSerializer(standing.now(rows or []), many=True).data)
