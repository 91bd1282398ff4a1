"""Conversations: what was asked and answered before reaches the first message of the next run."""

import pytest

from agents import manifests
from orchestrator_site.core.ids import new_id
from runs.errors import BadRequest
from runs.models import Conversation, Run
from runs.orchestration import dispatching
from tests.runs.cast import agent, carry_all, person, script, start, text

pytestmark = pytest.mark.django_db(transaction=True)


def ask(owner, words, answer, **more):
    return carry_all(start(owner, f"{words} {script(text(answer))}", **more))


def roles_and_texts(request):
    def words(content):
        return content if isinstance(content, str) else content[0]["text"]

    return [(message["role"], words(message["content"])) for message in request["messages"]]


def test_the_next_run_reads_what_was_asked_and_answered_before(model, ann):
    agent()
    first = ask(ann, "Who are you?", "I am the worker.")
    second = ask(ann, "And again?", "Still the worker.", conversation=first.conversation_id)
    third = ask(ann, "Sure?", "Yes.", conversation=first.conversation_id)

    assert roles_and_texts(model.requests()[-1]) == [
        ("user", first.input),
        ("assistant", "I am the worker."),
        ("user", second.input),
        ("assistant", "Still the worker."),
        ("user", third.input),
    ]


def test_control_a_run_of_its_own_begins_with_nothing(model, ann):
    agent()
    ask(ann, "Who are you?", "I am the worker.")
    alone = ask(ann, "And again?", "Hm?")

    assert roles_and_texts(model.requests()[-1]) == [("user", alone.input)]


def test_only_the_newest_are_read(model, ann):
    agent()
    conversation = Conversation.objects.create(owner=ann)
    made = [
        Run.objects.create(owner=ann, source="api", input=f"q{n}", output=f"a{n}", conversation=conversation)
        for n in range(dispatching.HISTORY_RUNS + 2)
    ]
    Run.objects.update(status="succeeded")

    run = start(ann, "next", conversation=conversation.pk)

    assert run.dispatches.get().history == [[each.input, each.output] for each in made[2:]]


def test_a_run_without_an_answer_is_left_out(model, ann):
    agent()
    first = ask(ann, "Who are you?", "I am the worker.")
    Run.objects.update(output="")

    run = start(ann, "next", conversation=first.conversation_id)

    assert run.dispatches.get().history == []


@pytest.mark.parametrize("whose", ["another's", "nobody's"])
def test_a_conversation_is_its_owners(model, ann, whose):
    agent()
    eve = person("eve")
    theirs = {"another's": ask(eve, "x", "y").conversation_id, "nobody's": new_id()}[whose]

    with pytest.raises(BadRequest, match="conversation: You have no conversation of this id"):
        start(ann, "next", conversation=theirs)


def test_one_run_at_a_time(model, ann):
    agent()
    first = start(ann, script(text("x")))

    with pytest.raises(BadRequest, match="still open"):
        start(ann, "next", conversation=first.conversation_id)


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("input", {"input": "  "}),
        ("input", {"input": "x" * 100_001}),
        ("input", {"input": "nul \x00"}),
        ("input", {"input": "half \ud800"}),
        ("agent", {"agent": "nobody"}),
        ("metadata", {"metadata": {"x": "y" * 10_000}}),
        ("metadata", {"metadata": {"x": float("nan")}}),
        ("metadata", {"metadata": {"x": "\x00"}}),
    ],
)
def test_what_is_wrong_with_a_request_names_its_field(model, ann, field, changes):
    agent()
    content = {"input": "hello"} | changes

    with pytest.raises(BadRequest) as told:
        start(ann, content.pop("input"), **content)

    assert list(told.value.faults) == [field]
    assert not Run.objects.exists()


def test_a_retired_agent_is_offered_to_nobody(model, ann):
    manifests.retire(agent().agent, by=None)

    with pytest.raises(BadRequest, match="no agent 'worker' at work"):
        start(ann, "hello")
