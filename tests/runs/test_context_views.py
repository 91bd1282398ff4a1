"""A transcript that would outgrow its window: old results give way to references, then old turns to a summary."""

import itertools
from uuid import uuid4

import pytest

from agents import manifests
from agents.models import Agent, ModelEntry
from orchestrator_site.core import events
from runs import artifacts, cancellation, carrier, engine, mail, orchestration, reconcile, states
from runs.engine import compacting, context, memory
from runs.engine.context import View
from runs.models import Artifact, ContextView, Dispatch, Node, Step, ToolCall
from runs.states import StopReason
from tests.runs.cast import agent, call, carry_all, claim, event_types, events_of, script, scripts, start, text, tool
from tests.runs.meanwhile import Vanished, leave_to_others
from tests.runs.test_mail import blocks, to_the_end

pytestmark = pytest.mark.django_db(transaction=True)

TURNS = 9


def sent(model, system="worker"):
    """The requests of one agent, each as a list of (role, blocks)."""
    requests = [each for each in model.requests() if system in each["system"][0]["text"]]
    return [[(each["role"], blocks(each)) for each in request["messages"]] for request in requests]


def shown_results(request):
    return [block["content"] for _, content in request for block in content if block["type"] == "tool_result"]


def is_left_out(content):
    return content.startswith("[Left out to make room: ")


def is_whole(request):
    """Every call has its result in the very next message, and the roles take turns."""
    for (role, content), (following, answer) in itertools.pairwise(request):
        assert role != following
        if role == "assistant":
            asked = [block["id"] for block in content if block["type"] == "tool_use"]
            assert [block["tool_use_id"] for block in answer if block["type"] == "tool_result"] == asked
    return request[0][0] == request[-1][0] == "user"


def long_run(ann, size=2000):
    turns = [call(("blob", {"n": n, "size": size})) for n in range(TURNS)]
    return start(ann, script(*turns, text("Done.")))


@pytest.fixture
def reader(model):
    tool("blob", "tests.blob")
    agent("worker", "blob", "artifact_read", limits={"context_tokens": 6000, "iterations": 40})


class TestOldResults:
    def test_give_way_to_references_and_the_newest_stay(self, reader, model, ann):
        run = carry_all(long_run(ann))

        assert (run.status, run.output) == (states.SUCCEEDED, "Done.")
        requests = sent(model)
        assert len(requests) == TURNS + 1
        assert all(is_whole(request) for request in requests)
        last = shown_results(requests[-1])
        assert [is_left_out(each) for each in last] == sorted((is_left_out(each) for each in last), reverse=True)
        assert is_left_out(last[0])
        assert not any(is_left_out(each) for each in last[-2:])
        first = ToolCall.objects.order_by("step__number").first()
        assert first is not None
        assert first.artifact is not None
        assert last[0] == (
            f"[Left out to make room: 2,000 characters. It began: {first.result[:200]}…\n"
            f"The whole is {first.artifact.reference}: read it with artifact_read.]"
        )
        assert artifacts.text(first.artifact) == first.result
        assert len(first.result) == 2000

    def test_what_is_sent_is_a_prefix_again_after_each_change(self, reader, model, ann):
        carry_all(long_run(ann))

        requests, views = sent(model), ContextView.objects.all()
        changed = {view.after_step for view in views}
        assert 1 <= len(changed) <= 3, "room is made for several turns at once"
        for number, (before, after) in enumerate(itertools.pairwise(requests), 1):
            assert (after[: len(before)] == before) == (number not in changed)

    def test_the_size_goes_down_and_the_event_says_from_what_to_what(self, reader, model, ann):
        run = carry_all(long_run(ann))

        view = ContextView.objects.earliest("number")
        (told, *_) = events_of(run, "results_left_out")
        assert (told["tokens_before"], told["tokens_after"]) == (view.tokens_before, view.tokens_after)
        assert view.tokens_before > 6000 > view.tokens_after
        assert told["calls"] == view.left_out

    def test_whoever_carries_it_shows_the_same(self, reader, model, ann):
        run = long_run(ann)
        lease = claim(run)
        while run.dispatches.get().status == states.WORKING:
            engine.advance(lease)
        again = sent(model)
        model.reset()

        carry_all(long_run(ann))

        def plain(requests):
            """Without what differs from run to run: the ids of calls and artifacts."""
            return [
                [[is_left_out(each) or each for each in shown_results([message])] for message in request]
                for request in requests
            ]

        assert plain(again) == plain(sent(model))

    def test_control_without_a_limit_all_of_it_is_shown(self, model, ann):
        tool("blob", "tests.blob")
        agent("worker", "blob", "artifact_read")

        carry_all(long_run(ann))

        assert not any(map(is_left_out, shown_results(sent(model)[-1])))
        assert not ContextView.objects.exists()

    def test_a_models_own_window_is_a_limit_too(self, model, ann):
        ModelEntry.objects.update(context_window=8192)
        tool("blob", "tests.blob")
        agent("worker", "blob", "artifact_read")

        carry_all(long_run(ann))

        assert ContextView.objects.exists()

    def test_who_cannot_read_references_is_given_none(self, model, ann):
        tool("blob", "tests.blob")
        agent("worker", "blob", limits={"context_tokens": 6000})

        carry_all(long_run(ann))

        first, *_ = shown_results(sent(model)[-1])
        assert is_left_out(first)
        assert "artifact:" not in first

    def test_the_same_result_still_counts_as_a_loop(self, model, ann):
        """What was left out is kept as an artifact, and is compared by what it was."""
        tool("blob", "tests.blob")
        agent("worker", "blob", "artifact_read", limits={"context_tokens": 3000, "iterations": 40})
        turns = [call(("blob", {"n": n, "size": 2000})) for n in (0, 1, 2, 3, 4, 5, 0, 6, 0)]

        run = carry_all(start(ann, script(*turns, text("Done."))))

        assert run.stop_reason == StopReason.LOOP_DETECTED

    def test_a_worker_that_dies_as_it_makes_room_leaves_nothing(self, reader, model, ann, monkeypatch):
        run = long_run(ann)
        loop = engine.Loop(claim(run))
        with monkeypatch.context() as broken:
            broken.setattr(compacting, "_add", _vanish)  # the artifacts are written, and nothing is committed
            with pytest.raises(Vanished):
                to_the_end(loop)
        assert not ContextView.objects.exists()
        assert not Artifact.objects.exists()
        leave_to_others(run)

        run = carry_all(run)

        assert run.output == "Done."
        assert len({view.number for view in ContextView.objects.all()}) == ContextView.objects.count() >= 1

    def test_the_reservation_of_the_turn_after_is_an_upper_bound(self, reader, model, ann):
        carry_all(long_run(ann))

        for view in ContextView.objects.all():
            step = Step.objects.get(number=view.after_step + 1)
            assert step.reserved_usd >= step.cost_usd


def _vanish(*args, **kwargs):
    raise Vanished


class TestOldTurns:
    """Texts of the model itself have no references: when leaving out results is not enough, an agent summarises."""

    @pytest.fixture
    def talker(self, model):
        tool("echo", "tests.echo")
        agent("summariser")
        agent("worker", "echo", limits={"context_tokens": 4000, "iterations": 40})

    def talk(self, ann, summary="They are all late.", turns=TURNS):
        words = [call(("echo", {"n": n}), say=f"Order {n}. " + "word " * 250) for n in range(turns)]
        return start(ann, scripts(worker=words, summariser=[text(summary)]))

    def until_it_waits(self, run):
        """Carry the worker alone until it waits for its summary."""
        lease = claim(run)
        while run.dispatches.get(number=1).status == states.WORKING:
            engine.advance(lease)
        orchestration.advance(run.pk)
        return run.dispatches.get(number=1)

    def finish(self, run):
        """Its script is at an end where its turns are not shown any more: a message says what it does next."""
        with events.recording() as log:
            mail.post(log, run.dispatches.get(number=1), script(text("Done.")), sender="user:ann")
        return carry_all(run)

    def carry_summariser(self, run):
        assert carrier.carry(run.dispatches.get(number=2).pk)

    def test_are_summarised_by_an_agent_that_is_dispatched_like_any_other(self, talker, model, ann):
        run = self.talk(ann)

        waiting = self.until_it_waits(run)

        assert (waiting.status, waiting.lease_owner) == (states.WAITING, "")
        assert waiting.waiting_on == "a summary of its earlier turns by summariser"
        summariser = run.dispatches.get(number=2)
        assert (summariser.manifest.agent.slug, summariser.status) == ("summariser", states.QUEUED)
        assert (summariser.node.role, summariser.node.within) == ("summariser", waiting.node)
        turns = summariser.task.partition("Turn 1:\n")[2]
        assert turns.startswith("Order 0. word ")
        assert '- echo {"n":0} → done: {"n":0}' in turns
        newest = Step.objects.filter(dispatch=waiting).count()
        assert f"Turn {newest - 2}:" in turns
        assert f"Turn {newest - 1}:" not in turns

    def test_the_summary_stands_for_them_and_the_newest_turns_stay(self, talker, model, ann):
        run = self.talk(ann)
        self.until_it_waits(run)
        taken = Step.objects.filter(dispatch__number=1).count()
        self.carry_summariser(run)

        run = self.finish(run)

        assert (run.status, run.output) == (states.SUCCEEDED, "Done.")
        view = ContextView.objects.get()
        request = sent(model)[-1]
        assert is_whole(request)
        opening = [block["text"] for block in request[0][1]]
        assert opening[1:] == [
            f"Your turns 1 to {view.summarised_to}, in short, as summariser (#2) has summarised them:\n"
            "They are all late."
        ]
        said = [
            block["text"] for role, content in request for block in content if role == "assistant" and "text" in block
        ]
        assert [each.split(".")[0] for each in said] == [f"Order {taken - 2}", f"Order {taken - 1}"]
        assert Step.objects.filter(dispatch__number=1, status=states.ANSWERED).count() == taken + 1
        assert (view.made_by, view.summarised_to) == (run.dispatches.get(number=2), taken - 2)
        assert view.tokens_after < view.tokens_before
        assert {"summary_asked", "summary_taken"} <= set(event_types(run))
        assert run.dispatches.get(number=2).cost_usd > 0

    def test_what_was_told_meanwhile_is_read(self, talker, model, ann):
        run = self.talk(ann)
        self.until_it_waits(run)
        with events.recording() as log:
            mail.post(log, run.dispatches.get(number=1), "Mind the EU figures.", sender="user:ann")
        self.carry_summariser(run)

        self.finish(run)

        newest = [block.get("text", "") for block in sent(model)[-1][-1][1]]
        assert "Message from ann, a person:\nMind the EU figures." in newest

    def test_a_summary_that_fails_is_done_without(self, talker, model, ann):
        run = self.talk(ann, summary="")
        self.until_it_waits(run)

        run = self.finish(run)

        view = ContextView.objects.get()
        assert (view.summary, run.output) == ("", "Done.")
        assert view.failed
        request = sent(model)[-1]
        assert is_whole(request)
        assert len(request) == 2 * (Step.objects.filter(dispatch__number=1).count() - 1) + 1, "nothing is left out"

    @pytest.mark.parametrize("there", [False, True])
    def test_nobody_to_summarise(self, model, ann, there):
        """Never hired, or retired since: all of it is shown, and the server says whether that is too much."""
        tool("echo", "tests.echo")
        agent("worker", "echo", limits={"context_tokens": 4000})
        run = self.talk(ann)
        if there:
            agent("summariser")
            manifests.retire(Agent.objects.get(slug="summariser"), by=None)
        loop = engine.Loop(claim(run))
        for _ in range(TURNS):
            loop.advance()

        assert Step.objects.count() == TURNS
        assert not ContextView.objects.exists()

    def test_retired_between_the_asking_and_the_sending(self, talker, model, ann, monkeypatch):
        run = self.talk(ann)
        lease = claim(run)
        while run.dispatches.get(number=1).status == states.WORKING:
            engine.advance(lease)
        manifests.retire(Agent.objects.get(slug="summariser"), by=None)
        orchestration.advance(run.pk)

        run = self.finish(run)

        assert ContextView.objects.get().failed == "There is no agent 'summariser' at work."
        assert run.output == "Done."

    def test_a_worker_that_goes_away_after_asking_is_made_up_for(self, talker, model, ann):
        """The run was not moved on: the reconciler finds it, as it finds what has ended."""
        run = self.talk(ann)
        lease = claim(run)
        while run.dispatches.get(number=1).status == states.WORKING:
            engine.advance(lease)
        assert run.dispatches.count() == 1

        assert reconcile.advance_left_behind() == 1

        assert run.dispatches.count() == 2

    def test_a_cancelled_run_waits_for_no_summary(self, talker, model, ann):
        run = self.talk(ann)
        self.until_it_waits(run)

        cancellation.cancel(run.pk, ann)
        run = carry_all(run)

        assert run.status == states.CANCELLED
        assert not Node.objects.filter(status__in=states.NODE.open).exists()

    def test_a_summariser_asks_nobody_to_summarise_itself(self, model, ann):
        tool("echo", "tests.echo")
        agent("summariser", "echo", limits={"context_tokens": 4000, "iterations": 40})
        run = start(ann, scripts(summariser=self._words(TURNS)), agent="summariser")
        Node.objects.filter(run=run).update(role="summariser")

        loop = engine.Loop(claim(run))
        for _ in range(TURNS):
            loop.advance()

        assert not ContextView.objects.exists()

    def _words(self, turns):
        return [call(("echo", {"n": n}), say="word " * 250) for n in range(turns)]

    def test_the_page_and_the_trace_show_what_was_left_out(self, talker, ann, client):
        run = self.talk(ann)
        self.until_it_waits(run)
        self.carry_summariser(run)
        run = self.finish(run)
        client.force_login(ann)

        page = client.get(f"/runs/{run.pk}/").content.decode()
        trace = client.get(f"/api/v1/runs/{run.pk}/trace/").json()

        view = ContextView.objects.get()
        assert f"From here on a summary stands for its turns 1 to {view.summarised_to}" in page
        assert "They are all late." in page
        (shown,) = trace["dispatches"][0]["context_views"]
        assert (shown["summarised_to"], shown["summary"]) == (view.summarised_to, "They are all late.")


class TestWhatStandsInThePlaceOfAResult:
    def test_it_says_how_much_there_was_and_where_it_is(self):
        kept = Artifact(id=uuid4())
        long = ToolCall(result="x" * 5000, artifact=kept)

        told = context.left_out(long, View(may_read=True))

        assert told.startswith(f"[Left out to make room: 5,000 characters. It began: {'x' * 200}…\nThe whole is ")
        assert kept.reference in told
        assert len(told.encode()) <= context.LEFT_OUT_BYTES

    def test_an_error_stays_one(self):
        failed = ToolCall(id=uuid4(), provider_id="toolu_1", result="no", status=states.FAILED, error_kind="raised")

        message = context.results([failed], View(left_out=frozenset({failed.pk})))

        assert message["content"][0]["is_error"] is True


def test_one_that_was_never_viewed_asks_for_no_views(reader, ann, django_assert_num_queries):
    run = start(ann, script(call(("blob", {"n": 1, "size": 10})), text("Done.")))
    lease = claim(run)
    engine.advance(lease)

    with django_assert_num_queries(4):  # the dispatch with its run and manifest, its account, its steps, its calls
        memory.read(lease)
    dispatch = run.dispatches.get()
    ContextView.objects.create(dispatch=dispatch, number=1, after_step=1, tokens_before=2, tokens_after=1)
    Dispatch.objects.filter(pk=dispatch.pk).update(views=1)
    with django_assert_num_queries(5):
        memory.read(lease)
