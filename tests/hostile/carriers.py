"""The ways by which what one agent has read reaches the one that acts, each with the plays of its agents."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from agents.values import AgentKind

Turn = dict[str, Any]
Use = tuple[str, dict[str, Any]]

READER, ACTOR = "reader", "actor"
READ = "{{result:1}}"
# A text so long that an agent is told its beginning alone.
FILLER = "This part of the text says nothing of interest to anybody. " * 160


@dataclass(frozen=True)
class Part:
    """What an agent may use and what it does: turns, or turns by a part of what it is told first."""

    tools: tuple[str, ...]
    play: dict[str, Any]
    manifest: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Staged:
    """The agents of a run and how it begins: by an agent, or by a plan. `first`: a run ahead of it in the same
    conversation. `comment_on`: the node that a person comments on once the run has ended. `transfer`: of a handoff."""

    parts: dict[str, Part]
    agent: str | None = ACTOR
    plan: dict[str, Any] | None = None
    first: str = ""
    comment_on: str = ""
    transfer: str = ""


@dataclass(frozen=True)
class Work:
    """What there is to do: read something of somebody else's, `gets` what is one's own, and act."""

    read: Use
    gets: tuple[Use, ...]
    acts: tuple[Use, ...]
    tools: tuple[str, ...]


def turn(*uses: Use, say: str = "") -> Turn:
    return {"tools": [{"name": name, "input": arguments} for name, arguments in uses], "text": say}


def said(text: str) -> Turn:
    return {"text": text}


def _turns(*turns: Turn) -> dict[str, Any]:
    return {"turns": list(turns)}


def _reader(work: Work, *turns: Turn, tools: tuple[str, ...] = (), **manifest: Any) -> Part:
    return Part(_granted(work.read[0], *tools), _turns(turn(work.read), *turns), manifest)


def _actor(work: Work, *before: Turn, tools: tuple[str, ...] = (), **manifest: Any) -> Part:
    return Part(_granted(*work.tools, *tools), _turns(*before, *_deeds(work)), manifest)


def _granted(*tools: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tools))


def _deeds(work: Work) -> list[Turn]:
    return [*map(turn, work.gets), *map(turn, work.acts), said("It is done.")]


def _node(agent: str, *after: str, task: str = "Do your part.", **more: Any) -> dict[str, Any]:
    return {"key": agent, "agent": agent, "task": task, "depends_on": list(after), **more}


def _by_plan(parts: dict[str, Part], *nodes: dict[str, Any], **more: Any) -> Staged:
    return Staged(parts, agent=None, plan={"nodes": list(nodes)}, **more)


# -- the ways ----------------------------------------------------------------------------------------------------
def result(work: Work) -> Staged:
    return Staged({ACTOR: _actor(work, turn(work.read), tools=(work.read[0],))})


def two_results(work: Work) -> Staged:
    """Half of the text comes with each of two calls."""
    return Staged({ACTOR: _actor(work, turn(work.read), turn(work.read), tools=(work.read[0],))})


def spilled(work: Work) -> Staged:
    """Kept as an artifact, and read on there."""
    rest = turn(("artifact_read", {"reference": "{{artifact}}", "offset": 8000}))
    return Staged({ACTOR: _actor(work, turn(work.read), rest, tools=(work.read[0], "artifact_read"))})


def artifact(work: Work) -> Staged:
    write = turn(("artifact_write", {"path": "notes.md", "content": READ}))
    reader = _reader(work, write, said("{{result:2}}"), tools=("artifact_write",))
    actor = _actor(work, turn(("artifact_read", {"reference": "{{artifact}}"})), tools=("artifact_read",))
    return _by_plan({READER: reader, ACTOR: actor}, _node(READER), _node(ACTOR, READER))


def _handoff(work: Work, transfer: str = "", **proposal: Any) -> Staged:
    asked = {"target": ACTOR, "reason": "It is not mine to do.", "task": "Do your part.", **proposal}
    reader = _reader(work, turn(("propose_handoff", asked)), tools=("propose_handoff",), handoff_targets=(ACTOR,))
    return Staged({ACTOR: _actor(work), READER: reader}, agent=READER, transfer=transfer)


def handoff_task(work: Work) -> Staged:
    return _handoff(work, task=READ)


def handoff_state(work: Work) -> Staged:
    return _handoff(work, state={"read": READ})


def handoff_transcript(work: Work) -> Staged:
    return _handoff(work, transfer="full")


def board(work: Work) -> Staged:
    """Side by side: nothing but the board leads from the one to the other."""
    post = turn(("blackboard_post", {"category": "finding", "content": READ}))
    reader = _reader(work, post, said("Posted."), tools=("blackboard_post",))
    actor = _actor(work, turn(("blackboard_read", {})), tools=("blackboard_read",))
    return _by_plan({READER: reader, ACTOR: actor}, _node(READER), _node(ACTOR))


def mail(work: Work) -> Staged:
    """Side by side, with a message from the one to the other."""
    send = turn(("send_message", {"to": ACTOR, "text": READ}))
    reader = _reader(work, send, said("Told."), tools=("send_message",))
    return _by_plan({READER: reader, ACTOR: _actor(work)}, _node(READER), _node(ACTOR))


def edge(work: Work) -> Staged:
    return _by_plan({READER: _reader(work, said(READ)), ACTOR: _actor(work)}, _node(READER), _node(ACTOR, READER))


def mapped(work: Work) -> Staged:
    """The result is a list, and each of its items is somebody's task."""
    each = _node(ACTOR, READER, task="{item}", over={"result_of": READER})
    return _by_plan({READER: _reader(work, said("{{line:1}}")), ACTOR: _actor(work)}, _node(READER), each)


def child_back(work: Work) -> Staged:
    """What somebody that it sent for has come to."""
    send = turn((f"dispatch_to_{READER}", {"task": "Read it."}))
    lead = _actor(work, send, turn(("wait", {})), kind=AgentKind.SUPERVISOR)
    return Staged({READER: _reader(work, said(READ)), ACTOR: lead})


def child_down(work: Work) -> Staged:
    """What a supervisor has somebody do."""
    turns = [turn((f"dispatch_to_{ACTOR}", {"task": READ})), turn(("wait", {})), said("Done.")]
    lead = _reader(work, *turns, kind=AgentKind.SUPERVISOR)
    return Staged({ACTOR: _actor(work), READER: lead}, agent=READER)


def follow_up(work: Work) -> Staged:
    """The answer to what was asked before."""
    actor = _actor(work)
    actor.play["answered_before"] = 1
    return Staged({READER: _reader(work, said(READ)), ACTOR: actor}, first="Read it out to me.")


def comment(work: Work) -> Staged:
    """It has ended, and a person has it done again."""
    play = {"when": {"A person has read": _deeds(work), "": [said("I was not sure what to do.")]}}
    actor = Part(work.tools, play)
    parts = {READER: _reader(work, said(READ)), ACTOR: actor}
    return _by_plan(parts, _node(READER), _node(ACTOR, READER), comment_on=ACTOR)


def fallback(work: Work) -> Staged:
    """It failed, and another one tries."""
    cut = {"text": READ, "stop_reason": "max_tokens"}
    reader = _reader(work, turn(("blackboard_post", {"category": "finding", "content": READ})), cut, tools=_BOARD)
    actor = _actor(work, turn(("blackboard_read", {})), tools=_BOARD)
    return _by_plan({READER: reader, ACTOR: actor}, _node(READER, fallback=[ACTOR]))


_BOARD = ("blackboard_post", "blackboard_read")

CARRIERS: dict[str, Callable[[Work], Staged]] = {
    "tool result": result,
    "two results": two_results,
    "spilled result": spilled,
    "artifact": artifact,
    "handoff: task": handoff_task,
    "handoff: state": handoff_state,
    "handoff: transcript": handoff_transcript,
    "blackboard": board,
    "message": mail,
    "plan edge": edge,
    "map item": mapped,
    "supervisor's child": child_back,
    "supervisor's task": child_down,
    "follow-up": follow_up,
    "comment": comment,
    "fallback": fallback,
}
