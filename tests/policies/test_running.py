"""What a policy does to runs that are under way: it bites at their next call, and what waits for a window is ruled
again when the window is gone."""

import datetime as dt

import pytest
from django.contrib.auth.models import Group, User

from approvals.errors import NotAllowedToDecide
from approvals.models import ApprovalRequest
from orchestrator_site.core import observers
from orchestrator_site.core.clock import database_now
from runs import reconcile, states
from runs.models import Run, ToolCall
from tests.policies import cast
from tests.policies.cast import rule
from tests.runs.cast import call, carry_all, decide, person, request_of, script, start, text
from tests.waiting import eventually
from tools.policies.values import Window

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("model")]

TODAY = dt.datetime.now(dt.UTC).weekday()
# Open for one minute, on a day that is not today's nor tomorrow's.
SELDOM = Window("seldom", "UTC", frozenset({(TODAY + 3) % 7}), dt.time(3), dt.time(3, 1))
LATER = rule("later", "defer", tool="look_up", window="seldom", says="Looked up in the window.")
NO_LOOKING = rule("no looking", "deny", tool="look_up", says="Nothing is looked up any more.")


def looked_up(owner: User) -> Run:
    return start(owner, script(call(("look_up", {"order": "A-1"})), text("Done.")))


def test_tightening_bites_at_the_next_call_of_a_running_dispatch(ann, bob):
    cast.desk()
    pay, look = ("pay_out", {"order": "A-1", "amount": 20}), ("look_up", {"order": "A-1"})
    run = carry_all(start(ann, script(call(look), call(pay), call(look), text("Done."))))
    first = ToolCall.objects.filter(tool="look_up").get()

    cast.in_force(NO_LOOKING, by=ann, second=bob)
    decide(request_of(run), bob)
    carry_all(run)

    second = ToolCall.objects.filter(tool="look_up").latest("pk")
    assert (first.status, second.status) == (states.DONE, states.REFUSED)
    assert second.result == "Refused: Nothing is looked up any more. (Rule “no looking”.)"
    assert run.dispatches.count() == 1


def test_what_was_approved_is_refused_by_a_policy_that_forbids_it_since(ann, bob):
    cast.desk()
    run = cast.paid(ann, 20)[0]

    cast.in_force(rule("no paying", "deny", tool="pay_out"), by=ann, second=bob)
    decide(request_of(run), bob)
    carry_all(run)

    assert ToolCall.objects.get(tool="pay_out").status == states.REFUSED


def test_workers_serve_a_policy_that_was_published_while_they_carried_the_run(ann, bob, stack):
    cast.desk()
    pay, look = ("pay_out", {"order": "A-1", "amount": 20}), ("look_up", {"order": "A-1"})
    run = start(ann, script(call(look), call(pay), call(look), text("Done.")))
    stack.start_worker()
    asked = eventually(lambda: ApprovalRequest.objects.open().first())

    cast.in_force(NO_LOOKING, by=ann, second=bob)
    decide(asked, bob)

    eventually(lambda: Run.objects.get(pk=run.pk).status == states.SUCCEEDED)
    looked = ToolCall.objects.filter(tool="look_up").order_by("pk").values_list("status", flat=True)
    assert list(looked) == [states.DONE, states.REFUSED]


def test_two_of_a_group_that_a_rule_names_decide_and_nobody_else(ann, bob):
    cast.desk()
    cyd, dan = person("cyd", decides=True), person("dan", decides=True)
    finance = Group.objects.create(name="finance")
    finance.user_set.add(cyd, dan)
    two = rule("two pay", "ask", tool="pay_out", condition="args.amount > 10", approvers=2, group="finance")
    cast.in_force(two, by=ann, second=bob)
    much, little = cast.paid(ann, 20, 5)

    with pytest.raises(NotAllowedToDecide, match="finance"):
        decide(request_of(much), bob)
    assert not decide(request_of(much), cyd).decision
    carry_all(much)
    assert ToolCall.objects.get(dispatch__run=much, tool="pay_out").status == states.AWAITING_APPROVAL

    assert decide(request_of(much), dan).decision
    assert decide(request_of(little), bob).decision
    for run in (much, little):
        carry_all(run)
        assert ToolCall.objects.get(dispatch__run=run, tool="pay_out").status == states.DONE


def test_a_deferred_call_waits_for_its_window_and_says_so(ann, bob):
    cast.desk()
    cast.in_force(LATER, by=ann, second=bob, windows=[SELDOM])

    run = carry_all(looked_up(ann))

    deferred = ToolCall.objects.get()
    assert (deferred.status, run.status) == (states.DEFERRED, states.WAITING)
    assert deferred.due_at is not None
    assert deferred.due_at > database_now() + dt.timedelta(days=1)
    assert run.dispatches.get().due_at == deferred.due_at


def test_it_runs_when_its_window_opens(ann, bob):
    """The moment is moved, not the clock: the window is opened by a policy of its own."""
    cast.desk()
    cast.in_force(LATER, by=ann, second=bob, windows=[SELDOM])
    run = carry_all(looked_up(ann))
    wide = Window("seldom", "UTC", frozenset(range(7)), dt.time(0), dt.time(0))

    cast.in_force(LATER, by=ann, second=bob, windows=[wide])
    observers.tell()
    reconcile.wake_due()
    carry_all(run)

    assert ToolCall.objects.get().status == states.DONE
    assert Run.objects.get(pk=run.pk).status == states.SUCCEEDED


def test_a_policy_that_keeps_the_window_defers_it_again(ann, bob):
    cast.desk()
    cast.in_force(LATER, by=ann, second=bob, windows=[SELDOM])
    run = carry_all(looked_up(ann))
    due_at = ToolCall.objects.get().due_at

    cast.in_force(LATER, rule("more", "deny", tool="pay_out"), by=ann, second=bob, windows=[SELDOM])
    observers.tell()
    reconcile.wake_due()
    carry_all(run)

    again = ToolCall.objects.get()
    assert (again.status, again.due_at) == (states.DEFERRED, due_at)


def test_workers_let_a_call_go_whose_window_is_no_more(ann, bob, stack):
    cast.desk()
    cast.in_force(LATER, by=ann, second=bob, windows=[SELDOM])
    run = looked_up(ann)
    stack.start_worker()
    eventually(lambda: ToolCall.objects.filter(status=states.DEFERRED).exists())
    eventually(lambda: Run.objects.get(pk=run.pk).status == states.WAITING)

    cast.in_force(by=ann, second=bob)

    eventually(lambda: Run.objects.get(pk=run.pk).status == states.SUCCEEDED)
