"""A run's own budget, given when it was started."""

from decimal import Decimal
from uuid import UUID

from django.db import connection
from django.db.models import F
from django.db.models.functions import Now

from runs.models import Account

# From here on it is told that most of a budget is gone.
WARN_AT = Decimal("0.8")


def open_account(run, cap_usd: Decimal) -> Account:
    return Account.objects.create(run=run, cap_usd=cap_usd)


def remaining_usd(run_id: UUID) -> Decimal | None:
    """What is left of a run's budget; None for a run that has none."""
    account = Account.objects.filter(run_id=run_id).first()
    return None if account is None else account.remaining_usd


def reserve(run_id: UUID, amount_usd: Decimal) -> tuple[Decimal, Decimal] | None:
    """The cap, and what of it is spent or reserved now; None where there was no room."""
    with connection.cursor() as cursor:
        cursor.execute(_RESERVE, [amount_usd, run_id, amount_usd])
        return cursor.fetchone()


_RESERVE = """
UPDATE runs_account SET reserved_usd = reserved_usd + %s
WHERE run_id = %s AND cap_usd >= spent_usd + reserved_usd + %s
RETURNING cap_usd, spent_usd + reserved_usd
"""


def is_first_warning(run_id: UUID) -> bool:
    return bool(Account.objects.filter(run_id=run_id, warned_at__isnull=True).update(warned_at=Now()))


def top_up(run_id: UUID, amount_usd: Decimal) -> None:
    Account.objects.filter(run_id=run_id).update(cap_usd=F("cap_usd") + amount_usd)
