"""What each kind of request means to the conductor; registered with `approvals` when the app is ready."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User

from agents.models import Agent
from approvals import kinds
from approvals import states as verdicts
from approvals.errors import InvalidEdit
from approvals.kinds import Kind, ReRuled
from approvals.models import ApprovalRequest, Decision
from orchestrator_site.core import canonical
from orchestrator_site.core.events import Record
from runs import budgets, lifecycle, orchestration, platform_tools, states, waking
from runs.engine import binding, rulings
from runs.engine.failing import MODEL_KIND
from runs.engine.offer import offer
from runs.engine.proposing import TOOL_CALL_KIND
from runs.engine.reserving import BUDGET_KIND
from runs.engine.waiting import waiting_on
from runs.models import Dispatch, Handoff, Run, ToolCall
from runs.states import StopReason
from tools.values import ErrorKind, NeedsApproval, Refuse, Risk


def register() -> None:
    for kind in (ToolCallKind(), QuestionKind(), RoutingKind(), HandoffKind(), BudgetKind(), ModelKind()):
        kinds.register(kind)


class RunKind(Kind):
    """Common ground: the rows a request is about, locked run → dispatch → call."""

    def lock(self, request: ApprovalRequest) -> None:
        Run.objects.select_for_update(of=("self",), no_key=True).get(pk=request.run_id)
        Dispatch.objects.select_for_update(of=("self",)).get(pk=_known(request.dispatch_id))
        if request.call_id is not None:
            ToolCall.objects.select_for_update(of=("self",)).get(pk=request.call_id)

    def run(self, request: ApprovalRequest) -> Run:
        return Run.objects.select_related("agent").get(pk=request.run_id)

    def dispatch(self, request: ApprovalRequest) -> Dispatch:
        return Dispatch.objects.select_related("run", "manifest__agent").get(pk=_known(request.dispatch_id))

    def call(self, request: ApprovalRequest) -> ToolCall:
        return ToolCall.objects.get(pk=_known(request.call_id))

    def move_call(self, log: Record, request: ApprovalRequest, decision: Decision, to: str, **changes: Any) -> None:
        call = self.call(request)
        lifecycle.move_call(log, request.run_id, call, to, actor=actor(decision), **changes)

    def wake(self, log: Record, request: ApprovalRequest) -> None:
        waking.wake(log, self.run(request), self.dispatch(request))


def _known(id: UUID | None) -> UUID:
    """Requests of these kinds are always about a dispatch, and those about a call about a call."""
    assert id is not None
    return id


def actor(decision: Decision) -> str:
    return f"user:{decision.by.get_username()}" if decision.by else decision.via


def _refusal(decision: Decision) -> str:
    """What the model is told when a person, or the clock, said no."""
    if decision.verdict == verdicts.EXPIRED:
        return "Refused: nobody decided in time. Do not ask for the same call again."
    return f"Refused by a person: {decision.reason}"


class ToolCallKind(RunKind):
    name = TOOL_CALL_KIND
    label = "Tool call"
    template = "runs/_request_tool_call.html"
    verdicts = frozenset({verdicts.APPROVED, verdicts.MODIFIED, verdicts.REJECTED, verdicts.ANSWERED})

    def re_rule(self, request: ApprovalRequest, edit: Mapping[str, Any], by: User) -> ReRuled:
        """`edit` is the whole of the new arguments; it is validated and ruled upon like the model's own."""
        dispatch, call = self.dispatch(request), self.call(request)
        arguments = canonical.dumps(dict(edit))
        offers = offer(dispatch)
        offered = offers.at_version(call.tool, call.tool_version_id)
        facts = rulings.gather(dispatch, offers, [call.tool], without=[call.pk])
        ruling = rulings.rule(offered, arguments, facts, call.tool)
        if isinstance(ruling, Refuse):
            raise InvalidEdit({"arguments": " ".join(ruling.reasons)})
        assert offered is not None
        policy = rulings.POLICY.version
        return ReRuled(
            frozen=binding.frozen(dispatch, offered.spec, call, arguments, ruling.risk, policy),
            risk=Risk(ruling.risk),
            reasons=ruling.reasons,
            four_eyes=isinstance(ruling, NeedsApproval) and ruling.four_eyes,
            title=binding.plain_words(call.tool, edit),
            policy_version=policy,
        )

    def on_superseded(self, old: ApprovalRequest, new: ApprovalRequest, log: Record) -> None:
        ToolCall.objects.filter(pk=_known(old.call_id)).update(request=new, **_as_frozen(self.call(old), new.content))
        dispatch = self.dispatch(old)
        first_open = dispatch.calls.open().order_by("step__number", "position").first()
        if dispatch.status == states.WAITING and first_open is not None:
            Dispatch.objects.filter(pk=dispatch.pk).update(waiting_on=waiting_on(first_open))
            orchestration.advance_locked(log, self.run(old))

    def on_decided(self, request: ApprovalRequest, decision: Decision, log: Record) -> None:
        match decision.verdict:
            case verdicts.APPROVED:
                self.move_call(log, request, decision, states.READY)
            case verdicts.MODIFIED:
                changes = _as_frozen(self.call(request), canonical.loads(request.effective_frozen))
                self.move_call(log, request, decision, states.READY, **changes)
            case verdicts.ANSWERED:
                self.move_call(log, request, decision, states.DONE, result=decision.answer)
            case _:
                told = {"result": _refusal(decision), "error_kind": ErrorKind.REJECTED}
                self.move_call(log, request, decision, states.REFUSED, **told)
        self.wake(log, request)


def _as_frozen(call: ToolCall, content: Mapping[str, Any]) -> dict[str, Any]:
    """The changes that make a call what a person made of it: arguments, risk, and the ruling's risk with them."""
    ruling = canonical.loads(call.ruling) | {"risk": content["risk"], "edited": True}
    ruling["facts"]["policy"] = content["policy"]
    return {
        "arguments": canonical.dumps(content["arguments"]),
        "risk": content["risk"],
        "ruling": canonical.dumps(ruling),
    }


class QuestionKind(RunKind):
    name = platform_tools.QUESTION_KIND
    label = "Question"
    template = "runs/_request_question.html"
    verdicts = frozenset({verdicts.ANSWERED, verdicts.REJECTED})

    def on_decided(self, request: ApprovalRequest, decision: Decision, log: Record) -> None:
        if decision.verdict == verdicts.ANSWERED:
            self.move_call(log, request, decision, states.DONE, result=decision.answer)
        else:
            told = {"result": _refusal(decision), "error_kind": ErrorKind.REJECTED}
            self.move_call(log, request, decision, states.REFUSED, **told)
        self.wake(log, request)


class RoutingKind(RunKind):
    """A person routes where the router stayed unsure: the answer is an agent's slug."""

    name = platform_tools.ROUTING_KIND
    label = "Routing"
    template = "runs/_request_routing.html"
    verdicts = frozenset({verdicts.ANSWERED, verdicts.REJECTED})

    def on_decided(self, request: ApprovalRequest, decision: Decision, log: Record) -> None:
        dispatch = self.dispatch(request)
        if decision.verdict != verdicts.ANSWERED:
            told = {"result": _refusal(decision), "error_kind": ErrorKind.REJECTED}
            self.move_call(log, request, decision, states.REFUSED, **told)
        else:
            others = Agent.objects.at_work().exclude(pk=dispatch.manifest.agent_id)
            agent = others.filter(slug=str(decision.answer).strip()).first()
            if agent is None:
                raise InvalidEdit({"answer": f"There is no agent {decision.answer!r} at work to choose."})
            platform_tools.add_route(dispatch, agent, dispatch.task, actor(decision))
            self.move_call(log, request, decision, states.DONE, result=f"A person chose {agent.slug}.")
        self.wake(log, request)


class HandoffKind(RunKind):
    name = platform_tools.HANDOFF_KIND
    label = "Handoff"
    template = "runs/_request_handoff.html"
    verdicts = frozenset({verdicts.APPROVED, verdicts.MODIFIED, verdicts.REJECTED})

    def re_rule(self, request: ApprovalRequest, edit: Mapping[str, Any], by: User) -> ReRuled:
        """A person may reword the task; nothing else of a proposal is theirs to change."""
        task = edit.get("task")
        if set(edit) != {"task"} or not isinstance(task, str) or not task.strip():
            raise InvalidEdit({"task": "Write the task the target is given; only the task can be edited."})
        return ReRuled(frozen=request.content | {"task": task}, risk=Risk(request.risk), reasons=tuple(request.reasons))

    def on_superseded(self, old: ApprovalRequest, new: ApprovalRequest, log: Record) -> None:
        Handoff.objects.filter(request=old).update(request=new)

    def on_decided(self, request: ApprovalRequest, decision: Decision, log: Record) -> None:
        handoff = Handoff.objects.select_related("target").get(request=request)
        to = _HANDOFF_STATUS[decision.verdict]
        task = {"task": request.effective_content["task"]} if to == states.ACCEPTED else {}
        lifecycle.move_handoff(log, request.run_id, handoff, to, actor=actor(decision), **task)
        orchestration.advance_locked(log, self.run(request))


_HANDOFF_STATUS = {
    verdicts.APPROVED: states.ACCEPTED,
    verdicts.MODIFIED: states.ACCEPTED,
    verdicts.REJECTED: states.DECLINED,
    verdicts.EXPIRED: states.EXPIRED,
}


class BudgetKind(RunKind):
    """A cap was reached: add to it, or the dispatch ends."""

    name = BUDGET_KIND
    label = "Budget"
    template = "runs/_request_budget.html"
    verdicts = frozenset({verdicts.APPROVED, verdicts.MODIFIED, verdicts.REJECTED})

    def re_rule(self, request: ApprovalRequest, edit: Mapping[str, Any], by: User) -> ReRuled:
        try:
            amount = Decimal(str(edit.get("amount_usd")))
        except InvalidOperation:
            amount = Decimal(0)
        if set(edit) != {"amount_usd"} or not amount.is_finite() or not Decimal(0) < amount <= Decimal(1_000_000):
            raise InvalidEdit({"amount_usd": "Write how many US dollars to add, above zero."})
        content = request.content | {"amount_usd": str(amount)}
        return ReRuled(
            frozen=content,
            risk=Risk(request.risk),
            reasons=tuple(request.reasons),
            title=f"Add {amount:.2f} USD?",
        )

    def on_superseded(self, old: ApprovalRequest, new: ApprovalRequest, log: Record) -> None:
        """Nothing points at a budget's request."""

    def on_decided(self, request: ApprovalRequest, decision: Decision, log: Record) -> None:
        dispatch = self.dispatch(request)
        if decision.verdict in (verdicts.APPROVED, verdicts.MODIFIED):
            content = request.effective_content
            budgets.top_up(dispatch, budgets.Scope(content["scope"]), Decimal(content["amount_usd"]))
            log.run(request.run_id, "budget_raised", actor=actor(decision), **content)
        else:
            why = decision.reason or "Nobody added to the budget in time."
            lifecycle.end_dispatch(log, dispatch, StopReason.BUDGET, f"Its budget was used up. {why}")
        self.wake(log, request)


class ModelKind(RunKind):
    """Every model of the chain has used up its tries: each is given fresh ones, or the dispatch ends."""

    name = MODEL_KIND
    label = "Model trouble"
    template = "runs/_request_model.html"
    verdicts = frozenset({verdicts.APPROVED, verdicts.REJECTED})

    def on_decided(self, request: ApprovalRequest, decision: Decision, log: Record) -> None:
        dispatch, content = self.dispatch(request), request.content
        if decision.verdict == verdicts.APPROVED:
            Dispatch.objects.filter(pk=dispatch.pk).update(tries_from=content["tries_from"])
            log.run(request.run_id, "model_tries_renewed", actor=actor(decision), dispatch=str(dispatch.pk))
        else:
            why = decision.reason or "Nobody said in time whether to try again."
            said = " ".join(f"{each['model']}: {each['said']}" for each in content["models"])
            lifecycle.end_dispatch(log, dispatch, StopReason.MODEL_FAILED, f"No model answered. {why} {said}")
        self.wake(log, request)
