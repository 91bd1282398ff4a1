"""Plans carried out: what starts when, what a failed parent means, what becomes the answer."""

import pytest

from runs import cancellation, carrier, intake, pausing, reconcile, states
from runs.errors import BadRequest
from runs.models import Artifact, Node
from runs.states import StopReason
from tests.plans.cast import carried, first_words, node, of, plan, statuses
from tests.runs.cast import agent, call, carry_all, decide, event_types, request_of, script, start, text, tool
from tools.values import Effect, Risk

pytestmark = pytest.mark.django_db(transaction=True)

CUT = text("so far") | {"stop_reason": "max_tokens"}
DOWN = {"status": 400, "message": "no"}


@pytest.fixture(autouse=True)
def cast(model):
    for slug in ("worker", "writer"):
        agent(slug)


def test_one_after_another(ann):
    run = carried(ann, node("a"), node("b", after=("a",)), node("c", after=("b",)))

    assert (run.status, run.output) == (states.SUCCEEDED, "c done")
    assert [each.node.key for each in run.dispatches.order_by("number")] == ["a", "b", "c"]


def test_side_by_side_all_begin_at_once(ann):
    run = start(ann, "x", agent=None, plan=plan(*[node(key) for key in "abc"]))

    assert run.dispatches.filter(status=states.QUEUED).count() == 3
    assert carry_all(run).output == "a done\n\nb done\n\nc done"


def test_a_diamond_joins_when_both_sides_have_ended(ann, model):
    run = carried(
        ann,
        node("top"),
        node("left", after=("top",)),
        node("right", after=("top",)),
        node("bottom", text("joined"), after=("left", "right")),
    )

    assert (run.status, run.output) == (states.SUCCEEDED, "joined")
    told = first_words(model, "joined")
    assert "Result of left (worker)" in told
    assert "Result of right (worker)" in told
    assert "Result of top" not in told


def test_a_node_is_told_references_and_first_words_never_transcripts(ann, model):
    tool("echo", "tests.echo")
    agent("worker", "echo")
    long = "word " * 300

    run = carried(
        ann, node("a", call(("echo", {"secret": "only here"})), text(long)), node("b", text("read"), after=("a",))
    )

    told = first_words(model, "read")
    kept = Artifact.objects.get(run=run)
    assert f"({kept.reference})" in told
    assert "only here" not in told
    assert len(told) < len(long)


def test_a_result_that_several_read_is_kept_once(ann):
    run = carried(ann, node("a"), *[node(key, after=("a",)) for key in "bcd"])

    assert Artifact.objects.filter(run=run).count() == 1


def test_no_more_are_at_work_than_the_plan_says(ann):
    run = start(ann, "x", agent=None, plan=plan(*[node(f"n{n}") for n in range(6)], concurrency=2))
    at_work = []

    while ready := run.dispatches.filter(status=states.QUEUED).order_by("number").first():
        at_work.append(run.dispatches.open().count())
        carrier.carry(ready.pk)

    run.refresh_from_db()
    assert (run.status, max(at_work)) == (states.SUCCEEDED, 2)


@pytest.mark.parametrize(
    ("join", "good", "starts"),
    [
        ("all", 2, True),
        ("all", 1, False),
        ("any", 1, True),
        ("any", 0, False),
        ("always", 0, True),
        ("quorum(2)", 2, True),
        ("quorum(2)", 1, False),
    ],
)
def test_a_failed_parent_means_what_the_join_rule_says(ann, model, join, good, starts):
    total = 2 if join == "all" else 3
    parents = [node(f"p{n}") if n < good else node(f"p{n}", CUT) for n in range(total)]

    run = carried(
        ann, *parents, node("child", text("went on"), after=tuple(each["key"] for each in parents), join=join)
    )

    assert of(run, "child").status == (states.SUCCEEDED if starts else states.SKIPPED)
    assert (run.status == states.SUCCEEDED) == starts
    if starts and good < total:
        told = first_words(model, "went on")
        assert told.count("which failed (max_tokens)") == total - good
        assert f"{total - good} of {total + 1} nodes did not succeed" in of(run, "run").message
    if not starts:
        assert "Skipped: " in of(run, "child").message


def test_what_is_skipped_skips_what_comes_after_it_and_a_run_says_why(ann):
    run = carried(ann, node("a", CUT), node("b", after=("a",)), node("c", after=("b",)))

    assert statuses(run) == {"a": "failed", "b": "skipped", "c": "skipped"}
    assert run.status == states.FAILED
    assert "a: The model's answer was cut off" in of(run, "run").message


def test_the_answer_is_what_the_plan_names(ann):
    run = carried(ann, node("a"), node("b", after=("a",)), node("c"), answer=["a", "c"])

    assert run.output == "a done\n\nc done"


def test_a_share_of_the_budget_and_a_timeout_bound_the_dispatch(ann):
    run = start(ann, "x", agent=None, plan=plan(node("a", budget_usd="0.25", timeout_seconds=7)), budget_usd=1)

    dispatch = run.dispatches.get()
    assert float(dispatch.cost_cap_usd) == 0.25
    assert dispatch.pinned.limits.wall_seconds == 7


def test_a_run_with_a_plan_that_cannot_be_is_not_accepted(ann):
    with pytest.raises(BadRequest) as refused:
        start(ann, "x", agent=None, plan=plan(node("a", after=("b",)), node("b", after=("a",))))

    assert refused.value.faults == {"plan.nodes": "they wait for each other in a ring: a → b → a."}
    with pytest.raises(BadRequest, match="Name an agent or give a plan"):
        start(ann, "x", agent="worker", plan=plan(node("a")))


def test_cancelling_ends_what_has_not_begun(ann):
    run = start(ann, "x", agent=None, plan=plan(node("a"), node("b", after=("a",)), node("c", after=("b",))))

    cancellation.cancel(run.pk, ann)

    run.refresh_from_db()
    assert run.status == states.CANCELLED
    assert set(statuses(run).values()) == {"cancelled"}
    assert not Node.objects.filter(status__in=states.NODE.open).exists()


def test_a_run_by_a_plan_is_tried_again_by_the_same_plan(ann):
    run = carried(ann, node("a", CUT))

    again = carry_all(intake.retry(run, ann, source="api"))

    assert [each.key for each in again.nodes.order_by("number")] == ["run", "a"]


def test_a_plan_of_a_thousand_nodes_is_put_there_in_few_statements(ann, django_assert_max_num_queries):
    nodes = [node("n0"), *[node(f"n{n}", after=(f"n{n - 1}",)) for n in range(1, 1000)]]

    with django_assert_max_num_queries(60):
        run = start(ann, "x", agent=None, plan=plan(*nodes))

    assert run.nodes.count() == 1001
    with pytest.raises(BadRequest, match="more than the 1000"):
        start(ann, "x", agent=None, plan=plan(*nodes, node("one-more")))


class TestAFailedTry:
    def test_is_tried_again_after_a_pause_that_the_database_keeps(self, ann):
        run = start(ann, "x", agent=None, plan=plan(node("a", CUT, retry={"tries": 2, "backoff_seconds": 60})))
        carry_all(run)
        place = of(run, "a")
        assert (place.status, place.due_at is not None, run.dispatches.count()) == (states.READY, True, 1)
        run.refresh_from_db()
        assert run.status == states.WAITING
        assert "next try" in run.waiting_on
        assert reconcile.start_due() == 0

        Node.objects.filter(pk=place.pk).update(due_at="2020-01-01T00:00Z")
        assert reconcile.start_due() == 1
        run = carry_all(run)

        assert [each.origin for each in run.dispatches.order_by("number")] == ["plan", "retry"]
        assert "worker tried before, and ended: The model's answer was cut off" in run.dispatches.get(number=2).briefing
        assert (run.status, run.stop_reason) == (states.FAILED, StopReason.MAX_TOKENS)

    @pytest.mark.parametrize(("batch", "stands_still"), [(2, ""), (1, "paused"), (1, "no free place")])
    def test_begins_again_although_another_run_has_a_batch_of_them_due(
        self, ann, bob, monkeypatch, batch, stands_still
    ):
        monkeypatch.setattr(reconcile, "BATCH", batch)
        again = {"tries": 2, "backoff_seconds": 60}
        many = carried(ann, *[node(key, CUT, retry=again) for key in "abc"])
        one = carried(ann, node("a", CUT, retry=again))
        Node.objects.filter(run=many, status=states.READY).update(due_at="2020-01-01T00:00Z")
        Node.objects.filter(run=one, status=states.READY).update(due_at="2020-01-02T00:00Z")
        if stands_still == "paused":
            pausing.pause(many.pk, bob)
        elif stands_still:
            Node.objects.filter(run=many, number=1).update(inner_limit=1, inner_at_work=1)

        reconcile.start_due()

        assert many.dispatches.filter(origin="retry").count() == (0 if stands_still else 3)
        assert one.dispatches.filter(origin="retry").count() == 1

    def test_goes_to_the_fallback_agents_in_order(self, ann):
        agent("second")
        fails = script(CUT)
        run = carried(ann, {"key": "a", "agent": "worker", "task": fails, "fallback": ["writer", "second"]})

        tried = [each.manifest.agent.slug for each in run.dispatches.order_by("number")]
        assert tried == ["worker", "writer", "second"]
        assert of(run, "a").tried == tried

    def test_that_acted_is_given_to_nobody_by_the_machine(self, ann, bob, ledger):
        tool("pay", "tests.effect", Effect.KEYED, Risk.LOW)
        agent("worker", "pay")
        acts = script(call(("pay", {})), CUT)

        run = carried(ann, {"key": "a", "agent": "worker", "task": acts, "fallback": ["writer"], "retry": {"tries": 3}})
        decide(request_of(run), bob)  # a plan with tools that act is looked at first
        run = carry_all(run)

        assert (run.status, run.dispatches.count()) == (states.FAILED, 1)


def test_a_single_agents_log_has_one_event_more_for_its_node(ann):
    run = carry_all(start(ann, script(text("Hello.")), agent="worker"))

    assert event_types(run).count("node_succeeded") == 1
