"""When the model server fails: wait with the slot free, then the next model of the chain, then a plain end."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db.models import F
from django.db.models.functions import Now

from agents.models import ModelEntry
from agents.values import FailureKind
from runs import reconcile, states
from runs.engine import asking
from runs.models import Account, Dispatch, Step
from runs.states import StopReason
from tests.runs import cast
from tests.runs.cast import agent, carry_all, event_types, script, start, text

pytestmark = pytest.mark.django_db(transaction=True)

HELLO = text("Hello.")


def due_now(run):
    Dispatch.objects.filter(run=run, status=states.WAITING).update(due_at=Now())


def until_due():
    """How long the one dispatch still waits, by the database's clock."""
    return Dispatch.objects.annotate(left=F("due_at") - Now()).values_list("left", flat=True).get()


def go_on(run):
    """Its time has come: the reconciler queues it, and it is carried."""
    due_now(run)
    reconcile.wake_due()
    return carry_all(run)


def until_it_ends(run):
    while not run.is_final:
        run = go_on(run)
    return run


def test_a_busy_server_is_waited_for_without_holding_anything(model, ann):
    agent()

    run = carry_all(start(ann, script(HELLO | {"status": 429, "retry_after": 7, "times": 1})))

    dispatch = Dispatch.objects.get()
    assert (run.status, dispatch.status) == (states.WAITING, states.WAITING)
    assert run.waiting_on.startswith("the model server: The model server refused the call of 'scripted' (HTTP 429")
    assert (dispatch.lease_owner, dispatch.lease_until, dispatch.hand_deadline) == ("", None, None)
    assert timedelta(seconds=5) < until_due() <= timedelta(seconds=7)


def test_it_is_woken_when_its_time_has_come_and_not_before(model, ann):
    agent()
    run = carry_all(start(ann, script(HELLO | {"status": 429, "retry_after": 60, "times": 1})))

    assert reconcile.wake_due() == 0
    assert carry_all(run).status == states.WAITING

    due_now(run)
    assert reconcile.wake_due() == 1
    run = carry_all(run)

    assert (run.status, run.output) == (states.SUCCEEDED, "Hello.")


def test_a_refusal_at_the_door_costs_nothing(model, ann):
    agent()

    run = carry_all(start(ann, script(HELLO | {"status": 429, "times": 1}), budget_usd=1))

    step = Step.objects.get()
    assert (step.status, step.failure, step.cost_usd) == (states.FAILED, str(FailureKind.RETRY), Decimal(0))
    assert Account.objects.get(run=run).reserved_usd == Account.objects.get(run=run).spent_usd == 0


@pytest.mark.parametrize("fault", [{"status": 500}, {"truncate": True}, {"reset": True}, {"garbage": True}])
def test_a_call_that_may_have_been_worked_on_counts_in_full(model, ann, fault):
    agent()

    run = carry_all(start(ann, script(HELLO | fault | {"times": 1}), budget_usd=1))

    step = Step.objects.get()
    assert (step.cost_usd, step.cost_estimated) == (step.reserved_usd, True)
    assert Account.objects.get(run=run).spent_usd == step.reserved_usd
    assert go_on(run).output == "Hello."


def test_a_server_that_stays_busy_is_tried_a_few_times_and_then_said_to_have_failed(model, ann):
    agent()

    run = until_it_ends(carry_all(start(ann, script(HELLO | {"status": 529, "message": "Too much."}))))

    assert (run.status, run.stop_reason) == (states.FAILED, StopReason.MODEL_FAILED)
    assert "No model of its chain answered" in run.output
    assert "Too much." in run.output
    assert model.count() == asking.TRIES_PER_MODEL


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
        run = until_it_ends(carry_all(start(ann, script(HELLO | {"status": 529, "model": "scripted"}))))

        assert run.output == "Hello."
        assert self.models() == [("scripted", states.FAILED)] * 4 + [("spare", states.ANSWERED)]

    def test_when_all_stay_busy_it_is_the_models_failure_and_no_quarantine(self, chain, ann):
        run = until_it_ends(carry_all(start(ann, script(HELLO | {"status": 529}))))

        assert run.stop_reason == StopReason.MODEL_FAILED
        assert len(self.models()) == 2 * asking.TRIES_PER_MODEL

    def test_after_an_answer_the_first_choice_is_asked_again(self, chain, ann):
        cast.tool("echo", "tests.echo")
        agent("worker", "echo", models=("scripted", "spare"))
        calling = cast.call(("echo", {})) | {"status": 404, "model": "scripted"}

        run = carry_all(start(ann, script(calling, HELLO)))

        assert run.output == "Hello."
        assert [name for name, _ in self.models()] == ["scripted", "spare", "scripted"]

    def test_a_disabled_model_is_not_asked(self, chain, ann):
        ModelEntry.objects.filter(name="scripted").update(enabled=False)

        run = carry_all(start(ann, script(HELLO)))

        assert self.models() == [("spare", states.ANSWERED)]
        assert run.output == "Hello."

    def test_with_none_left_in_the_catalogue_it_says_so(self, chain, ann):
        ModelEntry.objects.update(enabled=False)

        run = carry_all(start(ann, script(HELLO)))

        assert (run.stop_reason, chain.count()) == (StopReason.MODEL_FAILED, 0)
        assert "none of its models is in the catalogue" in run.output

    def test_a_wrong_request_is_not_tried_elsewhere(self, chain, ann):
        run = carry_all(start(ann, script(HELLO | {"status": 400, "message": "messages: too odd"})))

        assert (run.status, run.stop_reason) == (states.FAILED, StopReason.MODEL_FAILED)
        assert "messages: too odd" in run.output
        assert chain.count() == 1


def test_a_server_that_names_a_far_moment_is_asked_again_within_a_day(model, ann):
    agent()

    carry_all(start(ann, script(HELLO | {"status": 429, "retry_after": 10**15, "times": 1})))

    assert timedelta(hours=23) < until_due() <= timedelta(days=1)


def test_every_failure_is_in_the_log(model, ann):
    agent()

    run = go_on(carry_all(start(ann, script(HELLO | {"status": 429, "times": 1}))))

    told = [type for type in event_types(run) if type.startswith("step_")]
    assert told == ["step_asked", "step_failed", "step_asked", "step_answered"]
