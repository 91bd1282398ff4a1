"""Ask the cascade whose a run is that names nobody, and keep what each stage said."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User
from django.db import connection

from agents import roster
from agents.models import Agent
from agents.routing import cascade, embedders
from agents.routing.cascade import Book
from agents.routing.embedders import EmbedderFailed, Vectors
from agents.routing.values import Caller, Judgement, RoutingRequest
from agents.values import AgentKind
from orchestrator_site.core import canonical
from orchestrator_site.core.events import SYSTEM, Record
from runs.models import Node, PlanTemplate, Routing, Run
from runs.models.runs import RETRY_OF
from runs.planning import templates
from runs.planning.checking import NotAPlan, Setting

# Of characters: what of a run's metadata is passed on to agents.
FACTS_LIMIT = 1000
ASKED_BY = "Asked by: "


@dataclass(frozen=True)
class Judged:
    """What the cascade made of a request. `agent`: who gets it now, the router where nothing is decided, None where a
    person has to be asked. `plan`: {template, parameters}, where it goes to a plan template."""

    said: Judgement
    epoch: int
    caller: Caller
    agent: Agent | None
    plan: dict[str, Any] | None


def judge(owner: User, text: str, metadata: Mapping[str, Any], *, budget_usd: Decimal | None = None) -> Judged:
    """To be asked with no transaction open: likeness may be a server's word, and is left out where one is."""
    return _judge(RoutingRequest(text, metadata, cascade.caller(owner)), budget_usd)


def judge_again(routing: Routing) -> Judged:
    """What the person said of it since, with the request behind it; and where that decides nothing, what they said
    alone: it may be clear of a request that is not. Expects the run; asked as `judge` is."""
    said = routing.again
    both = _judge(request_of(routing.run, routing, f"{said}\n\n{routing.run.input}"), None)
    return both if both.said.is_decided else _judge(request_of(routing.run, routing, said), None)


def _judge(request: RoutingRequest, budget_usd: Decimal | None) -> Judged:
    served = roster.today()
    book = _unless_outside(cascade.live(served))
    said, plan = _to_be_carried_out(book, request, budget_usd)
    agent = None if plan else _receiver(said)
    return Judged(said, served.epoch, request.caller, agent, plan)


def _to_be_carried_out(
    book: Book, request: RoutingRequest, budget_usd: Decimal | None
) -> tuple[Judgement, dict[str, Any] | None]:
    """A rule whose plan cannot be carried out for this request is passed over."""
    unusable: dict[str, str] = {}
    while True:
        said = cascade.judge_by(book, request, unusable=unusable)
        if not said.template:
            return said, None
        plan = _plan(said.template, request.metadata)
        if not (why := _why_not(plan, request, budget_usd)):
            return said, plan
        unusable[said.template] = why


def _plan(slug: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Its parameters are the keys of the metadata that it declares."""
    declared = PlanTemplate.objects.filter(slug=slug).values_list("parameters", flat=True).first() or {}
    given = {name: metadata[name] for name in declared.get("properties", {}) if name in metadata}
    return {"template": slug, "parameters": given}


def _why_not(plan: Mapping[str, Any], request: RoutingRequest, budget_usd: Decimal | None) -> str:
    template = PlanTemplate.objects.at_work().filter(slug=plan["template"]).first()
    if template is None:
        return f"no plan template {plan['template']} is at work"
    try:
        templates.plan_of(template, plan["parameters"], request.text, Setting(remaining_usd=budget_usd))
    except NotAPlan as error:
        return f"the plan {template.slug} cannot be carried out: {'; '.join(map(str, error.problems))}"
    return ""


def _receiver(said: Judgement) -> Agent | None:
    """The first router by slug, where nothing is decided and an installation has several."""
    at_work = Agent.objects.at_work().select_related("published__agent").order_by("slug")
    if said.agent and (agent := at_work.filter(slug=said.agent).first()):
        return agent
    return at_work.filter(published__kind=AgentKind.ROUTER).first()


def elsewhere(run: Run, routing: Routing | None, node: Node) -> tuple[str, str]:
    """Whose a node's task is, when those who tried it are left out; with a line. Both empty: nobody's.

    Asked within a transaction. In the place of a server's word on likeness stands what it said when the run came.
    """
    book = cascade.live(roster.today())
    plans = {rule.template: "an agent is looked for" for rule in book.rules if rule.template}
    request = request_of(run, routing, node.task)
    said = cascade.judge_by(_unless_outside(book), request, without=node.tried, unusable=plans)
    if said.agent:
        return said.agent, _line(said)
    if routing is not None and node.task == run.input and not embedders.is_local(book.embedder):
        return _as_it_came(routing, book, node.tried)
    return "", ""


def _as_it_came(routing: Routing, book: Book, tried: Collection[str]) -> tuple[str, str]:
    """The likeliest of those that were likely enough then."""
    top: list[dict[str, Any]] = next((stage["top"] for stage in routing.stages if stage["stage"] == "semantic"), [])
    for each in top:
        is_open = each["agent"] in book.owns and each["agent"] not in tried
        if is_open and each["threshold"] is not None and each["probability"] >= each["threshold"]:
            line = f"semantic: {each['agent']} {each['probability']:.2f} ≥ {each['threshold']:.2f}"
            return each["agent"], line
    return "", ""


class _Outside:
    """In the place of an embedder that may be a server, while a transaction is open."""

    name = "none"

    def embed(self, texts: Any) -> Vectors:
        raise EmbedderFailed("the embedder may be a server, which is not asked with a transaction open")


def _unless_outside(book: Book) -> Book:
    """A server may take its time: it is asked without a connection to the database, and never inside a transaction."""
    if embedders.is_local(book.embedder):
        return book
    if connection.in_atomic_block:
        return replace(book, embedder=_Outside())
    connection.close()
    return book


# -- kept --------------------------------------------------------------------------------------------------------
def keep(log: Record, run: Run, judged: Judged) -> Routing:
    """In the transaction that accepts the run; written with what else it writes."""
    routing = Routing(run=run, epoch=judged.epoch, caller=asdict(judged.caller), **_found(judged))
    log.writes.insert([routing])
    _tell(log, routing, SYSTEM)
    return routing


def note(log: Record, routing: Routing, *stages: Mapping[str, Any], actor: str = SYSTEM, **changes: Any) -> None:
    """More stages had their say. The caller holds the run."""
    routing.stages = [*routing.stages, *stages]
    for name, value in changes.items():
        setattr(routing, name, value)
    routing.line = short(routing.line)
    routing.save(update_fields=["stages", "line", *changes])
    _tell(log, routing, actor)


def note_again(log: Record, routing: Routing, judged: Judged) -> None:
    found = _found(judged)
    note(log, routing, *found.pop("stages"), again="", epoch=judged.epoch, **found)


def _found(judged: Judged) -> dict[str, Any]:
    said = judged.said
    return {
        "decided_by": _STAGES[said.decided_by],
        "agent": said.agent,
        "template": said.template,
        "line": short(_line(said)),
        "confidence": _confidence(said),
        "stages": [dict(stage) for stage in said.stages],
        "candidates": [{"slug": each.slug, "probability": each.probability} for each in said.candidates],
    }


_STAGES = {"": "", "rules": "rule", "semantic": "semantic"}


def _line(said: Judgement) -> str:
    return f"Routed by the rule “{said.stages[0]['matched']}”" if said.decided_by == "rules" else said.line


def _confidence(said: Judgement) -> float | None:
    return said.stages[-1]["top"][0]["probability"] if said.decided_by == "semantic" else None


def _tell(log: Record, routing: Routing, actor: str) -> None:
    """The stages stand in the row; the event binds them to the chain by their digest."""
    log.run(
        routing.run_id,
        "routing_judged",
        actor=actor,
        decided_by=routing.decided_by,
        agent=routing.agent,
        template=routing.template,
        line=routing.line,
        stages=len(routing.stages),
        digest=canonical.digest(canonical.dumps(routing.stages)),
    )


def short(line: str) -> str:
    return line if len(line) <= 300 else line[:299] + "…"


def of(run: Run) -> Routing | None:
    return Routing.objects.filter(run=run).first()


# -- what travels along ------------------------------------------------------------------------------------------
def caller_of(run: Run, routing: Routing | None) -> Caller:
    if routing is None:
        return cascade.caller(run.owner)
    return Caller(**routing.caller | {"roles": tuple(routing.caller["roles"])})


def request_of(run: Run, routing: Routing | None, text: str) -> RoutingRequest:
    return RoutingRequest(text, run.metadata, caller_of(run, routing))


def facts(run: Run, routing: Routing | None, query: str = "") -> str:
    """What an agent that a run was routed to is told of who asked; a few lines."""
    caller = caller_of(run, routing)
    groups = f" ({', '.join(caller.roles)})" if caller.roles else ""
    lines = [f"{ASKED_BY}{caller.username}{groups}"]
    metadata = {name: value for name, value in run.metadata.items() if name != RETRY_OF}
    if metadata:
        written = canonical.dumps(metadata)
        cut = "" if len(written) <= FACTS_LIMIT else f"… ({len(written)} characters in all)"
        lines.append(f"With the request came: {written[:FACTS_LIMIT]}{cut}")
    if query:
        lines.append(f"To look up: {query}")
    return "\n".join(lines)


def candidates_told(routing: Routing) -> str:
    """What a router is told of a request that the stages before it left undecided; empty where they know nothing."""
    known = [each for each in routing.candidates if each["probability"] is not None]
    if not known:
        return ""
    listed = ", ".join(f"{each['slug']} {each['probability']:.2f}" for each in known)
    return f"By what requests are like, it may be for (1 would be certain): {listed}"


def owned_by(slugs: list[str]) -> dict[str, str]:
    """What each of these agents owns, in one line; those no longer at work are left out."""
    entries = roster.today().entries
    return {slug: entries[slug].owns for slug in slugs if slug in entries}
