"""kill -9 of a real worker that has drawn, reserved, or not yet settled: no money is lost, and none leaks."""

import os
import signal
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models import Sum

from runs import leases, states
from runs.models import Account, Allotment, BudgetPeriod, Run, Step
from tests.budgets.cast import budget, sums_agree
from tests.faults.batch import Holds
from tests.runs.cast import agent, call, carry_all, script, start, text, tool
from tests.stack import Stack

pytestmark = [pytest.mark.crash, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("model")]

RUNS = 4


def begin(ann: User) -> list[Run]:
    tool("echo", "tests.echo")
    agent("worker", "echo")
    for each in ({"level": "global"}, {"level": "agent", "agent": "worker"}, {"level": "user", "owner": ann}):
        budget(cap="5", **each)
    budget("agent", agent="worker", period="run", cap="1")
    turns = script(call(("echo", {"n": 1})), text("Done."))
    return [start(ann, turns, budget_usd=Decimal(1)) for _ in range(RUNS)]


def total(rows: Any, column: str) -> Decimal:
    return rows.aggregate(sum=Sum(column))["sum"] or Decimal(0)


@pytest.mark.parametrize("point", ["after_reserve", "after_reply", "before_reply_commit", "after_reply_commit"])
def test_a_worker_killed_with_money_in_hand(point: str, stack: Stack, holds: Holds, ann: User) -> None:
    holds.put_up(point)
    worker = stack.start_worker(holds.env)
    runs = begin(ann)
    holds.await_arrivals(point, RUNS)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait_stopped(10)
    leases.process_exited("worker", worker.pid)
    held = total(Allotment.objects, "reserved_usd")
    sums_agree()

    ended = [carry_all(run) for run in runs]

    assert [run.status for run in ended] == [states.SUCCEEDED] * RUNS
    cost = total(Step.objects, "cost_usd")
    lost = Step.objects.filter(status=states.LOST)
    assert (held > 0) == (point != "after_reply_commit") == lost.exists()
    assert total(lost, "cost_usd") == total(lost, "reserved_usd"), "a reply that was lost counts in full"
    assert total(Account.objects, "spent_usd") == cost
    for period in BudgetPeriod.objects.filter(run=None):
        assert period.spent_usd == period.granted_usd == cost, "all of it is counted, and the rest went back"
    assert total(Allotment.objects, "reserved_usd") == 0
    assert not Allotment.objects.filter(is_live=True).exists()
    sums_agree()
