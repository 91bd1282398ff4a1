"""Gated calls: nothing happens before a person's yes, what was approved is what runs, and it runs once."""

import socket
import threading

import pytest
from django.contrib.auth.models import Permission

from agents import manifests
from agents.models import Agent
from agents.values import GrantSpec
from approvals import decisions
from approvals.errors import AlreadyDecided, InvalidEdit, NotAllowedToDecide
from approvals.models import ApprovalRequest, Decision
from orchestrator_site.core import canonical
from runs import cancellation, carrier, intake, states
from runs.engine import effects, rulings
from runs.models import Attempt, Dispatch, ToolCall
from runs.states import StopReason
from tests.agents.raw_server import answering, response
from tests.runs import callables, cast
from tests.runs.cast import (
    agent,
    at_once,
    call,
    carry_all,
    decide,
    event_types,
    events_of,
    only_call,
    overdue,
    person,
    request_of,
    script,
    start,
    text,
    tool,
)
from tools import registry
from tools.models import Tool
from tools.policies import versions
from tools.values import Effect, ErrorKind, ExecutorKind, Risk

pytestmark = pytest.mark.django_db(transaction=True)

AMOUNT = {"type": "object", "properties": {"amount": {"type": "integer", "minimum": 1}}, "required": ["amount"]}
LARGE = {"when": "args.amount > 100", "risk": "critical", "reason": "More than 100."}


@pytest.fixture
def pay(model, ledger):
    """A tool that pays once a person says so, and an agent that has it."""
    tool("pay", "tests.effect", Effect.UNSAFE, Risk.HIGH, input_schema=AMOUNT, risk_rules=[LARGE])
    agent("worker", "pay")


@pytest.fixture
def carol(db):
    return person("carol", decides=True)


def ask_to_pay(owner, *amounts, then="I read: {{result:1}}"):
    calls = [("pay", {"amount": amount}) for amount in amounts or [5]]
    return carry_all(start(owner, script(call(*calls, say="The customer asked."), text(then))))


def paid(ledger, run):
    """The amounts that were really paid for a run's calls, in order."""
    keys = {each.idempotency_key for each in ToolCall.objects.filter(dispatch__run=run)}
    return [effect["arguments"]["amount"] for effect in ledger.get("/effects") if effect["key"] in keys]


def test_before_the_yes_nothing_is_sent_and_nothing_is_held(pay, ann, ledger):
    run = ask_to_pay(ann)

    assert (run.status, run.waiting_on) == (states.WAITING, "a person's approval of pay (high risk)")
    assert paid(ledger, run) == []
    assert not Attempt.objects.exists()
    assert run.dispatches.get().lease_owner == ""
    content = request_of(run).content
    assert (content["tool"], content["arguments"], content["effect"]) == ("pay", {"amount": 5}, "unsafe")
    assert request_of(run).reasoning == "The customer asked."


def test_after_the_yes_exactly_what_was_approved_is_sent(pay, ann, bob, ledger):
    run = ask_to_pay(ann)
    request = request_of(run)

    decide(request, bob)
    run = carry_all(run)

    assert paid(ledger, run) == [5]
    assert run.output == f'I read: {{"made":"{only_call(run).idempotency_key}"}}'
    assert Attempt.objects.get().digest == request.digest
    request.refresh_from_db()
    assert request.consumed_by_attempt == str(only_call(run).pk)


def test_an_approved_call_runs_once_when_carried_by_fifty_at_once(pay, ann, bob, ledger):
    run = ask_to_pay(ann)
    decide(request_of(run), bob)
    dispatch = run.dispatches.get()

    answers = at_once(lambda: carrier.carry(dispatch.pk), 50)

    run = carry_all(run)
    assert answers.count(True) >= 1
    assert [answer for answer in answers if answer not in (True, False)] == []
    assert (paid(ledger, run), Attempt.objects.count()) == ([5], 1)


def test_of_fifty_deciders_one_decides_and_one_effect_follows(pay, ann, bob, ledger):
    run = ask_to_pay(ann)
    request = request_of(run)

    answers = at_once(lambda: decide(request, bob), 50)

    run = carry_all(run)
    assert sum(isinstance(answer, AlreadyDecided) for answer in answers) == 49
    assert Decision.objects.count() == 1
    assert paid(ledger, run) == [5]


def test_a_decision_that_arrives_twice_is_one(pay, ann, bob, ledger):
    run = ask_to_pay(ann)
    request = request_of(run)

    decide(request, bob)
    with pytest.raises(AlreadyDecided):
        decide(request, bob)
    run = carry_all(run)
    with pytest.raises(AlreadyDecided):
        decide(request, bob)

    assert paid(ledger, carry_all(run)) == [5]


class TestEdits:
    def test_the_edited_arguments_are_what_is_sent(self, pay, ann, bob, ledger):
        run = ask_to_pay(ann)

        decide(request_of(run), bob, "modified", edit={"amount": 3})
        run = carry_all(run)

        assert paid(ledger, run) == [3]
        assert (only_call(run).arguments, only_call(run).proposed_arguments) == ('{"amount":3}', '{"amount":5}')

    @pytest.mark.parametrize("edit", [{"amount": 0}, {"amount": "5"}, {}, {"amount": 10**20}])
    def test_an_edit_is_held_to_the_tools_schema(self, pay, ann, bob, edit):
        run = ask_to_pay(ann)

        with pytest.raises(InvalidEdit):
            decide(request_of(run), bob, "modified", edit=edit)

    def test_one_that_raises_the_risk_needs_another_person(self, pay, ann, bob, carol, ledger):
        run = ask_to_pay(ann)

        outcome = decide(request_of(run), bob, "modified", edit={"amount": 500})
        run = carry_all(run)

        successor = request_of(run)
        assert run.waiting_on == run.dispatches.get().waiting_on == "a person's approval of pay (critical risk)"
        assert (outcome.decision, successor.risk, only_call(run).risk) == (None, Risk.CRITICAL, Risk.CRITICAL)
        assert paid(ledger, run) == []
        with pytest.raises(NotAllowedToDecide):
            decide(successor, bob)

        decide(successor, carol)
        run = carry_all(run)

        assert paid(ledger, run) == [500]

    @pytest.mark.parametrize(
        ("edits", "event"), [([3], "tool_call_ready"), ([500], "tool_call_edited"), ([500, 3], "tool_call_ready")]
    )
    def test_the_ruling_before_one_is_kept(self, pay, ann, bob, carol, edits, event):
        """In the chain, and with the call."""
        run = ask_to_pay(ann)
        ruled = [only_call(run).ruling]

        for amount, by in zip(edits, (bob, carol), strict=False):
            decide(request_of(run), by, "modified", edit={"amount": amount})
            ruled.append(only_call(run).ruling)

        *_, before, now = map(canonical.loads, ruled)
        told = events_of(run, event)[-1]
        assert told["ruling_before"] == {name: said for name, said in before.items() if name != "before"}
        assert told["ruling_digest"] == rulings.digest(ruled[-1])
        assert (now["edited"], now["before"]) == (True, before)
        assert (before["risk"], "edited" in before) == (("high", False) if len(edits) == 1 else ("critical", True))

    @pytest.mark.parametrize("edit", [{"iban": "x-1"}, {"iban": "x-2"}])
    def test_whoever_else_has_to_approve_it_is_told_of_what_was_left_as_it_was(self, model, ann, bob, edit):
        """Asked by whoever was sent something that anybody may have written, which the amount stands in as well."""
        pays = {"iban": {"kind": "destination"}, "amount": {"kind": "amount"}}
        schema = {"type": "object", "properties": {"iban": {"type": "string"}, "amount": {"type": "integer"}}}
        tool("pay", "tests.effect", Effect.UNSAFE, Risk.HIGH, input_schema=schema, risk_rules=[LARGE], sinks=pays)
        agent("worker", "pay")
        asking = script(call(("pay", {"iban": "x-1", "amount": 5})), text("Paid."))
        run = carry_all(start(ann, asking, input_labels=["untrusted"]))

        decide(request_of(run), bob, "modified", edit={"amount": 500} | edit)

        reasons = " ".join(request_of(run).reasons)
        assert "More than 100." in reasons
        assert "“amount”" not in reasons
        assert ("“iban” first appeared in the request" in reasons) is (edit["iban"] == "x-1")

    def test_what_the_run_waits_for_stays_the_first_of_its_calls(self, pay, ann, bob):
        run = ask_to_pay(ann, 5, 6)
        second = ToolCall.objects.get(position=1).request

        decide(second, bob, "modified", edit={"amount": 500})
        run.refresh_from_db()

        assert run.waiting_on == "a person's approval of pay (high risk)"

    def test_one_made_under_a_newer_policy_runs(self, pay, ann, bob, ledger):
        run = ask_to_pay(ann)
        versions.publish(versions.draft(by=bob), by=bob)

        decide(request_of(run), bob, "modified", edit={"amount": 3})
        run = carry_all(run)

        assert paid(ledger, run) == [3]


class TestOtherVerdicts:
    def test_rejected_is_told_with_its_reason_and_the_agent_goes_on(self, pay, ann, bob, ledger):
        run = ask_to_pay(ann)

        decide(request_of(run), bob, "rejected", reason="too soon")
        run = carry_all(run)

        assert (run.status, run.output) == (states.SUCCEEDED, "I read: Refused by a person: too soon")
        assert paid(ledger, run) == []

    def test_reject_and_stop_ends_the_agent(self, pay, ann, bob, model):
        run = ask_to_pay(ann)
        asked = model.count()

        decide(request_of(run), bob, "rejected", reason="enough", stop=True)
        run = carry_all(run)

        assert (run.status, run.stop_reason) == (states.FAILED, StopReason.REJECTED)
        assert "bob rejected pay and stopped the agent: enough" in run.output
        assert model.count() == asked

    def test_answered_stands_in_the_tools_place(self, pay, ann, bob, ledger):
        run = ask_to_pay(ann)

        decide(request_of(run), bob, "answered", answer="I paid it in cash.")
        run = carry_all(run)

        assert run.output == "I read: I paid it in cash."
        assert (only_call(run).status, paid(ledger, run)) == (states.DONE, [])
        assert not Attempt.objects.exists()

    def test_expired_is_told_like_a_no(self, pay, ann, ledger):
        run = ask_to_pay(ann)

        decisions.expire(overdue(request_of(run)).pk)
        run = carry_all(run)

        assert run.output == "I read: Refused: nobody decided in time. Do not ask for the same call again."
        assert paid(ledger, run) == []


class TestFourEyes:
    @pytest.fixture
    def ann(self, ann):
        """Starts the run, and has the permission to decide."""
        ann.user_permissions.add(Permission.objects.get(codename="decide_approvalrequest"))
        return type(ann).objects.get(pk=ann.pk)

    def test_who_started_the_run_does_not_decide_a_critical_call(self, pay, ann, bob, ledger):
        run = ask_to_pay(ann, 500)

        with pytest.raises(NotAllowedToDecide):
            decide(request_of(run), ann)
        decide(request_of(run), bob)

        assert paid(ledger, carry_all(run)) == [500]

    def test_control_a_high_risk_they_may(self, pay, ann, ledger):
        run = ask_to_pay(ann)

        decide(request_of(run), ann)

        assert paid(ledger, carry_all(run)) == [5]


def behind_the_approval(call):
    """Ways to make something else of an approved call, in the database."""
    version = registry.define(
        "pay",
        description="Another.",
        input_schema=AMOUNT,
        executor="python",
        config={"callable": "tests.effect"},
        effect=Effect.PURE,
    )
    ruling = canonical.loads(call.ruling)
    return {
        "arguments": {"arguments": '{"amount":99}'},
        "tool version": {"tool_version": version},
        "risk": {"risk": "low", "ruling": canonical.dumps(ruling | {"risk": "critical"})},
        "policy": {"ruling": canonical.dumps(ruling | {"facts": ruling["facts"] | {"policy": "mine"}})},
    }


class TestWhatYouApproveIsWhatRuns:
    @pytest.mark.parametrize("what", ["arguments", "tool version", "risk", "policy"])
    def test_what_was_changed_behind_the_approval_is_refused(self, pay, ann, bob, ledger, what):
        run = ask_to_pay(ann)
        decide(request_of(run), bob)
        ToolCall.objects.update(**behind_the_approval(only_call(run))[what])

        run = carry_all(run)

        assert (only_call(run).status, paid(ledger, run)) == (states.REFUSED, [])
        assert run.output == "I read: Refused: What is about to run is not what was approved."
        (told,) = events_of(run, "approval_binding_refused")
        assert told["digest"] != told["approved_digest"]
        assert not Attempt.objects.exists()

    def test_control_without_the_check_the_changed_arguments_would_run(self, pay, ann, bob, ledger, monkeypatch):
        run = ask_to_pay(ann)
        decide(request_of(run), bob)
        ToolCall.objects.update(arguments='{"amount":99}')
        monkeypatch.setattr(effects, "may_use_approval", lambda *args: True)

        run = carry_all(run)

        assert paid(ledger, run) == [99]

    def test_another_calls_approval_does_not_serve(self, pay, ann, bob, ledger):
        run = ask_to_pay(ann, 5, 6)
        first, second = ToolCall.objects.order_by("position")
        decide(first.request, bob)
        ToolCall.objects.filter(pk=second.pk).update(request=first.request, status=states.READY)

        run = carry_all(run)

        assert paid(ledger, run) == [5]
        assert len(events_of(run, "approval_binding_refused")) == 1

    def test_a_platform_tools_approval_binds_too(self, model, ann, bob):
        agent("worker", GrantSpec(tool="ask_human", always_confirm=True))
        asking = call(("ask_human", {"question": "May I?"}))
        run = carry_all(start(ann, script(asking, text("I read: {{result:1}}"))))
        decide(request_of(run), bob)
        ToolCall.objects.update(arguments='{"question":"Something else?"}')

        run = carry_all(run)

        assert run.output == "I read: Refused: What is about to run is not what was approved."

    def test_control_a_platform_tool_runs_as_approved(self, model, ann, bob):
        agent("worker", GrantSpec(tool="ask_human", always_confirm=True))
        asking = call(("ask_human", {"question": "May I?"}))
        run = carry_all(start(ann, script(asking, text("I read: {{result:1}}"))))
        decide(request_of(run), bob)
        run = carry_all(run)

        decide(request_of(run), ann, "answered", answer="Yes.")
        run = carry_all(run)

        assert run.output == "I read: Yes."


def switch(**switches):
    return lambda: registry.switch(Tool.objects.get(name="pay"), by=cast.person("op"), **switches)


SINCE = {
    "the tool was switched off": (switch(enabled=False), "pay is switched off.", ErrorKind.DISABLED),
    "its risk was raised": (switch(risk=Risk.CRITICAL), "the rules for this call have become", ErrorKind.DISABLED),
    "the agent was retired": (
        lambda: manifests.retire(Agent.objects.get(slug="worker"), by=None),
        "The agent worker was retired.",
        ErrorKind.DISABLED,
    ),
}


class TestBetweenTheYesAndTheSend:
    @pytest.mark.parametrize(("change", "sentence", "kind"), SINCE.values(), ids=SINCE)
    def test_what_became_stricter_refuses_the_call(self, pay, ann, bob, ledger, change, sentence, kind):
        run = ask_to_pay(ann)
        decide(request_of(run), bob)

        change()
        run = carry_all(run)

        assert sentence in run.output
        assert (only_call(run).error_kind, paid(ledger, run)) == (kind, [])

    def test_control_a_switch_thrown_and_thrown_back_changes_nothing(self, pay, ann, bob, ledger):
        run = ask_to_pay(ann)
        decide(request_of(run), bob)

        switch(enabled=False)()
        registry.switch(Tool.objects.get(), by=bob, enabled=True)

        assert paid(ledger, carry_all(run)) == [5]

    def test_a_new_version_of_the_tool_does_not_touch_the_approved_one(self, pay, ann, bob, ledger):
        run = ask_to_pay(ann)
        decide(request_of(run), bob)
        tool("pay", "tests.echo", Effect.UNSAFE, Risk.HIGH, input_schema=AMOUNT)

        assert paid(ledger, carry_all(run)) == [5]


class TestSeveralCallsOfOneTurn:
    def test_decided_in_any_order_they_run_in_the_models_order(self, pay, ann, bob, ledger):
        run = ask_to_pay(ann, 5, 6, 7)
        first, second, third = [each.request for each in ToolCall.objects.order_by("position")]

        for request in (third, second):
            decide(request, bob)
            run = carry_all(run)
        assert (run.status, paid(ledger, run)) == (states.WAITING, [])
        decide(first, bob)
        run = carry_all(run)

        assert paid(ledger, run) == [5, 6, 7]
        assert run.status == states.SUCCEEDED

    def test_any_number_of_decisions_is_no_reason_for_quarantine(self, pay, ann, bob, ledger):
        amounts = list(range(1, 9))
        run = ask_to_pay(ann, *amounts)

        for each in ToolCall.objects.order_by("position"):
            decide(each.request, bob)
            run = carry_all(run)

        assert (run.status, paid(ledger, run)) == (states.SUCCEEDED, amounts)

    def test_the_same_call_twice_asks_although_its_tool_need_not(self, model, ann, bob, ledger):
        tool("note", "tests.effect", Effect.KEYED, Risk.LOW)
        agent("worker", "note")
        again = call(("note", {"amount": 1}), ("note", {"amount": 1}), ("note", {"amount": 2}))
        run = carry_all(start(ann, script(again, text("Noted."))))

        assert paid(ledger, run) == [1]
        assert "this would repeat it" in request_of(run).reasons[0]
        decide(request_of(run), bob)

        assert paid(ledger, carry_all(run)) == [1, 1, 2]

    def noted_twice(self, owner, url):
        """A run whose agent notes the same thing twice, by a keyed tool at this address."""
        registry.define(
            "note",
            risk=Risk.LOW,
            brings=(),
            description="Note it.",
            input_schema={"type": "object"},
            executor=ExecutorKind.HTTP,
            config={"method": "POST", "url": url, "idempotency_header": "Idempotency-Key"},
            effect=Effect.KEYED,
        )
        agent("worker", "note")
        once = call(("note", {"amount": 1}))
        return carry_all(start(owner, script(once, once, text("{{result:2}}"))))

    def test_a_call_that_never_left_is_simply_made_again(self, model, ann):
        with socket.create_server(("127.0.0.1", 0)) as free:
            nowhere = f"http://127.0.0.1:{free.getsockname()[1]}"

        run = self.noted_twice(ann, nowhere)

        assert run.status == states.SUCCEEDED
        assert [each.error_kind for each in ToolCall.objects.all()] == [ErrorKind.UNREACHABLE] * 2
        assert all(each.nothing_sent for each in Attempt.objects.all())
        assert intake.why_no_retry(run) is None

    def test_control_one_that_left_and_failed_asks(self, model, ann):
        with answering(response(422, {"error": "out of ink"})) as url:
            run = self.noted_twice(ann, url)

        assert "this would repeat it" in request_of(run).reasons[0]
        assert ToolCall.objects.get(status=states.FAILED).error_kind == ErrorKind.HTTP_STATUS
        assert not Attempt.objects.get().nothing_sent

    def test_pure_ones_do_not_wait_for_the_approval_beside_them(self, pay, ann, ledger):
        tool("echo", "tests.echo")
        agent("worker", "pay", "echo")

        carry_all(start(ann, script(call(("pay", {"amount": 5}), ("echo", {})), text("Done."))))

        paying, echoed = ToolCall.objects.order_by("position")
        assert (paying.status, echoed.status) == (states.AWAITING_APPROVAL, states.DONE)

    def test_one_that_needs_nobody_waits_for_its_turn(self, pay, ann, bob, ledger):
        tool("note", "tests.effect", Effect.KEYED, Risk.LOW)
        agent("worker", "pay", "note")
        run = carry_all(start(ann, script(call(("pay", {"amount": 5}), ("note", {"amount": 6})), text("Done."))))
        assert paid(ledger, run) == []

        decide(request_of(run), bob, "rejected", reason="no")

        assert paid(ledger, carry_all(run)) == [6]

    def test_pure_calls_run_side_by_side(self, model, ann):
        tool("meet", "tests.meet")
        agent("worker", "meet")

        run = carry_all(start(ann, script(call(("meet", {}), ("meet", {"n": 2})), text("{{result:1}}, {{result:2}}"))))

        assert run.output == "met, met"

    def test_control_one_by_one_they_would_never_meet(self, model, ann, monkeypatch):
        monkeypatch.setattr(callables, "meeting", threading.Barrier(2, timeout=0.2))
        tool("meet", "tests.meet")
        agent("worker", "meet")

        run = carry_all(start(ann, script(call(("meet", {})), text("{{result:1}}"))))

        assert run.output == "The tool failed: BrokenBarrierError."


def test_a_request_leaves_the_queue_with_its_run(pay, ann, bob):
    run = ask_to_pay(ann)
    request = request_of(run)

    cancellation.cancel(run.pk, ann)

    assert not ApprovalRequest.objects.open().exists()
    with pytest.raises(AlreadyDecided):
        decide(request, bob)
    assert only_call(run).status == states.CANCELLED
    assert "approval_superseded" in event_types(run)
    assert Dispatch.objects.get().stop_reason == StopReason.CANCELLED
