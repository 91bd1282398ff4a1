"""A proposed handoff holds its node until a person decides; accepted, another agent goes on with the same node.

Declined with guidance, its source goes on instead; and a source that watches has the last word when the target ended.
"""

from collections.abc import Iterable
from uuid import UUID

from django.db.models import QuerySet

from agents.models import Agent
from runs import artifacts, lineage, states
from runs.handing_over import questions, transfers
from runs.models import Dispatch, Handoff, Node
from runs.models.nodes import SUMMARISER
from runs.orchestration import bounds, dispatching, nodes, results
from runs.orchestration.nodes import Moves, Place
from runs.states import StopReason

# How often the proposals of one node go back to their source.
GUIDANCE_LIMIT = 3
LONGEST_SUMMARISED = 100_000
TASK_OF_SUMMARY = (
    "Summarise what the agent {source} did, for the agent {target}, who continues with this task:\n{task}\n\n"
    "Say what was found out, what was decided and why, what was done, and what is open; nothing else, and nothing that "
    "is not there. All of it is {reference}.\n\n{transcript}"
)


def follow(moves: Moves, node: Node, source: Dispatch) -> None:
    """The source's part has ended by a proposal."""
    handoff = _joined().get(source=source)
    match handoff.status:
        case states.PROPOSED if handoff.request_id is None:
            _send_for_summary(moves, node, handoff)
        case states.PROPOSED:
            nodes.move(moves, node, states.WAITING, waiting_on=_waiting_on(handoff))
        case states.ACCEPTED:
            _continue(moves, node, source, handoff)
        case states.DECLINED if guidance(handoff):
            _return(moves, node, source, handoff)
        case _:
            _end_declined(moves, node, source, handoff)


def decided(moves: Moves, handoff: Handoff) -> None:
    """A person decided, or the clock did. A node whose source's end was not heeded yet is moved by `follow`."""
    source = Dispatch.objects.select_related("manifest__agent__published__agent").get(pk=handoff.source_id)
    node = moves.node(source.node_id)
    if node.status == states.WAITING and node.dispatch_id == source.pk:
        follow(moves, node, source)


def _joined() -> QuerySet[Handoff]:
    return Handoff.objects.select_related(
        "source__manifest__agent", "source__run", "target__published__agent", "summariser", "request__decision"
    )


def _waiting_on(handoff: Handoff) -> str:
    return f"a person to accept the handoff to {handoff.target.slug}"


# -- a summary, before the question ------------------------------------------------------------------------------
def _send_for_summary(moves: Moves, node: Node, handoff: Handoff) -> None:
    """Its writer is dispatched within the node like any other. Where there is none at work, the question says so."""
    agent = _at_today(handoff.summariser) if handoff.summariser else None
    if agent is None or not agent.active:
        _ask(moves, node, handoff, notes=("Nobody is at work who would write its summary: none is passed on.",))
        return
    source = handoff.source
    text = transfers.whole(source)
    labels = lineage.of_dispatch(source)
    kept = artifacts.keep(source, f"transcript of {source.manifest.agent.slug}", text.encode(), labels=labels)
    task = TASK_OF_SUMMARY.format(
        source=source.manifest.agent.slug,
        target=handoff.target.slug,
        task=handoff.task,
        reference=kept.reference,
        transcript=text[:LONGEST_SUMMARISED],
    )
    bounds.of_summarised(node, source)
    nodes.add(moves, node, [Place(_key(source), task, agent=agent, role=SUMMARISER)])


def _key(source: Dispatch) -> str:
    return f"handoff-summary-{source.number}"


def unasked(node: Node, inner: Iterable[Node]) -> Handoff | None:
    """The proposal of this node that waited for its summary."""
    if not any(each.role == SUMMARISER for each in inner):
        return None
    return _joined().filter(source_id=node.dispatch_id, status=states.PROPOSED, request__isnull=True).first()


def take_summary(moves: Moves, node: Node, handoff: Handoff) -> None:
    """Whoever was to summarise has ended."""
    made = Node.objects.filter(within=node, key=_key(handoff.source), superseded=False).select_related("answered_by")
    last = made.order_by("number").last()
    if last is not None and last.status == states.SUCCEEDED:
        _ask(moves, node, handoff, summary=results.text(last))
    else:
        why = last.message if last else "nobody wrote it"
        _ask(moves, node, handoff, notes=(f"No summary is passed on: {why}",))


def _ask(moves: Moves, node: Node, handoff: Handoff, *, summary: str = "", notes: tuple[str, ...] = ()) -> None:
    questions.ask(moves.log, handoff, summary=summary, notes=notes)
    nodes.move(moves, node, states.WAITING, waiting_on=_waiting_on(handoff))


# -- accepted ----------------------------------------------------------------------------------------------------
def _continue(moves: Moves, node: Node, source: Dispatch, handoff: Handoff) -> None:
    """The target gets the task verbatim, and the very text that was approved."""
    dispatch = dispatching.start(
        moves,
        node,
        origin="handoff",
        agent=handoff.target,
        task=handoff.task,
        briefing=handoff.passed,
        depth=source.depth + 1,
    )
    Handoff.objects.filter(pk=handoff.pk).update(continued_by=dispatch)


# -- the last word of a source that watches ----------------------------------------------------------------------
CLOSING = (
    "You handed this over to {target}, which has ended ({ended}). It says:\n{said}\n\n"
    "Yours is the last word: write the answer to the request. You cannot call tools any more."
)


def answer(moves: Moves, node: Node, dispatch: Dispatch) -> None:
    """A try came to its result, good or not: it is the node's, unless a source that watches is to be told first."""
    may_be_watched = len(node.tried) > 1 and not moves.is_stopping
    handoff = _watched(node) if may_be_watched else None
    if handoff is None or dispatch.stop_reason == StopReason.CANCELLED:
        nodes.answer(moves, node, dispatch)
    else:
        _close(moves, node, handoff, ended=dispatch, said=dispatch)


def _watched(node: Node) -> Handoff | None:
    """The newest that was accepted, and whose source was not told yet."""
    watched = _joined().filter(source__node=node, status=states.ACCEPTED, source_watches=True, closed_by__isnull=True)
    return watched.order_by("-id").first()


def _close(moves: Moves, node: Node, handoff: Handoff, *, ended: Dispatch, said: Dispatch) -> None:
    """One more dispatch of the source, which gives one answer and calls nothing."""
    source, agent = handoff.source, handoff.source.manifest.agent
    words = said.output or said.message or "Nothing."
    told = CLOSING.format(target=handoff.target.slug, ended=ended.stop_reason, said=words)
    closing = dispatching.start(
        moves,
        node,
        origin="closing",
        has_last_word=True,
        agent=_at_today(agent),
        task=source.task,
        briefing=_joined_texts(source.briefing, told, results.earlier_tries(node)),
        depth=source.depth,
    )
    Handoff.objects.filter(pk=handoff.pk).update(closed_by=closing)


def close(moves: Moves, node: Node, closing: Dispatch) -> None:
    """The last word is said: its text is the result, which is as good as what the target came to, no better.

    Where the source could not say it, the result is what it was to be told.
    """
    tries = list(node.dispatches.select_related("manifest__agent").order_by("number"))
    ended = next(each for each in reversed(tries) if not each.has_last_word)
    since = [each for each in tries if each.number > ended.number and each.status == states.SUCCEEDED]
    said = since[-1] if since else ended
    if moves.is_stopping or closing.stop_reason == StopReason.CANCELLED:
        nodes.answer(moves, node, closing)
    elif (handoff := _watched(node)) is not None:
        _close(moves, node, handoff, ended=ended, said=said)
    else:
        silent = f"{closing.manifest.agent.slug} was to have the last word: {closing.message or closing.stop_reason}"
        message = " ".join(filter(None, [ended.message, "" if said == closing else silent]))
        reason = StopReason(ended.stop_reason)
        nodes.end(moves, node, states.status_for(reason), stop_reason=reason, message=message, answered_by=said)


# -- declined ----------------------------------------------------------------------------------------------------
GUIDED = (
    "You proposed that {target} continues, with this task:\n{task}\n\n"
    "It was not accepted. {by} says what to do instead:\n{guidance}"
)


def guidance(handoff: Handoff) -> str:
    """What a person said to its source in place of a yes; empty where nobody did."""
    decision = getattr(handoff.request, "decision", None)
    return decision.answer or "" if decision else ""


def may_be_guided(node_id: UUID) -> bool:
    return Handoff.objects.filter(source__node_id=node_id, returned_to__isnull=False).count() < GUIDANCE_LIMIT


def _return(moves: Moves, node: Node, source: Dispatch, handoff: Handoff) -> None:
    """Its agent goes on, told what it had made and done, by reference, and what the person says."""
    assert handoff.request is not None
    told = GUIDED.format(
        target=handoff.target.slug,
        task=handoff.task,
        by=handoff.request.decision.by_name,
        guidance=guidance(handoff),
    )
    listed = "\n".join(f"- {reference}" for reference in handoff.artifacts)
    made = f"What you had found and made, to be read with artifact_read:\n{listed}" if listed else ""
    dispatch = dispatching.start(
        moves,
        node,
        origin="guidance",
        agent=_at_today(source.manifest.agent),
        task=source.task,
        briefing=_joined_texts(source.briefing, told, made, results.earlier_tries(node)),
        depth=source.depth,
    )
    Handoff.objects.filter(pk=handoff.pk).update(returned_to=dispatch)


def _at_today(agent: Agent) -> Agent:
    return Agent.objects.select_related("published__agent").get(pk=agent.pk)


def _joined_texts(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)


def _end_declined(moves: Moves, node: Node, source: Dispatch, handoff: Handoff) -> None:
    reason = _REASONS.get(handoff.status, StopReason.REJECTED)
    told = _declined_text(source, handoff)
    to = states.CANCELLED if reason == StopReason.CANCELLED else states.FAILED
    nodes.end(moves, node, to, stop_reason=reason, message=told, output=told)


_REASONS = {states.EXPIRED: StopReason.NEEDS_HUMAN, states.CANCELLED: StopReason.CANCELLED}


def _declined_text(source: Dispatch, handoff: Handoff) -> str:
    decision = getattr(handoff.request, "decision", None)
    why = f": {decision.reason}" if decision and decision.reason else "."
    was = "expired" if handoff.status == states.EXPIRED else f"was {handoff.status}"
    told = f"The handoff to {handoff.target.slug} {was}{why}"
    return f"{source.output}\n\n{told}" if source.output else told
