"""What people are asked about a run's plan: may it be carried out, which of equals, what becomes of a failed node."""

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import User

from agents.models import Agent
from agents.values import no_such
from approvals import kinds
from approvals import states as verdicts
from approvals.errors import InvalidEdit, InvalidVerdict
from approvals.kinds import ReRuled
from approvals.models import ApprovalRequest, Decision
from orchestrator_site.core.events import Record
from runs import contracts, orchestration, states
from runs.approval_kinds import RunKind, actor
from runs.models import Plan
from runs.orchestration import failures, nodes, plans
from runs.orchestration.failures import NODE_KIND
from runs.orchestration.nodes import Moves
from runs.orchestration.plans import PLAN_KIND
from runs.orchestration.reducing import VOTE_KIND
from runs.planning import checking, values
from runs.planning.checking import NotAPlan
from runs.states import StopReason
from tools.values import Risk


def register() -> None:
    for kind in (PlanKind(), VoteKind(), NodeKind()):
        kinds.register(kind)


class PlanKind(RunKind):
    """The plan as it is, as a person edits it, or not at all."""

    name = PLAN_KIND
    label = "Plan"
    template = "runs/_request_plan.html"
    verdicts = frozenset({verdicts.APPROVED, verdicts.MODIFIED, verdicts.REJECTED})

    def re_rule(self, request: ApprovalRequest, edit: Mapping[str, Any], by: User) -> ReRuled:
        """`edit` is {"content": the whole plan}; it is checked like a planner's own."""
        plan = Plan.objects.select_related("node__run").get(pk=request.content["plan"])
        if set(edit) != {"content"}:
            raise InvalidEdit({"content": "Give the whole plan; nothing else can be edited."})
        try:
            spec = checking.read_checked(edit["content"], plans.setting_of(plan.node))
        except NotAPlan as error:
            raise InvalidEdit({f"content.{each.field}": each.sentence for each in error.problems}) from error
        content = values.stored(spec)
        return ReRuled(
            frozen=request.content | {"content": content},
            risk=Risk(request.risk),
            reasons=tuple(request.reasons),
            title=plans.title(spec),
        )

    def on_superseded(self, old: ApprovalRequest, new: ApprovalRequest, log: Record) -> None:
        Plan.objects.filter(request=old).update(request=new)

    def on_decided(self, request: ApprovalRequest, decision: Decision, log: Record) -> None:
        plan = Plan.objects.select_related("node__run", "run").get(pk=request.content["plan"])
        if decision.verdict in (verdicts.APPROVED, verdicts.MODIFIED):
            _hold_to_today(plan, request.effective_content["content"])
        with orchestration.moving(log, self.run(request)) as moves:
            if decision.verdict in (verdicts.APPROVED, verdicts.MODIFIED):
                content = request.effective_content["content"]
                plans.accept(moves, plan, actor=actor(decision), content=content)
                return
            to = states.EXPIRED if decision.verdict == verdicts.EXPIRED else states.DECLINED
            why = decision.reason or "nobody decided in time"
            plans.refuse(moves, plan, to, f"The plan was {to}: {why}", actor=actor(decision))


def _hold_to_today(plan: Plan, content: Mapping[str, Any]) -> None:
    """A plan that may not be carried out any more is not accepted, whoever has looked at it."""
    is_edited = content != plan.proposed
    try:
        checking.read_checked(content, plans.setting_of(plan.node, "" if is_edited else plan.made_by))
    except NotAPlan as error:
        told = " ".join(contracts.told([str(problem) for problem in error.problems]))
        raise InvalidVerdict(f"The plan cannot be carried out as it stands: {told} Edit it, or reject it.") from error


class OfNode(RunKind):
    """About one node; `frozen` names it."""

    def on_decided(self, request: ApprovalRequest, decision: Decision, log: Record) -> None:
        with orchestration.moving(log, self.run(request)) as moves:
            node = moves.node(request.content["node"])
            if node.status == states.WAITING:
                self.settle(moves, node, request, decision)

    def settle(self, moves: Moves, node: Any, request: ApprovalRequest, decision: Decision) -> None:
        raise NotImplementedError


class VoteKind(OfNode):
    """As many answers said one thing as another: a person says which it is."""

    name = VOTE_KIND
    label = "Tie"
    template = "runs/_request_vote.html"
    verdicts = frozenset({verdicts.ANSWERED, verdicts.REJECTED})

    def settle(self, moves: Moves, node: Any, request: ApprovalRequest, decision: Decision) -> None:
        if decision.verdict == verdicts.ANSWERED:
            chosen = str(decision.answer).strip()
            if chosen not in request.content["candidates"]:
                raise InvalidEdit({"answer": no_such("answer to choose", chosen, request.content["candidates"])})
            nodes.succeed(moves, node, output=chosen, message=f"A tie; {decision.by_name} decided.")
        else:
            why = decision.reason or "Nobody decided the tie in time."
            nodes.fail(moves, node, StopReason.NEEDS_HUMAN, why)


class NodeKind(OfNode):
    """Every try of a node failed. Approved: once more, by the same agent or, edited, by another one or with another
    task. Answered: the answer is its result. Rejected: the run goes on without it."""

    name = NODE_KIND
    label = "Failed step"
    template = "runs/_request_node.html"
    verdicts = frozenset({verdicts.APPROVED, verdicts.MODIFIED, verdicts.ANSWERED, verdicts.REJECTED})

    def re_rule(self, request: ApprovalRequest, edit: Mapping[str, Any], by: User) -> ReRuled:
        """`edit` is {"agent": slug, "task": text}."""
        if set(edit) != {"agent", "task"} or not all(isinstance(each, str) and each.strip() for each in edit.values()):
            raise InvalidEdit({"task": "Say which agent is to try it, and with which task."})
        slugs = set(Agent.objects.at_work().values_list("slug", flat=True))
        if edit["agent"] not in slugs:
            raise InvalidEdit({"agent": no_such("agent at work", edit["agent"], slugs)})
        return ReRuled(frozen=request.content | dict(edit), risk=Risk(request.risk), reasons=tuple(request.reasons))

    def on_superseded(self, old: ApprovalRequest, new: ApprovalRequest, log: Record) -> None:
        """Nothing points at it."""

    def settle(self, moves: Moves, node: Any, request: ApprovalRequest, decision: Decision) -> None:
        match decision.verdict:
            case verdicts.APPROVED | verdicts.MODIFIED:
                content = request.effective_content
                agent = Agent.objects.select_related("published__agent").get(slug=content["agent"])
                failures.try_again(moves, node, agent=agent, task=content["task"])
            case verdicts.ANSWERED:
                nodes.succeed(moves, node, output=str(decision.answer), message=f"{decision.by_name} gave the result.")
            case verdicts.REJECTED:
                failures.leave_out(moves, node, f"{decision.by_name}: {decision.reason}")
            case _:
                failures.give_up(moves, node)
