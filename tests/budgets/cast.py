"""Budgets, runs under them, and the sums that have to agree whatever happened."""

from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Sum

from agents import roster
from agents.models import Agent
from orchestrator_site.core import events
from orchestrator_site.core.clock import database_now
from runs import budgets
from runs.budgets import caps
from runs.models import Account, Allotment, Budget, BudgetPeriod, Dispatch, Run

MILLION = Decimal(1_000_000)


def budget(level: str = "global", cap: Any = "1", period: str = "day", **changes: Any) -> Budget:
    if isinstance(changes.get("agent"), str):
        changes["agent"] = Agent.objects.get(slug=changes["agent"])
    return Budget.objects.create(level=level, cap_usd=Decimal(cap), period=period, **changes)


class Payer:
    """A dispatch that reserves and settles as its worker would, without a model between."""

    def __init__(self, run: Run, **which: Any) -> None:
        self.dispatch = Dispatch.objects.select_related("run", "manifest__agent").get(run=run, **which)
        self.purse = budgets.read(self.dispatch)
        self.served: roster.Roster | None = None  # None: as it is now
        self.reserved: list[tuple[Decimal, list[int]]] = []

    @classmethod
    def of(cls, dispatch_id: str) -> "Payer":
        return cls(Run.objects.get(dispatches__id=dispatch_id), pk=dispatch_id)

    def reserve(self, amount: Any, *, at: Any = None) -> list[int] | budgets.Short:
        """Until it is reserved, or refused for good."""
        self.dispatch.now = at or database_now()
        above = caps.over(self.dispatch, self.served or roster.today())
        while True:
            try:
                with events.recording() as log:
                    came_to = budgets.reserve(log, self.dispatch, Decimal(amount), self.purse, above)
            except budgets.TakenBack:
                self.purse = budgets.Purse(self.purse.has_account, self.purse.nodes)
                continue
            if isinstance(came_to, list):
                self.reserved.append((Decimal(amount), came_to))
            return came_to

    def settle(self, spent: Any) -> None:
        """The oldest reservation."""
        amount, ids = self.reserved.pop(0)
        with events.recording(together=True) as log:
            budgets.settle(log, self.dispatch, amount, Decimal(spent), ids)


def period_of(budget: Budget) -> BudgetPeriod:
    """The newest."""
    return BudgetPeriod.objects.filter(budget=budget).order_by("begins_at").last() or BudgetPeriod(budget=budget)


def sums_agree() -> None:
    """For every counter: what was granted is what its allotments say, and never more than the cap with what was added;
    for every allotment and account: reserved and spent lie within what was granted."""
    for period in BudgetPeriod.objects.select_related("budget"):
        told = period.allotments.aggregate(granted=Sum("granted_usd"), counted=Sum("counted_usd"))
        assert period.granted_usd == (told["granted"] or 0), period
        assert period.spent_usd == (told["counted"] or 0), period
        assert period.granted_usd <= period.limit_usd, period
    for each in Allotment.objects.all():
        assert Decimal(0) <= each.spent_usd + each.reserved_usd <= each.granted_usd, each
        assert each.counted_usd <= each.spent_usd, each
    for account in Account.objects.all():
        assert account.spent_usd + account.reserved_usd <= account.cap_usd, account


def spent(budget: Budget) -> Decimal:
    return Allotment.objects.filter(period__budget=budget).aggregate(sum=Sum("spent_usd"))["sum"] or Decimal(0)


def person(name: str, group: str | None = None) -> User:
    from django.contrib.auth.models import Group

    user = User.objects.create_user(name)
    if group:
        user.groups.add(Group.objects.get(name=group))
    return user
