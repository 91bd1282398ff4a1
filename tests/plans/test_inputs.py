"""What a plan hands to its nodes: artifacts that its run may have, and results of nodes further up."""

import json

import pytest
from django.db import connection

from agents.values import AgentKind
from runs import artifacts, blobs, reconcile, states
from runs.errors import BadRequest
from runs.models import ToolCall
from runs.states import StopReason
from tests.plans.cast import carried, first_words, node, of, plan, statuses
from tests.runs.cast import agent, call, carry_all, only_call, person, script, start, text

pytestmark = pytest.mark.django_db(transaction=True)

NOWHERE = "artifact:01999999-0000-7000-8000-000000000000"


@pytest.fixture(autouse=True)
def cast(model):
    agent("worker", "artifact_read", "artifact_list")
    agent("planner", kind=AgentKind.PLANNER)


@pytest.fixture
def notes(ann):
    """What an earlier run of hers has kept."""
    earlier = carry_all(start(ann, script(text("Kept."))))
    return artifacts.keep(earlier.dispatches.get(), "notes.md", b"Orders come on Mondays.", labels="untrusted")


def refused(owner, *nodes):
    with pytest.raises(BadRequest) as error:
        start(owner, "x", agent=None, plan=plan(*nodes))
    return error.value.faults


class TestAnArtifact:
    def test_is_told_to_the_node_and_can_be_read_by_it_and_by_no_other(self, ann, model, notes):
        reading = call(("artifact_read", {"reference": notes.reference}))
        run = carried(
            ann,
            node("a", reading, text("read"), inputs=[notes.reference]),
            node("b", reading, text("not read"), after=("a",)),
        )

        assert f"notes.md ({notes.reference}): Orders come on Mondays." in first_words(model, "notes.md")
        done = {each.dispatch.node.key: each.result for each in ToolCall.objects.filter(dispatch__run=run)}
        assert done["a"] == "Orders come on Mondays."
        assert "has no artifact" in done["b"]
        assert of(run, "a").dispatches.get().labels == "untrusted"

    def test_is_listed_to_the_node(self, ann, notes):
        run = carried(ann, node("a", call(("artifact_list", {})), text("seen"), inputs=[notes.reference]))

        assert notes.reference in only_call(run).result

    def test_comes_beside_what_its_parents_came_to(self, ann, model, notes):
        carried(ann, node("a"), node("b", after=("a",), inputs=[notes.reference]))

        assert "Result of a (worker)" in first_words(model, "notes.md")

    def test_is_handed_to_each_that_a_node_goes_over(self, ann, model, notes):
        many = {"key": "each", "agent": "worker", "task": "{item}", "over": {"items": [script(text("one"))]}}
        run = carried(ann, many | {"inputs": [notes.reference]})

        assert notes.reference in first_words(model, "one")
        assert of(run, "each-1").dispatches.get().labels == "untrusted"

    def test_that_its_owner_does_not_have_is_refused(self, notes):
        found = refused(person("eve"), node("a", inputs=[notes.reference]))

        assert found == {
            "plan.nodes.0.inputs.0": f"there is no {notes.reference} that this run may read: name one of its own, or "
            "of another run of whoever started it."
        }

    @pytest.mark.parametrize("field", [{"inputs": [NOWHERE]}, {"over": {"document": NOWHERE}, "task": "{item}"}])
    def test_that_is_not_there_is_refused(self, ann, field):
        (fault,) = refused(ann, node("a") | field).values()

        assert fault.startswith(f"there is no {NOWHERE} that this run may read")

    @pytest.mark.parametrize("odd", ["artifact:" + "0" * 36, "artifact:" + "-" * 36, NOWHERE + "\n"])
    def test_without_the_form_of_one_is_refused(self, ann, odd):
        assert list(refused(ann, node("a", inputs=[odd]))) == ["plan.nodes.0.inputs.0"]

    def test_of_another_run_is_not_a_planners_to_name(self, ann, notes):
        asked = text(json.dumps(plan(node("a", inputs=[notes.reference]))))
        run = carry_all(start(ann, script(asked, loop=True), agent="planner"))

        assert (run.status, run.stop_reason) == (states.FAILED, StopReason.CONTRACT_VIOLATED)
        assert notes.reference in run.dispatches.get().message


class TestADocument:
    """Of many bytes, as a storage holds them."""

    LONG = "\n\n".join(f"Paragraph {n} " + "x" * 60 for n in range(6))

    @pytest.fixture
    def spilled(self, ann, settings, tmp_path):
        settings.BATON_BLOB_ROW_BYTES = 100
        settings.STORAGES = settings.STORAGES | {
            "artifacts": {
                "BACKEND": "orchestrator_site.core.durable_files.DurableFiles",
                "OPTIONS": {"location": str(tmp_path)},
            }
        }
        earlier = carry_all(start(ann, script(text("Kept."))))
        content = self.LONG.encode()
        kept = (blobs.put(content), len(content))
        return artifacts.keep_put(earlier.dispatches.get(), "long.md", *kept, run_id=earlier.pk, labels="sensitive")

    def over(self, document, **more):
        over = {"document": document.reference, "chunk_characters": 160}
        return {"key": "each", "agent": "worker", "task": f"{script(text('read'))} {{item}}", "over": over} | more

    def test_is_read_while_no_lock_is_held(self, ann, spilled, monkeypatch):
        reading = blobs.read
        open_transactions = []

        def read(blob):
            open_transactions.append(connection.in_atomic_block)
            return reading(blob)

        monkeypatch.setattr(blobs, "read", read)

        run = carried(ann, self.over(spilled), node("beside"))
        assert (run.status, run.waiting_on) == (states.WAITING, "the document that each goes over")
        assert reconcile.start_due() == 1
        run = carry_all(run)

        assert open_transactions == [False]
        inner = run.nodes.filter(key__startswith="each-").order_by("number")
        assert "\n\n".join(each.task.partition("}]")[2].partition("} ")[2] for each in inner) == self.LONG
        assert {each.labels for each in run.dispatches.filter(node__in=inner)} == {"sensitive"}
        assert run.status == states.SUCCEEDED

    def test_that_cannot_be_read_fails_its_node_and_no_other(self, ann, spilled, tmp_path):
        run = carried(ann, self.over(spilled, depends_on=["a"]), node("a"), node("b", after=("a",)))
        for file in tmp_path.rglob("*"):
            if file.is_file():
                file.unlink()

        assert reconcile.start_due() == 1
        run = carry_all(run)

        assert statuses(run) == {"a": "succeeded", "b": "succeeded", "each": "failed"}
        assert of(run, "each").message.startswith("The bytes ")
        assert (run.status, of(run, "each").stop_reason) == (states.FAILED, StopReason.REFUSED)


class TestTheResultOfANodeFurtherUp:
    @pytest.mark.parametrize("over", [{"result_of": "list"}, {"document": "list"}])
    def test_is_gone_over(self, ann, over):
        many = {"key": "each", "agent": "worker", "task": f"{script(text('read'))} {{item}}", "over": over}

        run = carried(ann, node("list", text("p")), node("b", after=("list",)), many | {"depends_on": ["b"]})

        assert (run.status, of(run, "each-1").task.rpartition(" ")[2]) == (states.SUCCEEDED, "p")

    def test_is_gone_over_where_it_is_told_of_others(self, ann, model):
        told = {"over": {"result_of": "list"}, "depends_on": ["list", "b"], "inputs": ["b"]}
        many = {"key": "each", "agent": "worker", "task": f"{script(text('read'))} {{item}}"} | told

        run = carried(ann, node("list", text("p")), node("b"), many)

        assert run.status == states.SUCCEEDED
        assert "Result of b" in first_words(model, "read")
