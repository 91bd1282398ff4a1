"""There is no money for the next model call: a person is asked to add, and the dispatch waits, or ends."""

import zoneinfo
from decimal import ROUND_UP, Decimal

from django.conf import settings

from approvals import requests
from approvals.models import OPERATOR
from approvals.states import OPEN
from orchestrator_site.core.clock import database_now
from orchestrator_site.core.events import Record
from runs import lifecycle
from runs.budgets import Scope, Short
from runs.engine.waiting import wait
from runs.models import Allotment, BudgetPeriod, BudgetWait, Dispatch, Run
from runs.states import StopReason
from runs.values import Ended, Outcome
from tools.values import Risk

# A run, a dispatch or a node has used up its own budget; or a budget that others draw on too is used up.
BUDGET_KIND, ACCOUNT_KIND = "budget", "budget_account"
CENT = Decimal("0.01")


def stop_short(log: Record, dispatch: Dispatch, short: Short, amount: Decimal) -> Outcome:
    """The caller holds the dispatch, and the counter that is short."""
    if short.scope == Scope.BUDGET:
        assert short.period_id is not None
        return _wait_for_budget(log, dispatch, _locked(short.period_id), amount)
    whose, cap = _whose(dispatch, short)
    more = max(amount, cap).quantize(CENT, ROUND_UP)
    frozen = {"dispatch": str(dispatch.pk), "scope": str(short.scope), "amount_usd": str(more)}
    if short.allotment_id is not None:
        frozen["allotment"] = str(short.allotment_id)
    requests.ask(
        log,
        kind=BUDGET_KIND,
        run_id=dispatch.run_id,
        dispatch_id=dispatch.pk,
        title=f"The budget of {whose} is used up. Add {more:.2f} USD?",
        frozen=frozen,
        risk=Risk.MEDIUM,
        reasons=["The next model call may cost more than what is left of the cap."],
        requester_id=dispatch.run.owner_id,
        deadline_seconds=settings.BATON_APPROVAL_SECONDS,
    )
    return wait(log, dispatch, f"a person to add to the budget of {whose}")


def _whose(dispatch: Dispatch, short: Short) -> tuple[str, Decimal]:
    """Whose budget it is, and the cap as it stands."""
    match short.scope:
        case Scope.RUN:
            return "this run", dispatch.run.account.cap_usd
        case Scope.NODE:
            assert short.allotment_id is not None
            bound = Allotment.objects.filter(id=short.allotment_id).select_related("node").get()
            assert bound.node is not None
            return f"{bound.node.key} and all that works for it", bound.granted_usd
    return f"the agent {dispatch.manifest.agent.slug}", dispatch.cost_cap_usd


def _locked(period_id: int) -> BudgetPeriod:
    rows = BudgetPeriod.objects.select_related("budget__owner", "budget__agent", "request")
    return rows.select_for_update(of=("self",), no_key=True).get(pk=period_id)


# -- a budget that others draw on too ----------------------------------------------------------------------------
def _wait_for_budget(log: Record, dispatch: Dispatch, period: BudgetPeriod, amount: Decimal) -> Outcome:
    """Once a person has declined, nobody is asked again in the period: whoever comes to its end ends."""
    if period.declined_at is not None:
        lifecycle.end_dispatch(log, dispatch, StopReason.BUDGET, declined(period))
        return Ended(StopReason.BUDGET)
    _note(dispatch, period, amount)
    if period.request is None or period.request.status != OPEN:
        ask(log, dispatch.run, period, amount)
    return wait(log, dispatch, waits_for(period), due_at=period.ends_at)


def _note(dispatch: Dispatch, period: BudgetPeriod, amount: Decimal) -> None:
    waits = BudgetWait(dispatch=dispatch, period=period, wanted_usd=amount, since=dispatch.now)
    BudgetWait.objects.bulk_create(
        [waits], update_conflicts=True, unique_fields=["dispatch"], update_fields=["period", "wanted_usd", "since"]
    )


def ask(log: Record, run: Run, period: BudgetPeriod, amount: Decimal) -> None:
    """One question for all who wait for this budget, told of in the chain of one of their runs. The caller holds the
    counter."""
    more = max(amount, period.budget.cap_usd).quantize(CENT, ROUND_UP)
    used = f"{period.granted_usd:.2f} of {period.limit_usd:.2f} USD"
    refills = refills_at(period)
    period.request = requests.ask(
        log,
        kind=ACCOUNT_KIND,
        run_id=run.pk,
        title=f"The budget of {period.budget.whose} is used up: {used}. Add {more:.2f} USD?",
        frozen={
            "scope": str(Scope.BUDGET),
            "period": period.pk,
            "budget": str(period.budget),
            "used_usd": str(period.granted_usd),
            "cap_usd": str(period.limit_usd),
            "refills": refills,
            "amount_usd": str(more),
        },
        risk=Risk.MEDIUM,
        reasons=[
            "The next model call may cost more than what is left of it, and every run that draws on it waits.",
            f"Undecided, it refills at {refills}." if refills else "It does not refill by itself.",
        ],
        addressed_to=OPERATOR,
        deadline_seconds=_deadline_seconds(period),
    )
    BudgetPeriod.objects.filter(pk=period.pk).update(request=period.request)


def _deadline_seconds(period: BudgetPeriod) -> float:
    """A question about a day is moot with its end."""
    if period.ends_at is None:
        return settings.BATON_APPROVAL_SECONDS
    return max((period.ends_at - database_now()).total_seconds(), 1.0)


def waits_for(period: BudgetPeriod) -> str:
    refills = refills_at(period)
    by_itself = f", or its refill at {refills}" if refills else ""
    return f"a person to add to the budget of {period.budget.whose}{by_itself}"


def refills_at(period: BudgetPeriod) -> str:
    """When its day or month turns, as the clocks of its zone show it; empty where it never does."""
    if period.ends_at is None:
        return ""
    there = period.ends_at.astimezone(zoneinfo.ZoneInfo(period.budget.zone))
    return f"{there:%Y-%m-%d %H:%M} ({period.budget.zone})"


def declined(period: BudgetPeriod) -> str:
    return f"The budget of {period.budget.whose} was used up. {period.declined_why}".strip()
