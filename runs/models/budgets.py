"""Budget accounts: money is reserved before it is spent, by conditional UPDATE."""

from decimal import Decimal

from django.db import models

from runs.models.runs import MONEY, Run


class Account(models.Model):
    """A run's cap in US dollars. Only a run that was given a budget has an account.

    Reservations keep `spent + reserved` within `cap`; they are upper bounds, so what is settled stays within too.
    """

    run = models.OneToOneField(Run, primary_key=True, on_delete=models.PROTECT, related_name="account")
    cap_usd = models.DecimalField(**MONEY)
    reserved_usd = models.DecimalField(**MONEY, default=Decimal(0))
    spent_usd = models.DecimalField(**MONEY, default=Decimal(0))

    class Meta:
        constraints = [
            models.CheckConstraint(name="account_reserved_not_negative", condition=models.Q(reserved_usd__gte=0)),
        ]

    def __str__(self) -> str:
        return f"{self.spent_usd} of {self.cap_usd} USD"

    @property
    def remaining_usd(self) -> Decimal:
        return self.cap_usd - self.spent_usd - self.reserved_usd
