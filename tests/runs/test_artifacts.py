"""Long results, workspaces, what may be read, and the files that large artifacts are kept in."""

import hashlib
from datetime import timedelta

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import InMemoryStorage
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from runs import artifacts, blobs, engine, leases, states
from runs.engine import effects, spilling
from runs.models import Artifact, Blob, Dispatch, Edge, Node, ToolCall
from runs.states import StopReason
from runs.values import Answer, Fault
from runs.workspace_tools import read
from tests.runs.cast import (
    agent,
    call,
    carry_all,
    claim,
    events_of,
    only_call,
    script,
    start,
    text,
    tool,
)
from tests.runs.meanwhile import Vanished, leave_to_others
from tests.runs.test_query_counts import statements

pytestmark = pytest.mark.django_db(transaction=True)

IN_ROW, IN_FILE = 10_000, 40_000
FIRST = {"reference": "{{result:1}}"}


@pytest.fixture(autouse=True)
def files(settings, tmp_path):
    """The folder of this test's artifacts."""
    settings.BATON_BLOB_ROW_BYTES = 32 * 1024
    settings.STORAGES = settings.STORAGES | {
        "artifacts": {
            "BACKEND": "orchestrator_site.core.durable_files.DurableFiles",
            "OPTIONS": {"location": str(tmp_path)},
        }
    }
    return lambda: sorted(path for path in tmp_path.rglob("*") if path.is_file())


@pytest.fixture
def reader(model):
    tool("blob", "tests.blob")
    agent("worker", "blob", "artifact_read", "artifact_write", "artifact_list")


def big(size, n=1):
    return call(("blob", {"n": n, "size": size}))


def whole(run):
    """The one tool result of a run, read from where it is kept."""
    kept = ToolCall.objects.get(dispatch__run=run, tool="blob").artifact
    assert kept is not None
    return artifacts.text(kept)


class TestLongResults:
    @pytest.mark.parametrize("size", [IN_ROW, IN_FILE])
    def test_are_kept_and_the_agent_is_told_the_beginning(self, reader, model, ann, files, size):
        run = carry_all(start(ann, script(big(size), text("Done."))))

        done = ToolCall.objects.get()
        (block,) = model.requests()[-1]["messages"][-1]["content"]
        content = whole(run)
        assert len(content) == size
        assert done.artifact is not None
        assert (done.status, block["content"]) == (states.DONE, done.result)
        assert done.result == (
            f"{content[:1000]}…\n\n[The first 1,000 of {size:,} characters. "
            f"The whole is {done.artifact.reference}: read on with artifact_read.]"
        )
        assert (done.artifact.name, done.artifact.dispatch) == ("results/1-1-blob.txt", run.dispatches.get())
        assert len(files()) == (size == IN_FILE)
        (told,) = events_of(run, "tool_call_done")
        assert told["artifact"] == str(done.artifact.pk)

    def test_control_short_ones_stay(self, reader, ann):
        run = carry_all(start(ann, script(big(8192), text("Done."))))

        assert only_call(run).artifact is None
        assert len(only_call(run).result) == 8192

    def test_who_could_not_read_it_back_is_told_all_of_it(self, model, ann):
        tool("blob", "tests.blob")
        agent("worker", "blob")

        run = carry_all(start(ann, script(big(IN_FILE), text("Done."))))

        assert len(only_call(run).result) == IN_FILE
        assert not Artifact.objects.exists()

    def test_json_is_kept_as_json(self, reader, ann):
        tool("echo", "tests.echo")
        agent("worker", "echo", "artifact_read", limits={"tokens_per_call": 8000})

        run = carry_all(start(ann, script(call(("echo", {"word": "x" * 9000})), text("Done."))))

        kept = only_call(run).artifact
        assert kept is not None
        assert (kept.name, kept.media_type) == ("results/1-1-echo.json", "application/json")

    def test_the_same_bytes_are_kept_once(self, reader, ann, files):
        several = call(*[("blob", {"n": 1, "size": IN_FILE})] * 2, ("blob", {"n": 1, "size": IN_ROW}))
        run = carry_all(start(ann, script(several, text("Done."))))
        carry_all(start(ann, script(several, text("Done."))))

        assert (run.status, Artifact.objects.count(), Blob.objects.count()) == (states.SUCCEEDED, 6, 2)

    def test_the_same_result_three_times_is_a_loop_though_each_is_kept_by_itself(self, reader, ann):
        run = carry_all(start(ann, script(big(IN_ROW), loop=True)))

        assert run.stop_reason == StopReason.LOOP_DETECTED
        assert Artifact.objects.count() == 3

    def test_they_cost_no_statement(self, reader, ann):
        def turns(size):
            loop = engine.Loop(claim(start(ann, script(big(size), text("Done.")))))
            loop.advance()
            with CaptureQueriesContext(connection) as captured:
                loop.advance()
            return len(statements([query["sql"] for query in captured.captured_queries]))

        assert turns(IN_ROW) == turns(100)

    def test_a_storage_that_takes_nothing_costs_nobody_a_result(self, reader, ann, monkeypatch, caplog):
        def full(*args):
            raise OSError("No space left on device")

        monkeypatch.setattr(blobs, "_store", full)

        run = carry_all(start(ann, script(big(IN_FILE), text("Done."))))

        assert (run.output, len(only_call(run).result)) == ("Done.", IN_FILE)
        assert "is not kept as an artifact" in caplog.text

    def test_who_is_late_leaves_the_whole_as_evidence(self, reader, ann):
        run = start(ann, script(big(IN_ROW), text("Done.")))
        loop = engine.Loop(claim(run))
        loop.advance()
        leave_to_others(run)
        assert leases.claim(run.dispatches.get().pk) is not None

        with pytest.raises(leases.LostLease):
            loop.advance()

        assert len(only_call(run).attempts.get().late_evidence) > IN_ROW
        assert not Artifact.objects.exists()


class TestACrashBetweenTheFileAndItsRow:
    @pytest.fixture
    def orphaned(self, reader, ann, files, monkeypatch):
        """A run whose worker died when the file was written and nothing was committed."""
        run = start(ann, script(big(IN_FILE), text("Done.")))
        loop = engine.Loop(claim(run))
        loop.advance()
        with monkeypatch.context() as broken:
            broken.setattr(effects, "settle", _vanish)
            with pytest.raises(Vanished):
                loop.advance()
        assert (len(files()), Blob.objects.count(), only_call(run).status) == (1, 0, states.EXECUTING)
        leave_to_others(run)
        return run

    def test_leaves_a_file_and_nothing_else_and_the_next_worker_goes_on(self, orphaned, files):
        (orphan,) = files()

        run = carry_all(orphaned)

        assert (run.output, len(whole(run)), len(files())) == ("Done.", IN_FILE, 2)
        assert Blob.objects.get().stored_as not in str(orphan)

    def test_the_sweep_takes_it_away_when_it_is_old_and_nothing_else(self, orphaned, files, monkeypatch):
        run = carry_all(orphaned)
        assert blobs.sweep() == 0, "it is young: somebody may be about to commit its row"
        monkeypatch.setattr(blobs, "ORPHAN_AFTER", timedelta(days=-2))

        assert blobs.sweep() == 1

        assert [path.name for path in files()] == [Blob.objects.get().stored_as.partition("/")[2]]
        assert len(whole(run)) == IN_FILE


def _vanish(*args):
    raise Vanished


class TestBytes:
    @pytest.fixture(params=["files", "memory"])
    def stored(self, request, settings):
        """A large blob, in two kinds of storage."""
        if request.param == "memory":
            backend = {"BACKEND": "django.core.files.storage.InMemoryStorage"}
            settings.STORAGES = settings.STORAGES | {"artifacts": backend}
        blob = blobs.put(b"x" * IN_FILE)
        blob.save(force_insert=True)
        assert isinstance(blobs.storage(), InMemoryStorage) == (request.param == "memory")
        return Blob.objects.get()

    def test_come_back_as_they_were(self, stored):
        assert stored.content is None
        assert blobs.read(stored) == b"x" * IN_FILE

    def test_are_written_once(self, stored):
        assert blobs.put(b"x" * IN_FILE).stored_as == stored.stored_as

    def test_that_are_gone_are_said_to_be(self, stored):
        blobs.storage().delete(stored.stored_as)

        with pytest.raises(blobs.Unreadable, match="cannot be read from the storage now"):
            blobs.read(stored)

    def test_that_are_others_are_not_given_out(self, stored):
        blobs.storage().delete(stored.stored_as)
        blobs.storage().save(stored.stored_as, ContentFile(b"y" * IN_FILE))

        with pytest.raises(blobs.Unreadable, match="holds other bytes"):
            blobs.read(stored)

    def test_a_storage_is_never_waited_for_in_a_transaction(self, files):
        with transaction.atomic(), pytest.raises(AssertionError, match="no lock waits"):
            blobs.put(b"x" * IN_FILE)

    def test_what_a_transaction_keeps_stays_in_its_row(self, reader, ann, files):
        run = start(ann, script(text("Done.")))

        kept = artifacts.keep(run.dispatches.get(), "long", b"x" * IN_FILE)

        assert (artifacts.text(kept), files()) == ("x" * IN_FILE, [])

    @pytest.mark.parametrize("row", [{"content": None, "stored_as": ""}, {"content": b"x", "stored_as": "a/b"}])
    def test_the_database_refuses_none_and_two_places(self, row):
        with pytest.raises(IntegrityError, match="blob_in_one_place"):
            Blob.objects.create(digest="a" * 64, **row)

    def test_a_page_and_the_api_say_when_they_cannot_be_had(self, reader, ann, client, files):
        run = carry_all(start(ann, script(big(IN_FILE), text("Done."))))
        kept = only_call(run).artifact
        assert kept is not None
        client.force_login(ann)
        paths = [f"/runs/{run.pk}/artifacts/{kept.pk}/", f"/api/v1/artifacts/{kept.pk}/content/"]
        assert [len(client.get(path).content) for path in paths] == [IN_FILE, IN_FILE]
        (file,) = files()
        file.unlink()

        answers = [client.get(path) for path in paths]

        assert [answer.status_code for answer in answers] == [503, 503]
        assert all(b"cannot be read from the storage now" in answer.content for answer in answers)


class TestReading:
    def read(self, ann, **arguments):
        """What the agent reads of a result of its own."""
        run = start(ann, script(big(IN_FILE), text("not yet")))
        loop = engine.Loop(claim(run))
        loop.advance()
        loop.pause()
        kept = only_call(run).artifact
        assert kept is not None
        asked = {"reference": kept.reference} | arguments
        later = start(ann, script(call(("artifact_read", asked)), text("{{result:1}}")))
        Artifact.objects.filter(pk=kept.pk).update(run=later, dispatch=later.dispatches.get())
        return artifacts.text(kept), only_call(carry_all(later)).result

    def test_a_long_one_comes_in_pages(self, reader, ann):
        content, page = self.read(ann)

        assert page == f"{content[:20_000]}\n\n[Characters 0 to 20,000 of 40,000; go on with offset 20000.]"

    def test_the_next_page(self, reader, ann):
        content, page = self.read(ann, offset=39_000, limit=5000)

        assert page == f"{content[39_000:]}\n\n[Characters 39,000 to 40,000 of 40,000, to its end.]"

    def test_past_its_end(self, reader, ann):
        _, page = self.read(ann, offset=50_000)

        assert page == "It has 40,000 characters; there is nothing from 50,000 on."

    def test_a_page_is_never_put_by_again(self, reader, ann):
        self.read(ann, limit=20_000)

        assert Artifact.objects.count() == 1


class TestAWorkspace:
    def play(self, ann, *calls):
        """The results of calls made one after another."""
        run = carry_all(start(ann, script(*[call(each) for each in calls], text("Done."))))
        assert run.output == "Done."
        return [each.result for each in ToolCall.objects.filter(dispatch__run=run).order_by("step")]

    def test_what_was_written_is_read_by_its_path_and_every_version_stays(self, reader, ann):
        path = "notes/orders.md"
        write = lambda content: ("artifact_write", {"path": path, "content": content})  # noqa: E731

        told = self.play(ann, write("one"), write("two"), write("two"), ("artifact_read", {"reference": path}))

        first, second = Artifact.objects.order_by("version")
        assert told == [
            f"notes/orders.md is kept as {first.reference}, version 1, 3 bytes.",
            f"notes/orders.md is kept as {second.reference}, version 2, 3 bytes.",
            f"notes/orders.md holds just this already: {second.reference}, version 2.",
            "two",
        ]
        assert artifacts.text(first) == "one"

    def test_a_large_one_goes_to_the_storage(self, reader, ann, files, settings):
        settings.BATON_BLOB_ROW_BYTES = 1000

        self.play(ann, ("artifact_write", {"path": "long.txt", "content": "ü" * 501}))

        (file,) = files()
        assert file.read_bytes() == ("ü" * 501).encode()

    @pytest.mark.parametrize(
        "path", ["/etc/passwd", "../secret", "a/../b", "a//b", "a/", ".", "a\\b", "a\nb", " a", "artifact:x"]
    )
    def test_what_is_no_path_of_one(self, reader, ann, path):
        (told,) = self.play(ann, ("artifact_write", {"path": path, "content": "x"}))

        assert "path" in told
        assert not Artifact.objects.exists()

    def test_where_the_platform_keeps_results_nobody_else_writes(self, reader, ann):
        """An agent that had taken the name first would trip its own next call."""
        taken = ("artifact_write", {"path": "results/2-1-blob.txt", "content": "mine"})

        told, _ = self.play(ann, taken, ("blob", {"n": 1, "size": IN_ROW}))

        assert "choose another path" in told
        assert Artifact.objects.get().name == "results/2-1-blob.txt"

    def test_a_bounded_number(self, reader, ann, monkeypatch):
        monkeypatch.setattr("runs.workspace_tools.MOST_WRITTEN", 1)
        write = [("artifact_write", {"path": path, "content": "x"}) for path in ("a", "b")]

        assert self.play(ann, *write)[1] == "You have written 1 artifacts, which is the limit."

    def test_the_list_shows_the_newest_of_each_path(self, reader, ann):
        write = [("artifact_write", {"path": path, "content": c}) for path, c in (("b", "1"), ("a/x", "2"), ("b", "3"))]

        *_, all_of_them, some = self.play(ann, *write, ("artifact_list", {}), ("artifact_list", {"prefix": "a/"}))

        newest = {each.name: each.reference for each in Artifact.objects.order_by("version")}
        lines = [f"- a/x: {newest['a/x']}, 1 bytes", f"- b: {newest['b']}, 1 bytes, version 2"]
        assert all_of_them.splitlines() == ["Your own:", *lines]
        assert some.splitlines() == ["Your own:", lines[0]]


class TestWhatMayBeRead:
    """A plan within the run's first node: `before` → `me` → `after`, and `beside`; each wrote one artifact."""

    @pytest.fixture
    def plan(self, reader, ann):
        run = start(ann, script(call(("artifact_list", {})), text("{{result:1}}")))
        outer = run.dispatches.get()
        nodes = {"outer": outer.node}
        for number, key in enumerate(["first", "before", "me", "after", "beside", "told", "within-before", "mine"], 2):
            within = {"within-before": "before", "mine": "me"}.get(key, "outer")
            nodes[key] = Node.objects.create(
                run=run, number=number, key=key, within=nodes[within], kind="agent", task=""
            )
        for parent, child in (("first", "before"), ("before", "me"), ("me", "after")):
            Edge.objects.create(parent=nodes[parent], child=nodes[child])
        nodes["me"].reads = [str(nodes["told"].pk), str(nodes["before"].pk)]
        nodes["me"].save(update_fields=["reads"])
        dispatches = {"outer": outer}
        for number, (key, node) in enumerate(nodes.items(), 1):
            if key != "outer":
                dispatches[key] = self.copy(outer, node, number)
            artifacts.keep(dispatches[key], f"by {key}", key.encode())
        dispatches["retry"] = self.copy(outer, nodes["me"], 20)
        return dispatches

    def copy(self, of, node, number):
        values = {name: getattr(of, name) for name in ("run", "manifest", "origin", "task", "cost_cap_usd")}
        return Dispatch.objects.create(node=node, number=number, **values)

    def names(self, dispatch):
        return {each.name.removeprefix("by ") for each in artifacts.readable_by(dispatch)}

    def test_ancestors_and_what_lies_within_them_and_who_one_lies_within(self, plan):
        assert self.names(plan["me"]) == {"outer", "first", "before", "within-before", "told", "me", "mine"}
        assert self.names(plan["retry"]) == self.names(plan["me"])
        assert self.names(plan["mine"]) == {"mine", *self.names(plan["me"])}
        assert self.names(plan["beside"]) == {"outer", "beside"}
        assert self.names(plan["first"]) == {"outer", "first"}

    def test_whoever_dispatched_them_all_reads_them_all(self, plan):
        assert self.names(plan["outer"]) == {*plan.keys()} - {"retry"}

    def test_what_a_node_without_an_agent_came_to(self, plan):
        vote = artifacts.keep(None, "by vote", b"yes", run_id=plan["me"].run_id)
        assert "vote" in self.names(plan["beside"]), "no node came to it"
        Node.objects.filter(pk=plan["before"].node_id).update(artifact=vote)

        assert "vote" in self.names(plan["me"])
        assert "vote" not in self.names(plan["beside"])

    def test_another_runs_is_nobodys(self, plan, ann):
        other = start(ann, script(text("Done.")))
        kept = artifacts.keep(other.dispatches.get(), "by other", b"not yours")

        assert not artifacts.may_read(plan["outer"], kept)

    def test_the_tool_asks_the_same(self, plan):
        by = {each.name: each for each in Artifact.objects.all()}
        mine = read(plan["me"], {"reference": by["by before"].reference})
        not_mine = read(plan["me"], {"reference": by["by after"].reference})

        assert mine == Answer("before")
        assert not_mine == Fault(
            f"You may not read {by['by after'].reference}: it was made by an agent that does not come before you."
        )


def test_what_an_agent_is_told_of_a_long_text():
    told = spilling.told("ü" * 5000, "artifact:1")

    assert told == f"{'ü' * 1000}…\n\n[The first 1,000 of 5,000 characters. The whole is artifact:1: " + (
        "read on with artifact_read.]"
    )


def test_the_name_of_the_bytes_is_their_digest():
    assert blobs.in_row(b"abc").pk == hashlib.sha256(b"abc").hexdigest()
