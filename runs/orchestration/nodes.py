"""Nodes of a run's plan: made, unblocked with a briefing, asked what they came to. The caller holds the run's row."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agents.models import Agent
from orchestrator_site.core.events import Record
from runs import artifacts, doorbells, lifecycle, state_versions, states
from runs.models import Dispatch, Edge, Handoff, Run
from runs.models.runs import RETRY_OF
from runs.states import StopReason

# How much of a parent's result is quoted beside its reference.
PREVIEW_CHARACTERS = 500
HISTORY_RUNS = 10


def add(
    log: Record,
    run: Run,
    agent: Agent,
    task: str,
    *,
    origin: str,
    parents: Sequence[Dispatch] = (),
    depth: int = 0,
    briefing: str = "",
    number: int | None = None,
) -> Dispatch:
    """A node that pins the agent's published manifest; blocked when it has parents, else queued and rung for.

    `number`: its place among the run's nodes, where the caller knows it.
    """
    manifest = agent.published
    assert manifest is not None
    number = number or run.dispatches.count() + 1
    blocked = bool(parents)  # `unblock` starts it, with references, or skips it when a parent failed
    node = Dispatch.objects.create(
        run=run,
        manifest=manifest,
        number=number,
        origin=origin,
        task=task,
        briefing=briefing,
        depth=depth,
        history=history(run),
        status=states.BLOCKED if blocked else states.QUEUED,
        cost_cap_usd=manifest.spec().limits.cost_usd,
        cancel_requested=run.cancel_requested_at is not None,
        state_version=state_versions.current(),
    )
    if parents:
        Edge.objects.bulk_create([Edge(parent=parent, child=node) for parent in parents])
    log.run(
        run.pk,
        f"dispatch_{node.status}",
        dispatch=str(node.pk),
        number=number,
        agent=agent.slug,
        manifest=manifest.number,
        origin=origin,
        parents=[str(parent.pk) for parent in parents],
    )
    if not agent.active:
        lifecycle.end_dispatch(log, node, StopReason.REFUSED, f"{agent.slug} was retired before it could start.")
    elif not blocked:
        doorbells.ring_new_after_commit(node.pk)
    return node


def history(run: Run) -> list[list[str]]:
    """The earlier [request, answer] pairs of the conversation, oldest first; what is tried again is not among them."""
    if run.conversation_id is None:
        return []
    earlier = Run.objects.filter(conversation_id=run.conversation_id, created_at__lt=run.created_at)
    newest = earlier.exclude(output="").order_by("-created_at")[:HISTORY_RUNS]
    retried = run.metadata.get(RETRY_OF)
    return [[each.input, each.output] for each in reversed(newest) if str(each.pk) != retried]


@dataclass(frozen=True)
class Result:
    """What a node came to, with what continued it taken into account."""

    ok: bool
    stop_reason: str
    text: str


def is_complete(node: Dispatch) -> bool:
    """Nothing of it is at work or waits for a person, and so for whoever continues it."""
    if not node.is_final:
        return False
    handoff = _handoff(node)
    if handoff is None:
        return True
    if handoff.status == states.ACCEPTED:
        return handoff.continued_by is not None and is_complete(handoff.continued_by)
    return handoff.status != states.PROPOSED


def result(node: Dispatch) -> Result:
    """Expects a complete node."""
    handoff = _handoff(node)
    if handoff is None:
        return Result(node.status == states.SUCCEEDED, node.stop_reason, node.output or node.message)
    if handoff.status == states.ACCEPTED:
        assert handoff.continued_by is not None
        return result(handoff.continued_by)
    return Result(False, _DECLINED.get(handoff.status, StopReason.REJECTED), _declined_text(node, handoff))


_DECLINED = {states.EXPIRED: StopReason.NEEDS_HUMAN, states.CANCELLED: StopReason.CANCELLED}


def _declined_text(node: Dispatch, handoff: Handoff) -> str:
    decision = getattr(handoff.request, "decision", None)
    why = f": {decision.reason}" if decision and decision.reason else "."
    told = f"The handoff to {handoff.target.slug} was {handoff.status}{why}"
    return f"{node.output}\n\n{told}" if node.output else told


def _handoff(node: Dispatch) -> Handoff | None:
    """What it ended by, if that was a handoff."""
    if node.stop_reason != StopReason.HANDED_OFF:
        return None
    return Handoff.objects.filter(source=node).select_related("target", "continued_by", "request__decision").first()


def unblock(log: Record, run: Run) -> None:
    """Start every blocked node whose parents are complete; skip it when one of them failed."""
    for node in run.dispatches.filter(status=states.BLOCKED).order_by("number"):
        parents = list(node.parents.select_related("manifest__agent").order_by("number"))
        if not all(is_complete(parent) for parent in parents):
            continue
        if node.state_version > state_versions.current():
            _leave_to_newer(parents)
            continue
        results = [(parent, result(parent)) for parent in parents]
        if failed := [parent for parent, came in results if not came.ok]:
            message = f"Skipped: {failed[0].manifest.agent.slug} before it did not succeed."
            lifecycle.move_dispatch(log, node, states.SKIPPED, message=message)
            continue
        ended = [(parent, came) for parent, came in results if not _is_continued_by(parent, parents)]
        briefing = "\n\n".join(part for part in [node.briefing, references(ended)] if part)
        lifecycle.move_dispatch(log, node, states.QUEUED, briefing=briefing)
        doorbells.ring_after_commit(node.pk)


def _leave_to_newer(parents: Sequence[Dispatch]) -> None:
    """We cannot write what the node is to read: a reconciler of its own release moves the run on."""
    Dispatch.objects.filter(pk__in=[parent.pk for parent in parents]).update(unheeded=True)


def _is_continued_by(node: Dispatch, others: Iterable[Dispatch]) -> bool:
    """A node that handed over has the result of whoever continued it: told once, by the one who came to it."""
    handoff = _handoff(node)
    return handoff is not None and handoff.continued_by_id in {other.pk for other in others}


def references(results: Iterable[tuple[Dispatch, Result]]) -> str:
    """What the parents made, by reference, each with its first words."""
    lines = []
    for parent, came in results:
        slug = parent.manifest.agent.slug
        artifact = artifacts.keep(parent, f"result of {slug}", came.text.encode())
        preview = came.text[:PREVIEW_CHARACTERS]
        lines.append(f"Result of {slug} ({artifact.reference}): {preview}")
    return "\n\n".join(lines)
