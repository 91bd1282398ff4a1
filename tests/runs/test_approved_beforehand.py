"""Calls that a standing approval covers run without asking, and are counted with their intent."""

import datetime as dt
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from approvals import standing
from approvals.models import ApprovalRequest, StandingApproval, StandingUse
from approvals.standing import Terms
from orchestrator_site.core import canonical
from runs import engine, states
from runs.engine import effects
from runs.engine import standing as beforehand
from runs.engine.memory import read
from runs.engine.offer import offer
from runs.models import Attempt, ToolCall
from tests.policies.cast import in_force, rule
from tests.runs.cast import (
    agent,
    at_once,
    call,
    carry_all,
    claim,
    decide,
    events_of,
    request_of,
    script,
    start,
    text,
    tool,
)
from tools.matchers import Matcher
from tools.models import Tool
from tools.values import Allow, Effect, NeedsApproval, Risk

pytestmark = pytest.mark.django_db(transaction=True)

AMOUNT = {"type": "object", "properties": {"amount": {"type": "integer", "minimum": 1}}, "required": ["amount"]}
LARGE = {"when": "args.amount > 100", "risk": "critical", "reason": "More than 100."}
RISKY = {"when": "args.amount > 50", "risk": "high", "reason": "More than 50."}


@pytest.fixture
def pay(model, ledger):
    tool("pay", "tests.effect", Effect.UNSAFE, Risk.MEDIUM, input_schema=AMOUNT, risk_rules=[LARGE, RISKY])
    agent("worker", "pay")


def ask_to_pay(owner, *amounts, slug="worker"):
    turns = [call(("pay", {"amount": amount})) for amount in amounts]
    return start(owner, script(*turns, text("Done.")), slug)


def given(ann, bob, amount=5, at_most="90", **terms: Any):
    """Bob approved one call, and the like beforehand."""
    run = carry_all(ask_to_pay(ann, amount))
    pattern = {"amount": Matcher("at_most", (at_most,))}
    asked: dict[str, Any] = {"pattern": pattern, "uses_at_most": 3} | terms
    decide(request_of(run), bob, standing=Terms(**asked))
    carry_all(run)
    return StandingApproval.objects.latest("pk")


def paid(ledger, run):
    keys = {each.idempotency_key for each in ToolCall.objects.filter(dispatch__run=run)}
    return [effect["arguments"]["amount"] for effect in ledger.get("/effects") if effect["key"] in keys]


def test_a_call_like_it_runs_without_asking_and_says_on_whose_word(pay, ann, bob, ledger):
    row = given(ann, bob)

    run = carry_all(ask_to_pay(ann, 7))

    assert (run.status, paid(ledger, run)) == (states.SUCCEEDED, [7])
    made = ToolCall.objects.get(dispatch__run=run)
    ruling = canonical.loads(made.ruling)
    assert made.request is None
    assert (ruling["verdict"], ruling["facts"]["standing_approval"]) == ("Allow", row.pk)
    assert ruling["reasons"][0] == f"bob approved this pattern (standing approval {row.pk}, 1 of 3 used)."
    used = StandingUse.objects.get()
    assert (used.call_id, used.run_id, used.arguments) == (made.pk, run.pk, '{"amount":7}')
    assert events_of(run, "standing_approval_used") == [{"standing": row.pk, "call": str(made.pk)}]
    assert events_of(run, "tool_call_notice")


def test_control_without_it_the_same_call_asks(pay, ann, bob):
    run = carry_all(ask_to_pay(ann, 7))

    assert run.status == states.WAITING
    assert request_of(run)


def dismiss(giver):
    giver.is_active = False
    giver.save()


def take_the_permission_from(giver):
    giver.user_permissions.clear()
    giver.groups.clear()


@pytest.mark.parametrize("leave", [dismiss, take_the_permission_from])
def test_who_may_decide_no_more_has_approved_nothing_beforehand(pay, ann, bob, leave):
    row = given(ann, bob)
    leave(bob)

    run = carry_all(ask_to_pay(ann, 7))
    ended = standing.expire_due()
    row.refresh_from_db()

    assert run.status == states.WAITING
    assert request_of(run)
    assert (ended, row.status, row.ended_why) == (1, "revoked", "bob may decide no more.")
    assert standing.expire_due() == 0


@pytest.mark.parametrize(
    ("change", "terms"),
    [
        ("another amount", {"at_most": "6"}),
        ("a higher risk", {}),
        ("another agent", {}),
        ("another run", {"this_run": True}),
        ("another version", {}),
        ("over", {}),
        ("always confirmed", {}),
    ],
)
def test_what_it_does_not_cover_asks_as_ever(pay, ann, bob, change, terms):
    row = given(ann, bob, **terms)
    amount, slug = 7, "worker"
    match change:
        case "a higher risk":
            amount = 60
        case "another agent":
            agent("other", "pay")
            slug = "other"
        case "another version":
            tool("pay", "tests.effect", Effect.UNSAFE, Risk.MEDIUM, input_schema=AMOUNT, timeout_seconds=9)
        case "over":
            standing.revoke(row.pk, by=bob, via="session")
        case "always confirmed":
            always = Tool.objects.get(name="pay")
            always.confirmation = "always"
            always.save()

    run = carry_all(ask_to_pay(ann, amount, slug=slug))

    assert request_of(run)
    assert not StandingUse.objects.exists()


@pytest.mark.parametrize("terms", [{"any_agent": True}, {"any_version": True}])
def test_a_wider_scope_covers_more(pay, ann, bob, ledger, terms):
    given(ann, bob, **terms)
    agent("other", "pay")
    slug = "other" if "any_agent" in terms else "worker"
    if "any_version" in terms:
        tool("pay", "tests.effect", Effect.UNSAFE, Risk.MEDIUM, input_schema=AMOUNT, timeout_seconds=9)

    assert paid(ledger, carry_all(ask_to_pay(ann, 7, slug=slug))) == [7]


def test_a_repeat_of_the_same_effect_asks_whatever_was_approved(pay, ann, bob, ledger):
    given(ann, bob)

    run = carry_all(ask_to_pay(ann, 7, 7))

    assert paid(ledger, run) == [7]
    assert "The same call already had its effect in this run" in " ".join(request_of(run).reasons)


def test_what_needs_four_eyes_asks_whatever_was_approved(pay, ann, bob):
    given(ann, bob, amount=60, at_most="1000")

    run = carry_all(ask_to_pay(ann, 500))

    assert request_of(run).four_eyes


def test_when_its_uses_are_up_a_person_is_asked_again(pay, ann, bob, ledger):
    row = given(ann, bob, uses_at_most=2)

    run = carry_all(ask_to_pay(ann, 1, 2, 3))

    assert paid(ledger, run) == [1, 2]
    assert request_of(run).content["arguments"] == {"amount": 3}
    row.refresh_from_db()
    assert (row.uses, row.status) == (2, "used_up")


def test_two_calls_of_one_turn_and_one_use_left(pay, ann, bob, ledger):
    given(ann, bob, uses_at_most=1)
    run = carry_all(start(ann, script(call(("pay", {"amount": 1}), ("pay", {"amount": 2})), text("Done."))))

    assert paid(ledger, run) == [1]
    assert request_of(run).content["arguments"] == {"amount": 2}


def test_revoked_between_ruling_and_intent_the_call_asks_after_all(pay, ann, bob, ledger):
    row = given(ann, bob)
    run = ask_to_pay(ann, 7)
    loop = engine.Loop(claim(run), is_new=True)
    loop.advance()  # ruled, and ready
    made = ToolCall.objects.get(dispatch__run=run)
    assert made.status == states.READY

    standing.revoke(row.pk, by=bob, via="session")
    loop.advance()

    made.refresh_from_db()
    assert (made.status, paid(ledger, run)) == (states.AWAITING_APPROVAL, [])
    assert not Attempt.objects.filter(call=made).exists()


def test_what_a_rule_could_not_be_evaluated_for_is_asked_all_the_same(pay, ann, bob, ledger):
    row = given(ann, bob)
    broken = rule("small", "deny", tool="pay", condition="args.nothing.here > 100.0")

    in_force(broken, by=ann, second=bob)
    run = carry_all(ask_to_pay(ann, 7))

    assert request_of(run).status == "open"
    assert paid(ledger, run) == []
    assert StandingUse.objects.filter(standing=row).count() == 0


def test_an_expiry_bites_at_the_next_call(pay, ann, bob, ledger):
    given(ann, bob, uses_at_most=None, expires_at=timezone.now() + dt.timedelta(seconds=2))
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(2)")

    run = carry_all(ask_to_pay(ann, 7))

    assert (paid(ledger, run), bool(request_of(run))) == ([], True)


def test_of_runs_at_once_no_more_calls_run_than_uses_were_left(pay, ann, bob, ledger):
    row = given(ann, bob, uses_at_most=3)
    runs = [ask_to_pay(ann, amount) for amount in range(10, 18)]
    waiting = iter(runs)

    at_once(lambda: carry_all(next(waiting)), len(runs))

    row.refresh_from_db()
    assert (row.uses, StandingUse.objects.count(), row.status) == (3, 3, "used_up")
    assert sum(len(paid(ledger, run)) for run in runs) == 3
    assert ApprovalRequest.objects.open().count() == 5


def test_a_call_that_is_sent_again_is_counted_once(model, ann, bob, ledger):
    tool("pay", "tests.effect", Effect.KEYED, Risk.HIGH, input_schema=AMOUNT)
    agent("worker", "pay")
    row = given(ann, bob, uses_at_most=1)
    run = ask_to_pay(ann, 7)
    loop = engine.Loop(claim(run), is_new=True)
    loop.advance()
    made = ToolCall.objects.get(dispatch__run=run)
    lease = loop._lease
    dispatch = read(lease).dispatch
    assert effects.intend(lease, dispatch, [made.pk])
    made.refresh_from_db()
    effects.recover(lease, made)  # its worker went away

    assert effects.intend(lease, dispatch, [made.pk])

    row.refresh_from_db()
    assert (row.uses, Attempt.objects.filter(call=made).count()) == (1, 2)


PLAIN = {"taint": ["untrusted"]}
DOUBTFUL = PLAIN | {"origins": {"amount": "the result of read_file, step 1"}}
LEAKS = {"taint": ["sensitive", "untrusted"]}


@pytest.mark.parametrize(
    ("pattern", "facts", "covered"),
    [
        (Matcher("at_most", ("90",)), PLAIN, True),
        (Matcher("at_most", ("90",)), DOUBTFUL, True),
        (Matcher("any", ()), PLAIN, True),
        (Matcher("any", ()), DOUBTFUL, False),
        (Matcher("at_most", ("90",)), LEAKS, False),
        (Matcher("at_most", ("90",)), PLAIN | {"run.restored": True}, False),
    ],
)
def test_what_anybody_may_have_written_is_held_to_something(pay, ann, bob, pattern, facts, covered):
    given(ann, bob, pattern={"amount": pattern})
    run = ask_to_pay(ann, 7)
    dispatch = run.dispatches.select_related("run", "manifest__agent").get()
    ruling = NeedsApproval(("It asks.",), Risk.MEDIUM, facts)
    made = ToolCall(dispatch=dispatch, tool="pay", arguments='{"amount":7}')

    relaxed = beforehand.relaxed(ruling, offer(dispatch)["pay"], dispatch, made)

    assert isinstance(relaxed, Allow) is covered


def test_where_nobody_would_be_asked_nothing_is_read_of_it(model, ann, bob):
    tool("echo", "tests.echo")
    agent("worker", "echo")
    run = start(ann, script(call(("echo", {"n": 1})), text("Hello.")))
    loop = engine.Loop(claim(run), is_new=True)

    with CaptureQueriesContext(connection) as captured:
        loop.advance()
        loop.advance()

    assert not [query["sql"] for query in captured.captured_queries if "standing" in query["sql"]]
