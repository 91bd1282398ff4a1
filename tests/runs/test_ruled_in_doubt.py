"""A call that was sent, and may have happened, is ruled again: a ruling that does not let it through ends no doubt."""

import datetime as dt

import pytest

from approvals import standing
from approvals.models import ApprovalRequest
from approvals.standing import Terms
from runs import cancellation, engine, intake, states, uncertain
from runs.engine import doubt
from runs.models import Attempt, ToolCall
from runs.uncertain import Finding
from tests.policies.cast import in_force, rule
from tests.runs.cast import (
    agent,
    call,
    carry_all,
    claim,
    decide,
    go_on,
    only_call,
    request_of,
    script,
    start,
    text,
    tool,
)
from tests.runs.meanwhile import die_before_the_send
from tools.matchers import Matcher
from tools.policies.values import Window
from tools.values import Effect, Risk

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("model", "ledger")]

PAY = call(("pay", {"amount": 7}))
AMOUNT = {"type": "object", "properties": {"amount": {"type": "integer"}}, "required": ["amount"]}


def keyed(risk=Risk.LOW):
    tool("pay", "tests.effect", Effect.KEYED, risk, input_schema=AMOUNT)
    agent("worker", "pay")


def pays(owner):
    return start(owner, script(PAY, PAY, text("Done.")))


def is_lost(run, monkeypatch):
    """Its intent is committed, its worker vanishes, and who comes after it finds that it may be sent again."""

    die_before_the_send(run, monkeypatch)
    loop = engine.Loop(claim(run))
    loop.advance()
    assert only_call(run).status == states.READY
    assert Attempt.objects.get(call=only_call(run)).status == states.UNKNOWN
    return loop


def closed_for_days():
    weekday = dt.datetime.now(dt.UTC).weekday()
    return Window("seldom", "UTC", frozenset({(weekday + 3) % 7}), dt.time(3), dt.time(3, 1))


@pytest.mark.parametrize("outcome", ["ask", "defer", "deny"])
def test_a_policy_that_lets_it_through_no_more_asks_what_became_of_it(ann, bob, monkeypatch, outcome):
    keyed()
    run = pays(ann)
    loop = is_lost(run, monkeypatch)

    window = {"window": "seldom"} if outcome == "defer" else {}
    in_force(rule("pays", outcome, tool="pay", **window), by=ann, second=bob, windows=[closed_for_days()])
    loop.advance()

    paid = only_call(run)
    assert paid.status == states.UNCERTAIN
    assert doubt.IN_DOUBT in paid.result
    assert not ApprovalRequest.objects.exists()
    assert paid in ToolCall.objects.with_effect_in(run.pk)


def test_control_one_that_is_let_through_is_sent_again(ann, bob, monkeypatch, ledger):
    keyed()
    run = pays(ann)
    loop = is_lost(run, monkeypatch)

    in_force(rule("pays", "notify", tool="pay"), by=ann, second=bob)
    loop.advance()

    paid = only_call(run)
    assert (paid.status, paid.attempts.count()) == (states.DONE, 2)


def test_a_standing_approval_that_is_revoked_leaves_it_in_doubt(ann, bob, monkeypatch):
    """Asked about as if nothing had been sent, it would be rejected, asked for anew, and paid twice."""
    keyed(Risk.HIGH)
    first = carry_all(start(ann, script(PAY, text("Done."))))
    terms = Terms({"amount": Matcher("at_most", ("90",))}, uses_at_most=3)
    decide(request_of(first), bob, standing=terms)
    carry_all(first)
    run = pays(ann)
    loop = is_lost(run, monkeypatch)

    standing.revoke(standing.StandingApproval.objects.get().pk, by=bob, via="session")
    loop.advance()

    assert only_call(run).status == states.UNCERTAIN
    assert not ApprovalRequest.objects.open().exists()


def test_once_a_person_says_that_it_happened_the_like_of_it_is_a_repeat(ann, bob, monkeypatch):
    keyed()
    run = pays(ann)
    loop = is_lost(run, monkeypatch)
    in_force(rule("pays", "deny", tool="pay"), by=ann, second=bob)
    loop.advance()
    loop.advance()
    in_force(by=ann, second=bob)

    uncertain.resolve(only_call(run).pk, Finding.HAPPENED, by=bob, result="It was paid.")
    run = carry_all(run)

    assert "The same call already had its effect in this run" in " ".join(request_of(run).reasons)
    assert intake.why_no_retry(cancellation.cancel(run.pk, ann))


def test_once_a_person_says_that_it_did_not_happen_it_is_ruled_as_any_other(ann, bob, monkeypatch, ledger):
    keyed()
    run = pays(ann)
    loop = is_lost(run, monkeypatch)
    in_force(rule("pays", "ask", tool="pay"), by=ann, second=bob)
    loop.advance()
    loop.advance()

    uncertain.resolve(only_call(run).pk, Finding.REPEAT, by=bob, attests_dead=True)
    run = carry_all(run)

    assert only_call(run).status == states.AWAITING_APPROVAL
    decide(request_of(run), bob, "rejected", reason="No.")
    assert only_call(run).status == states.REFUSED


@pytest.mark.parametrize(
    ("waits", "ends"),
    [
        (states.DEFERRED, "cancelled"),
        (states.DEFERRED, "denied"),
        (states.DEFERRED, "asks"),
        (states.AWAITING_APPROVAL, "cancelled"),
        (states.AWAITING_APPROVAL, "denied"),
        (states.AWAITING_APPROVAL, "rejected"),
    ],
)
def test_what_a_release_before_put_off_does_not_end_as_if_nothing_was_sent(ann, bob, waits, ends):
    """Rows as they were left: the call waits, though one of its attempts was lost."""
    keyed(Risk.HIGH)
    run = carry_all(pays(ann))
    paid, asked, now = only_call(run), request_of(run), dt.datetime.now(dt.UTC)
    Attempt.objects.create(call=paid, number=1, fence=1, status=states.UNKNOWN, deadline_at=now)
    if waits == states.DEFERRED:
        ToolCall.objects.filter(pk=paid.pk).update(status=waits, request=None, due_at=now)

    match ends:
        case "cancelled":
            cancellation.cancel(run.pk, ann)
        case "rejected":
            decide(asked, bob, "rejected", reason="No.")
        case "denied":
            in_force(rule("pays", "deny", tool="pay"), by=ann, second=bob)
            if waits == states.AWAITING_APPROVAL:
                decide(asked, bob)
    go_on(run)

    assert only_call(run).status == states.UNCERTAIN
