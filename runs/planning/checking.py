"""May a plan be accepted? Every reason why not, each with the field that it stands in."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from graphlib import CycleError, TopologicalSorter
from typing import Any

import jsonschema
from django.db.models import QuerySet
from pydantic import ValidationError

from agents import roster
from agents.models import Agent
from agents.values import AgentKind, Problem, no_such
from runs import artifacts
from runs.models import Artifact
from runs.planning.values import ITEM, NodeSpec, PlanSpec
from runs.values import ARTIFACT

# Nodes of one run that plans may add, all of them together.
NODE_LIMIT = 1000


@dataclass(frozen=True)
class Setting:
    """Where a plan is to be put: keys of nodes that are there already, how many more the run may have, and what is left
    there in US dollars that nobody else was promised; None: nothing bounds it. `made_by`: the agent that made it, None
    for a person. `artifacts`: those that it may name; None: nobody knows yet which run it will be for. `chosen`: agents
    that were found fit for their tasks one by one; who has been retired since ends no node but its own."""

    existing: Collection[str] = ()
    nodes_left: int = NODE_LIMIT
    remaining_usd: Decimal | None = None
    made_by: str | None = None
    artifacts: QuerySet[Artifact] | None = None
    chosen: Collection[str] = ()


class NotAPlan(Exception):
    """Lists every problem at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


def read(content: Any) -> PlanSpec:
    """A plan out of JSON text or a mapping. Raises NotAPlan for what has not its shape."""
    if isinstance(content, str):
        content = _from_json(content)
    try:
        return PlanSpec.model_validate(content)
    except ValidationError as error:
        raise NotAPlan([_problem(part) for part in error.errors(include_url=False)]) from error


def _from_json(text: str) -> Any:
    """The object in a model's answer, which may stand in a fence."""
    start, end = text.find("{"), text.rfind("}")
    try:
        return json.loads(text[start : end + 1])
    except ValueError as error:
        raise NotAPlan([Problem("plan", f"it is no JSON object: {error}.")]) from error


def _problem(part: Any) -> Problem:
    message = part["msg"].removeprefix("Value error, ")
    return Problem(".".join(map(str, part["loc"])) or "plan", f"{message}.")


def problems(spec: PlanSpec, setting: Setting) -> list[Problem]:
    """Every reason why this plan cannot be put there; empty when it can."""
    found = [*_key_problems(spec, setting), *_shape_problems(spec)]
    if not found and (ring := cycle(spec)):
        found.append(Problem("nodes", f"they wait for each other in a ring: {' → '.join(ring)}."))
    if not found:
        found += _input_problems(spec, setting)
    return [*found, *_agent_problems(spec, setting), *_limit_problems(spec, setting)]


def read_checked(content: Any, setting: Setting) -> PlanSpec:
    """Raises NotAPlan for whatever keeps it from being accepted."""
    spec = read(content)
    if found := problems(spec, setting):
        raise NotAPlan(found)
    return spec


# -- keys, edges -------------------------------------------------------------------------------------------------
def _key_problems(spec: PlanSpec, setting: Setting) -> Iterator[Problem]:
    seen = set(setting.existing)
    known = seen | {node.key for node in spec.nodes}
    for n, node in enumerate(spec.nodes):
        if node.key in seen:
            yield Problem(f"nodes.{n}.key", f"the key {node.key!r} is taken; give each node its own.")
        seen.add(node.key)
        for m, key in enumerate(node.depends_on):
            if key == node.key:
                yield Problem(f"nodes.{n}.depends_on.{m}", "a node cannot wait for itself.")
            elif key not in known:
                yield Problem(f"nodes.{n}.depends_on.{m}", no_such("node", key, known))
        if len(set(node.depends_on)) < len(node.depends_on):
            yield Problem(f"nodes.{n}.depends_on", "it names a node twice.")
    for m, key in enumerate(spec.answer):
        if key not in known:
            yield Problem(f"answer.{m}", no_such("node", key, known))


def _shape_problems(spec: PlanSpec) -> Iterator[Problem]:
    if not spec.nodes:
        yield Problem("nodes", "a plan has at least one.")
    for n, node in enumerate(spec.nodes):
        at = f"nodes.{n}"
        if node.agent is None and not node.agents and node.reduce is None:
            yield Problem(f"{at}.agent", "say who does it, or how results are reduced.")
        if node.kind == "reduce" and node.reduce is not None and not node.depends_on:
            yield Problem(f"{at}.depends_on", "it reduces the results of others: name them.")
        if (node.kind != "reduce" or node.reduce is None) and not node.task.strip():
            yield Problem(f"{at}.task", "say what is to be done.")
        if node.over is not None and not node.agent:
            yield Problem(f"{at}.agent", "say who does it for each item.")
        if node.over is not None and (node.agents or node.models):
            yield Problem(f"{at}.over", "a node goes over items, or over agents or models, not both.")
        if node.agents and node.models:
            yield Problem(f"{at}.models", "a node goes over agents or over models, not both.")
        if node.models and not node.agent:
            yield Problem(f"{at}.agent", "say which agent is asked by each of the models.")
        if node.over is not None and ITEM not in node.task:
            yield Problem(f"{at}.task", f"write {ITEM} where the item goes.")
        if node.quorum is not None and node.quorum > len(node.depends_on):
            yield Problem(f"{at}.join", f"it has {len(node.depends_on)} parents, so {node.join} cannot be reached.")
        if node.output_schema is not None and (fault := schema_fault(node.output_schema)):
            yield Problem(f"{at}.output_schema", fault)


def schema_fault(schema: Mapping[str, Any]) -> str | None:
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        return f"it is no JSON Schema: {error.message}."
    return None


def cycle(spec: PlanSpec) -> list[str]:
    """The keys of a ring, each before the one that waits for it, first and last the same; empty where there is none."""
    try:
        _sorter(spec).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def in_order(spec: PlanSpec) -> list[NodeSpec]:
    """Parents ahead of their children. Expects no ring."""
    own = {node.key: node for node in spec.nodes}
    return [own[key] for key in _sorter(spec).static_order() if key in own]


def _sorter(spec: PlanSpec) -> TopologicalSorter[str]:
    return TopologicalSorter({node.key: node.depends_on for node in spec.nodes})


# -- inputs ------------------------------------------------------------------------------------------------------
def _input_problems(spec: PlanSpec, setting: Setting) -> Iterator[Problem]:
    before = _ancestors(spec)
    named = [(f"nodes.{n}.{field}", node, each) for n, node in enumerate(spec.nodes) for field, each in _named(node)]
    missing = _missing([each for _, _, each in named], setting)
    for field, node, each in named:
        if each in missing:
            sentence = "that this run may read: name one of its own, or of another run of whoever started it."
            yield Problem(field, f"there is no {each} {sentence}")
        elif not ARTIFACT.fullmatch(each) and each not in before[node.key] | set(setting.existing):
            yield Problem(field, f"{each!r} is no node that comes before {node.key!r}: name it in depends_on.")


def _named(node: NodeSpec) -> Iterator[tuple[str, str]]:
    """What it reads, each with the field that names it."""
    yield from ((f"inputs.{m}", each) for m, each in enumerate(node.inputs))
    if node.over is not None and node.over.result_of:
        yield "over.result_of", node.over.result_of
    if node.over is not None and node.over.document:
        yield "over.document", node.over.document


def _missing(named: Collection[str], setting: Setting) -> set[str]:
    """References to artifacts that cannot be had there."""
    if setting.artifacts is None:
        return set()
    found = {each.reference for each in artifacts.found_in(setting.artifacts, named)}
    return {each for each in named if ARTIFACT.fullmatch(each)} - found


def _ancestors(spec: PlanSpec) -> dict[str, set[str]]:
    """By key, all nodes that have ended when it starts."""
    before: dict[str, set[str]] = {}
    for node in in_order(spec):
        before[node.key] = set(node.depends_on).union(*(before.get(key, set()) for key in node.depends_on))
    return before


# -- agents, limits ----------------------------------------------------------------------------------------------
def _agent_problems(spec: PlanSpec, setting: Setting) -> Iterator[Problem]:
    named = [(f"nodes.{n}.{field}", slug) for n, node in enumerate(spec.nodes) for field, slug in node.named_agents]
    if spec.judge is not None:
        named.append(("judge.agent", spec.judge.agent))
        named += [("judge.planner", spec.judge.planner)] if spec.judge.planner else []
    served = roster.today() if setting.made_by else None
    kinds = dict(Agent.objects.at_work().values_list("slug", "published__kind"))
    for field, slug in named:
        if slug in setting.chosen:
            continue
        if slug not in kinds:
            yield Problem(field, no_such("agent at work", slug, kinds))
        elif served and setting.made_by and not served.edge(setting.made_by, slug).may_dispatch:
            sentence = f"operators keep work of {setting.made_by} from {slug!r}: give it to another agent."
            yield Problem(field, sentence)
    if spec.judge is not None and kinds.get(spec.judge.planner or "", AgentKind.PLANNER) != AgentKind.PLANNER:
        yield Problem("judge.planner", f"{spec.judge.planner!r} is no planner.")


def _limit_problems(spec: PlanSpec, setting: Setting) -> Iterator[Problem]:
    if len(spec.nodes) > setting.nodes_left:
        yield Problem("nodes", f"{len(spec.nodes)} nodes are more than the {setting.nodes_left} that the run may have.")
    shares = sum((node.budget_usd for node in spec.nodes if node.budget_usd is not None), Decimal(0))
    if setting.remaining_usd is not None and shares > setting.remaining_usd:
        told = f"the shares come to {shares} USD, and {setting.remaining_usd} USD are left that nobody was promised."
        yield Problem("nodes", told)
