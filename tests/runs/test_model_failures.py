"""When the model server fails: wait with the slot free, then the next model of the chain, then a person."""

import time
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db.models import F
from django.db.models.functions import Now

from agents.models import ModelEntry
from agents.values import FailureKind, ModelFailure
from approvals import decisions
from approvals.models import ApprovalRequest
from runs import intake, reconcile, states
from runs.cancellation import cancel
from runs.engine import failing
from runs.models import Account, Dispatch, Step
from runs.states import StopReason
from tests.runs import cast
from tests.runs.cast import (
    agent,
    carry_all,
    decide,
    due_now,
    event_types,
    events_of,
    go_on,
    overdue,
    request_of,
    script,
    start,
    text,
    until_a_person_is_asked,
)
from tests.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.django_db(transaction=True)

HELLO = text("Hello.")


def until_due():
    """How long the one dispatch still waits, by the database's clock."""
    return Dispatch.objects.annotate(left=F("due_at") - Now()).values_list("left", flat=True).get()


def test_a_busy_server_is_waited_for_without_holding_anything(model, ann):
    agent()

    run = carry_all(start(ann, script(HELLO | {"status": 429, "retry_after": 7, "times": 1})))

    dispatch = Dispatch.objects.get()
    assert (run.status, dispatch.status) == (states.WAITING, states.WAITING)
    assert run.waiting_on.startswith("the model server: The model server refused the call of 'scripted' (HTTP 429")
    assert (dispatch.lease_owner, dispatch.lease_until, dispatch.hand_deadline) == ("", None, None)
    assert timedelta(seconds=6) < until_due() <= timedelta(seconds=7.7)


def test_it_is_woken_when_its_time_has_come_and_not_before(model, ann):
    agent()
    run = carry_all(start(ann, script(HELLO | {"status": 429, "retry_after": 60, "times": 1})))

    assert reconcile.wake_due() == 0
    assert carry_all(run).status == states.WAITING

    due_now(run)
    assert reconcile.wake_due() == 1
    run = carry_all(run)

    assert (run.status, run.output) == (states.SUCCEEDED, "Hello.")


def test_woken_too_early_it_waits_on(model, ann):
    agent()
    run = carry_all(start(ann, script(HELLO | {"status": 429, "retry_after": 60, "times": 1})))
    told = Dispatch.objects.get().due_at

    Dispatch.objects.update(due_at=Now())
    reconcile.wake_due()
    run = carry_all(run)

    assert (run.status, model.count()) == (states.WAITING, 1)
    assert Dispatch.objects.get().due_at == told


def test_a_refusal_at_the_door_costs_nothing(model, ann):
    agent()

    run = carry_all(start(ann, script(HELLO | {"status": 429, "times": 1}), budget_usd=1))

    step = Step.objects.get()
    assert (step.status, step.failure, step.cost_usd) == (states.FAILED, str(FailureKind.RETRY), Decimal(0))
    assert Account.objects.get(run=run).reserved_usd == Account.objects.get(run=run).spent_usd == 0


def test_what_nobody_knows_the_cost_of_counts_in_full(model, ann):
    agent()

    run = carry_all(start(ann, script(HELLO | {"garbage": True, "times": 1}), budget_usd=1))

    step = Step.objects.get()
    assert (step.cost_usd, step.cost_estimated) == (step.reserved_usd, True)
    assert Account.objects.get(run=run).spent_usd == step.reserved_usd
    assert go_on(run).output == "Hello."


@pytest.mark.parametrize("fault", [{"truncate": True}, {"reset": True}])
def test_a_reply_that_broke_off_counts_the_input_it_named_and_all_it_might_have_written(model, ann, fault, streamed):
    agent()
    used = {"input_tokens": 100, "cache_read_input_tokens": 1000, "cache_creation_input_tokens": 0}

    run = carry_all(start(ann, script(HELLO | fault | {"times": 1, "usage": used}), budget_usd=1))

    step = Step.objects.get()
    # 100 at 1 and 1000 at 0.1 dollars a million, and 2048 tokens of output at 5
    assert (step.cost_usd, step.cost_estimated) == (Decimal("0.010440"), True)
    assert step.cost_usd < step.reserved_usd
    account = Account.objects.get(run=run)
    assert (account.spent_usd, account.reserved_usd) == (step.cost_usd, Decimal(0))


def test_an_error_in_place_of_a_reply_counts_nothing_and_says_that_it_is_a_guess(model, ann):
    agent()

    run = carry_all(start(ann, script(HELLO | {"status": 500, "times": 1}), budget_usd=1))

    step = Step.objects.get()
    assert (step.cost_usd, step.cost_estimated) == (Decimal(0), True)
    account = Account.objects.get(run=run)
    assert account.spent_usd == account.reserved_usd == 0


class TestAPersonIsAsked:
    """When every model of the chain has failed as often as it may."""

    @pytest.fixture
    def run(self, model, ann):
        agent()
        busy = HELLO | {"status": 529, "message": "Too much.", "times": failing.TRIES_IN_ALL}
        return until_a_person_is_asked(carry_all(start(ann, script(busy), budget_usd=1)))

    def test_the_run_waits_and_holds_nothing(self, model, run):
        dispatch = Dispatch.objects.get()
        assert (run.status, dispatch.status) == (states.WAITING, states.WAITING)
        assert run.waiting_on == "a person to say whether to try again: no model answers"
        assert (dispatch.lease_owner, dispatch.lease_until, dispatch.due_at) == ("", None, None)
        assert Account.objects.get(run=run).reserved_usd == 0
        assert model.count() == failing.TRIES_IN_ALL

    def test_the_request_says_what_each_model_said(self, run):
        [said] = request_of(run).content["models"]
        assert (said["model"], said["tries"]) == ("scripted", failing.TRIES_IN_ALL)
        assert "Too much." in said["said"]

    def test_nothing_moves_until_somebody_decides(self, model, run):
        due_now(run)
        assert reconcile.wake_due() == 1  # as if it had a due time: it has none of its own

        run = carry_all(run)

        assert run.status == states.WAITING
        assert ApprovalRequest.objects.open().count() == 1
        assert model.count() == failing.TRIES_IN_ALL

    def test_a_yes_gives_fresh_tries(self, model, run, bob):
        decide(request_of(run), bob)

        run = carry_all(run)

        assert (run.status, run.output) == (states.SUCCEEDED, "Hello.")
        assert events_of(run, "model_tries_renewed")

    def test_a_no_ends_it_with_the_cause(self, model, run, bob):
        decide(request_of(run), bob, "rejected", reason="The provider is down all night.")
        run.refresh_from_db()

        assert (run.status, run.stop_reason) == (states.FAILED, StopReason.MODEL_FAILED)
        assert run.output.startswith("No model answered. The provider is down all night. scripted: ")
        assert "Too much." in run.output

    def test_nobody_answering_in_time_ends_it_with_the_cause(self, model, run):
        decisions.expire(overdue(request_of(run)).pk)
        run.refresh_from_db()

        assert (run.status, run.stop_reason) == (states.FAILED, StopReason.MODEL_FAILED)
        assert "Too much." in run.output

    def test_cancelling_the_run_takes_the_question_back(self, run, ann):
        cancel(run.pk, ann)
        run.refresh_from_db()

        assert run.status == states.CANCELLED
        assert not ApprovalRequest.objects.open().exists()


def test_a_person_is_asked_anew_when_the_fresh_tries_are_used_up(model, ann, bob):
    agent()
    run = until_a_person_is_asked(carry_all(start(ann, script(HELLO | {"status": 529}))))
    decide(request_of(run), bob)

    run = until_a_person_is_asked(carry_all(run))

    assert request_of(run).content["models"][0]["tries"] == failing.TRIES_IN_ALL
    assert model.count() == 2 * failing.TRIES_IN_ALL


@pytest.mark.parametrize(
    "fault",
    [{"status": status} for status in (408, 409, 429, 500, 502, 503, 504, 529)]
    + [{fault: True} for fault in ("truncate", "reset", "garbage", "hang")],
    ids=str,
)
def test_the_run_goes_on_after_it(model, ann, fault, settings):
    settings.BATON_MODEL_TIMEOUT_SECONDS = 1 if "hang" in fault else 30
    agent()

    run = carry_all(start(ann, script(HELLO | fault | {"times": 2})))
    assert (run.status, Dispatch.objects.get().lease_owner) == (states.WAITING, "")
    run = go_on(go_on(run))

    assert (run.status, run.output) == (states.SUCCEEDED, "Hello.")
    assert [step.status for step in Step.objects.order_by("number")] == [states.FAILED, states.FAILED, states.ANSWERED]


class TestTheChain:
    @pytest.fixture
    def chain(self, model):
        cast.model(model.url, "spare")
        agent(models=("scripted", "spare"))
        return model

    def models(self):
        return list(Step.objects.order_by("number").values_list("model", "status"))

    def test_a_model_that_is_not_there_is_skipped_at_once(self, chain, ann):
        run = carry_all(start(ann, script(HELLO | {"status": 404, "model": "scripted"})))

        assert run.output == "Hello."
        assert self.models() == [("scripted", states.FAILED), ("spare", states.ANSWERED)]

    def test_one_that_stays_busy_is_followed_by_the_next(self, chain, ann):
        run = start(ann, script(HELLO | {"status": 529, "model": "scripted"}))
        while not run.is_final:
            run = go_on(carry_all(run))

        assert run.output == "Hello."
        assert self.models() == [("scripted", states.FAILED)] * 4 + [("spare", states.ANSWERED)]

    def test_when_all_stay_busy_a_person_is_asked(self, chain, ann):
        run = until_a_person_is_asked(carry_all(start(ann, script(HELLO | {"status": 529}))))

        assert [(each["model"], each["tries"]) for each in request_of(run).content["models"]] == [
            ("scripted", failing.TRIES_IN_ALL),
            ("spare", failing.TRIES_IN_ALL),
        ]

    def test_after_an_answer_the_first_choice_is_asked_again(self, chain, ann):
        cast.tool("echo", "tests.echo")
        agent("worker", "echo", models=("scripted", "spare"))
        calling = cast.call(("echo", {})) | {"status": 404, "model": "scripted"}

        run = carry_all(start(ann, script(calling, HELLO)))

        assert run.output == "Hello."
        assert [name for name, _ in self.models()] == ["scripted", "spare", "scripted"]

    def test_one_that_names_a_far_moment_is_passed_over(self, chain, ann):
        run = carry_all(start(ann, script(HELLO | {"status": 429, "retry_after": 600, "model": "scripted"})))

        assert run.output == "Hello."
        assert self.models() == [("scripted", states.FAILED), ("spare", states.ANSWERED)]

    def test_and_is_not_asked_before_it_when_the_other_fails_too(self, chain, ann):
        far = {"status": 429, "retry_after": 600, "model": "scripted"}
        run = carry_all(start(ann, script(HELLO | {"faults": [far, {"status": 404, "model": "spare"}]})))

        assert self.models() == [("scripted", states.FAILED), ("spare", states.FAILED)]
        assert timedelta(seconds=590) < until_due() <= timedelta(seconds=660)
        assert run.waiting_on.startswith("the model server: The model server refused the call of 'scripted'")

    def test_a_refused_key_is_not_tried_with_another_model(self, chain, ann):
        run = carry_all(start(ann, script(HELLO | {"status": 401, "model": "scripted"})))

        assert (run.status, run.stop_reason) == (states.FAILED, StopReason.MODEL_FAILED)
        assert f"The key is read from {cast.MODEL_KEY}" in run.output
        assert self.models() == [("scripted", states.FAILED)]

    def test_a_refused_key_is_followed_by_a_model_with_another(self, chain, ann, monkeypatch):
        monkeypatch.setenv("BATON_TEST_SPARE_KEY", "another key")
        ModelEntry.objects.filter(name="spare").update(credential="env:BATON_TEST_SPARE_KEY")

        run = carry_all(start(ann, script(HELLO | {"status": 401, "model": "scripted"})))

        assert run.output == "Hello."
        assert self.models() == [("scripted", states.FAILED), ("spare", states.ANSWERED)]

    def test_a_disabled_model_is_not_asked(self, chain, ann):
        ModelEntry.objects.filter(name="scripted").update(enabled=False)

        run = carry_all(start(ann, script(HELLO)))

        assert self.models() == [("spare", states.ANSWERED)]
        assert run.output == "Hello."

    def test_with_none_left_in_the_catalogue_it_says_so(self, chain, ann):
        ModelEntry.objects.update(enabled=False)

        run = carry_all(start(ann, script(HELLO)))

        assert (run.stop_reason, chain.count()) == (StopReason.MODEL_FAILED, 0)
        assert "None of its models is in the catalogue" in run.output

    def test_a_wrong_request_is_not_tried_elsewhere(self, chain, ann):
        run = carry_all(start(ann, script(HELLO | {"status": 400, "message": "messages: too odd"})))

        assert (run.status, run.stop_reason) == (states.FAILED, StopReason.MODEL_FAILED)
        assert "messages: too odd" in run.output
        assert chain.count() == 1


DATE = "Wed, 21 Oct 2015 07:28:00 GMT"
NEXT_MINUTE = "Wed, 21 Oct 2015 07:29:30 GMT"


class TestWhenItIsAskedAgain:
    """Never sooner than the server said, and never all at the same moment."""

    @pytest.mark.parametrize(
        ("headers", "at_least", "at_most"),
        [
            ({"retry-after": "20"}, 20, 22),
            ({"retry-after": "2.5"}, 2.5, 2.75),
            ({"retry-after-ms": "9000"}, 9, 9.9),
            ({"retry-after-ms": "9000", "retry-after": "30"}, 9, 9.9),
            ({"date": DATE, "retry-after": NEXT_MINUTE}, 90, 99),
            ({"date": NEXT_MINUTE, "retry-after": DATE}, 1, 2),
            ({"retry-after": str(10**15)}, 24 * 3600, 24 * 3600 + 60),
            ({"retry-after": "soon"}, 1, 2),
            ({"retry-after": "0"}, 1, 2),
            ({"retry-after": "-5"}, 1, 2),
            ({}, 1, 2),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("status", [429, 529])
    def test_as_its_headers_say(self, model, ann, headers, at_least, at_most, status):
        agent()

        carry_all(start(ann, script(HELLO | {"status": status, "headers": headers, "times": 1})))

        step = Step.objects.get()
        assert at_least <= seconds_told(step) <= at_most
        assert Dispatch.objects.get().due_at == step.retry_at

    def test_many_that_are_told_the_same_moment_come_one_by_one(self):
        told = ModelFailure(FailureKind.RETRY, "x", "x", retry_after_seconds=100)

        pauses = {failing.pause_seconds(told, 1) for _ in range(100)}

        assert len(pauses) > 90
        assert 100 <= min(pauses) < max(pauses) <= 110

    def test_each_try_waits_longer_up_to_a_minute(self):
        failed = ModelFailure(FailureKind.RETRY, "x", "x")

        for tries, longest in ((1, 2), (2, 4), (3, 8), (5, 32), (6, 60), (10, 60)):
            pauses = [failing.pause_seconds(failed, tries) for _ in range(50)]
            assert longest / 2 <= min(pauses) < max(pauses) <= longest


def seconds_told(step):
    """How long after its end a failed step's model may be asked again; both are by the database's clock."""
    return (step.retry_at - step.ended_at).total_seconds()


LIMIT = {"status": 429, "error_type": "rate_limit_error"}
HOPELESS = {
    "a wrong request": (
        {"status": 400},
        "Waiting does not mend this: the agent, its tools or the task have to change.",
    ),
    "too large": ({"status": 413}, "Shorten the task, or lower the result limits of the agent's tools."),
    "a bad key": (
        {"status": 401},
        f"The key is read from {cast.MODEL_KEY}: put a valid one there, restart the workers, then retry the run.",
    ),
    "an unpaid account": ({"status": 402}, f"add credit at the provider of the key in {cast.MODEL_KEY}"),
    "a spend limit": (LIMIT | {"error_code": "enforced_spend_limit_reached"}, "Raise the limit"),
    "a contract's limit": (LIMIT | {"error_code": "contract_spend_limit_reached"}, "Raise the limit"),
    "a limit without a code": (LIMIT | {"headers": {"x-should-retry": "false"}}, "Raise the limit"),
    "an account on hold": ({"status": 400, "error_code": "organization_on_hold"}, "organization_on_hold"),
    "no right to it": ({"status": 403}, f"Give the key in {cast.MODEL_KEY} the right to use 'scripted'"),
    "no such model": ({"status": 404}, "Correct 'scripted' or the endpoint in the model catalogue"),
}


class TestWhatNoWaitingMends:
    """It ends at once, with what has to be mended and where; once that is done, the run is tried again."""

    @pytest.mark.parametrize(("fault", "way_out"), HOPELESS.values(), ids=list(HOPELESS))
    def test_it_ends_at_once_and_says_how_to_mend_it(self, model, ann, fault, way_out):
        agent()

        run = carry_all(start(ann, script(HELLO | fault | {"message": "The door is shut."}), budget_usd=1))

        assert (run.status, run.stop_reason) == (states.FAILED, StopReason.MODEL_FAILED)
        assert way_out in run.output
        assert "The door is shut." in run.output
        assert model.count() == 1
        assert not ApprovalRequest.objects.exists()
        account = Account.objects.get(run=run)
        assert account.spent_usd == account.reserved_usd == 0

    def test_control_a_rate_limit_is_waited_for(self, model, ann):
        agent()

        assert carry_all(start(ann, script(HELLO | LIMIT))).status == states.WAITING

    def test_a_key_that_is_not_there_is_named(self, model, ann, monkeypatch):
        agent()
        monkeypatch.delenv(cast.MODEL_KEY)

        run = carry_all(start(ann, script(HELLO)))

        assert (run.status, model.count()) == (states.FAILED, 0)
        assert f"The environment variable {cast.MODEL_KEY}" in run.output

    def test_once_it_is_mended_the_run_is_tried_again(self, model, ann):
        agent()
        failed = carry_all(start(ann, script(HELLO | {"status": 401, "times": 1}), budget_usd=1))

        again = carry_all(intake.retry(failed, ann, source="api"))

        assert (again.status, again.output) == (states.SUCCEEDED, "Hello.")
        assert again.metadata == {"retry_of": str(failed.pk)}
        assert Account.objects.get(run=again).cap_usd == 1

    def test_it_is_tried_again_in_its_conversation_without_what_failed(self, model, ann):
        agent()
        first = carry_all(start(ann, script(HELLO)))
        second = script(text("And again.") | {"status": 401, "times": 1})
        failed = carry_all(start(ann, second, conversation=first.conversation_id))
        assert failed.status == states.FAILED

        again = carry_all(intake.retry(failed, ann, source="api"))

        assert (again.output, again.conversation_id) == ("And again.", first.conversation_id)
        sent = [message["content"] for message in model.requests()[-1]["messages"]]
        assert len(sent) == 3
        assert sent[1] == "Hello."

    def test_somebody_elses_run_is_tried_again_outside_its_conversation(self, model, ann, bob):
        agent()
        failed = carry_all(start(ann, script(HELLO | {"status": 401, "times": 1})))

        again = carry_all(intake.retry(failed, bob, source="web"))

        assert (again.owner, again.output) == (bob, "Hello.")
        assert again.conversation_id != failed.conversation_id


class TestWorkingTime:
    def test_a_call_does_not_outlive_it(self, model, ann, settings):
        settings.BATON_MODEL_TIMEOUT_SECONDS = 2 * PATIENCE_SECONDS
        agent(limits={"wall_seconds": 2})
        run = start(ann, script(HELLO | {"hang": True}))
        began = time.monotonic()

        run = carry_all(run)

        assert (run.status, run.stop_reason) == (states.FAILED, StopReason.TIMEOUT)
        assert time.monotonic() - began < PATIENCE_SECONDS
        assert Step.objects.get().error.startswith("timeout")

    def test_waiting_for_the_server_is_not_counted(self, model, ann):
        agent(limits={"wall_seconds": 60})
        run = carry_all(start(ann, script(HELLO | {"status": 429, "retry_after": 3600, "times": 1})))
        Dispatch.objects.update(started_at=Now() - timedelta(hours=2))

        run = go_on(run)

        assert run.output == "Hello."


def test_every_failure_is_in_the_log(model, ann):
    agent()

    run = go_on(carry_all(start(ann, script(HELLO | {"status": 429, "times": 1}))))

    told = [type for type in event_types(run) if type.startswith("step_")]
    assert told == ["step_asked", "step_failed", "step_asked", "step_answered"]
