"""`propose_handoff`: an agent proposes that another continues. What is wrong with a proposal is told to its agent."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from django.conf import settings

from agents import roster
from agents.models import Agent
from agents.roster import Roster
from agents.values import Edge, ManifestSpec, Transfer
from orchestrator_site.core import canonical, json_schema
from runs import artifacts, lineage, states
from runs.handing_over import preconditions
from runs.models import Dispatch, Handoff
from runs.platform_tools import PROPOSE_HANDOFF, PlatformCall
from runs.values import Answer, Fault, PlatformAnswer
from tools import registry
from tools.values import ToolSpec

# How often a run may be handed from agent to agent.
HANDOFF_DEPTH = 5
# A reference is an id; whatever is longer than this in a proposal's artifacts is a payload.
INLINE_LIMIT = 60
# A contract that is shown to the model whole.
LONGEST_TOLD = 4000
MOST_STATE_BYTES = 10_000

_TEXT = {"type": "string", "minLength": 1, "maxLength": 4000}


def register() -> None:
    """Put it into the registry; called once, when the app is ready."""
    registry.register_platform(
        PROPOSE_HANDOFF,
        "Propose that another agent continues. It ends your part: a person decides, and you are not asked again. "
        "Say in the task all that the target has to know; pass what you made as artifact references, and what it is to "
        "reckon with as state.",
        {
            "type": "object",
            "properties": {
                "target": {"type": "string", "description": "who continues"},
                "reason": _TEXT,
                "task": _TEXT,
                "artifacts": {"type": "array", "items": {"type": "string"}, "maxItems": 20},
                "state": {"type": "object", "description": "what stands of the task, as values"},
                "steps": {
                    "type": "array",
                    "items": {"type": "integer", "minimum": 1},
                    "maxItems": 100,
                    "description": "which of your own answers the target is to read, 1 being your first",
                },
                "preconditions": {"type": "array", "items": preconditions.SHAPE, "maxItems": 20},
                "confidence": {"type": "number", "minimum": 0, "maximum": 1},
            },
            "required": ["target", "reason", "task"],
            "additionalProperties": False,
        },
        propose_handoff,
    )


# -- as one agent is offered it ----------------------------------------------------------------------------------
def allowed(manifest: ManifestSpec, slug: str, served: Roster) -> list[str]:
    """The targets that an agent may propose: its manifest lists them, and no transition forbids them."""
    return [target for target in manifest.handoff_targets if served.edge(slug, target).may_hand_over]


def shaped(spec: ToolSpec, manifest: ManifestSpec, slug: str, served: Roster) -> ToolSpec:
    """With the targets this agent may propose, and what each of them has to be given."""
    edges = {target: served.edge(slug, target) for target in allowed(manifest, slug, served)}
    if not edges:
        return spec
    schema = dict(spec.input_schema)
    properties = dict(schema["properties"])
    properties["target"] = {"type": "string", "enum": list(edges), "description": "who continues"}
    properties["state"] = _state_schema(edges)
    if not any(edge.transfer == Transfer.SELECTIVE for edge in edges.values()):
        del properties["steps"]
    if all(edge.contract for edge in edges.values()):
        schema["required"] = [*schema["required"], "state"]
    return replace(spec, input_schema=schema | {"properties": properties})


def _state_schema(edges: Mapping[str, Edge]) -> dict[str, Any]:
    """The one target's contract as it is. Of several, each is told in words: held to all of them at once, a state
    that is wrong would be answered with what it lacks for another target."""
    contracts = {target: edge.contract for target, edge in edges.items() if edge.contract}
    if len(edges) == 1 and contracts and not _points_inside(contract := next(iter(contracts.values()))):
        return dict(contract)
    told = [f"for {target} it fits {_told(contract)}" for target, contract in contracts.items()]
    return {"type": "object", "description": "; ".join(["what stands of the task, as values", *told])}


def _points_inside(contract: Mapping[str, Any]) -> bool:
    """Its `$ref`s count from its own root, which it would not be here."""
    return '"$ref"' in json.dumps(contract)


def _told(contract: Mapping[str, Any]) -> str:
    text = json.dumps(contract, ensure_ascii=False)
    return text if len(text) <= LONGEST_TOLD else "its contract, which you are told when it does not fit"


# -- proposed ----------------------------------------------------------------------------------------------------
def propose_handoff(asked: PlatformCall, arguments: Mapping[str, Any]) -> PlatformAnswer:
    if fault := next(_faults(asked, arguments), None):
        return Fault(fault)
    edge = _edge(asked, arguments["target"])
    Handoff.objects.create(
        source=asked.dispatch,
        target=Agent.objects.get(slug=arguments["target"]),
        reason=arguments["reason"],
        task=arguments["task"],
        artifacts=[*arguments.get("artifacts", []), *_findings(asked.dispatch)],
        preconditions=list(arguments.get("preconditions", [])),
        confidence=arguments.get("confidence"),
        state=arguments.get("state"),
        steps=sorted(set(arguments.get("steps", []))),
        transfer=edge.transfer,
        summariser=_summariser(asked, edge),
        deadline_seconds=edge.deadline_seconds,
        source_watches=edge.source_watches,
    )
    return Answer("The handoff is proposed; a person decides.")


def _edge(asked: PlatformCall, target: str) -> Edge:
    return roster.today().edge(asked.dispatch.manifest.agent.slug, target)


def _summariser(asked: PlatformCall, edge: Edge) -> Agent | None:
    if edge.transfer != Transfer.SUMMARY:
        return None
    slug = edge.summariser or asked.manifest.summariser or settings.BATON_SUMMARISER
    return Agent.objects.filter(slug=slug).first()


def _findings(dispatch: Dispatch) -> list[str]:
    """What the proposer's tools brought, kept as one artifact: the target need not ask for it again."""
    done = dispatch.calls.filter(status=states.DONE, error_kind="", tool_version__isnull=False)
    found = [
        {"tool": call.tool, "arguments": canonical.loads(call.arguments), "result": call.result}
        for call in done.order_by("step", "position")
    ]
    if not found:
        return []
    name = f"findings of {dispatch.manifest.agent.slug}"
    content = json.dumps(found, ensure_ascii=False, indent=1).encode()
    labels = lineage.of_dispatch(dispatch)
    return [artifacts.keep(dispatch, name, content, "application/json", labels=labels).reference]


# -- what is wrong with it ---------------------------------------------------------------------------------------
def _faults(asked: PlatformCall, arguments: Mapping[str, Any]) -> Iterator[str]:
    """The first one is told: the others may go with it."""
    dispatch, target = asked.dispatch, arguments["target"]
    if Handoff.objects.filter(source=dispatch).exists():
        yield "You have proposed a handoff already."
    if fault := target_fault(dispatch, asked.manifest, target):
        yield fault
    if not Agent.objects.at_work().filter(slug=target).exists():
        yield f"There is no agent {target!r} at work."
    if dispatch.depth >= HANDOFF_DEPTH:
        yield f"This run was handed over {HANDOFF_DEPTH} times already; finish it, or say why you cannot."
    edge = _edge(asked, target)
    yield from state_faults(edge, target, arguments.get("state"))
    yield from _step_faults(dispatch, edge, target, arguments.get("steps"))
    yield from preconditions.faults(arguments.get("preconditions", []))
    yield from _reference_faults(asked, arguments.get("artifacts", []))


def target_fault(dispatch: Dispatch, manifest: ManifestSpec, target: str) -> str | None:
    """Why this dispatch may not hand over to this agent, by its manifest, today's transitions and the ring; or None.

    Expects the dispatch's manifest and agent to be joined.
    """
    slug, served = dispatch.manifest.agent.slug, roster.today()
    targets = allowed(manifest, slug, served)
    if not targets:
        return "You may hand over to nobody now: finish it yourself, or say why you cannot."
    if target not in targets:
        forbidden = " any more: operators forbid it" if target in manifest.handoff_targets else ""
        return f"You may not hand over to {target!r}{forbidden}; allowed: {', '.join(targets)}."
    limit, stood = served.edge(slug, target).ring_limit, chain(dispatch)
    if stood.count(target) >= limit:
        again = "once" if limit == 1 else f"{limit} times"
        told = " → ".join(stood)
        return f"{target} has had this {again} already ({told}): finish it, or hand over to another agent."
    return None


def chain(dispatch: Dispatch) -> list[str]:
    """The agents that this node was handed to, from the first, by accepted handoffs; the proposer's own is the last."""
    accepted = Handoff.objects.filter(source__node_id=dispatch.node_id, status=states.ACCEPTED).order_by("id")
    edges = list(accepted.values_list("source__manifest__agent__slug", "target__slug"))
    if not edges:
        return [dispatch.manifest.agent.slug]
    return [edges[0][0], *(target for _, target in edges)]


def state_faults(edge: Edge, target: str, state: Mapping[str, Any] | None) -> list[str]:
    """What keeps a state from being what the target is to be given."""
    if state is not None and len(canonical.dumps(state).encode()) > MOST_STATE_BYTES:
        return [
            f"state: it has over {MOST_STATE_BYTES} bytes; keep what is long as an artifact, and pass its reference."
        ]
    if edge.contract is None:
        return []
    if state is None:
        return [f"state is missing: {target} has to be given one that fits {_told(edge.contract)}."]
    try:
        found = json_schema.mistakes(edge.contract, state, root="state", unknown=f"is not part of what {target} takes")
    except json_schema.Unusable as error:
        return [f"What {target} takes cannot be checked: the schema {error}. Tell a person."]
    return [f"The state is not what {target} takes. {' '.join(found)}"] if found else []


def _step_faults(dispatch: Dispatch, edge: Edge, target: str, steps: Sequence[int] | None) -> Iterator[str]:
    if edge.transfer != Transfer.SELECTIVE:
        if steps:
            yield f"Which of your answers {target} reads is not yours to choose: leave steps away."
        return
    made = dispatch.steps.filter(status=states.ANSWERED).count()
    if not steps:
        yield f"Say in steps which of your answers {target} is to read; you have given {made}, and 1 is the first."
    elif strange := [number for number in steps if number > made]:
        yield f"steps: you have given {made} answers so far, and there is no {strange[0]}."


def _reference_faults(asked: PlatformCall, references: Sequence[str]) -> Iterator[str]:
    for reference in references:
        if len(reference) > INLINE_LIMIT:
            yield "Pass artifacts by reference (artifact:<id>), not their content."
            return
        artifact = artifacts.find(asked.dispatch.run_id, reference)
        if artifact is None or not artifacts.may_read(asked.dispatch, artifact):
            yield f"There is no artifact {reference!r} that you may read."
