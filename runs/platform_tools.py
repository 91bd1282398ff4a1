"""The tools that touch runs. Each runs inside the transaction that records its result: no intent, never uncertain."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents import roster
from agents.models import Agent
from agents.values import AgentKind, ManifestSpec
from approvals.models import OPERATOR, REQUESTER
from orchestrator_site.core import canonical
from runs import artifacts, states
from runs.models import Dispatch, Handoff, Route, ToolCall
from runs.values import Answer, AskPerson, Fault, PlatformAnswer
from tools import registry
from tools.values import Effect, ExecutorKind, Risk, ToolSpec

ASK_HUMAN = "ask_human"
ARTIFACT_READ = "artifact_read"
PROPOSE_HANDOFF = "propose_handoff"

QUESTION_KIND = "question"
ROUTING_KIND = "routing"
HANDOFF_KIND = "handoff"

# How often a run may be handed from agent to agent.
HANDOFF_DEPTH = 5
# A reference is an id; whatever is longer than this in a proposal's artifacts is a payload.
INLINE_LIMIT = 60


@dataclass(frozen=True)
class PlatformCall:
    """What a platform tool is given: the call, its dispatch joined with run and manifest, both locked by the caller."""

    call: ToolCall
    dispatch: Dispatch
    manifest: ManifestSpec


def register() -> None:
    """Put the platform's own tools into the registry; called once, when the app is ready."""
    registry.register_platform(
        ASK_HUMAN,
        "Ask the person who made the request one short question, when the answer decides what to do. "
        "Offer the candidates you see.",
        _object({"question": _TEXT, "candidates": {"type": "array", "items": _TEXT, "maxItems": 8}}, ["question"]),
        ask_human,
    )
    registry.register_platform(
        ARTIFACT_READ,
        "Read what another agent of this run made, by its reference (artifact:…).",
        _object({"reference": _TEXT}, ["reference"]),
        artifact_read,
    )
    registry.register_platform(
        PROPOSE_HANDOFF,
        "Propose that another agent continues. It ends your part: a person decides, and you are not asked again. "
        "Say in the task all that the target has to know; pass what you made as artifact references.",
        _object(
            {
                "target": {"type": "string", "description": "who continues"},
                "reason": _TEXT,
                "task": _TEXT,
                "artifacts": {"type": "array", "items": {"type": "string"}, "maxItems": 20},
                "preconditions": {"type": "array", "items": _TEXT, "maxItems": 20},
                "confidence": {"type": "number", "minimum": 0, "maximum": 1},
            },
            ["target", "reason", "task"],
        ),
        propose_handoff,
    )


_TEXT = {"type": "string", "minLength": 1, "maxLength": 4000}


def _object(properties: Mapping[str, Any], required: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": required,
        "additionalProperties": False,
    }


def dispatch_spec(tool: Mapping[str, Any]) -> ToolSpec:
    """The live roster's definition of a `dispatch_to_*` tool, as a specification the gate can rule on."""
    return ToolSpec(
        name=tool["name"],
        version_id=registry.PLATFORM_VERSION,
        description=tool["description"],
        input_schema=tool["input_schema"],
        executor=ExecutorKind.PLATFORM,
        effect=Effect.PURE,
        risk=Risk.LOW,
    )


def apply(asked: PlatformCall, arguments: Mapping[str, Any]) -> PlatformAnswer:
    """Run one platform tool. The arguments have passed its schema."""
    if (slug := roster.slug_of(asked.call.tool)) is not None:
        return dispatch_to(asked, slug, arguments)
    tool = registry.platform_tool(asked.call.tool)
    assert tool is not None
    return tool.apply(asked, arguments)


def ask_human(asked: PlatformCall, arguments: Mapping[str, Any]) -> PlatformAnswer:
    """The first question goes to who made the request. A router that is still unsure gets a person to route instead."""
    others = asked.dispatch.calls.filter(tool=ASK_HUMAN).exclude(pk=asked.call.pk)
    asked_before = others.filter(request__isnull=False).exists()
    if asked_before and asked.manifest.kind == AgentKind.ROUTER:
        return _person_routes(asked, arguments)
    frozen = {
        "call": str(asked.call.pk),
        "question": arguments["question"],
        "candidates": list(arguments.get("candidates", [])),
    }
    return AskPerson(QUESTION_KIND, arguments["question"], frozen, REQUESTER)


def _person_routes(asked: PlatformCall, arguments: Mapping[str, Any]) -> AskPerson:
    own = asked.dispatch.manifest.agent.slug
    candidates = [slug for slug in sorted(roster.current(min_epoch=roster.database_epoch()).entries) if slug != own]
    frozen = {
        "call": str(asked.call.pk),
        "request": asked.dispatch.run.input,
        "question": arguments["question"],
        "candidates": candidates,
    }
    return AskPerson(ROUTING_KIND, "Who should take this request?", frozen, OPERATOR)


def artifact_read(asked: PlatformCall, arguments: Mapping[str, Any]) -> PlatformAnswer:
    artifact = artifacts.find(asked.dispatch.run_id, arguments["reference"])
    if artifact is None:
        return Fault(f"This run has no artifact {arguments['reference']!r}. References look like artifact:<id>.")
    return Answer(artifacts.text(artifact))


def dispatch_to(asked: PlatformCall, slug: str, arguments: Mapping[str, Any]) -> PlatformAnswer:
    agent = Agent.objects.at_work().filter(slug=slug).first()
    if agent is None:
        return Fault(f"There is no agent {slug!r} at work any more.")
    add_route(asked.dispatch, agent, arguments["task"], f"agent:{asked.dispatch.manifest.agent.slug}")
    return Answer(f"{agent.slug} will be given this task.")


def add_route(dispatch: Dispatch, agent: Agent, task: str, decided_by: str) -> Route:
    """The caller holds the dispatch."""
    number = dispatch.routes.count() + 1
    return Route.objects.create(source=dispatch, number=number, agent=agent, task=task, decided_by=decided_by)


def propose_handoff(asked: PlatformCall, arguments: Mapping[str, Any]) -> PlatformAnswer:
    if fault := _proposal_fault(asked, arguments):
        return Fault(fault)
    Handoff.objects.create(
        source=asked.dispatch,
        target=Agent.objects.get(slug=arguments["target"]),
        reason=arguments["reason"],
        task=arguments["task"],
        artifacts=[*arguments.get("artifacts", []), *_findings(asked.dispatch)],
        preconditions=list(arguments.get("preconditions", [])),
        confidence=arguments.get("confidence"),
    )
    return Answer("The handoff is proposed; a person decides.")


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
    return [artifacts.keep(dispatch, name, content, "application/json").reference]


def _proposal_fault(asked: PlatformCall, arguments: Mapping[str, Any]) -> str | None:
    target = arguments["target"]
    if target not in asked.manifest.handoff_targets:
        allowed = ", ".join(asked.manifest.handoff_targets) or "nobody"
        return f"You may not hand over to {target!r}; allowed: {allowed}."
    if not Agent.objects.at_work().filter(slug=target).exists():
        return f"There is no agent {target!r} at work."
    if asked.dispatch.depth >= HANDOFF_DEPTH:
        return f"This run was handed over {HANDOFF_DEPTH} times already; finish it, or say why you cannot."
    if Handoff.objects.filter(source=asked.dispatch).exists():
        return "You have proposed a handoff already."
    return _reference_fault(asked, arguments.get("artifacts", []))


def _reference_fault(asked: PlatformCall, references: list[str]) -> str | None:
    for reference in references:
        if len(reference) > INLINE_LIMIT:
            return "Pass artifacts by reference (artifact:<id>), not their content."
        if artifacts.find(asked.dispatch.run_id, reference) is None:
            return f"This run has no artifact {reference!r}."
    return None
