"""The tools that touch runs. Each runs inside the transaction that records its result: no intent, never uncertain."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from agents import roster
from agents.models import Agent
from agents.values import AgentKind, ManifestSpec
from approvals.models import OPERATOR, REQUESTER
from orchestrator_site.core import canonical
from orchestrator_site.core.events import Record
from runs import mail, routing
from runs.errors import NotPossible
from runs.models import Dispatch, Route, Routing, ToolCall
from runs.values import Answer, AskPerson, Fault, PlatformAnswer
from tools import registry
from tools.values import Effect, ExecutorKind, Risk, ToolSpec

ASK_HUMAN = "ask_human"
PROPOSE_HANDOFF = "propose_handoff"
SEND_MESSAGE = "send_message"
# What they do stands in `board`.
POST_TO_BOARD = "blackboard_post"
READ_BOARD = "blackboard_read"

# They write to the run, or to its other dispatches: their transaction takes the run's row before its own dispatch's.
TOUCH_OTHERS = frozenset({SEND_MESSAGE, POST_TO_BOARD})
# Offered to supervisors alone; what they do stands in `supervisor_tools`.
WAIT = "wait"
FINISH = "finish"

QUESTION_KIND = "question"
ROUTING_KIND = "routing"
HANDOFF_KIND = "handoff"

# Candidates beside the one that a router is unsure of.
MOST_OFFERED = 4

# How deep supervisors may lie within supervisors.
NESTING_LIMIT = 4


@dataclass(frozen=True)
class PlatformCall:
    """What a platform tool is given: the call, its dispatch joined with run and manifest, both locked by the caller.

    `log` is the record of the transaction that will record its answer, `prepared` what was made ready ahead of it.
    """

    call: ToolCall
    dispatch: Dispatch
    manifest: ManifestSpec
    log: Record
    prepared: Any = None


# What a tool does before its transaction, when no lock is held: whatever may be slow. Given the dispatch and arguments.
Preparing = Callable[[Dispatch, Mapping[str, Any]], Any]
_preparing: dict[str, Preparing] = {}


def prepare_by(tool: str, work: Preparing) -> None:
    _preparing[tool] = work


def prepare(dispatch: Dispatch, call: ToolCall) -> Any:
    """What goes into the call's `prepared`; the call may be refused after all. No transaction is open."""
    work = _preparing.get(call.tool)
    return work(dispatch, canonical.loads(call.arguments)) if work else None


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
        SEND_MESSAGE,
        "Tell another agent that works on this run something; it reads it at its next turn. "
        "It need not answer, and you do not wait for it.",
        _object(
            {"to": _TEXT | {"maxLength": 60, "description": "its slug, or its number: #3"}, "text": _TEXT},
            ["to", "text"],
        ),
        send_message,
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
    frozen: dict[str, Any] = {
        "call": str(asked.call.pk),
        "question": arguments["question"],
        "candidates": list(arguments.get("candidates", [])),
    }
    if not frozen["candidates"] and asked.manifest.kind == AgentKind.ROUTER:
        explained = routing.owned_by(_likeliest(asked))
        frozen |= {"candidates": list(explained), "explained": explained}
    return AskPerson(QUESTION_KIND, arguments["question"], frozen, REQUESTER)


def _person_routes(asked: PlatformCall, arguments: Mapping[str, Any]) -> AskPerson:
    own = asked.dispatch.manifest.agent.slug
    everybody = [slug for slug in sorted(roster.today().entries) if slug != own]
    likely = [slug for slug in _likeliest(asked) if slug in everybody]
    candidates = likely + [slug for slug in everybody if slug not in likely]
    frozen = {
        "call": str(asked.call.pk),
        "request": asked.dispatch.run.input,
        "question": arguments["question"],
        "candidates": candidates,
    }
    return AskPerson(ROUTING_KIND, "Who should take this request?", frozen, OPERATOR)


def _likeliest(asked: PlatformCall) -> list[str]:
    """Whom the stages before the router thought of, where they knew something; for the whole request alone."""
    found = Routing.objects.filter(run=asked.dispatch.run_id).first()
    is_whole = asked.dispatch.node.within_id is None
    return [each["slug"] for each in found.candidates] if found and is_whole else []


def send_message(asked: PlatformCall, arguments: Mapping[str, Any]) -> PlatformAnswer:
    others = asked.dispatch.run.dispatches.exclude(pk=asked.dispatch.pk).select_related("manifest__agent")
    to = _addressed(list(others.order_by("number")), arguments["to"].strip())
    if isinstance(to, Fault):
        return to
    sender = f"agent:{asked.dispatch.manifest.agent.slug}"
    try:
        mail.post(asked.log, to, arguments["text"], sender=sender, sender_dispatch=asked.dispatch)
    except NotPossible as error:
        return Fault(str(error))
    return Answer(f"{_name(to)} reads it at its next turn.")


def _addressed(others: Sequence[Dispatch], to: str) -> Dispatch | Fault:
    """By number, or by the slug of an agent that is at work on this run once."""
    number, slug = to.removeprefix("#"), to
    named = [each for each in others if str(each.number) == number or each.manifest.agent.slug == slug]
    at_work = [each for each in named if not each.is_final]
    if len(at_work) == 1:
        return at_work[0]
    if at_work:
        return Fault(f"{to} is at work more than once: say which one by its number, {_names(at_work)}.")
    if named:
        return Fault(f"{_name(named[-1])} has ended; nobody would read it.")
    others = [each for each in others if not each.is_final]
    return Fault(f"Nobody here is {to!r}; at work beside you: {_names(others) or 'nobody'}.")


def _names(dispatches: Iterable[Dispatch]) -> str:
    return ", ".join(map(_name, dispatches))


def _name(dispatch: Dispatch) -> str:
    return f"{dispatch.manifest.agent.slug} (#{dispatch.number})"


def dispatch_to(asked: PlatformCall, slug: str, arguments: Mapping[str, Any]) -> PlatformAnswer:
    agent = Agent.objects.at_work().filter(slug=slug).first()
    if agent is None:
        return Fault(f"There is no agent {slug!r} at work any more.")
    supervises = asked.manifest.kind == AgentKind.SUPERVISOR
    if supervises and (fault := _out_of_bounds(asked)):
        return Fault(fault)
    if asked.manifest.kind == AgentKind.ROUTER and (fault := _too_unsure(asked, slug, arguments)):
        return Fault(fault)
    more = {name: arguments[name] for name in ("alongside", "confidence", "query") if name in arguments}
    route = add_route(asked.dispatch, agent, arguments["task"], f"agent:{asked.dispatch.manifest.agent.slug}", **more)
    if supervises:
        return Answer(f"{route.key} begins. Dispatch others that can work at the same time, then call {WAIT}.")
    return Answer(f"{agent.slug} will be given this task.")


def _too_unsure(asked: PlatformCall, slug: str, arguments: Mapping[str, Any]) -> str | None:
    """What a router is told whose decision comes back to it; the schema has it say how sure it is."""
    confidence, least = arguments.get("confidence", 0.0), settings.BATON_ROUTER_CONFIDENCE
    if confidence >= least:
        return None
    others = [each for each in _likeliest(asked) if each != slug][:MOST_OFFERED]
    offer = f", and offer {', '.join([slug, *others])}" if others else ""
    return (
        f"You are {confidence:.2f} sure, and {least:.2f} is asked for: ask with {ASK_HUMAN} before you choose{offer}."
    )


def _out_of_bounds(asked: PlatformCall) -> str | None:
    """A supervisor's depth and the number of its children are bounded."""
    limit = asked.manifest.limits.children
    if asked.dispatch.routes.count() >= limit:
        return f"You have dispatched {limit} agents, which is your limit: go on with what they came to."
    if asked.dispatch.node.depth >= NESTING_LIMIT:
        return f"You were dispatched {NESTING_LIMIT} levels deep, and may dispatch nobody: do it yourself."
    return None


def add_route(dispatch: Dispatch, agent: Agent, task: str, decided_by: str, **more: Any) -> Route:
    """The caller holds the dispatch."""
    number = dispatch.routes.count() + 1
    return Route.objects.create(source=dispatch, number=number, agent=agent, task=task, decided_by=decided_by, **more)
