"""A policy that is tightened bites at the next call, also of what was let through and has not run yet."""

import datetime as dt

import pytest
from django.db.models.functions import Now

from approvals.models import ApprovalRequest
from runs import reconcile, states
from runs.models import BoardEntry, ToolCall
from runs.pacing import switches
from runs.platform_tools import POST_TO_BOARD
from tests.policies.cast import in_force, rule
from tests.runs.cast import agent, call, carry_all, decide, go_on, request_of, script, start, text, tool
from tools import registry
from tools.models import DestinationList, Tool
from tools.policies import versions
from tools.policies.values import Outcome, Window
from tools.values import Effect, Risk

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("model")]


def publish(by, **rule):
    """The policy in force with one rule more."""
    drafted = versions.draft(by=by)
    drafted.rules.create(name="posts", says="Posts are looked at.", **rule)
    return versions.publish(drafted, by=by)


@pytest.mark.parametrize(
    ("outcome", "comes_to"),
    [(Outcome.ASK, states.AWAITING_APPROVAL), (Outcome.DENY, states.REFUSED), (None, states.DONE)],
)
def test_a_platform_call_that_was_let_through_is_ruled_again(ann, bob, outcome, comes_to):
    tool("pay", "tests.effect", Effect.UNSAFE, Risk.HIGH)
    agent("worker", "pay", POST_TO_BOARD)
    run = start(ann, script(call(("pay", {}), (POST_TO_BOARD, {"category": "note", "content": "x"})), text("done")))
    run = carry_all(run)
    if outcome is not None:
        publish(bob, tool=POST_TO_BOARD, outcome=outcome)

    decide(request_of(run), bob)
    run = carry_all(run)

    post = run.dispatches.get().calls.get(tool=POST_TO_BOARD)
    assert post.status == comes_to
    assert BoardEntry.objects.exists() is (outcome is None)
    assert ApprovalRequest.objects.open().exists() is (outcome == Outcome.ASK)


# -- sinks and lists ---------------------------------------------------------------------------------------------
IBAN = "DE89370400440532013000"
LISTED = {"iban": {"kind": "destination", "lists": ["suppliers"]}}


@pytest.fixture
def invoice(ledger):
    """An agent that pays what others send; their account is on a list."""
    DestinationList.objects.create(name="suppliers", kind="account", lines=IBAN)
    taken = {"type": "object", "properties": {"iban": {"type": "string"}}}
    tool("pay", "tests.effect", Effect.KEYED, Risk.LOW, input_schema=taken, sinks=LISTED)
    agent("worker", "pay")


def pays(owner):
    """The account stands in what is passed on, and nowhere else."""
    return carry_all(start(owner, script(call(("pay", {"iban": IBAN})), text("Done.")), input_labels=["untrusted"]))


def is_taken_from_the_list(by):
    DestinationList.objects.update(lines="")


def is_listed_elsewhere(by):
    registry.switch(Tool.objects.get(name="pay"), by=by, sinks={"iban": {"kind": "destination", "lists": ["staff"]}})


def stays(by):
    """Control."""


@pytest.mark.parametrize("waits", ["ready", "deferred"])
@pytest.mark.parametrize(
    ("change", "comes_to"),
    [
        (is_taken_from_the_list, states.AWAITING_APPROVAL),
        (is_listed_elsewhere, states.AWAITING_APPROVAL),
        (stays, states.DONE),
    ],
)
def test_what_nobody_vouches_for_any_more_is_asked_about(invoice, ann, bob, waits, change, comes_to):
    weekday = dt.datetime.now(dt.UTC).weekday()
    seldom = Window("seldom", "UTC", frozenset({(weekday + 3) % 7}), dt.time(3), dt.time(3, 1))
    if waits == "ready":
        switches.throw("tool", "pay", by=ann, reason="Look first.")
    else:
        in_force(rule("later", "defer", tool="pay", window="seldom"), by=ann, second=bob, windows=[seldom])
    run = pays(ann)
    assert ToolCall.objects.get(tool="pay").status == waits

    change(bob)
    if waits == "ready":
        switches.release("tool", "pay", by=ann)
    else:
        in_force(by=ann, second=bob)
        ToolCall.objects.filter(tool="pay").update(due_at=Now())
    run = go_on(run)

    assert ToolCall.objects.get(tool="pay").status == comes_to
    if comes_to == states.AWAITING_APPROVAL:
        assert request_of(run).reasons[0].startswith("“iban” first appeared in the request")
        decide(request_of(run), bob)
        carry_all(run)
        assert ToolCall.objects.get(tool="pay").status == states.DONE


# -- how often ---------------------------------------------------------------------------------------------------
def posts(times):
    return call(*[(POST_TO_BOARD, {"category": "note", "content": f"{n}"}) for n in range(times)])


def looks(times):
    return call(*[("look_up", {"n": n}) for n in range(times)])


@pytest.mark.parametrize(("name", "asks"), [("look_up", looks), (POST_TO_BOARD, posts)])
def test_calls_of_one_turn_count_each_other(ann, bob, name, asks):
    tool("look_up", "tests.echo")
    agent("worker", "look_up", POST_TO_BOARD)
    in_force(rule("thrice", "deny", tool=name, condition="calls.of_tool >= 3"), by=ann, second=bob)

    run = carry_all(start(ann, script(asks(2), asks(9), text("Done."))))

    called = run.dispatches.get().calls.order_by("step__number", "position")
    assert [each.status for each in called] == [states.DONE] * 3 + [states.REFUSED] * 8


@pytest.mark.parametrize(("name", "asks"), [("look_up", looks), (POST_TO_BOARD, posts)])
def test_calls_of_one_turn_count_each_other_when_they_are_ruled_again(ann, bob, name, asks):
    """Let through before there was a rule, and stopped."""
    tool("look_up", "tests.echo")
    agent("worker", "look_up", POST_TO_BOARD)
    switches.throw("tool", name, by=ann, reason="Look first.")
    run = carry_all(start(ann, script(asks(5), text("Done."))))
    assert set(run.dispatches.get().calls.values_list("status", flat=True)) == {states.READY}

    in_force(rule("thrice", "deny", tool=name, condition="calls.of_tool >= 3"), by=ann, second=bob)
    switches.release("tool", name, by=ann)
    reconcile.wake_due()
    carry_all(run)

    called = list(run.dispatches.get().calls.values_list("status", flat=True))
    assert (called.count(states.DONE), called.count(states.REFUSED)) == (3, 2)
