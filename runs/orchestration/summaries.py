"""A dispatch has outgrown its model's window: an agent summarises its earlier turns, in a node within its own."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.conf import settings

from agents.models import Agent
from runs import doorbells, lifecycle, states
from runs.engine.turn import text_of
from runs.models import ContextView, Dispatch, Message, Node, Step, ToolCall
from runs.models.nodes import SUMMARISER
from runs.orchestration import bounds, nodes
from runs.orchestration.nodes import Moves, Place

# How much of each turn's parts the summariser is told.
TEXT_CHARACTERS, RESULT_CHARACTERS = 2000, 600
TASK = (
    "Summarise what the agent {agent} has done so far, for itself to go on with: it will read your summary in place of "
    "these turns. Keep every fact, number, name and reference (artifact:…) that it may still need, what it tried and "
    "what came of it, what it was told by others, and what is still to be done. Add nothing.\n\nIts task:\n{task}\n\n"
    "{turns}"
)


def send_for(moves: Moves, node: Node, dispatch: Dispatch) -> None:
    """Put a summariser within the node for the view that waits for one. Expects the dispatch's manifest and agent."""
    view = dispatch.context_views.filter(summarised_to__isnull=False, node=None, summary="", failed="").first()
    if view is None:
        return
    slug = dispatch.pinned.summariser or settings.BATON_SUMMARISER
    agent = Agent.objects.at_work().filter(slug=slug).select_related("published__agent").first()
    if agent is None:
        _give_up(moves, dispatch, view, f"There is no agent {slug!r} at work.")
        return
    place = Place(f"summary-{view.number}", _task(dispatch, view), agent=agent, role=SUMMARISER)
    bounds.of_summarised(node, dispatch)
    (added,) = nodes.add(moves, node, [place])
    ContextView.objects.filter(pk=view.pk).update(node=added)


def _give_up(moves: Moves, dispatch: Dispatch, view: ContextView, why: str) -> None:
    """Nobody makes it: the dispatch goes on without."""
    ContextView.objects.filter(pk=view.pk).update(failed=why)
    waiting = Dispatch.objects.select_for_update(of=("self",), no_key=True).filter(
        pk=dispatch.pk, status=states.WAITING
    )
    if (held := waiting.order_by("pk").first()) is not None:
        lifecycle.move_dispatch(moves.log, held, states.QUEUED, waiting_on="", wake_on="", due_at=None)
        doorbells.ring_after_commit(held.pk)


def _task(dispatch: Dispatch, view: ContextView) -> str:
    before = dispatch.context_views.exclude(summary="").order_by("-number").first()
    since = before.summarised_to or 0 if before else 0
    steps = dispatch.steps.filter(status=states.ANSWERED, number__gt=since, number__lte=view.summarised_to)
    told = recap(
        steps.order_by("number"),
        dispatch.calls.filter(step__in=steps).select_related("artifact").order_by("position"),
        dispatch.messages.filter(step__gt=since, step__lte=view.summarised_to).order_by("number"),
    )
    turns = [f"What it had done before, as summarised earlier:\n{before.summary}"] if before else []
    return TASK.format(agent=dispatch.manifest.agent.slug, task=dispatch.task, turns="\n\n".join([*turns, *told]))


def recap(steps: Iterable[Step], calls: Iterable[ToolCall], mail: Iterable[Message]) -> list[str]:
    """A paragraph a turn: what it was told, what it said, and what it called with what came of it. Pure."""
    by_step: Mapping[Any, list[ToolCall]] = defaultdict(list)
    for call in calls:
        by_step[call.step_id].append(call)
    letters = list(mail)
    turns = []
    for step in steps:
        read = [each for each in letters if each.step is not None and each.step <= step.number]
        letters = letters[len(read) :]
        turns.append(_turn(step, by_step[step.pk], read))
    return turns


def _turn(step: Step, calls: Sequence[ToolCall], mail: Sequence[Message]) -> str:
    lines = [f"It was told by {each.sender}: {_cut(each.text, TEXT_CHARACTERS)}" for each in mail]
    lines.append(f"Turn {step.number}:")
    if said := text_of(json.loads(step.reply or "[]")):
        lines.append(_cut(said, TEXT_CHARACTERS))
    for call in calls:
        came_to = f"{call.status}: {_cut(call.result, RESULT_CHARACTERS)}"
        kept = f" (whole: {call.artifact.reference})" if call.artifact else ""
        lines.append(f"- {call.tool} {_cut(call.arguments, RESULT_CHARACTERS)} → {came_to}{kept}")
    return "\n".join(lines)


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[:characters]}…"
