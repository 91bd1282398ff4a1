"""Money: what steps cost is what dispatches, accounts, allotments and budgets say, and no cap was passed."""

from collections import defaultdict
from collections.abc import Iterable

from tests.chaos.checker.findings import Verdict
from tests.chaos.checker.material import Material, Row

LINE = "money that does not add up"
# Sums of numbers with nine digits, as floats.
SAME = 1e-7


def check(material: Material, verdict: Verdict) -> None:
    check_dispatches(material, verdict)
    check_accounts(material, verdict)
    check_allotments(material, verdict)
    check_periods(material, verdict)


def check_dispatches(material: Material, verdict: Verdict) -> None:
    for dispatch in material.dispatches.values():
        steps = _total(material.steps.get(dispatch["id"], []), "cost_usd")
        _hold(verdict, f"dispatch {dispatch['id']} and its steps", dispatch.get("cost_usd", 0), steps)


def check_accounts(material: Material, verdict: Verdict) -> None:
    spent: defaultdict[str, float] = defaultdict(float)
    reserved: defaultdict[str, float] = defaultdict(float)
    for dispatch in material.dispatches.values():
        for step in material.steps.get(dispatch["id"], []):
            spent[dispatch["run_id"]] += step.get("cost_usd", 0)
            reserved[dispatch["run_id"]] += _in_flight(step)
    for account in material.of("runs_account"):
        name = f"the account of run {account['run_id']}"
        _hold(verdict, f"{name}: spent", account["spent_usd"], spent[account["run_id"]])
        _hold(verdict, f"{name}: reserved", account["reserved_usd"], reserved[account["run_id"]])
        _within(verdict, name, account["spent_usd"] + account["reserved_usd"], account["cap_usd"])


def check_allotments(material: Material, verdict: Verdict) -> None:
    spent: defaultdict[int, float] = defaultdict(float)
    reserved: defaultdict[int, float] = defaultdict(float)
    for step in material.of("runs_step"):
        for id in step.get("allotments") or []:
            spent[id] += step["cost_usd"]
            reserved[id] += _in_flight(step)
    for each in material.of("runs_allotment"):
        name = f"allotment {each['id']} of run {each['run_id']}"
        if each["period_id"] is not None:
            _hold(verdict, f"{name}: spent", each["spent_usd"], spent[each["id"]])
        _hold(verdict, f"{name}: reserved", each["reserved_usd"], reserved[each["id"]])
        _within(verdict, name, each["spent_usd"] + each["reserved_usd"], each["granted_usd"])


def check_periods(material: Material, verdict: Verdict) -> None:
    granted: defaultdict[int, float] = defaultdict(float)
    counted: defaultdict[int, float] = defaultdict(float)
    for each in material.of("runs_allotment"):
        granted[each["period_id"]] += each["granted_usd"]
        counted[each["period_id"]] += each["counted_usd"]
    for period in material.of("runs_budgetperiod"):
        name = f"period {period['id']} of budget {period['budget_id']}"
        _hold(verdict, f"{name}: granted", period["granted_usd"], granted[period["id"]])
        _hold(verdict, f"{name}: spent", period["spent_usd"], counted[period["id"]])
        _within(verdict, name, period["granted_usd"], period["cap_usd"] + period["added_usd"])


def _in_flight(step: Row) -> float:
    return step.get("reserved_usd", 0) if step["status"] == "asked" else 0


def _total(rows: Iterable[Row], name: str) -> float:
    return sum(row.get(name, 0) for row in rows)


def _hold(verdict: Verdict, what: str, said: float, summed: float) -> None:
    if abs(said - summed) > SAME:
        verdict.say(LINE, f"{what}: {said} USD where the rows below come to {summed}")


def _within(verdict: Verdict, what: str, used: float, cap: float) -> None:
    if used > cap + SAME:
        verdict.say(LINE, f"{what}: {used} USD where there are {cap}")
