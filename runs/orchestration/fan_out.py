"""A node that goes over many: one inner node for each agent, model, item or chunk."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from agents.models import Agent
from runs import states
from runs.models import Node
from runs.orchestration import documents, nodes, results
from runs.orchestration.nodes import Moves, Place
from runs.planning import values
from runs.planning.values import ITEM, NodeSpec, Over
from runs.states import StopReason
from runs.values import ARTIFACT


def begin(moves: Moves, node: Node) -> None:
    """Expects a node that is ready to start; one whose document is to be read first stays so."""
    spec = NodeSpec.model_validate(node.spec)
    if documents.wait(moves, node, spec.over):
        return
    nodes.move(moves, node, states.WORKING, waiting_on="", due_at=None)
    read = results.read_by(node)
    places = _over_items(moves, node, spec, read) if spec.over else _over_agents(node, spec, read)
    if places is None:
        return
    if not places:
        nodes.succeed(moves, node, message="There was nothing to go over.")
        return
    left = nodes.left(moves.run)
    if len(places) > left:
        told = f"It goes over {len(places)}, and the run may have {left} more nodes."
        nodes.fail(moves, node, StopReason.REFUSED, told)
        return
    if spec.limit:
        nodes.change(node, inner_limit=spec.limit)
    nodes.add(moves, node, [replace(each, briefing=node.briefing) for each in places], node.plan)


def _over_agents(node: Node, spec: NodeSpec, read: Sequence[Node]) -> list[Place]:
    """The same task to several agents, or to one by several models."""
    reads = [each.pk for each in read]
    inner = _inner(spec)
    if spec.models:
        return [
            Place(
                f"{node.key}-{model}"[:60], node.task, agent=node.agent, spec=inner | {"models": [model]}, reads=reads
            )
            for model in spec.models
        ]
    found = {each.slug: each for each in Agent.objects.filter(slug__in=spec.agents).select_related("published__agent")}
    return [
        Place(f"{node.key}-{slug}"[:60], node.task, agent=found[slug], spec=inner, reads=reads) for slug in spec.agents
    ]


def _over_items(moves: Moves, node: Node, spec: NodeSpec, read: Sequence[Node]) -> list[Place] | None:
    assert spec.over is not None
    try:
        items = _items(moves, spec.over, read)
    except LookupError as error:
        nodes.fail(moves, node, StopReason.REFUSED, str(error.args[0]))
        return None
    inner, reads = _inner(spec), [each.pk for each in read if each.key != spec.over.result_of]
    return [
        Place(f"{node.key}-{n}"[:60], node.task.replace(ITEM, item), agent=node.agent, spec=inner, reads=reads)
        for n, item in enumerate(items, start=1)
    ]


def _inner(spec: NodeSpec) -> dict[str, object]:
    """What an inner node has of the node around it."""
    kept = ("timeout_seconds", "retry", "fallback", "output_schema")
    content = values.stored(spec)
    inner = {name: value for name, value in content.items() if name in kept}
    return inner | ({"inputs": told} if (told := values.references(content)) else {})


def _items(moves: Moves, over: Over, read: Sequence[Node]) -> list[str]:
    """Raises LookupError with a sentence where there is nothing to be read."""
    if over.items is not None:
        return list(over.items)
    if over.result_of is not None:
        return listed(_result(over.result_of, read))
    assert over.document is not None
    is_kept = ARTIFACT.fullmatch(over.document)
    text = documents.text(moves, over) if is_kept else _result(over.document, read)
    return chunks(text, over.chunk_characters)


def _result(key: str, read: Sequence[Node]) -> str:
    found = next((each for each in read if each.key == key), None)
    if found is None or not found.is_final:
        raise LookupError(f"There is no result of {key!r} to go over: no node of this key has ended before it.")
    return results.text(found)


def listed(text: str) -> list[str]:
    """The items of a JSON list, which may stand in a fence, else the lines that are not empty. Pure."""
    fenced = _FENCE.search(text)
    value = _json(fenced[1] if fenced else text)
    if isinstance(value, list):
        return [each if isinstance(each, str) else json.dumps(each, ensure_ascii=False) for each in value]
    return [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("```")]


_FENCE = re.compile(r"^```\w*\s*\n(.*?)^```", re.DOTALL | re.MULTILINE)


def _json(text: str) -> Any:
    """None for what is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def chunks(text: str, characters: int) -> list[str]:
    """Pieces of at most so many characters, cut at an empty line, a line or a space where there is one. Pure."""
    pieces = []
    while len(text) > characters:
        at = next((at for gap in ("\n\n", "\n", " ") if (at := text.rfind(gap, characters // 2, characters)) > 0), None)
        cut = characters if at is None else at
        pieces.append(text[:cut].strip())
        text = text[cut:].lstrip()
    return [piece for piece in [*pieces, text.strip()] if piece]
