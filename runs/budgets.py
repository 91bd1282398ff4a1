"""Money is reserved BEFORE it is spent, by conditional UPDATE, and settled after. Locks: budget, after requests."""

from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from django.db import connection
from django.db.models import F

from orchestrator_site.core.events import Record
from runs.models import Account, Dispatch


class Scope(StrEnum):
    """Whose cap was reached."""

    RUN = "run"
    DISPATCH = "dispatch"


def open_account(run, cap_usd: Decimal) -> Account:
    return Account.objects.create(run=run, cap_usd=cap_usd)


def is_capped(run_id: UUID) -> bool:
    """Whether a run was given a budget; one that was not never gets one."""
    return Account.objects.filter(run_id=run_id).exists()


def reserve(dispatch: Dispatch, amount_usd: Decimal, *, capped_run: bool) -> Scope | None:
    """Reserve for one model call; None when it fits, else whose cap has no room. The caller holds the dispatch."""
    if dispatch.cost_usd + amount_usd > dispatch.cost_cap_usd:
        return Scope.DISPATCH
    if capped_run and not _reserve_in_run(dispatch, amount_usd):
        return Scope.RUN
    return None


def _reserve_in_run(dispatch: Dispatch, amount_usd: Decimal) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_RESERVE, [amount_usd, dispatch.run_id, amount_usd])
        return bool(cursor.rowcount)


_RESERVE = """
UPDATE runs_account SET reserved_usd = reserved_usd + %s
WHERE run_id = %s AND cap_usd >= spent_usd + reserved_usd + %s
"""


def settle(log: Record, dispatch: Dispatch, reserved_usd: Decimal, spent_usd: Decimal) -> None:
    """Turn a reservation into what was spent; the dispatch's own cost is written by its holder."""
    log.writes.add(_SETTLE, [reserved_usd, spent_usd, dispatch.run_id])


_SETTLE = "UPDATE runs_account SET reserved_usd = reserved_usd - %s, spent_usd = spent_usd + %s WHERE run_id = %s"


def top_up(dispatch: Dispatch, scope: Scope, amount_usd: Decimal) -> None:
    if scope == Scope.RUN:
        Account.objects.filter(run_id=dispatch.run_id).update(cap_usd=F("cap_usd") + amount_usd)
    else:
        Dispatch.objects.filter(pk=dispatch.pk).update(cost_cap_usd=F("cost_cap_usd") + amount_usd)
