"""The mailbox: what others tell a dispatch comes with its next turn, once, and what was sent before stays a prefix."""

import itertools
from concurrent.futures import Future

import pytest
from django.db import OperationalError

from orchestrator_site.core import events
from runs import engine, leases, mail, states
from runs.engine import memory, reserving, settling
from runs.errors import NotPossible
from runs.models import Dispatch, Message, Step, ToolCall
from runs.values import Ended
from tests.runs.cast import agent, call, carry_all, claim, events_of, go_on, script, scripts, start, text, tool
from tests.runs.meanwhile import elsewhere, just_after, wait_until_somebody_waits_for_us
from tests.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def echo(model):
    tool("echo", "tests.echo")
    agent("worker", "echo")


def post(run, words, sender="user:ann", **more):
    with events.recording() as log:
        return mail.post(log, run.dispatches.get(number=1), words, sender=sender, **more)


def blocks(message):
    """The content of a message without its cache markers."""
    content = message["content"]
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [{name: value for name, value in block.items() if name != "cache_control"} for block in content]


def sent(model):
    """Each request as a list of (role, blocks)."""
    return [[(each["role"], blocks(each)) for each in request["messages"]] for request in model.requests()]


def to_the_end(loop):
    while not isinstance(loop.advance(), Ended):
        pass


def texts(message):
    return [block["text"] for block in message[1] if block["type"] == "text"]


class TestDelivery:
    def test_with_the_task_when_it_came_before_the_first_turn(self, echo, model, ann):
        run = start(ann, script(text("Done.")))
        message = post(run, "Mind the EU figures.")

        run = carry_all(run)

        (request,) = sent(model)
        (only,) = request
        assert texts(only) == [run.input, "Message from ann, a person:\nMind the EU figures."]
        message.refresh_from_db()
        assert (message.step, run.output) == (1, "Done.")
        (posted,), (delivered,) = events_of(run, "message_posted"), events_of(run, "messages_delivered")
        assert posted["number"] == 1
        assert (delivered["step"], delivered["up_to"]) == (1, 1)
        assert "EU figures" not in str(posted)

    def test_after_the_results_of_the_turn_before(self, echo, model, ann):
        run = start(ann, script(call(("echo", {"n": 1})), text("Done.")))
        loop = engine.Loop(claim(run))
        loop.advance()
        post(run, "First.")
        post(run, "Second.", sender="system")

        to_the_end(loop)

        *_, newest = sent(model)[-1]
        assert [block["type"] for block in newest[1]] == ["tool_result", "text", "text"]
        assert texts(newest) == ["Message from ann, a person:\nFirst.", "Message from the platform:\nSecond."]
        assert {message.step for message in Message.objects.all()} == {2}

    def test_one_that_comes_as_the_request_stands_already_is_in_it(self, echo, model, ann, monkeypatch):
        run = start(ann, script(call(("echo", {"n": 1})), text("Done.")))
        just_after(monkeypatch, reserving, "prepare", lambda: post(run, "Wait."))

        run = carry_all(run)

        first, _ = sent(model)
        assert texts(first[-1])[1:] == ["Message from ann, a person:\nWait."]
        assert Message.objects.get().step == 1

    def test_control_without_the_second_look_it_would_come_later(self, echo, model, ann, monkeypatch):
        monkeypatch.setattr(memory.Memory, "is_told_more", False)
        run = start(ann, script(call(("echo", {"n": 1})), text("Done.")))
        just_after(monkeypatch, reserving, "prepare", lambda: post(run, "Wait."))

        carry_all(run)

        assert texts(sent(model)[0][-1])[1:] == []

    def test_not_after_an_answer_that_its_provider_wants_back_as_it_is(self, echo, model, ann):
        run = start(ann, script(text("Searching.") | {"stop_reason": "pause_turn"}, call(("echo", {})), text("Done.")))
        lease = claim(run)
        engine.advance(lease)
        post(run, "Hurry.")

        engine.advance(lease)
        engine.advance(lease)

        second, third = sent(model)[1:]
        assert [role for role, _ in second] == ["user", "assistant"]
        assert texts(third[-1]) == ["Message from ann, a person:\nHurry."]
        assert Message.objects.get().step == 3

    def test_a_try_that_failed_has_read_it_and_the_next_one_reads_it_too(self, echo, model, ann):
        run = start(ann, script(call(("echo", {})), text("Done.") | {"status": 529, "times": 1}))
        lease = claim(run)
        engine.advance(lease)
        post(run, "Once.")
        engine.advance(lease)
        post(run, "More.")

        run = go_on(run)

        last = sent(model)[-1]
        assert texts(last[-1]) == ["Message from ann, a person:\nOnce.", "Message from ann, a person:\nMore."]
        assert [message.step for message in Message.objects.all()] == [2, 3]
        assert run.output == "Done."


@pytest.mark.parametrize("read_again", [False, True])
def test_the_transcript_only_grows_whoever_carries_it(echo, model, ann, read_again):
    turns = [call(("echo", {"n": n})) for n in range(4)]
    run = start(ann, script(*turns, text("Done.")))
    lease = claim(run)
    loop = engine.Loop(lease)
    for n in range(5):
        if n in (0, 2, 3):
            post(run, f"Message {n}.")
        while Step.objects.count() == n:
            loop.advance()
        if read_again:
            loop.pause()
            loop = engine.Loop(lease)

    requests = sent(model)

    assert len(requests) == 5
    for before, after in itertools.pairwise(requests):
        assert after[: len(before)] == before
    for request in requests:
        assert [role for role, _ in request] == ["user", "assistant"] * (len(request) // 2) + ["user"]
    assert sum(len(texts(message)) for message in requests[-1] if message[0] == "user") == 1 + 3
    assert [message.step for message in Message.objects.all()] == [1, 3, 4]


def test_a_message_counts_in_what_the_next_call_may_cost(echo, ann):
    run = start(ann, script(call(("echo", {})), text("Done.")))
    lease = claim(run)
    engine.advance(lease)
    before = memory.read(lease).input_bound()
    post(run, "ü" * 1000)

    after = memory.read(lease).input_bound()

    assert before is not None
    assert after is not None
    assert after - before >= 2000


class TestWhoGetsNone:
    def test_who_has_ended(self, echo, ann):
        run = carry_all(start(ann, script(text("Done."))))

        with pytest.raises(NotPossible, match="Dispatch #1 has ended; nobody would read it"):
            post(run, "Too late.")

        assert not Message.objects.exists()

    def test_who_has_too_many_unread_ones(self, echo, ann, monkeypatch):
        monkeypatch.setattr(mail, "MOST_UNREAD", 2)
        run = start(ann, script(text("Done.")))
        post(run, "One.")
        post(run, "Two.")

        with pytest.raises(NotPossible, match="has 2 messages that it has not read yet"):
            post(run, "Three.")

    @pytest.mark.parametrize(("words", "sentence"), [(" ", "needs a text"), ("x" * 16_001, "at most 16,000")])
    def test_no_text_and_too_much(self, echo, ann, words, sentence):
        run = start(ann, script(text("Done.")))

        with pytest.raises(NotPossible, match=sentence):
            post(run, words)


def beside(run, slug):
    """Another dispatch of the run, at work beside its first."""
    first = run.dispatches.get(number=1)
    manifest = agent(slug, "send_message")
    return Dispatch.objects.create(
        run=run, node=first.node, manifest=manifest, number=2, origin="plan", task=run.input, cost_cap_usd=1
    )


class TestFromAgentToAgent:
    @pytest.fixture
    def tell(self, model, ann):
        """A run whose worker sends a message, and a second dispatch beside it."""
        agent("worker", "send_message")

        def tell(to, *, second="clerk"):
            mine = [call(("send_message", {"to": to, "text": "The order is late."})), text("{{result:1}}")]
            run = start(ann, scripts(worker=mine, clerk=[text("Read.")]))
            if second:
                beside(run, second)
            return run

        return tell

    def carry(self, run, number):
        lease = leases.claim(run.dispatches.get(number=number).pk)
        assert lease is not None
        to_the_end(engine.Loop(lease))
        return run.dispatches.get(number=number)

    @pytest.mark.parametrize("to", ["clerk", "#2", "2"])
    def test_by_slug_or_number(self, tell, model, to):
        run = tell(to)

        told = self.carry(run, 1)
        self.carry(run, 2)

        assert told.output == "clerk (#2) reads it at its next turn."
        assert texts(sent(model)[-1][-1])[1:] == ["Message from the agent worker (#1):\nThe order is late."]
        message = Message.objects.get()
        assert (message.sender, message.sender_dispatch, message.step) == ("agent:worker", run.dispatches.first(), 1)

    def test_who_has_ended_reads_nothing_and_the_sender_is_told(self, tell):
        run = tell("clerk")
        self.carry(run, 2)

        assert self.carry(run, 1).output == "clerk (#2) has ended; nobody would read it."
        assert not Message.objects.exists()

    @pytest.mark.parametrize(
        ("to", "sentence"),
        [
            ("clark", "Nobody here is 'clark'; at work beside you: clerk (#2)."),
            ("worker", "Nobody here is 'worker'; at work beside you: clerk (#2)."),
        ],
    )
    def test_nobody_by_that_name(self, tell, to, sentence):
        assert self.carry(tell(to), 1).output == sentence

    def test_two_of_one_name_are_told_apart_by_number(self, tell):
        run = tell("clerk")
        second = run.dispatches.get(number=2)
        second.pk, second.number = None, 3
        second.save(force_insert=True)

        assert self.carry(run, 1).output == (
            "clerk is at work more than once: say which one by its number, clerk (#2), clerk (#3)."
        )

    def test_it_is_offered_to_whom_it_was_granted_alone(self, echo, model, ann):
        run = carry_all(start(ann, script(call(("send_message", {"to": "x", "text": "y"})), text("{{result:1}}"))))

        assert run.output == "Refused: There is no such tool."
        assert [each["name"] for each in model.requests()[0]["tools"]] == ["echo"]


def write_to_each_other(ann, monkeypatch):
    """The second begins when the first, which holds its own row, is about to lock the second's; what came of both."""
    agent("worker", "send_message")
    mine, theirs = ([call(("send_message", {"to": to, "text": "Hello."})), text("Done.")] for to in ("clerk", "worker"))
    run = start(ann, scripts(worker=mine, clerk=theirs))
    beside(run, "clerk")
    asked = [_asked_to_send(dispatch) for dispatch in run.dispatches.order_by("number")]
    began: list[Future] = []
    original = mail._taken

    def taken(to):
        if not began:
            began.append(elsewhere(lambda: settling._answer_platform(*asked[1])))
            wait_until_somebody_waits_for_us()
        return original(to)

    monkeypatch.setattr(mail, "_taken", taken)
    settling._answer_platform(*asked[0])
    return began[0].exception(timeout=PATIENCE_SECONDS)


def _asked_to_send(dispatch):
    """Its lease, itself, and its call, which is ready."""
    lease = leases.claim(dispatch.pk)
    assert lease is not None
    engine.advance(lease)
    return lease, dispatch, ToolCall.objects.get(dispatch=dispatch)


def test_two_who_write_to_each_other_do_not_stand_in_each_others_way(model, ann, monkeypatch):
    assert write_to_each_other(ann, monkeypatch) is None

    assert {call.status for call in ToolCall.objects.all()} == {states.DONE}
    assert Message.objects.count() == 2


def test_control_without_the_runs_row_one_of_them_fails(model, ann, monkeypatch):
    monkeypatch.setattr(settling, "TOUCH_OTHERS", frozenset())

    try:
        failed = write_to_each_other(ann, monkeypatch)
    except OperationalError as error:
        failed = error

    assert "deadlock detected" in str(failed)


def test_the_page_and_the_trace_show_who_said_what_and_what_was_not_read(echo, model, ann, client):
    run = start(ann, script(call(("echo", {})), text("Done.")))
    engine.advance(lease := claim(run))
    post(run, "Mind the EU figures.")
    to_the_end(engine.Loop(lease))
    Dispatch.objects.update(status=states.WORKING)
    post(run, "Too late for this one.", sender="agent:clerk")
    client.force_login(ann)

    page = client.get(f"/runs/{run.pk}/").content.decode()
    trace = client.get(f"/api/v1/runs/{run.pk}/trace/").json()

    assert "Message from user:ann</p>" in page
    assert "Message from agent:clerk, not read yet</p>" in page
    (dispatch,) = trace["dispatches"]
    assert [(each["sender"], each["step"]) for each in dispatch["messages"]] == [("user:ann", 2), ("agent:clerk", None)]
