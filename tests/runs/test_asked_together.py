"""Calls alike of one turn are one question: decided together, each bound by its own digest."""

import pytest

from approvals import batches, decisions, errors, sweeps
from approvals.models import ApprovalRequest, Decision
from runs import cancellation, states
from runs.models import ToolCall
from tests.runs.cast import (
    agent,
    at_once,
    call,
    carry_all,
    decide,
    event_types,
    events_of,
    overdue,
    person,
    script,
    start,
    text,
    tool,
)
from tools.values import Effect, Risk

pytestmark = pytest.mark.django_db(transaction=True)

AMOUNT = {"type": "object", "properties": {"amount": {"type": "integer", "minimum": 1}}, "required": ["amount"]}
LARGE = {"when": "args.amount > 100", "risk": "critical", "reason": "More than 100."}
RISKY = {"when": "args.amount > 50", "risk": "high", "reason": "More than 50."}


@pytest.fixture
def pay(model, ledger):
    tool("pay", "tests.effect", Effect.UNSAFE, Risk.MEDIUM, input_schema=AMOUNT, risk_rules=[LARGE, RISKY])
    agent("worker", "pay")


@pytest.fixture
def carol(db):
    return person("carol", decides=True)


def ask_to_pay(owner, *amounts):
    calls = [("pay", {"amount": amount}) for amount in amounts]
    return carry_all(start(owner, script(call(*calls), text("Done."))))


def asked_in(run):
    return list(ApprovalRequest.objects.open().filter(run_id=run.pk).order_by("place"))


def leader_of(run):
    return ApprovalRequest.objects.open().filter(run_id=run.pk).leading().with_calls().get()


def together(run, by, verdict="approved", **more):

    leader = leader_of(run)
    whole = batches.digest(batches.members(leader))
    return decisions.decide(leader.pk, by=by, verdict=verdict, digest=whole, via="session", **more)


def paid(ledger, run):
    keys = {each.idempotency_key for each in ToolCall.objects.filter(dispatch__run=run)}
    return [effect["arguments"]["amount"] for effect in ledger.get("/effects") if effect["key"] in keys]


def test_eight_calls_alike_are_one_question_the_riskiest_first(pay, ann):
    run = ask_to_pay(ann, 5, 60, 7, *range(10, 15))

    leader = leader_of(run)

    assert (leader.calls, leader.content["arguments"], leader.risk) == (8, {"amount": 60}, "high")
    assert ApprovalRequest.objects.open().count() == 8
    assert len({each.digest for each in asked_in(run)}) == 8


def test_control_calls_that_other_people_decide_are_asked_apart(pay, ann):
    run = ask_to_pay(ann, 5, 500, 6)

    leading = ApprovalRequest.objects.open().filter(run_id=run.pk).leading().with_calls()

    assert sorted((each.calls, each.four_eyes) for each in leading) == [(1, True), (2, False)]


def test_calls_of_two_tools_are_two_questions(pay, ann):
    tool("tip", "tests.effect", Effect.UNSAFE, Risk.MEDIUM, input_schema=AMOUNT)
    agent("worker", "pay", "tip")
    turn = call(("pay", {"amount": 1}), ("tip", {"amount": 1}), ("pay", {"amount": 2}), ("tip", {"amount": 2}))
    run = carry_all(start(ann, script(turn, text("Done."))))

    leading = ApprovalRequest.objects.open().filter(run_id=run.pk).leading().with_calls()

    assert sorted((each.content["tool"], each.calls) for each in leading) == [("pay", 2), ("tip", 2)]


def test_one_yes_lets_all_of_them_run_each_once_with_its_own_approval(pay, ann, bob, ledger):
    run = ask_to_pay(ann, 5, 6, 7)
    digests = {each.digest for each in asked_in(run)}

    outcome = together(run, bob)
    run = carry_all(run)

    assert outcome.calls == 3
    assert (run.status, paid(ledger, run)) == (states.SUCCEEDED, [5, 6, 7])
    assert Decision.objects.filter(verdict="approved", by=bob).count() == 3
    assert {each.digest for each in Decision.objects.all()} == digests
    assert len(set(ApprovalRequest.objects.values_list("consumed_by_attempt", flat=True))) == 3
    (told,) = events_of(run, "approval_batch_decided")
    assert {digest for _, digest in told["requests"]} == digests


def test_one_no_rejects_all_of_them_and_needs_a_reason(pay, ann, bob, ledger):
    run = ask_to_pay(ann, 5, 6)

    with pytest.raises(errors.ReasonNeeded):
        together(run, bob, "rejected")
    together(run, bob, "rejected", reason="not today")
    run = carry_all(run)

    assert paid(ledger, run) == []
    assert [each.status for each in ToolCall.objects.all()] == [states.REFUSED] * 2


OTHER = [{"verdict": "modified", "edit": {"amount": 1}}, {"verdict": "answered", "answer": "x"}]


@pytest.mark.parametrize("verdict", OTHER)
def test_nothing_else_is_said_of_all_of_them(pay, ann, bob, verdict):
    run = ask_to_pay(ann, 5, 6)

    with pytest.raises(errors.InvalidVerdict, match="take one out"):
        together(run, bob, **verdict)

    assert len(asked_in(run)) == 2


@pytest.mark.parametrize("change", ["decided", "edited", "expired", "taken out", "split", "changed on the way"])
def test_what_was_seen_no_longer_being_the_set_decides_nothing(pay, ann, bob, carol, change):
    run = ask_to_pay(ann, 5, 6, 7)
    leader, other, _ = asked_in(run)
    seen = batches.digest(batches.members(leader))

    match change:
        case "decided":
            decide(other, carol)
        case "edited":
            decide(other, carol, "modified", edit={"amount": 500})
        case "expired":
            overdue(other)
            sweeps.expire_due()
        case "taken out":
            batches.split(other.pk, by=carol, via="session", all_of_it=False)
        case "split":
            batches.split(leader.pk, by=carol, via="session")
        case _:
            seen = "0" * 64

    with pytest.raises(errors.DigestMismatch):
        decisions.decide(leader.pk, by=bob, verdict="approved", digest=seen, via="session")
    leader.refresh_from_db()
    assert leader.status == "open"


def test_control_the_same_set_is_decided(pay, ann, bob):
    run = ask_to_pay(ann, 5, 6, 7)
    leader = leader_of(run)
    seen = batches.digest(batches.members(leader))

    assert decisions.decide(leader.pk, by=bob, verdict="approved", digest=seen, via="session").calls == 3


def test_the_first_decided_alone_leaves_the_others_together(pay, ann, bob, ledger):
    run = ask_to_pay(ann, 5, 6, 7)

    decide(leader_of(run), bob, "rejected", reason="not this one")

    assert leader_of(run).calls == 2
    together(run, bob)
    assert paid(ledger, carry_all(run)) == [6, 7]


def test_the_last_of_them_stands_alone(pay, ann, bob, ledger):
    run = ask_to_pay(ann, 5, 6)

    decide(leader_of(run), bob)

    last = leader_of(run)
    assert (last.calls, batches.members(last)) == (1, [])
    decide(last, bob)
    assert paid(ledger, carry_all(run)) == [5, 6]


def test_one_taken_out_is_decided_alone_and_the_rest_together(pay, ann, bob, ledger):
    run = ask_to_pay(ann, 5, 6, 7)
    first = leader_of(run)

    batches.split(first.pk, by=bob, via="session", all_of_it=False)

    leading = ApprovalRequest.objects.open().leading().with_calls().order_by("place")
    assert [each.calls for each in leading] == [1, 2]
    assert "approval_batch_split" in event_types(run)


def test_only_who_may_decide_takes_them_apart(pay, ann):
    run = ask_to_pay(ann, 5, 6)

    with pytest.raises(errors.NotAllowedToDecide):
        batches.split(leader_of(run).pk, by=ann, via="session")

    assert leader_of(run).calls == 2


def test_of_many_who_decide_together_and_alone_at_once_each_call_is_decided_once(pay, ann, bob, carol, ledger):
    run = ask_to_pay(ann, 5, 6, 7)
    requests = asked_in(run)
    whole = batches.digest(requests)

    jobs = iter([*[(requests[0], whole)] * 8, *[(each, each.digest) for each in requests] * 4])

    def job():
        request, digest = next(jobs)
        return decisions.decide(request.pk, by=bob, verdict="approved", digest=digest, via="session")

    answers = at_once(job, 20)
    run = carry_all(run)

    assert all(isinstance(each, decisions.Outcome | errors.NotDecided) for each in answers), answers
    assert Decision.objects.count() == 3
    assert sorted(paid(ledger, run)) == [5, 6, 7]


def test_a_cancel_takes_all_of_them_back(pay, ann, bob):
    run = ask_to_pay(ann, 5, 6, 7)
    seen = batches.digest(asked_in(run))
    leader = leader_of(run)

    cancellation.cancel(run.pk, by=ann)

    with pytest.raises(errors.AlreadyDecided):
        decisions.decide(leader.pk, by=bob, verdict="approved", digest=seen, via="session")
    assert not ApprovalRequest.objects.open().exists()
    assert set(ApprovalRequest.objects.values_list("status", flat=True)) == {"superseded"}


def test_a_deadline_expires_each_of_them(pay, ann, bob):
    run = ask_to_pay(ann, 5, 6, 7)
    for each in asked_in(run):
        overdue(each)

    assert sweeps.expire_due(limit=2) == 2
    assert leader_of(run).calls == 1
    assert sweeps.expire_due() == 1
