"""Dispatches that wait for a budget are woken when it has room again, or ended when a person has declined to add.

The rows say who waits for what, so nothing is lost with a message; the turn of a day or month wakes them by their due
time, like any other wait.
"""

import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.db import connection

from approvals import requests
from approvals.models import ApprovalRequest
from approvals.states import OPEN
from orchestrator_site.core import events
from runs import lifecycle, states, waking
from runs.engine import shortage
from runs.models import BudgetPeriod, BudgetWait, Dispatch, Run
from runs.states import StopReason

logger = logging.getLogger(__name__)
BATCH = 100


def wake_waiting() -> int:
    """A bounded batch of those that need not wait any more, each in a transaction of its own; how many were moved."""
    with connection.cursor() as cursor:
        cursor.execute(_MAY_GO_ON, [BATCH])
        found = cursor.fetchall()
    return sum(_alone(_wake, *each) for each in found)


def _alone(move: Callable[..., None], *about: Any) -> bool:
    """One that cannot be moved must not keep the others from their turn."""
    try:
        move(*about)
    except Exception:
        logger.exception("%s%s failed", move.__name__, about)
        return False
    return True


# Whoever waits longest goes first, and only as many go as there is room for.
_MAY_GO_ON = """
SELECT waits.dispatch_id, waits.run_id FROM (
  SELECT w.dispatch_id, d.run_id, w.since, d.status, p.ends_at, p.declined_at, b.active,
         p.cap_usd + p.added_usd - p.granted_usd AS room,
         sum(w.wanted_usd) OVER (PARTITION BY w.period_id ORDER BY w.since, w.dispatch_id) AS wanted
  FROM runs_budgetwait w JOIN runs_dispatch d ON d.id = w.dispatch_id
  JOIN runs_budgetperiod p ON p.id = w.period_id JOIN runs_budget b ON b.id = p.budget_id) AS waits
WHERE status <> 'waiting' OR NOT active OR declined_at IS NOT NULL OR ends_at <= now() OR room >= wanted
ORDER BY since LIMIT %s
"""


def _wake(dispatch_id: UUID, run_id: UUID) -> None:
    """Locks: run, dispatch."""
    with events.recording() as log:
        run = Run.objects.select_for_update(of=("self",), no_key=True).select_related("agent").get(pk=run_id)
        dispatch = Dispatch.objects.select_for_update(of=("self",)).select_related("run").get(pk=dispatch_id)
        waits = BudgetWait.objects.select_related("period__budget__owner", "period__budget__agent")
        wait = waits.filter(pk=dispatch_id).first()
        if wait is None:
            return
        wait.delete()
        if dispatch.status != states.WAITING:
            return
        if wait.period.declined_at is not None:
            lifecycle.end_dispatch(log, dispatch, StopReason.BUDGET, shortage.declined(wait.period))
        waking.wake(log, run, dispatch)


def keep_asked() -> int:
    """Budgets for which somebody waits and nobody is asked: the question went with the run that it was asked in, or
    what was added was too little. And questions that nobody needs an answer to any more are taken back."""
    unasked = BudgetPeriod.objects.filter(waits__isnull=False, declined_at__isnull=True)
    unasked = unasked.exclude(request__status=OPEN).distinct()
    periods = list(unasked.values_list("pk", flat=True)[:BATCH])
    asked = sum(_alone(_ask, period_id) for period_id in periods)
    moot = ApprovalRequest.objects.open().filter(
        kind=shortage.ACCOUNT_KIND, pk__in=BudgetPeriod.objects.filter(waits__isnull=True).values("request")
    )
    for request_id in list(moot.values_list("pk", flat=True)[:BATCH]):
        _alone(_take_back, request_id)
    return asked


def _take_back(request_id: UUID) -> None:
    with events.recording() as log:
        asked = ApprovalRequest.objects.filter(pk=request_id)
        requests.supersede(log, asked, why="Nobody waits for this budget any more.")


def _ask(period_id: int) -> None:
    """Locks: the counter."""
    with events.recording() as log:
        rows = BudgetPeriod.objects.select_related("budget__owner", "budget__agent", "request")
        period = rows.select_for_update(of=("self",), no_key=True).get(pk=period_id)
        wait = period.waits.select_related("dispatch__run").order_by("since").first()
        if wait is not None and (period.request is None or period.request.status != OPEN):
            shortage.ask(log, wait.dispatch.run, period, wait.wanted_usd)
