"""How budgets stand now: what was spent, reserved and drawn in their periods, for people."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import F, Q, QuerySet, Sum
from django.db.models.functions import Now

from runs import states
from runs.budgets.accounts import WARN_AT
from runs.models import Allotment, Budget, BudgetPeriod, BudgetWait
from runs.models.budgets import RUN

SHOWN = 20


@dataclass(frozen=True)
class Standing:
    """A budget and its counter, None while nobody has drawn from it in this period. `spent_usd` is exact; `held_usd` is
    what runs have drawn beside it, for calls in flight and those to come."""

    budget: Budget
    period: BudgetPeriod | None
    spent_usd: Decimal = Decimal(0)
    reserved_usd: Decimal = Decimal(0)
    is_waited_for: bool = False

    @property
    def limit_usd(self) -> Decimal:
        return self.period.limit_usd if self.period else self.budget.cap_usd

    @property
    def held_usd(self) -> Decimal:
        return self.period.granted_usd - self.spent_usd if self.period else Decimal(0)

    @property
    def percent_spent(self) -> int:
        return self._percent(self.spent_usd)

    @property
    def percent_held(self) -> int:
        return min(self._percent(self.held_usd), 100 - self.percent_spent)

    @property
    def is_low(self) -> bool:
        return self.period is not None and self.period.granted_usd >= self.limit_usd * WARN_AT

    @property
    def is_gone(self) -> bool:
        """A person is asked, or has declined."""
        return self.period is not None and (self.period.declined_at is not None or self.is_waited_for)

    def _percent(self, part: Decimal) -> int:
        return min(round(100 * part / self.limit_usd), 100) if self.limit_usd else 100


def of_periods(periods: Iterable[BudgetPeriod]) -> list[Standing]:
    """Expects budgets to be joined. Two queries; what is counted already is not read again."""
    listed = list(periods)
    live = Allotment.objects.filter(period__in=[each.pk for each in listed], is_live=True).values("period")
    sums = live.annotate(news=Sum(F("spent_usd") - F("counted_usd")), reserved=Sum("reserved_usd"))
    found = {row["period"]: (row["news"], row["reserved"]) for row in sums}
    waited_for = set(
        BudgetWait.objects.filter(period__in=[each.pk for each in listed]).values_list("period", flat=True)
    )
    nothing = (Decimal(0), Decimal(0))
    told = [(each, *found.get(each.pk, nothing)) for each in listed]
    return [
        Standing(each.budget, each, each.spent_usd + news, reserved, each.pk in waited_for)
        for each, news, reserved in told
    ]


def now(budgets: Sequence[Budget]) -> list[Standing]:
    """Each with its day or month as it is now; those that hold for each run have none of their own."""
    current = BudgetPeriod.objects.filter(budget__in=budgets, begins_at__lte=Now(), ends_at__gt=Now())
    found = {each.budget.pk: each for each in of_periods(_joined(current))}
    return [found.get(budget.pk, Standing(budget, None)) for budget in budgets]


def nearly_gone() -> list[Standing]:
    """The budgets of which most is gone, as was told once a period, whose period is not over yet."""
    open_run = Q(budget__period=RUN, run__status__in=states.RUN.open)
    warned = BudgetPeriod.objects.filter(Q(ends_at__gt=Now()) | open_run, warned_at__isnull=False, budget__active=True)
    return [each for each in of_periods(_joined(warned).order_by("-warned_at")[:SHOWN]) if each.is_low]


def _joined(periods: QuerySet[BudgetPeriod]) -> QuerySet[BudgetPeriod]:
    return periods.select_related("budget__owner", "budget__agent", "run", "request")
