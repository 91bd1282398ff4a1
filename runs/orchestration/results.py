"""What nodes came to, as others are told it: by reference, each with its first words."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.db.models.functions import Left

from runs import artifacts, lineage, states
from runs.models import Artifact, Node, ToolCall
from runs.orchestration import nodes
from runs.planning import values

# How much of a result is quoted beside its reference.
PREVIEW_CHARACTERS = 500
# Of what was done before, each with the beginnings of its arguments and of its result. All of it is then at most some
# 9,000 tokens: a twentieth of a context window of 200,000, beside which there is room for the task.
MOST_DONE = 50
ARGUMENT_CHARACTERS, RESULT_CHARACTERS = 500, 200
BEFORE = "Others had begun this before. What they did for it then, which is not to be done again:"


def text(node: Node) -> str:
    """Expects `answered_by` to be joined."""
    if node.output or node.answered_by is None:
        return node.output or node.message
    return node.answered_by.output or node.answered_by.message


def said_by(node: Node) -> str:
    """Whose result it is. Expects the agent of `answered_by` to be joined."""
    if node.answered_by is not None:
        return node.answered_by.manifest.agent.slug
    return node.agent.slug if node.agent is not None else node.key


def read_by(node: Node) -> list[Node]:
    """The nodes whose results it is told: in the order in which it names them, else in their own."""
    told = Node.objects.filter(pk__in=node.reads) if node.reads else Node.objects.filter(edges_out__child=node)
    found = told.select_related("answered_by__manifest__agent", "agent", "dispatch").order_by("number")
    place = {id: n for n, id in enumerate(node.reads)}
    return sorted(found, key=lambda each: place.get(str(each.pk), 0))


def briefing(node: Node) -> str:
    """What its agent is told beside the task: what came before it, what failed of it, and why."""
    return "\n\n".join(part for part in [node.briefing, _handed(node), references(read_by(node))] if part)


def _handed(node: Node) -> str:
    """The artifacts that its plan tells it of; they are quoted where no storage has to be waited for."""
    named = values.references(node.spec)
    return "\n\n".join(map(_artifact_line, artifacts.found_in(artifacts.of_run(node.run), named))) if named else ""


def _artifact_line(artifact: Artifact) -> str:
    told = f"Artifact {artifact.name} ({artifact.reference})"
    if artifact.blob.content is None:
        return f"{told}, {artifact.size:,} bytes."
    return f"{told}: {artifacts.text(artifact)[:PREVIEW_CHARACTERS]}"


def references(told: Iterable[Node]) -> str:
    return "\n\n".join(_line(node) for node in told)


def earlier_tries(node: Node) -> str:
    """How the tries of this node ended, and what they and whoever lies within it did: nobody is to do that again."""
    tries = node.dispatches.filter(finished_at__isnull=False).select_related("manifest__agent")
    ended = [
        f"{each.manifest.agent.slug} tried before, and ended: {each.message or each.stop_reason}" for each in tries
    ]
    return "\n".join([*ended, *done([node])[node.pk]])


def done(told: Sequence[Node]) -> dict[UUID, list[str]]:
    """By node, a line for each call at it, and at whatever lies within it, that cannot simply be repeated. None of
    the nodes, of which there is one at least, lies within another. Two queries, however many they are."""
    at = Node.objects.at_and_within(*(node.pk for node in told))
    calls: dict[UUID, list[ToolCall]] = {node.pk: [] for node in told}
    for call in _in_short(ToolCall.objects.with_effect_in(told[0].run_id).filter(dispatch__node__in=list(at))):
        calls[at[call.dispatch.node_id]].append(call)
    return {id: _newest(own) for id, own in calls.items()}


def done_before(outer: Node) -> str:
    """What a node within this one is told: what was done for it by its earlier tries, and by those whose place it, or
    a node around it, takes. No query for what the run began with."""
    now = outer.dispatch
    if now is None or now.number == 1:
        return ""
    at = Node.objects.at_and_within(outer.pk, *Node.objects.replaced_by(outer.pk))
    calls = ToolCall.objects.with_effect_in(outer.run_id).filter(dispatch__node__in=list(at))
    lines = _newest(list(_in_short(calls.filter(dispatch__number__lt=now.number))))
    return "\n".join([BEFORE, *lines]) if lines else ""


def _in_short(calls: QuerySet[ToolCall]) -> QuerySet[ToolCall]:
    """With the beginnings of what may be long, in their order."""
    short = calls.defer("arguments", "proposed_arguments", "ruling", "result").annotate(
        sent=Left("arguments", ARGUMENT_CHARACTERS + 1), came=Left("result", RESULT_CHARACTERS)
    )
    joined = short.select_related("dispatch__manifest__agent")
    return joined.order_by("dispatch__number", "step", "position")


def _newest(calls: Sequence[ToolCall]) -> list[str]:
    earlier, newest = calls[:-MOST_DONE], calls[-MOST_DONE:]
    lines = [_done(call) for call in newest]
    if not earlier:
        return lines
    named = ", ".join(f"{tool}: {count}" for tool, count in Counter(call.tool for call in earlier).most_common())
    more = f"{len(earlier)} more before those ({named}) stand on the run's page; a person is asked of what repeats one."
    return [*lines, more]


def _done(call: Any) -> str:
    is_open = call.status in (states.EXECUTING, states.UNCERTAIN)
    came = "what came of it is not known" if is_open else call.came
    sent = call.sent if len(call.sent) <= ARGUMENT_CHARACTERS else f"{call.sent[:ARGUMENT_CHARACTERS]}…"
    return f"- {call.dispatch.manifest.agent.slug} has called {call.tool} with {sent}: {came}"


def _line(node: Node) -> str:
    who = said_by(node)
    named = who if node.key == who or node.plan_id is None else f"{node.key} ({who})"
    if node.status == states.SKIPPED:
        return f"{node.key} brought nothing. {node.message}"
    said = text(node)
    if not said:
        return f"{named} ended without a text ({node.stop_reason})."
    failed = "" if node.status == states.SUCCEEDED else f", which failed ({node.stop_reason})"
    return f"Result of {named}{failed} ({reference(node)}): {said[:PREVIEW_CHARACTERS]}"


def reference(node: Node) -> str:
    """Its result as an artifact, kept when it is first asked for."""
    if node.artifact_id is None:
        by = node.answered_by or node.dispatch
        content, labels = text(node).encode(), lineage.before(node.pk)
        kept = artifacts.keep(by, f"result of {said_by(node)}", content, run_id=node.run_id, labels=labels)
        nodes.change(node, artifact=kept)
    return f"artifact:{node.artifact_id}"


def joined(told: Sequence[Node]) -> str:
    return "\n\n".join(said for node in told if (said := text(node)))
