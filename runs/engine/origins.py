"""The texts of a run by which the gate tells where the arguments of an act come from. Read only by who has read what
nobody vouches for."""

from collections.abc import Iterator

from orchestrator_site.core import canonical, events
from orchestrator_site.core.models import Event
from runs import states
from runs.models import Dispatch, Message, Run, ToolCall
from runs.platform_tools import ASK_HUMAN
from tools import registry
from tools.flow import Source, words
from tools.values import Label

_SAID = (states.DONE, states.FAILED, states.RESOLVED)
# Of one call's arguments and result, in the order of a run.
_COLUMNS = ("tool", "status", "arguments", "result", "labels", "step__number", "dispatch__number")
_DECISION = ("request__decision__verdict", "request__decision__by")


def sources(dispatch: Dispatch) -> tuple[Source, ...]:
    """What people said comes first, then what tools brought, in the order in which it came. Six queries at most.

    Whoever started a run with what others sent may pass on what they say to it later, too.
    """
    return (*_of_people(dispatch), *_of_tools(dispatch))


def _of_people(dispatch: Dispatch) -> Iterator[Source]:
    run = dispatch.run
    yield Source(run.input, "the request", vouches=_is_own(run))
    earlier = Run.objects.filter(conversation=run.conversation_id).only("labels") if dispatch.history else []
    vouches = all(map(_is_own, earlier))
    for asked, _ in dispatch.history:
        yield Source(asked, "an earlier request", vouches)
    messages = Message.objects.filter(dispatch__run_id=run.pk, sender__startswith="user:").order_by(
        "dispatch", "number"
    )
    for sender, text in messages.values_list("sender", "text"):
        vouches = _is_by_other_or_own(run, sender)
        yield Source(text, "a person's message" if vouches else "a message that was passed on", vouches)
    chain = events.run_chain(run.pk)
    comments = Event.objects.filter(chain=chain, type="node_commented").order_by("seq")
    for actor, data in comments.values_list("actor", "data"):
        vouches = _is_by_other_or_own(run, actor)
        where = "a person's comment" if vouches else "a comment that was passed on"
        yield Source(canonical.loads(data)["comment"], where, vouches)


def _is_own(run: Run) -> bool:
    """Whether its input is the words of whoever started it, and nothing that they pass on."""
    return Label.UNTRUSTED not in run.labels.split()


def _is_by_other_or_own(run: Run, actor: str) -> bool:
    """Whether what a user says during the run is that user's word: whoever passes things on may do so here too."""
    return _is_own(run) or actor != f"user:{run.owner.get_username()}"


def _of_tools(dispatch: Dispatch) -> Iterator[Source]:
    run = dispatch.run
    calls = ToolCall.objects.filter(dispatch__run_id=run.pk, status__in=_SAID)
    for row in calls.order_by("created_at", "position").values_list(*_COLUMNS, *_DECISION):
        tool, status, arguments, result, labels, step, number, verdict, by = row
        where = f"the result of {tool}, step {step}"
        if number != dispatch.number:
            where += f" of dispatch #{number}"
        answered = verdict == "answered"
        by_person = answered and (by != run.owner_id or _is_own(run))
        is_source = by_person or (
            status != states.FAILED and registry.platform_tool(tool) is None and Label.UNTRUSTED not in labels.split()
        )
        if tool == ASK_HUMAN and answered:
            where = "a person's answer" if by_person else "an answer that was passed on"
        yield Source(result, where, vouches=is_source, asked_with=words(canonical.loads(arguments)))
