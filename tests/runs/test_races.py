"""What others commit between two steps of a worker: the run still ends, nothing is sent for it, and doubt is kept."""

import threading

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connections, transaction
from django.db.models.functions import Now
from django.test import RequestFactory

from agents import manifests
from agents.admin import OrderingRuleAdmin
from agents.models import Agent, Manifest, OrderingRule
from approvals.models import ApprovalRequest
from orchestrator_site.core import events
from runs import artifacts, cancellation, carrier, engine, leases, states
from runs.engine import asking, cancelling, effects, recording, reserving, settling
from runs.models import Artifact, Attempt, Dispatch, Handoff, Run, ToolCall
from runs.states import StopReason
from runs.values import Ended
from tests.runs.cast import (
    agent,
    call,
    carry_all,
    claim,
    decide,
    only_call,
    person,
    request_of,
    script,
    scripts,
    start,
    text,
    tool,
)
from tests.runs.meanwhile import (
    die_before_the_send,
    elsewhere,
    just_after,
    just_before,
    leave_to_others,
    run_into_us,
    wait_until_somebody_waits_for_us,
)
from tests.waiting import PATIENCE_SECONDS
from tools import callables, executors, registry
from tools.executors import launcher
from tools.models import Tool
from tools.values import Absent, Effect, ErrorKind, Risk, ToolResult

pytestmark = pytest.mark.django_db(transaction=True)

ACT = call(("act", {}))
DONE = text("Done.")
HAND_OVER = ("propose_handoff", {"target": "payer", "reason": "r", "task": "t"})
LOST = ToolResult("It was sent; nobody saw the answer.", ErrorKind.LOST, sent=True)
FINE = ToolResult('"fine"')


def acting(effect, risk=Risk.LOW):
    """A worker with one tool of this effect class, which at low risk needs nobody's approval."""
    tool("act", "tests.effect", effect, risk)
    if risk == Risk.LOW:
        Tool.objects.update(confirmation="never")
    agent("worker", "act")


@pytest.fixture
def pair(model):
    """A clerk who may propose the payer."""
    tool("echo", "tests.echo")
    tool("gated", "tests.echo", Effect.UNSAFE, Risk.HIGH)
    agent("payer")
    agent("clerk", "propose_handoff", "echo", "gated", handoff_targets=("payer",))


class TestACancelTheWorkerHasNotSeen:
    """It commits after the worker has read the run and before the worker's own transaction."""

    def is_cancelled(self, run):
        run.refresh_from_db()
        assert (run.status, run.stop_reason) == (states.CANCELLED, StopReason.CANCELLED)
        assert not run.dispatches.open().exists()
        assert not ApprovalRequest.objects.open().exists()

    def test_before_it_waits_for_a_person(self, model, ann, monkeypatch):
        acting(Effect.UNSAFE, Risk.HIGH)
        run = start(ann, script(ACT, DONE))
        just_after(monkeypatch, settling, "settle", lambda: cancellation.cancel(run.pk, ann))

        carry_all(run)

        self.is_cancelled(run)

    def test_before_it_reserves_for_a_model_call(self, model, ann, monkeypatch):
        agent()
        run = start(ann, script(DONE))
        just_before(monkeypatch, reserving, "reserve", lambda: cancellation.cancel(run.pk, ann))

        carry_all(run)

        self.is_cancelled(run)
        assert model.count() == 0

    def test_before_it_asks_for_money(self, model, ann, monkeypatch):
        agent()
        run = start(ann, script(DONE), budget_usd=1e-4)
        just_before(monkeypatch, reserving, "reserve", lambda: cancellation.cancel(run.pk, ann))

        carry_all(run)

        self.is_cancelled(run)
        assert not ApprovalRequest.objects.exists()

    def test_before_it_records_that_the_model_failed(self, model, ann, monkeypatch):
        agent()
        run = start(ann, script(DONE | {"status": 429}))
        just_before(monkeypatch, recording, "record", lambda: cancellation.cancel(run.pk, ann))

        carry_all(run)

        self.is_cancelled(run)

    def test_before_it_asks_a_person_to_accept_its_handoff(self, pair, ann, monkeypatch):
        run = start(ann, scripts(clerk=[call(HAND_OVER)]), agent="clerk")
        lease = claim(run)
        engine.advance(lease)
        engine.advance(lease)
        assert Handoff.objects.get().status == states.PROPOSED
        leases.hand_on(lease)
        just_before(monkeypatch, leases, "hold", lambda: cancellation.cancel(run.pk, ann))

        carry_all(run)

        self.is_cancelled(run)
        assert Handoff.objects.get().status == states.CANCELLED

    def test_control_uncancelled_it_asks(self, pair, ann, monkeypatch):
        run = start(ann, scripts(clerk=[call(HAND_OVER)]), agent="clerk")

        carry_all(run)

        assert request_of(run).kind == "handoff"


class TestACallInDoubtThatMayNoLongerBeSent:
    """A keyed call is repeated after a lost answer. Where it may not be, nobody says that it did not happen."""

    def is_in_doubt(self, run):
        assert only_call(run).status == states.UNCERTAIN
        assert only_call(run) in ToolCall.objects.with_effect_in(run.pk)

    def lose_the_answer(self, monkeypatch, meanwhile=lambda: None):
        def lose(*args, **kwargs):
            elsewhere(meanwhile).result(timeout=PATIENCE_SECONDS)
            return LOST

        monkeypatch.setattr(executors, "run", lose)

    def test_because_the_run_was_cancelled(self, model, ann, monkeypatch):
        acting(Effect.KEYED)
        run = start(ann, script(ACT, DONE))
        self.lose_the_answer(monkeypatch, lambda: cancellation.cancel(run.pk, ann))

        carry_all(run)

        assert run.status == states.CANCELLED
        assert Attempt.objects.get().status == states.UNKNOWN
        self.is_in_doubt(run)

    @pytest.mark.parametrize(
        "forbid",
        [
            lambda: registry.switch(Tool.objects.get(name="act"), by=User(username="olga"), enabled=False),
            lambda: manifests.retire(Agent.objects.get(slug="worker"), by=None),
        ],
        ids=["tool switched off", "agent retired"],
    )
    def test_because_it_is_refused_today(self, model, ann, monkeypatch, forbid):
        acting(Effect.KEYED)
        run = start(ann, script(ACT, DONE))
        self.lose_the_answer(monkeypatch, forbid)

        carry_all(run)

        assert run.waiting_on == "a person to say whether act happened"
        assert Attempt.objects.get().status == states.UNKNOWN
        self.is_in_doubt(run)

    def test_because_its_dispatch_was_set_aside(self, model, ann, monkeypatch, settings):
        settings.BATON_SLICE_TURNS = 2
        acting(Effect.KEYED)
        run = start(ann, script(ACT, DONE))
        self.lose_the_answer(monkeypatch)
        carrier.carry(run.dispatches.get().pk)
        assert only_call(run).status == states.READY
        Dispatch.objects.update(claims_without_progress=leases.QUARANTINE_AFTER)

        carry_all(run)

        assert run.stop_reason == StopReason.QUARANTINED
        self.is_in_doubt(run)

    def test_because_the_run_was_cancelled_after_its_worker_died(self, model, ann, monkeypatch):
        acting(Effect.KEYED)
        run = start(ann, script(ACT, DONE))
        die_before_the_send(run, monkeypatch)
        cancellation.cancel(run.pk, ann)

        carry_all(run)

        assert run.status == states.CANCELLED
        self.is_in_doubt(run)

    @pytest.mark.parametrize("kind", [ErrorKind.UNREACHABLE, ErrorKind.HTTP_STATUS])
    def test_because_its_repetition_failed(self, model, ann, monkeypatch, kind):
        """That the second attempt did nothing says nothing of the first."""
        acting(Effect.KEYED)
        run = start(ann, script(ACT, DONE))
        answers = iter([LOST, ToolResult("Nobody is there.", kind, sent=kind == ErrorKind.HTTP_STATUS)])
        monkeypatch.setattr(executors, "run", lambda *args, **kwargs: next(answers))

        carry_all(run)

        self.is_in_doubt(run)
        assert "The last try failed: Nobody is there." in only_call(run).result
        assert list(Attempt.objects.values_list("status", flat=True)) == [states.UNKNOWN, states.FAILED]

    def test_control_it_is_sent_again(self, model, ann, monkeypatch):
        acting(Effect.KEYED)
        run = start(ann, script(ACT, DONE))
        answers = iter([LOST, FINE])
        monkeypatch.setattr(executors, "run", lambda *args, **kwargs: next(answers))

        carry_all(run)

        assert (run.output, only_call(run).status) == ("Done.", states.DONE)


class TestAVerifiableCallThatMayStillHappen:
    """The lookup finds nothing, and that proves nothing while a process of the attempt may live."""

    @pytest.mark.parametrize(("gone_before", "ends"), [(False, states.UNCERTAIN), (True, states.DONE)])
    def test_whether_its_processes_are_gone_is_asked_before_the_lookup(
        self, model, ann, monkeypatch, gone_before, ends
    ):
        """The old attempt lands, and its process exits, while the next worker looks it up."""
        acting(Effect.VERIFIABLE)
        run = start(ann, script(ACT, DONE))
        die_before_the_send(run, monkeypatch)
        gone = threading.Event()
        if gone_before:
            gone.set()

        def lookup(*args):
            gone.set()
            return Absent()

        monkeypatch.setattr(executors, "is_dead", lambda identity: gone.is_set())
        monkeypatch.setattr(executors, "lookup", lookup)
        monkeypatch.setattr(executors, "run", lambda *args, **kwargs: FINE)

        carry_all(run)

        assert only_call(run).status == ends

    @pytest.mark.parametrize(("seen_dead", "attempts"), [(False, 1), (True, effects.MOST_ATTEMPTS)])
    def test_one_whose_process_outlived_its_kill_is_not_sent_again(self, model, ann, monkeypatch, seen_dead, attempts):
        acting(Effect.VERIFIABLE)
        report = launcher.Report(
            entered=True,
            kind=None,
            body=b"",
            declared_bytes=None,
            timed_out=True,
            exit_status=None,
            seen_dead=seen_dead,
        )
        monkeypatch.setattr(launcher, "in_child", lambda *args, **kwargs: report)
        monkeypatch.setattr(executors, "lookup", lambda *args: Absent())

        run = carry_all(start(ann, script(ACT, DONE)))

        assert only_call(run).status == states.UNCERTAIN
        assert Attempt.objects.count() == attempts


class TestLocks:
    @pytest.mark.parametrize("other", ["cancel", "decision"])
    def test_a_proposal_that_keeps_an_artifact_is_not_in_a_deadlock_with(self, pair, ann, bob, monkeypatch, other):
        """The worker holds the dispatch and is about to refer to the run; the other holds the run and wants both."""
        run = start(ann, scripts(clerk=[call(("echo", {}), HAND_OVER, ("gated", {}))]), agent="clerk")
        jobs = {
            "cancel": lambda: cancellation.cancel(run.pk, ann),
            "decision": lambda: decide(request_of(run), bob, "rejected", reason="no"),
        }
        original, others = artifacts.keep, []

        def keep(*args, **more):
            others.append(run_into_us(jobs[other]))
            return original(*args, **more)

        monkeypatch.setattr(artifacts, "keep", keep)
        carrier.carry(run.dispatches.get().pk)

        others[0].result(timeout=PATIENCE_SECONDS)
        assert Artifact.objects.filter(run=run).exists()

    def test_a_claim_and_the_end_of_a_dispatch_ask_nothing_of_its_run(self, model, ann):
        """Whoever moves the run holds its row: a worker that comes meanwhile neither goes away nor waits."""
        acting(Effect.UNSAFE, Risk.HIGH)
        run = start(ann, script(ACT, DONE))
        with transaction.atomic():
            Run.objects.select_for_update(no_key=True).get(pk=run.pk)
            lease = elsewhere(lambda: leases.claim(run.dispatches.get().pk)).result(timeout=PATIENCE_SECONDS)
            assert lease is not None
        engine.advance(lease)
        assert only_call(run).status == states.AWAITING_APPROVAL

        with transaction.atomic():
            Run.objects.select_for_update(no_key=True).get(pk=run.pk)
            ended = elsewhere(lambda: cancelling.end_at_once(lease, StopReason.QUARANTINED, "Enough.")).result(
                timeout=PATIENCE_SECONDS,
            )

        assert ended == Ended(StopReason.QUARANTINED)
        assert only_call(run).status == states.CANCELLED

    def test_an_ordering_rule_is_not_in_a_deadlock_with_a_publish(self, model, rf: RequestFactory, monkeypatch):
        """The rule holds the platform's chain and is about to refer to the agents; the publish holds one of them."""
        before, after = agent("before").agent, agent("after").agent
        draft = manifests.draft("before", Manifest.objects.get(agent=before).spec(), by=None)
        original, others = events._append, []

        def append(*args):
            monkeypatch.setattr(events, "_append", original)
            original(*args)
            others.append(run_into_us(lambda: manifests.publish(draft, by=None)))

        request = rf.post("/")
        request.user = person("olga")
        monkeypatch.setattr(events, "_append", append)
        rule = OrderingRule(before=before, after=after, reason="look first")
        OrderingRuleAdmin(OrderingRule, admin.site).save_model(request, rule, None, False)

        others[0].result(timeout=PATIENCE_SECONDS)
        assert OrderingRule.objects.exists()
        assert Agent.objects.get(slug="before").published == draft

    def test_an_intent_that_waited_for_its_dispatch_sees_that_the_agent_was_retired(self, model, ann, monkeypatch):
        acting(Effect.KEYED)
        run = start(ann, script(ACT, DONE))
        lease = claim(run)
        asked, may_record = threading.Event(), threading.Event()

        def ask(*args):
            answer = original(*args)
            asked.set()
            may_record.wait(PATIENCE_SECONDS)
            return answer

        original = asking.ask
        monkeypatch.setattr(asking, "ask", ask)
        turn = elsewhere(lambda: engine.advance(lease))
        asked.wait(PATIENCE_SECONDS)
        with transaction.atomic():
            Dispatch.objects.update(rung_at=Now())
            may_record.set()
            wait_until_somebody_waits_for_us()
            elsewhere(lambda: manifests.retire(Agent.objects.get(slug="worker"), by=None)).result(
                timeout=PATIENCE_SECONDS
            )
        turn.result(timeout=PATIENCE_SECONDS)

        assert only_call(run).status == states.REFUSED
        assert not Attempt.objects.exists()

    def test_the_first_intent_of_a_worker_starts_its_fork_server_before_it_locks_the_row(self, model, ann, monkeypatch):
        """That takes a second or more, and the keeper skips a locked row: the lease would run out under its worker."""
        acting(Effect.KEYED)
        run = start(ann, script(ACT, DONE))
        renewed = []

        def start_slowly():
            renewed.append(elsewhere(leases.keeper.renew).result(timeout=PATIENCE_SECONDS))
            return []

        monkeypatch.setattr(executors, "process_identities", start_slowly)
        monkeypatch.setattr(executors, "run", lambda *args, **kwargs: FINE)
        carry_all(run)

        assert renewed == [1]


def test_a_call_after_one_that_a_person_stopped_the_agent_with_is_not_sent(model, ann, bob):
    tool("gated", "tests.echo", Effect.UNSAFE, Risk.HIGH)
    tool("act", "tests.effect", Effect.KEYED)
    agent("worker", "gated", "act")
    run = carry_all(start(ann, script(call(("gated", {}), ("act", {})), DONE)))

    decide(request_of(run), bob, "rejected", reason="Stop.", stop=True)
    carry_all(run)

    assert run.stop_reason == StopReason.REJECTED
    assert not Attempt.objects.exists()


@pytest.mark.parametrize("claims", [0, leases.QUARANTINE_AFTER])
def test_a_proposal_of_a_dispatch_that_is_set_aside_waits_for_nobody(pair, ann, claims):
    run = start(ann, scripts(clerk=[call(HAND_OVER)]), agent="clerk")
    lease = claim(run)
    engine.advance(lease)
    engine.advance(lease)
    Dispatch.objects.update(claims_without_progress=claims)
    leave_to_others(run)

    carry_all(run)

    assert ApprovalRequest.objects.open().exists() == (claims == 0)
    assert run.status == (states.FAILED if claims else states.WAITING)


used: list = []
side_by_side = threading.Barrier(4, timeout=PATIENCE_SECONDS)


@callables.register("tests.count_runs", trusted=True)
def count_runs(**arguments):
    used.append(connections["default"])
    side_by_side.wait()
    return Run.objects.count()


def test_trusted_reads_side_by_side_give_their_connections_back(model, ann):
    used.clear()
    tool("read", "tests.count_runs")
    agent("worker", "read")

    run = carry_all(start(ann, script(call(*[("read", {"n": n}) for n in range(4)]), DONE)))

    assert run.output == "Done."
    assert len({id(each) for each in used}) == 4
    assert [each.connection for each in used] == [None] * 4
