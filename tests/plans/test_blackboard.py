"""The blackboard: posted to, read, watched by rules until nothing new follows."""

import json
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from agents.models import Agent, FailureRule
from runs import artifacts, carrier, orchestration, reconcile, states
from runs.models import BoardEntry, Run, WatchRule
from tests.handoffs.cast import proposal
from tests.plans.cast import first_words, node, plan
from tests.runs.cast import agent, call, carry_all, decide, events_of, request_of, script, start, text

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def cast(model):
    for slug in ("worker", "checker", "writer"):
        agent(slug, "blackboard_post", "blackboard_read")


def post(category, content="x", **more):
    return ("blackboard_post", {"category": category, "content": content, **more})


READ: tuple[str, dict[str, Any]] = ("blackboard_read", {})


def rule(condition, agent="checker", task="Look.", **more):
    named = {"name": condition[:100], "agent": Agent.objects.get(slug=agent)}
    return WatchRule.objects.create(condition=condition, task=task, **named | more)


def entries(run):
    return [(entry.number, entry.agent, entry.category) for entry in run.board.order_by("number")]


def test_what_one_posts_the_other_reads(ann):
    posts = script(call(post("finding", "It is late.", confidence=0.8)), text("posted"))
    reads = script(call(READ), text("{{result:1}}"))

    run = carry_all(
        start(ann, "x", agent=None, plan=plan(node("a") | {"task": posts}, node("b", after=("a",)) | {"task": reads}))
    )

    assert run.output == "[1] finding by worker, 0.80 sure: It is late."
    assert [event["number"] for event in events_of(run, "board_posted")] == [1]


def test_reading_one_category_and_what_is_newer(ann):
    turns = [
        call(post("a", "1"), post("b", "2"), post("a", "3")),
        call(("blackboard_read", {"category": "a", "after": 1})),
        text("{{result:4}}"),
    ]

    assert carry_all(start(ann, script(*turns))).output == "[3] a by worker: 3"


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"category": "x"}, "Post a content, or the reference of an artifact."),
        ({"category": "x", "reference": "artifact:nonsense"}, "This run has no artifact 'artifact:nonsense'."),
    ],
)
def test_a_wrong_entry_is_told(ann, entry, told):
    run = carry_all(start(ann, script(call(("blackboard_post", entry)), text("{{result:1}}"))))

    assert run.output.startswith(told)
    assert not entries(run)


def test_what_was_posted_stays(ann):
    carry_all(start(ann, script(call(post("finding")), text("posted"))))

    with pytest.raises(IntegrityError, match="stays as it is"), transaction.atomic():
        BoardEntry.objects.update(content="y")
    with pytest.raises(IntegrityError, match="stays as it is"), transaction.atomic():
        BoardEntry.objects.all().delete()


class TestARuleThatWatches:
    def test_has_its_agent_dispatched_with_what_it_is_to_read(self, ann, model):
        checks = script(call(post("source", "a book")), text("found"))
        rule('entry.category == "claim"', task=checks, categories=["claim"])
        claims = [call(post("noise"), post("claim", "late")), text("claimed")]
        asked = {"You are worker.": {"grown while": [text("backed")], "": claims}}

        run = carry_all(start(ann, json.dumps({"scripts": asked})))

        assert entries(run) == [(1, "worker", "noise"), (2, "worker", "claim"), (3, "checker", "source")]
        told = first_words(model, "You were called because of")
        assert "[2] claim by worker: late" in told
        assert "noise" not in told
        assert run.status == states.SUCCEEDED
        assert [each.origin for each in run.dispatches.order_by("number")] == ["run", "route", "closing"]
        assert "[3] source by checker: a book" in run.dispatches.get(number=3).briefing

    def test_goes_on_to_quiescence_and_no_further_than_its_limit(self, ann):
        again = script(call(post("claim")), text("and again"))
        rule('entry.category == "claim"', task=again, limit=3)
        rule('entry.category == "source"', agent="writer")

        run = carry_all(start(ann, script(call(post("claim")), text("claimed"), loop=True)))

        assert len(events_of(run, "watch_rule_fired")) == 3
        assert len([each for each in entries(run) if each[1] == "checker"]) == 3
        assert run.status == states.SUCCEEDED

    def test_over_counts_of_the_board(self, ann):
        rule("counts.claim >= 2 && counts.source == 0", task=script(call(post("source")), text("done")))

        run = carry_all(start(ann, script(call(post("claim"), post("claim"), post("claim")), text("x"), loop=True)))

        assert [event["entry"] for event in events_of(run, "watch_rule_fired")] == [2, 3]

    def test_that_cannot_be_evaluated_does_not_hold_and_says_so(self, ann):
        rule('run.metadata.team == "x"')

        run = carry_all(start(ann, script(call(post("claim")), text("x"))))

        assert (run.status, len(run.nodes.all())) == (states.SUCCEEDED, 1)
        assert len(events_of(run, "watch_rule_failed")) == 1

    @pytest.mark.parametrize("condition", ["entry.category ==", "nobody == 1", "entry.category"])
    def test_that_does_not_compile_is_refused(self, condition, model):
        with pytest.raises(ValidationError) as refused:
            WatchRule(name="x", condition=condition, agent=Agent.objects.get(slug="worker"), task="t").full_clean()

        assert list(refused.value.message_dict) == ["condition"]

    def test_control_without_a_rule_nobody_is_called(self, ann):
        run = carry_all(start(ann, script(call(post("claim")), text("x"))))

        assert run.dispatches.count() == 1

    def test_looks_although_the_worker_went_away_after_the_post(self, ann, monkeypatch):
        rule('entry.category == "claim"', task=script(call(post("source")), text("looked")))
        turns = {"grown while": [text("backed")], "": [call(post("claim")), text("x")]}
        run = start(ann, json.dumps({"scripts": {"You are worker.": turns}}))
        with monkeypatch.context() as patch:
            patch.setattr(orchestration, "advance", lambda run_id: None)
            carrier.carry(run.dispatches.get().pk)
        assert (run.dispatches.count(), run.dispatches.get().status) == (1, states.SUCCEEDED)

        reconcile.advance_left_behind()

        run.refresh_from_db()
        assert (run.status, run.dispatches.count()) == (states.WORKING, 2)
        run = carry_all(run)
        assert (run.status, run.output) == (states.SUCCEEDED, "backed")

    def test_has_the_poster_look_again_which_is_no_try_of_its_task(self, ann):
        rule('entry.category == "claim"', task=script(call(post("source")), text("looked")))
        FailureRule.objects.create(agent=Agent.objects.get(slug="worker"), tries=2)
        cut = text("so far") | {"stop_reason": "max_tokens"}
        turns = {"grown while": [cut], "": [call(post("claim")), text("x")]}

        run = carry_all(start(ann, json.dumps({"scripts": {"You are worker.": turns}})))

        place = run.nodes.get(number=1)
        assert (place.tried, place.status) == (["worker"], states.READY)

    def test_has_whom_it_was_handed_to_look_again_as_deep_as_it_was(self, ann, bob):
        rule('entry.category == "claim"', task=script(call(post("source")), text("looked")))
        agent("poster", "propose_handoff", handoff_targets=("worker",))
        turns = {"grown while": [text("backed")], "": [call(post("claim")), text("x")]}
        task = json.dumps({"scripts": {"You are worker.": turns}})
        run = carry_all(start(ann, script(proposal(task, target="worker")), agent="poster"))
        decide(request_of(run), bob)

        run = carry_all(run)

        told = [(each.origin, each.depth) for each in run.dispatches.order_by("number")]
        assert told == [("run", 0), ("handoff", 1), ("route", 0), ("closing", 1)]

    def test_of_a_run_that_has_ended_has_nobody_dispatched(self, ann):
        run = carry_all(start(ann, script(call(post("claim")), text("x"))))
        rule('entry.category == "claim"')
        Run.objects.filter(pk=run.pk).update(board_seen=0)

        orchestration.advance(run.pk)

        assert run.dispatches.count() == 1


@pytest.mark.parametrize("posted", [True, False])
def test_what_is_posted_by_reference_may_be_read_by_all(ann, posted):
    agent("worker", "blackboard_post", "artifact_write")
    run = start(ann, "x", agent=None, plan=plan(node("a", call(WRITE), text("ok")), node("b")))
    carrier.carry(run.dispatches.get(number=1).pk)
    kept = run.artifacts.get(name="notes.md")
    if posted:
        first = run.dispatches.get(number=1)
        BoardEntry.objects.create(
            run=run, number=1, dispatch=first, agent="worker", category="note", reference=kept.reference
        )

    assert artifacts.may_read(run.dispatches.get(number=1), kept)
    assert artifacts.may_read(run.dispatches.get(number=2), kept) == posted


WRITE = ("artifact_write", {"path": "notes.md", "content": "the notes"})
