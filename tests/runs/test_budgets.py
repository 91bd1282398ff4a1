"""Money: reserved before it is spent, settled after, never above a cap, and a person may add to it."""

import threading
from decimal import Decimal

import pytest
from django.db.models import F

from approvals import decisions
from approvals.errors import InvalidEdit
from orchestrator_site.core import events
from runs import budgets, engine, intake, leases, states
from runs.budgets import Purse, Scope, Short
from runs.engine import asking, recording
from runs.errors import BadRequest
from runs.models import Account, Dispatch, Step
from runs.states import StopReason
from tests.runs.cast import (
    agent,
    at_once,
    call,
    carry_all,
    claim,
    decide,
    events_of,
    overdue,
    request_of,
    script,
    start,
    text,
    tool,
)
from tests.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.django_db(transaction=True)

USED = {
    "input_tokens": 1000,
    "output_tokens": 100,
    "cache_read_input_tokens": 10_000,
    "cache_creation_input_tokens": 2000,
}
# 1000 at 1, 100 at 5, 10 000 at 0.1 and 2000 at 1.25 dollars a million
COST = Decimal("0.005")


def account(run) -> Account:
    return Account.objects.get(run=run)


def test_a_step_costs_what_was_used_cache_reads_and_writes_included(model, ann):
    agent()

    run = carry_all(start(ann, script(text("Hello.") | {"usage": USED}), budget_usd=Decimal(1)))

    step, dispatch = Step.objects.get(), Dispatch.objects.get()
    assert (step.cost_usd, step.cost_estimated) == (COST, False)
    assert (step.cache_read_tokens, step.cache_write_tokens) == (10_000, 2000)
    assert (dispatch.cost_usd, dispatch.tokens) == (COST, 13_100)
    assert (account(run).spent_usd, account(run).reserved_usd) == (COST, Decimal(0))


def test_a_dispatch_costs_the_sum_of_its_steps(model, ann):
    tool("echo", "tests.echo")
    agent("worker", "echo")

    carry_all(start(ann, script(call(("echo", {})) | {"usage": USED}, text("Hello.") | {"usage": USED})))

    assert Dispatch.objects.get().cost_usd == 2 * COST


def test_the_worst_case_is_reserved_before_the_model_is_asked(model, ann, monkeypatch):
    agent()
    seen = []

    def look(asked, dispatch):
        seen.append((account(run).reserved_usd, Step.objects.get().reserved_usd))
        return original(asked, dispatch)

    original = asking.ask
    monkeypatch.setattr(asking, "ask", look)
    run = start(ann, script(text("Hello.")), budget_usd=Decimal(1))
    run = carry_all(run)

    ((in_account, in_step),) = seen
    step = Step.objects.get()
    assert in_account == in_step >= 2048 * Decimal(5) / 1_000_000  # every output token
    assert step.cost_usd <= in_step


def test_a_run_whose_budget_has_no_room_waits_for_a_person(model, ann):
    agent()

    run = carry_all(start(ann, script(text("Hello.")), budget_usd=Decimal("0.001")))

    assert (run.status, run.waiting_on) == (states.WAITING, "a person to add to the budget of this run")
    assert request_of(run).kind == "budget"
    assert model.count() == 0
    assert account(run).spent_usd == 0


def test_a_top_up_lets_it_go_on(model, ann, bob):
    agent()
    run = carry_all(start(ann, script(text("Hello.")), budget_usd=Decimal("0.001")))
    request = request_of(run)
    added = Decimal(request.content["amount_usd"])

    decide(request, bob)
    run = carry_all(run)

    assert run.output == "Hello."
    assert account(run).cap_usd == Decimal("0.001") + added
    assert events_of(run, "budget_raised")[0]["amount_usd"] == str(added)


def test_a_top_up_may_be_another_amount(model, ann, bob):
    agent()
    run = carry_all(start(ann, script(text("Hello.")), budget_usd=Decimal("0.001")))

    for amount in (0, -1, "NaN", "Infinity", "much", None, 10**7):
        with pytest.raises(InvalidEdit, match="US dollars"):
            decide(request_of(run), bob, "modified", edit={"amount_usd": amount})
    decide(request_of(run), bob, "modified", edit={"amount_usd": "2.5"})
    run = carry_all(run)

    assert (run.output, account(run).cap_usd) == ("Hello.", Decimal("2.501"))


@pytest.mark.parametrize("verdict", ["rejected", "expired"])
def test_without_more_it_ends_and_says_so(model, ann, bob, verdict):
    agent()
    run = carry_all(start(ann, script(text("Hello.")), budget_usd=Decimal("0.001")))

    if verdict == "rejected":
        decide(request_of(run), bob, "rejected", reason="Enough is enough")
    else:
        decisions.expire(overdue(request_of(run)).pk)
    run.refresh_from_db()

    assert (run.status, run.stop_reason) == (states.FAILED, StopReason.BUDGET)
    assert run.output.startswith("Its budget was used up.")
    assert model.count() == 0


def test_an_agents_own_cap_asks_for_its_own_top_up(model, ann, bob):
    agent(limits={"cost_usd": Decimal("0.001")})
    run = carry_all(start(ann, script(text("Hello."))))
    assert run.waiting_on == "a person to add to the budget of the agent worker"

    decide(request_of(run), bob)
    run = carry_all(run)

    assert run.output == "Hello."
    assert Dispatch.objects.get().cost_cap_usd > Decimal("0.001")


def reserve(dispatch, amount):
    with events.recording() as log:
        return budgets.reserve(log, dispatch, Decimal(amount), Purse(has_account=True))


def test_parallel_reservations_never_exceed_the_cap(model, ann):
    agent()
    run = start(ann, "a run", budget_usd=Decimal("0.10"))
    dispatch = run.dispatches.get()

    answers = at_once(lambda: reserve(dispatch, "0.03"), 20)

    assert sorted(map(str, answers)) == sorted(["[]"] * 3 + [str(Short(Scope.RUN))] * 17)
    assert account(run).reserved_usd == Decimal("0.09")


def test_control_read_first_and_then_written_they_would(model, ann):
    agent()
    run = start(ann, "a run", budget_usd=Decimal("0.10"))

    def reserve_carelessly():
        seen = account(run)
        if seen.remaining_usd >= Decimal("0.03"):
            together.wait(PATIENCE_SECONDS)
            Account.objects.filter(run=run).update(reserved_usd=F("reserved_usd") + Decimal("0.03"))

    together = threading.Barrier(20)
    at_once(reserve_carelessly, 20)

    assert account(run).reserved_usd > account(run).cap_usd


def test_what_is_settled_makes_room_again(model, ann):
    agent()
    dispatch = start(ann, "a run", budget_usd=Decimal("0.10")).dispatches.get()

    assert reserve(dispatch, "0.09") == []
    assert reserve(dispatch, "0.09") == Short(Scope.RUN)
    with events.recording() as log:
        budgets.settle(log, dispatch, Decimal("0.09"), Decimal("0.01"))

    assert reserve(dispatch, "0.09") == []


def test_a_reply_that_was_lost_counts_in_full_and_is_marked_an_estimate(model, ann):
    agent()
    run = start(ann, script(text("Hello.")), budget_usd=Decimal(1))
    lease = claim(run)
    die_in_the_call(lease)

    leave_to_others(run)
    run = carry_all(run)

    lost, answered = Step.objects.order_by("number")
    assert (lost.status, lost.cost_usd, lost.cost_estimated) == (states.LOST, lost.reserved_usd, True)
    assert run.output == "Hello."
    assert account(run).spent_usd == lost.reserved_usd + answered.cost_usd == Dispatch.objects.get().cost_usd
    assert account(run).reserved_usd == 0


def die_in_the_call(lease):
    """Reserve and commit the step, and never record its reply."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asking, "ask", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            engine.advance(lease)


def leave_to_others(run):
    """The lease of whoever held it runs out."""
    Dispatch.objects.filter(run=run, status=states.WORKING).update(lease_until="2020-01-01T00:00Z")


def test_a_worker_that_keeps_dying_in_the_call_is_kept_away_from_it(model, ann):
    agent()
    run = start(ann, script(text("Hello.")))
    while not (lease := claim(run)).is_worn_out:
        if Step.objects.filter(status=states.ASKED).exists():
            recording.settle_lost(lease, Step.objects.get(status=states.ASKED))
        die_in_the_call(lease)
        leave_to_others(run)

    leave_to_others(run)
    run = carry_all(run)

    assert (run.status, run.stop_reason) == (states.FAILED, StopReason.QUARANTINED)
    assert [step.status for step in Step.objects.all()] == [states.LOST] * leases.QUARANTINE_AFTER


def test_a_retry_keeps_the_budget(model, ann):
    agent()
    run = carry_all(start(ann, script(text("Hello.")), budget_usd=Decimal("0.5")))

    again = intake.retry(run, ann, source="api")

    assert account(again).cap_usd == Decimal("0.5")


@pytest.mark.parametrize("amount", ["0", "-1", "NaN", "Infinity", "1e12"])
def test_a_budget_is_a_sum_of_money(model, ann, amount):
    agent()

    with pytest.raises(BadRequest, match="budget_usd"):
        start(ann, "hello", budget_usd=Decimal(amount))
