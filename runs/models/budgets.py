"""Budget accounts: money is reserved before it is spent, by conditional UPDATE."""

import datetime as dt
import zoneinfo
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models.functions import Now

from agents import roster
from orchestrator_site.core import roles
from runs.models.dispatches import Dispatch
from runs.models.nodes import Node
from runs.models.runs import MONEY, Run

GLOBAL, APP, USER, AGENT = "global", "app", "user", "agent"
LEVELS = (GLOBAL, APP, USER, AGENT)
RUN, DAY, MONTH = "run", "day", "month"
PERIODS = (RUN, DAY, MONTH)
MAY_SET_BUDGETS = "runs.change_budget"


class Account(models.Model):
    """A run's cap in US dollars. Only a run that was given a budget has an account.

    Reservations keep `spent + reserved` within `cap`; they are upper bounds, so what is settled stays within too.
    `warned_at`: when it was first told that most of it is gone.
    """

    run = models.OneToOneField(Run, primary_key=True, on_delete=models.PROTECT, related_name="account")
    cap_usd = models.DecimalField(**MONEY)
    reserved_usd = models.DecimalField(**MONEY, default=Decimal(0))
    spent_usd = models.DecimalField(**MONEY, default=Decimal(0))
    warned_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(name="account_reserved_not_negative", condition=models.Q(reserved_usd__gte=0)),
        ]

    def __str__(self) -> str:
        return f"{self.spent_usd} of {self.cap_usd} USD"

    @property
    def remaining_usd(self) -> Decimal:
        return self.cap_usd - self.spent_usd - self.reserved_usd


class BudgetQuerySet(models.QuerySet["Budget"]):
    def active(self) -> "BudgetQuerySet":
        return self.filter(active=True)


class Budget(models.Model):
    """A cap that an operator sets: on all runs, on those of one app or user, or on what one agent spends in any run.

    It holds for each run, or for each day or month of `zone`, and is counted in a `BudgetPeriod` of its own. `owner` is
    who starts the runs: an app is a user of the group App, whose runs come by token. Saving or deleting one bumps the
    roster's epoch, so that every worker reads it before its next reservation; `budgets.change` also takes back what
    runs have drawn.
    """

    level = models.CharField(max_length=6, choices=[(each, each) for each in LEVELS])
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="whose runs, for an app or a user",
    )
    agent = models.ForeignKey(
        "agents.Agent", null=True, blank=True, on_delete=models.PROTECT, related_name="+", help_text="for an agent"
    )
    period = models.CharField(max_length=5, choices=[(each, f"each {each}") for each in PERIODS], default=DAY)
    zone = models.CharField(max_length=60, default="UTC", help_text="whose midnight it is: Europe/Berlin, UTC")
    cap_usd = models.DecimalField(**MONEY, verbose_name="cap, US dollars")
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=Now())

    objects = BudgetQuerySet.as_manager()

    class Meta:
        ordering = ["level", "period", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["level", "owner", "agent", "period"],
                condition=models.Q(active=True),
                nulls_distinct=False,
                name="budget_once",
                violation_error_message="There is one of these for them already; edit that, or switch it off first.",
            ),
            models.CheckConstraint(name="budget_cap_not_negative", condition=models.Q(cap_usd__gte=0)),
            models.CheckConstraint(name="budget_period_known", condition=models.Q(period__in=PERIODS)),
            models.CheckConstraint(
                name="budget_of_one",
                condition=models.Q(level=GLOBAL, owner__isnull=True, agent__isnull=True)
                | models.Q(level__in=[APP, USER], owner__isnull=False, agent__isnull=True)
                | models.Q(level=AGENT, owner__isnull=True, agent__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.whose}, each {self.period}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        with transaction.atomic():
            roster.bump()
            super().save(*args, **kwargs)
            now_open = self.periods.filter(models.Q(ends_at__isnull=True) | models.Q(ends_at__gt=Now()))
            now_open.update(cap_usd=self.cap_usd)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        with transaction.atomic():
            roster.bump()
            return super().delete(*args, **kwargs)

    @property
    def whose(self) -> str:
        """As the end of a sentence: "the budget of …"."""
        if self.level == GLOBAL:
            return "the whole installation"
        return f"the {self.level} {self.agent.slug if self.agent else self.owner}"

    def clean(self) -> None:
        faults: dict[str, str] = {}
        self._check_subject(faults)
        if self.cap_usd is not None and self.cap_usd < 0:
            faults["cap_usd"] = "A cap is zero or more; switch the budget off to have none."
        try:
            zoneinfo.ZoneInfo(self.zone)
        except (KeyError, ValueError, OSError):
            faults["zone"] = f"There is no time zone {self.zone!r}; write one like Europe/Berlin, or UTC."
        if faults:
            raise ValidationError(faults)

    def _check_subject(self, faults: dict[str, str]) -> None:
        wants_owner, wants_agent = self.level in (APP, USER), self.level == AGENT
        if wants_owner and self.owner is None:
            faults["owner"] = f"Say whose runs: the budget of an {self.level} names one."
        elif wants_owner and roles.is_app(self.owner) != (self.level == APP):
            other = USER if self.level == APP else APP
            faults["level"] = f"{self.owner} is no {self.level}: choose {other}. An app is in the group {roles.APP}."
        if self.owner is not None and not wants_owner:
            faults["owner"] = f"Leave it empty: this level is {self.level}."
        if wants_agent and self.agent is None:
            faults["agent"] = "Name the agent."
        if self.agent is not None and not wants_agent:
            faults["agent"] = f"Leave it empty: this level is {self.level}."


class BudgetPeriod(models.Model):
    """The counter of one budget for one day or month, or for one run; opened by the first reservation in it.

    `granted_usd` is what runs were handed in allotments, whether it is spent or not: it never exceeds the budget's cap
    and `added_usd`, what people have added for this period alone, unless the cap was lowered since. `spent_usd` is what
    was spent of it, as far as the allotments were counted, which they are whenever they draw or give back. `cap_usd` is
    the budget's, kept here so that one row says what may be drawn. A budget each run has one `run` and no end.
    `request`: the newest question whether to add to it; `declined_at`: a person said no, for the rest of the period.
    """

    budget = models.ForeignKey(Budget, on_delete=models.PROTECT, related_name="periods", db_index=False)
    run = models.ForeignKey(Run, null=True, on_delete=models.PROTECT, related_name="+")
    begins_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True)
    cap_usd = models.DecimalField(**MONEY)
    granted_usd = models.DecimalField(**MONEY, default=Decimal(0), db_default=Decimal(0))
    spent_usd = models.DecimalField(**MONEY, default=Decimal(0), db_default=Decimal(0))
    added_usd = models.DecimalField(**MONEY, default=Decimal(0), db_default=Decimal(0))
    warned_at = models.DateTimeField(null=True)
    request = models.ForeignKey("approvals.ApprovalRequest", null=True, on_delete=models.PROTECT, related_name="+")
    declined_at = models.DateTimeField(null=True)
    declined_why = models.CharField(max_length=300, blank=True, db_default="")

    class Meta:
        ordering = ["-begins_at", "budget"]
        constraints = [
            models.UniqueConstraint(
                fields=["budget", "begins_at", "run"], nulls_distinct=False, name="budget_period_once"
            ),
            models.CheckConstraint(name="budget_period_granted", condition=models.Q(granted_usd__gte=0)),
        ]
        indexes = [models.Index(fields=["warned_at"], name="budget_period_warned", condition=~models.Q(warned_at=None))]

    def __str__(self) -> str:
        return f"{self.budget}, from {self.begins_at:%Y-%m-%d %H:%M} UTC"

    @property
    def limit_usd(self) -> Decimal:
        return self.cap_usd + self.added_usd

    @property
    def room_usd(self) -> Decimal:
        return self.limit_usd - self.granted_usd

    def is_over(self, now: dt.datetime) -> bool:
        return self.ends_at is not None and self.ends_at <= now


class Allotment(models.Model):
    """Money that model calls of one run may reserve from, without a look at anything that other runs share.

    Either drawn from a budget's `period`, chunk by chunk, and given back when the run has ended or was long idle; or
    the bound of a `node`: what is spent on it by all its tries and all that lies within it. Calls keep
    `spent + reserved` within `granted`. `counted_usd` is how much of `spent` its period knows of; `is_live`: there may
    be something in it to give back.
    """

    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="allotments", db_index=False)
    period = models.ForeignKey(
        BudgetPeriod, null=True, on_delete=models.PROTECT, related_name="allotments", db_index=False
    )
    node = models.OneToOneField(Node, null=True, on_delete=models.PROTECT, related_name="allotment")
    granted_usd = models.DecimalField(**MONEY, default=Decimal(0), db_default=Decimal(0))
    reserved_usd = models.DecimalField(**MONEY, default=Decimal(0), db_default=Decimal(0))
    spent_usd = models.DecimalField(**MONEY, default=Decimal(0), db_default=Decimal(0))
    counted_usd = models.DecimalField(**MONEY, default=Decimal(0), db_default=Decimal(0))
    is_live = models.BooleanField(default=True, db_default=True)
    touched_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["run", "period"], condition=models.Q(period__isnull=False), name="allotment_once"
            ),
            models.CheckConstraint(
                name="allotment_of_one", condition=models.Q(period__isnull=False) ^ models.Q(node__isnull=False)
            ),
            models.CheckConstraint(name="allotment_reserved_not_negative", condition=models.Q(reserved_usd__gte=0)),
        ]
        indexes = [
            models.Index(fields=["period"], name="allotment_live", condition=models.Q(is_live=True)),
            models.Index(fields=["period"], name="allotment_of_period"),
        ]

    def __str__(self) -> str:
        return f"{self.spent_usd} of {self.granted_usd} USD"


class BudgetWait(models.Model):
    """A dispatch waits for a budget: until there is room for what it wants, the period turns, or a person declines."""

    dispatch = models.OneToOneField(Dispatch, primary_key=True, on_delete=models.CASCADE, related_name="budget_wait")
    period = models.ForeignKey(BudgetPeriod, on_delete=models.PROTECT, related_name="waits")
    wanted_usd = models.DecimalField(**MONEY)
    since = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.dispatch_id} waits for {self.wanted_usd} USD"
