"""A plan becomes nodes: checked, accepted by a person where that is asked for, and put within its node."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings
from django.db.models import Max

from agents.models import Agent
from agents.values import Problem, no_such
from approvals import requests
from orchestrator_site.core.events import SYSTEM
from runs import artifacts, lifecycle, states
from runs import routing as routings
from runs.budgets import remaining_usd
from runs.models import Dispatch, Node, Plan, PlanTemplate, Route, Run
from runs.orchestration import groups, nodes, results, routes, shares
from runs.orchestration.nodes import Moves, Place
from runs.planning import checking, templates, values
from runs.planning.checking import NotAPlan, Setting
from runs.planning.values import NodeSpec, PlanSpec
from runs.states import StopReason
from tools import registry
from tools.values import Effect, Risk

PLAN_KIND = "plan"
# The source of a plan that a router's decisions make.
ROUTER = "router"


def setting_of(node: Node, made_by: str = "", planner: Dispatch | None = None) -> Setting:
    """Where a plan within this node stands. `made_by`: an actor; `planner`: its dispatch, where it is asked now: it
    names no artifact that it may not read itself."""
    existing = Node.objects.filter(within=node, superseded=False).values_list("key", flat=True)
    return Setting(
        existing=frozenset(existing),
        nodes_left=nodes.left(node.run),
        remaining_usd=shares.left_usd(node),
        made_by=made_by.removeprefix("agent:") if made_by.startswith("agent:") else None,
        artifacts=artifacts.readable_by(planner) if planner else artifacts.of_run(node.run),
    )


@dataclass(frozen=True)
class Requested:
    """The plan that a run was asked to be done by; `planner`: who starts from it. `ask` as `propose` takes it."""

    spec: PlanSpec
    source: str
    made_by: str
    planner: Agent | None = None
    ask: bool | None = None


def requested(run: Run, setting: Setting | None = None) -> Requested:
    """Raises NotAPlan for a run whose plan cannot be carried out, as it stands today."""
    assert run.plan is not None
    setting = replace(setting or Setting(remaining_usd=remaining_usd(run.pk)), artifacts=artifacts.of_run(run))
    owner = f"user:{run.owner.get_username()}"
    if "template" not in run.plan:
        return Requested(checking.read_checked(run.plan, setting), "request", owner)
    found = PlanTemplate.objects.at_work().select_related("planner__published__agent")
    template = found.filter(slug=str(run.plan["template"])).first()
    if template is None:
        known = PlanTemplate.objects.at_work().values_list("slug", flat=True)
        raise NotAPlan([Problem("template", no_such("plan template", str(run.plan["template"]), known))])
    spec = templates.plan_of(template, run.plan.get("parameters", {}), run.input, setting)
    ask = {"always": True, "never": False}.get(template.ask)
    return Requested(spec, "template", owner, template.planner, ask)


def propose(moves: Moves, node: Node, spec: PlanSpec, *, source: str, made_by: str, ask: bool | None = None) -> Plan:
    """Put a checked plan within a node at work, or ask a person first. `ask`: None leaves it to the setting."""
    content = values.stored(spec)
    last = node.plans.aggregate(last=Max("round"))["last"] or 0
    plan = Plan.objects.create(
        run=moves.run, node=node, round=last + 1, source=source, made_by=made_by, proposed=content, content=content
    )
    told = {"plan": str(plan.pk), "node": str(node.pk), "round": plan.round, "source": source}
    moves.log.run(moves.run.pk, "plan_proposed", actor=made_by, nodes=[each.key for each in spec.nodes], **told)
    if why := _why_asked(spec, ask):
        _ask(moves, plan, spec, why)
    else:
        accept(moves, plan, actor=SYSTEM)
    return plan


def _why_asked(spec: PlanSpec, ask: bool | None) -> list[str]:
    """Why a person looks at it first, in sentences; none where nobody is asked. `ask` is its template's word, else
    `BATON_ASK_FOR_PLANS`: never, acting (an agent in it has a tool that is not pure), always."""
    if ask is not None:
        return ["Its template has every plan made from it looked at by a person first."] if ask else []
    if settings.BATON_ASK_FOR_PLANS == "acting":
        return _may_act(spec)
    return ["Here a person looks at every plan first."] if settings.BATON_ASK_FOR_PLANS == "always" else []


def _may_act(spec: PlanSpec) -> list[str]:
    """For each agent in it that may do more than read, by which tools."""
    slugs = {slug for node in spec.nodes for _, slug in node.named_agents}
    agents = Agent.objects.filter(slug__in=slugs).select_related("published").order_by("slug")
    granted = {agent.slug: [each["tool"] for each in agent.published.grants] for agent in agents if agent.published}
    known = registry.specs({name for names in granted.values() for name in names})
    acts = {name for name, tool in known.items() if tool.effect != Effect.PURE}
    acting = {slug: [name for name in names if name in acts] for slug, names in granted.items()}
    return [f"{slug} may do more than read: {', '.join(names)}." for slug, names in acting.items() if names]


def _ask(moves: Moves, plan: Plan, spec: PlanSpec, why: list[str]) -> None:
    node, run = plan.node, moves.run
    plan.request = requests.ask(
        moves.log,
        kind=PLAN_KIND,
        run_id=run.pk,
        dispatch_id=node.dispatch_id,
        title=title(spec),
        frozen={"plan": str(plan.pk), "content": plan.content},
        risk=Risk.MEDIUM,
        reasons=why,
        reasoning=spec.goal,
        requester_id=run.owner_id,
        deadline_seconds=settings.BATON_APPROVAL_SECONDS,
        actor=plan.made_by,
    )
    plan.save(update_fields=["request"])
    nodes.move(moves, moves.hold(node), states.WAITING, waiting_on="a person to approve the plan")


def title(spec: PlanSpec) -> str:
    return f"Carry out this plan of {len(spec.nodes)} node{'s' * (len(spec.nodes) != 1)}?"


def accept(moves: Moves, plan: Plan, *, actor: str, content: dict[str, Any] | None = None) -> None:
    """The plan's nodes begin. `content`: what a person made of it, checked."""
    changes = {} if content is None else {"content": content}
    lifecycle.move_plan(moves.log, plan, states.ACCEPTED, actor=actor, **changes)
    outer = moves.node(plan.node_id)
    if outer.status == states.WAITING:
        nodes.move(moves, outer, states.WORKING, waiting_on="")
    spec = PlanSpec.model_validate(plan.content)
    if spec.concurrency is not None:
        nodes.change(outer, inner_limit=spec.concurrency)
    if plan.source != ROUTER:
        nodes.add(moves, outer, places(spec, outer), plan)
    else:
        routes.begun(moves, outer, nodes.add(moves, outer, routes.briefed(moves, outer, places(spec, outer)), plan))


def refuse(moves: Moves, plan: Plan, status: str, why: str, *, actor: str) -> None:
    """A person declined it, or nobody decided in time. Where it was to better what there is, that is the answer."""
    lifecycle.move_plan(moves.log, plan, status, actor=actor)
    outer = moves.node(plan.node_id)
    if outer.status == states.WAITING and outer.plans.filter(status=states.ACCEPTED).exists():
        nodes.move(moves, outer, states.WORKING, waiting_on="")
        if not outer.inner_open:
            groups.complete(moves, outer)
    elif outer.status == states.WAITING:
        reason = StopReason.REJECTED if status == states.DECLINED else StopReason.NEEDS_HUMAN
        nodes.fail(moves, outer, reason, why)


def places(spec: PlanSpec, outer: Node) -> list[Place]:
    """The nodes of a plan, parents first; what they wait for may have been there before."""
    before = {each.key: each for each in Node.objects.filter(within=outer, superseded=False)}
    named = Agent.objects.filter(slug__in=[each.agent for each in spec.nodes], published__isnull=False)
    agents = {each.slug: each for each in named.select_related("published__agent")}
    ordered = checking.in_order(spec)
    index = {each.key: n for n, each in enumerate(ordered)}
    made: list[Place] = []
    ids: dict[str, Any] = {key: node.pk for key, node in before.items()}
    told = results.done_before(outer)
    for each in ordered:
        place = replace(_place(each, agents, index, before, ids), briefing=told)
        ids[each.key] = place.id
        made.append(place)
    return made


def _place(
    each: NodeSpec, agents: dict[str, Agent], index: dict[str, int], before: dict[str, Node], ids: dict[str, Any]
) -> Place:
    return Place(
        key=each.key,
        kind=each.kind,
        agent=agents[each.agent] if each.agent else None,
        task=each.task,
        spec=values.stored(each),
        reads=[ids[key] for key in _told(each) if key in ids],
        after=[index[key] for key in each.depends_on if key in index],
        parents=[before[key] for key in dict.fromkeys([*each.depends_on, *_told(each)]) if key in before],
    )


def _told(each: NodeSpec) -> Iterable[str]:
    """The nodes whose results it reads; none: those of its parents. What it goes over may lie further up."""
    over = each.over and (each.over.result_of or each.over.document)
    if not over or over in (each.inputs or each.depends_on):
        return each.inputs
    return dict.fromkeys([*(each.inputs or each.depends_on), over])


# -- a router's decisions
def take_routes(moves: Moves, node: Node, router: Dispatch) -> bool:
    """One becomes a node within the router's; several are a plan, checked and asked about as any. False: none."""
    routing = routings.of(moves.run)
    decided = routes.decided(moves, node, router, routing)
    if len(decided) > 1:
        _take_several(moves, node, router, decided)
    elif decided:
        routes.expand(moves, node, decided[0], routing)
    return bool(decided)


def _take_several(moves: Moves, node: Node, router: Dispatch, decided: Sequence[Route]) -> None:
    made_by = decided[0].decided_by
    try:
        setting = replace(setting_of(node), chosen={route.agent.slug for route in decided})
        spec = checking.read_checked(routes.as_plan(decided), setting)
    except NotAPlan as error:
        told = f"What it decided cannot be carried out. {error}"
        nodes.fail(moves, node, StopReason.REFUSED, told, answered_by=router)
        return
    propose(moves, node, spec, source=ROUTER, made_by=made_by)


# -- a planner's answer ------------------------------------------------------------------------------------------
def take_answer(moves: Moves, node: Node, dispatch: Dispatch) -> None:
    """A planner has answered: its plan goes within its node, or, where a judge sent for it, beside what is there."""
    again = node.role == "planner"
    outer = moves.hold(_goes_into(node))
    made_by = f"agent:{dispatch.manifest.agent.slug}"
    try:
        spec = checking.read_checked(dispatch.output, setting_of(outer, made_by, dispatch))
    except NotAPlan as error:
        nodes.fail(moves, node, StopReason.CONTRACT_VIOLATED, f"Its answer is no plan. {error}", answered_by=dispatch)
        return
    if again:
        nodes.answer(moves, node, dispatch)
    propose(moves, outer, spec, source="planner", made_by=made_by)


def _goes_into(node: Node) -> Node:
    """The node that a planner's plan is put within: beside what a judge was not content with, or its own."""
    return node.within if node.role == "planner" and node.within else node


def faults_of_answer(dispatch: Dispatch, content: Any) -> list[str]:
    """What a planner is told of an answer that cannot be accepted."""
    made_by = f"agent:{dispatch.manifest.agent.slug}"
    try:
        checking.read_checked(content, setting_of(_goes_into(dispatch.node), made_by, dispatch))
    except NotAPlan as error:
        return [str(problem) for problem in error.problems]
    return []
