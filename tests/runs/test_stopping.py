"""Cancelling, doubt, and workers that come back from the dead."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from approvals.models import ApprovalRequest
from orchestrator_site.core import observers
from orchestrator_site.core.models import Observation
from runs import cancellation, carrier, intake, leases, reconcile, states, uncertain
from runs.engine import asking, effects, recording
from runs.errors import BadRequest, LostLease, NotPossible
from runs.models import Attempt, Dispatch, Run, Step, ToolCall
from runs.states import StopReason
from runs.uncertain import Finding
from tests.runs.cast import (
    agent,
    at_once,
    call,
    carry_all,
    claim,
    decide,
    event_types,
    events_of,
    only_call,
    request_of,
    script,
    start,
    text,
    tool,
)
from tools import executors
from tools.models import Tool
from tools.values import CannotTell, Effect, ErrorKind, Found, Risk, ToolResult

pytestmark = pytest.mark.django_db(transaction=True)

LOST = ToolResult("The process of the call ended before it reported.", ErrorKind.LOST, sent=True)


class Vanished(BaseException):
    """A worker that dies in the middle of something."""


@pytest.fixture
def pay(model, ledger):
    """An agent that pays without asking, by an operator's opt-out."""
    tool("pay", "tests.effect", Effect.UNSAFE, Risk.LOW)
    Tool.objects.update(confirmation="never")
    agent("worker", "pay")


PAY = call(("pay", {"amount": 5}))
PAY_TWICE = ("pay", {"amount": 5}), ("pay", {"amount": 6})
TELL = text("I read: {{result:1}}")


def effects_of(ledger, run):
    keys = {each.idempotency_key for each in ToolCall.objects.filter(dispatch__run=run)}
    return [effect for effect in ledger.get("/effects") if effect["key"] in keys]


def die_in(run, monkeypatch, module, name):
    """Carry a run's dispatch until a function is reached, and vanish there."""

    def vanish(*args, **kwargs):
        raise Vanished

    with monkeypatch.context() as patch:
        patch.setattr(module, name, vanish)
        with pytest.raises(Vanished):
            carrier.carry(run.dispatches.get().pk)


def leave_to_others(run):
    Dispatch.objects.filter(run=run, status=states.WORKING).update(lease_until="2020-01-01T00:00Z")


def lose_the_reply(monkeypatch, lookup=None):
    """Every call is really made, and its report is lost."""
    original = executors.run

    def run(*args, **kwargs):
        original(*args, **kwargs)
        return LOST

    monkeypatch.setattr(executors, "run", run)
    if lookup is not None:
        monkeypatch.setattr(executors, "lookup", lambda *args: lookup)


def in_doubt(ann, monkeypatch):
    """A run that waits because nobody can say whether its call happened."""
    with monkeypatch.context() as patch:
        lose_the_reply(patch)
        run = carry_all(start(ann, script(PAY, TELL)))
    assert only_call(run).status == states.UNCERTAIN
    return run


class TestCancel:
    def is_cancelled(self, run):
        run.refresh_from_db()
        assert (run.status, run.stop_reason) == (states.CANCELLED, StopReason.CANCELLED)
        assert not run.dispatches.open().exists()
        assert not ApprovalRequest.objects.open().exists()
        assert not ToolCall.objects.filter(status__in=states.TOOL_CALL.open - {states.UNCERTAIN}).exists()
        assert event_types(run)[-1] == "run_cancelled"
        assert "cancel_requested" in event_types(run)

    def test_before_it_began(self, pay, ann, model):
        run = start(ann, script(PAY, TELL))

        cancellation.cancel(run.pk, ann)

        self.is_cancelled(run)
        assert not carrier.carry(run.dispatches.get().pk)
        assert model.count() == 0

    def test_while_the_model_is_asked(self, pay, ann, monkeypatch, ledger):
        run = start(ann, script(PAY, TELL))
        original = asking.ask

        def cancel_meanwhile(*args):
            cancellation.cancel(run.pk, ann)
            return original(*args)

        monkeypatch.setattr(asking, "ask", cancel_meanwhile)
        run = carry_all(run)

        self.is_cancelled(run)
        assert effects_of(ledger, run) == []
        assert Step.objects.get().status == states.ANSWERED

    def test_between_the_reply_and_the_send(self, pay, ann, monkeypatch, ledger):
        run = start(ann, script(PAY, TELL))
        original = recording.record

        def cancel_first(*args):
            cancellation.cancel(run.pk, ann)
            return original(*args)

        monkeypatch.setattr(recording, "record", cancel_first)
        run = carry_all(run)

        self.is_cancelled(run)
        assert effects_of(ledger, run) == []
        assert only_call(run).status == states.REFUSED

    def test_between_two_sends_of_one_reply(self, pay, ann, monkeypatch, ledger):
        run = start(ann, script(call(*PAY_TWICE), TELL))
        original = effects.intend

        def cancel_first(*args):
            cancellation.cancel(run.pk, ann)
            return original(*args)

        monkeypatch.setattr(effects, "intend", cancel_first)
        run = carry_all(run)

        self.is_cancelled(run)
        assert len(effects_of(ledger, run)) == 1
        assert sorted(call.status for call in ToolCall.objects.all()) == [states.CANCELLED, states.DONE]

    def test_while_a_call_is_under_way_it_settles_first(self, pay, ann, monkeypatch, ledger):
        run = start(ann, script(PAY, TELL))
        original = effects.send

        def cancel_meanwhile(intent):
            cancellation.cancel(run.pk, ann)
            return original(intent)

        monkeypatch.setattr(effects, "send", cancel_meanwhile)
        run = carry_all(run)

        self.is_cancelled(run)
        assert (only_call(run).status, len(effects_of(ledger, run))) == (states.DONE, 1)

    def test_while_it_waits_for_a_due_time(self, model, ann):
        agent()
        run = carry_all(start(ann, script(text("Hello.") | {"status": 429})))

        cancellation.cancel(run.pk, ann)

        self.is_cancelled(run)

    def test_while_it_waits_for_money(self, model, ann):
        agent()
        run = carry_all(start(ann, script(text("Hello.")), budget_usd=1e-4))

        cancellation.cancel(run.pk, ann)

        self.is_cancelled(run)

    def test_with_a_call_in_doubt_the_doubt_stays_and_can_be_resolved(self, pay, ann, bob, monkeypatch):
        run = in_doubt(ann, monkeypatch)

        cancellation.cancel(run.pk, ann)

        self.is_cancelled(run)
        doubtful = only_call(run)
        assert doubtful.status == states.UNCERTAIN
        with pytest.raises(NotPossible, match="nothing can run again"):
            uncertain.resolve(doubtful.pk, Finding.REPEAT, by=bob, attests_dead=True)
        uncertain.resolve(doubtful.pk, Finding.HAPPENED, by=bob, result="It was paid.")
        assert only_call(run).status == states.RESOLVED

    def test_after_its_worker_vanished_in_the_call(self, pay, ann, monkeypatch):
        run = start(ann, script(PAY, TELL))
        die_in(run, monkeypatch, effects, "settle")
        cancellation.cancel(run.pk, ann)
        assert run.dispatches.get().status == states.WORKING

        leave_to_others(run)
        run = carry_all(run)

        self.is_cancelled(run)
        assert only_call(run).status == states.UNCERTAIN

    def test_after_an_error_of_ours_in_the_call(self, pay, ann, monkeypatch, caplog):
        """The dispatch is queued again with a call under way: the cancel leaves it in doubt, and nothing open."""
        run = start(ann, script(PAY, TELL))
        with monkeypatch.context() as patch:
            patch.setattr(effects, "settle", lambda *args: 1 / 0)
            carrier.carry(run.dispatches.get().pk)
        assert (run.dispatches.get().status, only_call(run).status) == (states.QUEUED, states.EXECUTING)

        cancellation.cancel(run.pk, ann)

        self.is_cancelled(run)
        assert only_call(run).status == states.UNCERTAIN
        assert Attempt.objects.get().status == states.UNKNOWN

    def test_a_run_that_ended_cannot_be_cancelled(self, model, ann):
        agent()
        run = carry_all(start(ann, script(text("Hello."))))

        with pytest.raises(NotPossible, match="succeeded already"):
            cancellation.cancel(run.pk, ann)

    def test_twice_at_once_is_once(self, model, ann):
        agent()
        run = start(ann, script(text("Hello.")))

        answers = at_once(lambda: cancellation.cancel(run.pk, ann), 8)

        assert sum(isinstance(answer, NotPossible) for answer in answers) == 7
        assert event_types(run).count("cancel_requested") == 1

    def test_control_without_a_cancel_it_pays(self, pay, ann, ledger):
        run = carry_all(start(ann, script(PAY, TELL)))

        assert len(effects_of(ledger, run)) == 1


class TestDoubt:
    def test_an_unsafe_call_whose_end_nobody_saw_waits_for_a_person(self, pay, ann, monkeypatch, ledger):
        run = in_doubt(ann, monkeypatch)

        assert (run.status, run.waiting_on) == (states.WAITING, "a person to say whether pay happened")
        assert len(effects_of(ledger, run)) == 1
        assert not ApprovalRequest.objects.exists()

    def test_it_happened(self, pay, ann, bob, monkeypatch, ledger):
        run = in_doubt(ann, monkeypatch)

        uncertain.resolve(only_call(run).pk, Finding.HAPPENED, by=bob, result="Paid, receipt 9.", reason="I looked")
        run = carry_all(run)

        assert run.output == "I read: Paid, receipt 9."
        assert len(effects_of(ledger, run)) == 1
        (told,) = events_of(run, "uncertain_call_decided")
        assert (told["finding"], told["reason"]) == ("happened", "I looked")

    def test_it_did_not_run_it_again(self, pay, ann, bob, monkeypatch, ledger):
        run = in_doubt(ann, monkeypatch)

        uncertain.resolve(only_call(run).pk, Finding.REPEAT, by=bob, attests_dead=True)
        run = carry_all(run)

        assert run.output.startswith("I read: {")
        assert [effect["requests"] for effect in effects_of(ledger, run)] == [1, 1]
        assert list(Attempt.objects.values_list("number", "status")) == [(1, states.UNKNOWN), (2, states.SUCCEEDED)]

    def test_an_approved_call_runs_again_on_its_own_approval(self, pay, ann, bob, monkeypatch, ledger):
        Tool.objects.update(confirmation="always")
        run = carry_all(start(ann, script(PAY, TELL)))
        decide(request_of(run), bob)
        with monkeypatch.context() as patch:
            lose_the_reply(patch)
            run = carry_all(run)

        uncertain.resolve(only_call(run).pk, Finding.REPEAT, by=bob, attests_dead=True)
        run = carry_all(run)

        assert run.output.startswith("I read: {")
        assert ApprovalRequest.objects.count() == 1

    def test_run_again_is_not_offered_while_the_old_attempt_may_live(self, pay, ann, bob, monkeypatch):
        """The processes of this attempt are this test's own, and alive."""
        run = in_doubt(ann, monkeypatch)

        assert not uncertain.may_repeat(only_call(run))
        with pytest.raises(NotPossible, match="may still be alive"):
            uncertain.resolve(only_call(run).pk, Finding.REPEAT, by=bob)

    def test_it_is_offered_when_its_processes_were_seen_to_be_gone(self, pay, ann, bob, monkeypatch):
        run = in_doubt(ann, monkeypatch)
        monkeypatch.setattr(executors, "is_dead", lambda identity: True)

        assert uncertain.may_repeat(only_call(run))

    @pytest.mark.parametrize("verdict", [None, False])
    def test_what_cannot_be_seen_from_here_is_no_proof(self, pay, ann, monkeypatch, verdict):
        run = in_doubt(ann, monkeypatch)
        monkeypatch.setattr(executors, "is_dead", lambda identity: verdict)

        assert not uncertain.may_repeat(only_call(run))

    def test_it_is_left(self, pay, ann, bob, monkeypatch):
        run = in_doubt(ann, monkeypatch)

        uncertain.resolve(only_call(run).pk, Finding.ABANDON, by=bob)
        run = carry_all(run)

        assert run.output.startswith("I read: Nobody knows whether this call happened")

    def test_of_many_who_resolve_one_does(self, pay, ann, bob, monkeypatch):
        run = in_doubt(ann, monkeypatch)
        doubtful = only_call(run)

        answers = at_once(lambda: uncertain.resolve(doubtful.pk, Finding.ABANDON, by=bob), 8)

        assert sum(isinstance(answer, NotPossible) for answer in answers) == 7

    def test_happened_needs_a_result(self, pay, ann, bob, monkeypatch):
        run = in_doubt(ann, monkeypatch)

        with pytest.raises(BadRequest, match="result"):
            uncertain.resolve(only_call(run).pk, Finding.HAPPENED, by=bob, result="  ")

    @pytest.mark.parametrize(
        ("effect", "lookup", "status", "effects_made"),
        [
            (Effect.PURE, None, states.FAILED, 1),
            (Effect.KEYED, None, states.UNCERTAIN, effects.MOST_ATTEMPTS),  # repeated, and lost each time
            (Effect.VERIFIABLE, Found(ToolResult("found")), states.DONE, 1),
            (Effect.VERIFIABLE, CannotTell("it is down"), states.UNCERTAIN, 1),
            (Effect.UNSAFE, None, states.UNCERTAIN, 1),
        ],
    )
    def test_what_a_lost_reply_means_is_its_effect_class(
        self, model, ann, ledger, monkeypatch, effect, lookup, status, effects_made
    ):
        tool("pay", "tests.effect", effect, Risk.LOW)
        Tool.objects.update(confirmation="never")
        agent("worker", "pay")
        lose_the_reply(monkeypatch, lookup)

        run = carry_all(start(ann, script(PAY, TELL)))

        assert only_call(run).status == status
        assert len(effects_of(ledger, run)) == effects_made


class TestZombies:
    """An expired lease goes to another worker; what the first one brings later changes nothing."""

    def test_a_second_claim_grows_the_fence_and_the_first_may_write_no_more(self, model, ann):
        agent()
        run = start(ann, script(text("Hello.")))
        first = claim(run)
        leave_to_others(run)

        second = claim(run)

        assert second.fence == first.fence + 1
        with pytest.raises(LostLease):
            leases.hand_on(first)
        leases.hand_on(second)

    def test_control_a_lease_in_force_is_nobody_elses(self, model, ann):
        agent()
        run = start(ann, script(text("Hello.")))
        first = claim(run)

        assert leases.claim(first.dispatch_id) is None

    def test_the_time_of_who_never_gave_it_back_counts(self, model, ann):
        agent()
        run = start(ann, script(text("Hello.")))
        claim(run)
        Dispatch.objects.update(claimed_at="2020-01-01T00:00Z", lease_until="2020-01-01T00:01Z")

        claim(run)

        assert run.dispatches.get().worked_seconds == 60

    def test_of_many_claims_at_once_one_holds(self, model, ann):
        agent()
        dispatch = start(ann, script(text("Hello."))).dispatches.get()

        answers = at_once(lambda: leases.claim(dispatch.pk), 20)

        assert sum(isinstance(answer, leases.Lease) for answer in answers) == 1
        assert [answer for answer in answers if isinstance(answer, Exception)] == []

    def test_a_late_reply_of_the_model_is_not_recorded(self, model, ann, monkeypatch):
        agent()
        run = start(ann, script(text("Hello.")))
        original = recording.record

        def lose_first(lease, *args):
            leave_to_others(run)
            with monkeypatch.context() as patch:
                patch.setattr(recording, "record", original)
                assert carrier.carry(lease.dispatch_id)
            return original(lease, *args)

        monkeypatch.setattr(recording, "record", lose_first)
        assert carrier.carry(run.dispatches.get().pk)

        run.refresh_from_db()
        assert run.output == "Hello."
        assert [step.status for step in Step.objects.order_by("number")] == [states.LOST, states.ANSWERED]

    def test_a_late_result_of_a_tool_is_kept_as_evidence_and_moves_nothing(self, pay, ann, bob, monkeypatch, ledger):
        run = start(ann, script(PAY, TELL))
        original = effects.send

        def lose_first(intent):
            sent = original(intent)
            leave_to_others(run)
            with monkeypatch.context() as patch:
                patch.setattr(effects, "send", original)
                assert carrier.carry(run.dispatches.get().pk)
            return sent

        monkeypatch.setattr(effects, "send", lose_first)
        assert carrier.carry(run.dispatches.get().pk)

        attempt = Attempt.objects.get()
        assert (attempt.status, only_call(run).status) == (states.UNKNOWN, states.UNCERTAIN)
        assert json.loads(json.loads(attempt.late_evidence)["content"])["made"] == only_call(run).idempotency_key
        assert "late_evidence_kept" in event_types(run)
        assert len(effects_of(ledger, run)) == 1

    def test_a_lease_is_renewed_only_while_the_call_in_hand_has_time(self, model, ann):
        agent()
        run = start(ann, script(text("Hello.")))
        lease = claim(run)

        with leases.keeper.keeping(lease):
            assert leases.keeper.renew() == 1
            Dispatch.objects.update(hand_deadline="2020-01-01T00:00Z")
            assert leases.keeper.renew() == 0
        assert leases.keeper.renew() == 0

    def test_a_quarantined_dispatch_leaves_its_call_in_doubt_and_not_for_ever_under_way(self, pay, ann, monkeypatch):
        run = start(ann, script(PAY, TELL))
        die_in(run, monkeypatch, effects, "settle")
        Dispatch.objects.update(claims_without_progress=leases.QUARANTINE_AFTER)

        leave_to_others(run)
        run = carry_all(run)

        assert (run.status, run.stop_reason) == (states.FAILED, StopReason.QUARANTINED)
        assert only_call(run).status == states.UNCERTAIN


class TestStopWithSeveralCalls:
    def test_reject_and_stop_takes_back_the_other_questions(self, model, ann, bob, ledger):
        tool("pay", "tests.effect", Effect.UNSAFE, Risk.HIGH)
        agent("worker", "pay")
        run = carry_all(start(ann, script(call(("pay", {"amount": 1}), ("pay", {"amount": 2})), TELL)))
        first = ToolCall.objects.get(position=0)

        decide(first.request, bob, "rejected", reason="enough", stop=True)
        run = carry_all(run)

        assert run.stop_reason == StopReason.REJECTED
        assert not ApprovalRequest.objects.open().exists()
        assert ToolCall.objects.get(position=1).status == states.CANCELLED

    def test_reject_and_stop_withdraws_a_proposal_of_the_same_turn(self, model, ann, bob, ledger):
        tool("pay", "tests.effect", Effect.UNSAFE, Risk.HIGH)
        agent("payer")
        agent("worker", "propose_handoff", "pay", handoff_targets=("payer",))
        proposal = ("propose_handoff", {"target": "payer", "reason": "r", "task": "t"})
        run = carry_all(start(ann, script(call(proposal, ("pay", {"amount": 2})), TELL)))

        decide(request_of(run), bob, "rejected", reason="enough", stop=True)
        run = carry_all(run)

        assert (run.status, run.stop_reason) == (states.FAILED, StopReason.REJECTED)
        assert not ApprovalRequest.objects.open().exists()


class TestForgottenWork:
    def test_a_run_left_behind_is_finished(self, model, ann, monkeypatch):
        agent()
        run = start(ann, script(text("Hello.")))
        with monkeypatch.context() as patch:
            patch.setattr(carrier.orchestration, "advance", lambda run_id: None)
            assert carrier.carry(run.dispatches.get().pk)
        run.refresh_from_db()
        assert run.status == states.WORKING

        reconcile.sweep()

        run.refresh_from_db()
        assert run.status == states.SUCCEEDED

    def test_a_dispatch_nobody_came_for_is_carried_from_the_database_when_the_broker_is_away(
        self, model, ann, monkeypatch
    ):
        agent()
        run = start(ann, script(text("Hello.")))
        Dispatch.objects.update(rung_at="2020-01-01T00:00Z")
        monkeypatch.setattr(reconcile.doorbells, "ring", lambda dispatch_id: False)

        with ThreadPoolExecutor(1) as fallback:
            assert reconcile.call_forgotten(fallback) == 1

        run.refresh_from_db()
        assert run.output == "Hello."

    def test_a_process_told_to_stop_hands_on_at_the_next_boundary(self, pay, ann, monkeypatch):
        run = start(ann, script(PAY, TELL))
        draining = threading.Event()
        monkeypatch.setattr(carrier, "draining", draining)
        original = effects.send

        def stop_meanwhile(intent):
            draining.set()
            return original(intent)

        monkeypatch.setattr(effects, "send", stop_meanwhile)
        assert carrier.carry(run.dispatches.get().pk)

        assert (run.dispatches.get().status, only_call(run).status) == (states.QUEUED, states.DONE)
        assert not carrier.carry(run.dispatches.get().pk)


class TestObservers:
    @pytest.fixture
    def broken(self):
        told = []

        @observers.observe("tests.broken", "run_succeeded")
        def broken(event):
            told.append(event.run_id)
            raise RuntimeError("no")

        yield told
        observers.forget("tests.broken")

    def test_one_that_raises_is_counted_and_the_run_completes(self, broken, model, ann):
        agent()

        run = carry_all(start(ann, script(text("Hello."))))
        observers.tell()

        assert run.output == "Hello."
        assert broken == [run.pk]
        owed = Observation.objects.get(observer="tests.broken")
        assert (owed.failures, owed.last_error) == (1, "RuntimeError: no")

    def test_control_one_that_does_not_is_told_once(self, broken, model, ann, monkeypatch):
        told: list[Any] = []
        monkeypatch.setitem(observers._observers, "tests.broken", told.append)
        agent()

        carry_all(start(ann, script(text("Hello."))))
        observers.tell()
        observers.tell()

        assert len(told) == 1
        assert not Observation.objects.exists()


class TestAgain:
    def test_a_run_without_effects_can_be_tried_again(self, model, ann):
        agent()
        run = carry_all(start(ann, script(text("Hello."))))

        again = intake.retry(run, ann, source="api")

        assert (again.input, again.metadata) == (run.input, {"retry_of": str(run.pk)})

    def test_one_with_effects_cannot(self, pay, ann):
        run = carry_all(start(ann, script(PAY, TELL)))

        with pytest.raises(NotPossible, match="had effects"):
            intake.retry(run, ann, source="api")

    def test_one_at_work_cannot(self, model, ann):
        agent()

        with pytest.raises(NotPossible, match="not finished"):
            intake.retry(start(ann, script(text("Hello."))), ann, source="api")


def test_a_run_is_moved_by_nobody_after_its_end(model, ann):
    agent()
    run = carry_all(start(ann, script(text("Hello."))))
    before = event_types(run)

    reconcile.sweep()
    engine_again = leases.claim(run.dispatches.get().pk)

    assert engine_again is None
    assert event_types(run) == before
    assert Run.objects.get().finished_at is not None
