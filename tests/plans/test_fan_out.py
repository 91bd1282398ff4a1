"""One task for many: items, chunks, agents, models; and their results made one."""

import json

import pytest

from runs import carrier, states
from runs.orchestration import fan_out, reducing
from runs.planning import checking
from runs.states import StopReason
from tests.plans.cast import carried, first_words, node, of, plan, statuses
from tests.runs import cast as runs_cast
from tests.runs.cast import agent, carry_all, decide, events_of, request_of, script, scripts, start, text

pytestmark = pytest.mark.django_db(transaction=True)

CUT = text("so far") | {"stop_reason": "max_tokens"}


@pytest.fixture(autouse=True)
def cast(model):
    for slug in ("worker", "writer", "judge"):
        agent(slug)


def many(key="each", **more):
    """A node whose task is the item itself: each item is a script."""
    return {"key": key, "agent": "worker", "task": "{item}", **more}


def votes(*said, **rule):
    """Three perspectives are three items here: each answers what it is told to."""
    items = [script(text(each)) for each in said]
    return many(over={"items": items}, reduce={"how": "vote", **rule})


def test_fifty_items_with_a_limit_of_eight(ann):
    items = [script(text(f"r{n}")) for n in range(50)]
    run = start(ann, "x", agent=None, plan=plan(many(over={"items": items}, limit=8)))
    most = 0

    while ready := run.dispatches.filter(status=states.QUEUED).order_by("number").first():
        most = max(most, run.dispatches.open().count())
        carrier.carry(ready.pk)

    run.refresh_from_db()
    assert (run.status, most) == (states.SUCCEEDED, 8)
    assert run.output.split("\n\n") == [f"r{n}" for n in range(50)]


@pytest.mark.parametrize("listed", [json.dumps(["p", "q"]), "p\n\n  q\n"])
def test_over_the_result_of_another_node(ann, model, listed):
    asked = json.dumps({"scripts": {"You are worker.": [text("seen")]}})

    run = carried(
        ann,
        node("list", text(listed)),
        many(task=f"{asked} about {{item}}", depends_on=["list"], over={"result_of": "list"}),
    )

    assert run.output == "seen\n\nseen"
    tasks = [each.task for each in run.nodes.filter(key__startswith="each-").order_by("number")]
    assert [task.rpartition(" ")[2] for task in tasks] == ["p", "q"]


def test_over_the_chunks_of_a_document(ann):
    asked = script(text("read"))
    long = "\n\n".join(f"Paragraph {n} " + "x" * 60 for n in range(6))
    run = carried(
        ann,
        node("text", text(long)),
        many(
            task=f"{asked} {{item}}",
            depends_on=["text"],
            over={"document": "text", "chunk_characters": 160},
        ),
    )

    pieces = [each.task.removeprefix(f"{asked} ") for each in run.nodes.filter(key__startswith="each-")]
    assert "\n\n".join(pieces) == long
    assert all(len(piece) <= 160 for piece in pieces)


def test_over_nothing_is_an_empty_result(ann):
    run = carried(ann, node("list", text("[]")), many(depends_on=["list"], over={"result_of": "list"}))

    assert (run.status, of(run, "each").message) == (states.SUCCEEDED, "There was nothing to go over.")


def test_several_agents_are_given_the_same_task_and_one_writes_it_up(ann, model):
    asked = scripts(worker=[text("for")], judge=[text("against")], writer=[text("both")])
    written_up = {"how": "synthesis", "agent": "writer", "task": asked}

    run = carried(ann, {"key": "views", "agents": ["worker", "judge"], "task": asked, "reduce": written_up})

    assert (run.status, run.output) == (states.SUCCEEDED, "both")
    told = first_words(model, "Result of views-worker")
    assert told.index("for") < told.index("Result of views-judge") < told.rindex("against")


def test_one_agent_is_asked_by_several_models(ann, model):
    runs_cast.model(model.url, "other")
    run = carried(ann, node("both", text("said"), models=["scripted", "other"]))

    assert run.output == "said\n\nsaid"
    assert sorted(body["model"] for body in model.requests()) == ["other", "scripted"]


class TestAVote:
    def test_is_won_by_most(self, ann):
        run = carried(ann, votes("yes", "no", "yes"))

        assert (run.status, run.output) == (states.SUCCEEDED, "yes")
        assert of(run, "each").message == "yes: 2, no: 1."
        assert events_of(run, "votes_counted")[0]["counted"] == [["yes", 2], ["no", 1]]

    def test_counts_a_typed_field_and_what_has_none_is_not_counted(self, ann):
        run = carried(
            ann, votes('{"verdict": "ok", "why": 1}', 'I say {"verdict": "ok", "why": 2}', "ok", field="verdict")
        )

        assert (run.output, of(run, "each").message) == ("ok", "ok: 2; 1 not counted.")

    def test_without_one_answer_that_counts_fails(self, ann):
        run = carried(ann, votes("ok", "ok", field="verdict"))

        assert (run.status, run.stop_reason) == (states.FAILED, StopReason.CONTRACT_VIOLATED)

    def test_a_tie_is_decided_by_a_person(self, ann, bob):
        run = carried(ann, votes("yes", "no"), node("after", after=("each",)))
        request = request_of(run)
        assert (run.status, run.waiting_on) == (states.WAITING, "a person to decide a tie in each")
        assert request.content["candidates"] == ["yes", "no"]

        decide(request, bob, "answered", answer="no")
        run = carry_all(run)

        assert (run.status, run.output, of(run, "each").output) == (states.SUCCEEDED, "after done", "no")

    def test_a_tie_that_nobody_decides_fails_the_node(self, ann, bob):
        run = carried(ann, votes("yes", "no"))

        decide(request_of(run), bob, "rejected", reason="neither")

        run.refresh_from_db()
        assert (run.status, run.stop_reason, run.output) == (states.FAILED, StopReason.NEEDS_HUMAN, "neither")

    @pytest.mark.parametrize(("says", "settled"), [("no", True), ("perhaps", False)])
    def test_a_tie_is_decided_by_an_agent_that_says_one_of_them(self, ann, says, settled):
        said = [json.dumps({"verdict": verdict, "script": [text(says)]}) for verdict in ("yes", "no")]

        run = carried(ann, votes(*said, field="verdict", ties="judge"))

        if settled:
            assert (run.output, of(run, "each").message) == ("no", "yes: 1, no: 1; judge decided.")
        else:
            assert run.waiting_on == "a person to decide a tie in each"


def test_two_and_two_are_merged_in_a_tree(ann):
    items = [script(text(f"r{n}")) for n in range(5)]
    merging = script(text("merged"))
    run = carried(ann, many(over={"items": items}, reduce={"how": "merge", "agent": "writer", "task": merging}))

    merges = list(run.nodes.filter(role="reducer").order_by("number"))
    assert (run.output, len(merges)) == ("merged", 4)
    assert [len(each.reads) for each in merges] == [2, 2, 2, 2]
    assert [each.parents.count() for each in merges] == [0, 0, 2, 1]


def test_what_is_merged_last_is_told_in_its_place(ann):
    """The fifth has waited for the four before it, and comes after them."""
    items = [script(text(f"r{n}")) for n in range(5)]
    merging = script(text("merged"))
    run = carried(ann, many(over={"items": items}, reduce={"how": "merge", "agent": "writer", "task": merging}))

    told = run.dispatches.latest("number").briefing
    assert told.index("Result of each-merge-3") < told.index("Result of each-5")


def test_inputs_are_told_in_the_order_in_which_they_are_named(ann):
    run = carried(ann, node("a"), node("b"), node("c", after=("a", "b"), inputs=["b", "a"]))

    told = run.dispatches.latest("number").briefing
    assert told.index("b done") < told.index("a done")


def test_two_and_two_with_one_good_result_says_what_failed(ann):
    items = [script(text("good")), script(CUT)]
    run = carried(ann, many(over={"items": items}, reduce={"how": "merge", "agent": "writer"}))

    assert (run.status, run.output) == (states.SUCCEEDED, "good")
    assert of(run, "each").message.startswith("1 of 2 did not succeed: each-2 (")


def test_two_and_two_are_no_more_than_a_run_may_have(ann, monkeypatch):
    monkeypatch.setattr(checking, "NODE_LIMIT", 7)
    items = [script(text(f"r{n}")) for n in range(4)]
    run = carried(ann, many(over={"items": items}, reduce={"how": "merge", "agent": "writer"}))

    assert (run.status, run.stop_reason) == (states.FAILED, StopReason.REFUSED)
    assert of(run, "each").message == "To merge 4 takes 3 nodes, and the run may have 2 more."
    assert run.output == "r0\n\nr1\n\nr2\n\nr3"


def test_what_failed_is_told_to_whoever_reduces_and_stands_on_the_node(ann, model):
    items = [script(text("good")), script(CUT)]
    run = carried(
        ann,
        many(over={"items": items}, reduce={"how": "synthesis", "agent": "writer", "task": script(text("partial"))}),
    )

    assert (run.status, run.output) == (states.SUCCEEDED, "partial")
    assert "each-2 (worker), which failed (max_tokens)" in first_words(model, "each-2")
    assert of(run, "each").message.startswith("1 of 2 did not succeed: each-2 (The model's answer was cut off")
    assert statuses(run)["each-2"] == states.FAILED


def test_a_rule_may_ask_for_more_than_one_good_result(ann):
    items = [script(text("good")), script(CUT)]

    run = carried(ann, many(over={"items": items}, reduce={"join": "all"}))

    assert (run.status, run.stop_reason) == (states.FAILED, StopReason.MAX_TOKENS)
    assert "It asks for all." in of(run, "each").message


def test_results_of_nodes_are_reduced_by_a_node_of_its_own(ann):
    run = carried(
        ann,
        node("a", text("1")),
        node("b", text("2")),
        {"key": "sum", "depends_on": ["a", "b"], "reduce": {"how": "concatenate"}},
        node("after", after=("sum",)),
        answer=["sum"],
    )

    assert (run.status, run.output) == (states.SUCCEEDED, "1\n\n2")
    assert not of(run, "sum").dispatches.exists()


@pytest.mark.parametrize(
    ("said", "field", "value"), [("x ", "", "x"), ('{"a": {"b": 2}}', "a.b", "2"), ("x", "a", None)]
)
def test_the_value_of_an_answer(said, field, value):
    assert reducing.value_of(said, field) == value


@pytest.mark.parametrize(
    "said",
    [
        '["p", "q"]',
        '```json\n["p", "q"]\n```',
        'Here it is:\n\n```json\n[\n  "p",\n  "q"\n]\n```\nThat is all.',
        "```\np\nq\n```",
        "p\nq",
    ],
)
def test_the_items_of_a_result(said):
    assert fan_out.listed(said) == ["p", "q"]


def test_a_text_without_gaps_is_cut_where_it_has_to_be():
    assert fan_out.chunks("x" * 25, 10) == ["x" * 10, "x" * 10, "x" * 5]
