"""A supervisor dispatches, waits without costing anything, and finishes."""

import pytest

from agents.values import AgentKind
from runs import carrier, orchestration, reconcile, states
from runs.models import Node, Route
from runs.states import StopReason
from tests.plans.cast import of, statuses
from tests.runs.cast import agent, call, carry_all, scripts, start, text

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def cast(model):
    for slug in ("orders", "refunds", "letters"):
        agent(slug)
    agent("lead", kind=AgentKind.SUPERVISOR, limits={"children": 4})


def to(*slugs):
    return call(*[(f"dispatch_to_{slug}", {"task": scripts(**{slug: [text(f"{slug} done")]})}) for slug in slugs])


WAIT = call(("wait", {}))


def finish(answer="All of it.", **more):
    return call(("finish", {"answer": answer, **more}))


def lead(owner, *turns):
    return start(owner, scripts(lead=list(turns)), agent="lead")


def carry_lead(run):
    """Carry the supervisor alone, up to where it waits."""
    assert carrier.carry(run.dispatches.get(number=1).pk)


def test_three_asked_for_together_run_side_by_side(ann):
    run = lead(ann, to("orders", "refunds", "letters"), WAIT, finish("{{result:4}}"))

    carry_lead(run)

    first, *children = run.dispatches.order_by("number")
    assert first.status == states.WAITING
    assert first.waiting_on == "orders-1, refunds-2, letters-3"
    assert [child.status for child in children] == [states.QUEUED] * 3
    run = carry_all(run)
    assert run.status == states.SUCCEEDED
    for slug in ("orders", "refunds", "letters"):
        assert f"): {slug} done" in run.output


def test_it_holds_no_lease_while_it_waits_and_is_woken_once(ann):
    run = lead(ann, to("orders", "refunds"), WAIT, finish())
    carry_lead(run)
    assert run.dispatches.get(number=1).lease_owner == ""

    carrier.carry(run.dispatches.get(number=2).pk)
    assert run.dispatches.get(number=1).status == states.WAITING
    carrier.carry(run.dispatches.get(number=3).pk)

    assert run.dispatches.get(number=1).status == states.QUEUED
    assert run.dispatches.get(number=1).iterations == 2


def test_waiting_for_any_tells_the_first_and_each_only_once(ann):
    any_of = call(("wait", {"until": "any"}))
    run = lead(ann, to("orders", "refunds"), any_of, any_of, finish("{{result:3}} | {{result:4}}"))
    carry_lead(run)

    carrier.carry(run.dispatches.get(number=2).pk)
    carry_lead(run)
    carrier.carry(run.dispatches.get(number=3).pk)
    run = carry_all(run)

    first, second = run.output.split(" | ")
    assert "orders done" in first
    assert "Still at work: refunds-2" in first
    assert "refunds done" in second
    assert "orders done" not in second


def test_waiting_for_some_by_their_names(ann):
    run = lead(ann, to("orders", "refunds"), call(("wait", {"of": ["refunds-2"]})), finish("x", stop_others=True))
    carry_lead(run)

    carrier.carry(run.dispatches.get(number=3).pk)
    carry_lead(run)

    run.refresh_from_db()
    assert (run.status, run.output) == (states.SUCCEEDED, "x")
    assert statuses(run)["orders-1"] == states.CANCELLED


def test_it_may_dispatch_again_after_it_has_read(ann):
    run = carry_all(lead(ann, to("orders"), WAIT, to("letters"), WAIT, finish("{{result:4}}")))

    assert "letters done" in run.output
    assert list(statuses(run)) == ["orders-1", "letters-2"]


def test_finishing_while_others_are_at_work_takes_a_word(ann):
    run = carry_all(lead(ann, to("orders"), finish(), WAIT, finish("{{result:2}}")))

    assert run.output == "Still at work: orders-1. Wait for them, or finish with stop_others."


@pytest.mark.parametrize(
    ("turn", "told"),
    [
        (WAIT, "You have dispatched nobody yet."),
        (call(("dispatch_to_lead", {"task": "x"})), "Refused: There is no such tool."),
    ],
)
def test_a_wrong_call_is_told(ann, turn, told):
    run = carry_all(lead(ann, turn, finish("{{result:1}}")))

    assert run.output == told


def test_an_unknown_name_is_told(ann):
    run = carry_all(
        lead(ann, to("orders"), call(("wait", {"of": ["nobody"]})), finish("{{result:2}}", stop_others=True))
    )

    assert run.output == "You dispatched nobody by the name 'nobody': orders-1."


def test_its_children_are_bounded(ann):
    five = to("orders", "refunds", "letters", "orders", "refunds")

    run = carry_all(lead(ann, five, WAIT, finish("{{result:5}}")))

    assert run.output == "You have dispatched 4 agents, which is your limit: go on with what they came to."
    assert len(statuses(run)) == 4


def test_its_depth_is_bounded(ann):
    run = lead(ann, to("orders"), WAIT, finish("{{result:1}}"))
    Node.objects.filter(run=run).update(depth=4)

    run = carry_all(run)

    assert run.output.startswith("You were dispatched 4 levels deep")


def test_a_supervisor_below_a_supervisor(ann):
    agent("under", kind=AgentKind.SUPERVISOR)
    inner = scripts(under=[to("letters"), WAIT, finish("under has finished")])
    run = carry_all(lead(ann, call(("dispatch_to_under", {"task": inner})), WAIT, finish("{{result:2}}")))

    assert "): under has finished" in run.output
    assert of(run, "letters-1").depth == 2


def test_ending_in_words_stops_who_is_still_at_work(ann):
    run = lead(ann, to("orders"), text("I know enough."))

    carry_lead(run)

    run.refresh_from_db()
    assert (run.status, run.output) == (states.SUCCEEDED, "I know enough.")
    assert statuses(run) == {"orders-1": states.CANCELLED}
    assert run.dispatches.get(number=2).stop_reason == StopReason.CANCELLED


def test_a_child_that_fails_is_told(ann):
    cut = text("so far") | {"stop_reason": "max_tokens"}
    failing = call(("dispatch_to_orders", {"task": scripts(orders=[cut])}))
    run = carry_all(lead(ann, failing, WAIT, finish("{{result:2}}")))

    assert (run.status, "which failed (max_tokens)" in run.output) == (states.SUCCEEDED, True)


class TestWhatItHasToAnswer:
    @pytest.fixture(autouse=True)
    def bound(self, cast):
        agent("lead", kind=AgentKind.SUPERVISOR, output_schema={"type": "integer"})

    def test_is_asked_for_once_more_where_it_does_not_fit(self, ann):
        run = carry_all(lead(ann, finish("No."), finish("4")))

        assert (run.status, run.output) == (states.SUCCEEDED, "4")

    @pytest.mark.parametrize("turns", [[finish("No."), finish("No!")], [text("No."), finish("No!")]])
    def test_ends_it_when_it_does_not_fit_again(self, ann, turns):
        run = carry_all(lead(ann, *turns, finish("4")))

        dispatch = run.dispatches.get()
        assert (run.status, run.stop_reason) == (states.FAILED, StopReason.CONTRACT_VIOLATED)
        assert "not what was agreed" in dispatch.message
        assert (dispatch.output, dispatch.iterations) == ("No!", 2)

    def test_ends_it_in_words_too(self, ann):
        run = carry_all(lead(ann, finish("No."), text("No!"), finish("4")))

        assert (run.stop_reason, run.dispatches.get().iterations) == (StopReason.CONTRACT_VIOLATED, 2)

    def test_control_a_call_too_early_is_no_answer(self, ann):
        run = carry_all(lead(ann, to("orders"), finish("1"), finish("2"), WAIT, finish("4")))

        assert (run.status, run.output) == (states.SUCCEEDED, "4")


def test_a_worker_that_goes_away_before_the_children_begin_leaves_them_to_the_reconciler(ann, monkeypatch):
    run = lead(ann, to("orders"), WAIT, finish())
    with monkeypatch.context() as patch:
        patch.setattr(orchestration, "advance", lambda run_id: None)
        carry_lead(run)
    assert (Route.objects.count(), run.dispatches.count()) == (1, 1)

    assert reconcile.advance_left_behind() == 1

    assert run.dispatches.get(number=2).status == states.QUEUED
    assert carry_all(run).status == states.SUCCEEDED
