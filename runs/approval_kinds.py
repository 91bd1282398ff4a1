"""What each kind of request means to the conductor; registered with `approvals` when the app is ready."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.db.models import F
from django.db.models.functions import Now

from approvals import kinds
from approvals import states as verdicts
from approvals.errors import InvalidEdit
from approvals.kinds import Kind, ReRuled
from approvals.models import ApprovalRequest, Decision
from orchestrator_site.core import canonical
from orchestrator_site.core.clock import database_now
from orchestrator_site.core.events import Record
from runs import lifecycle, orchestration, platform_tools, states, waking
from runs.budgets import Scope, accounts
from runs.engine import binding, doubt, rulings
from runs.engine.failing import MODEL_KIND
from runs.engine.offer import offer
from runs.engine.proposing import TOOL_CALL_KIND
from runs.engine.shortage import ACCOUNT_KIND, BUDGET_KIND
from runs.engine.waiting import waiting_on
from runs.models import Allotment, BudgetPeriod, Dispatch, Run, ToolCall
from runs.models.budgets import MAY_SET_BUDGETS
from runs.states import StopReason
from tools import flow
from tools.values import ErrorKind, NeedsApproval, Refuse, Risk


def register() -> None:
    for kind in (ToolCallKind(), QuestionKind(), BudgetKind(), AccountKind(), ModelKind()):
        kinds.register(kind)


class RunKind(Kind):
    """Common ground: the rows a request is about, locked run → dispatch → call."""

    def lock(self, request: ApprovalRequest) -> None:
        Run.objects.select_for_update(of=("self",), no_key=True).get(pk=request.run_id)
        if request.dispatch_id is not None:
            Dispatch.objects.select_for_update(of=("self",)).get(pk=request.dispatch_id)
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

    def answer_call(self, log: Record, request: ApprovalRequest, decision: Decision) -> None:
        """What whoever started the run answers, may be passed on as its input is, and bears its labels."""
        run, call = self.run(request), self.call(request)
        labels = flow.joined(call.labels, run.labels) if decision.by_id == run.owner_id else call.labels
        self.move_call(log, request, decision, states.DONE, result=decision.answer, labels=labels)

    def wake(self, log: Record, request: ApprovalRequest) -> None:
        waking.wake(log, self.run(request), self.dispatch(request))


def _known(id: UUID | None) -> UUID:
    """Requests of these kinds are always about a dispatch, and those about a call about a call."""
    assert id is not None
    return id


def actor(decision: Decision) -> str:
    return f"user:{decision.by.get_username()}" if decision.by else decision.via


def refusal(decision: Decision) -> str:
    """What the model is told when a person, or the clock, said no."""
    if decision.verdict == verdicts.EXPIRED:
        return "Refused: nobody decided in time. Do not ask for the same call again."
    return f"Refused by a person: {decision.reason}"


class ToolCallKind(RunKind):
    name = TOOL_CALL_KIND
    label = "Tool call"
    template = "runs/_request_tool_call.html"
    together_template = "runs/_request_tool_calls.html"
    verdicts = frozenset({verdicts.APPROVED, verdicts.MODIFIED, verdicts.REJECTED, verdicts.ANSWERED})

    def re_rule(self, request: ApprovalRequest, edit: Mapping[str, Any], by: User) -> ReRuled:
        """`edit` is the whole of the new arguments; it is validated and ruled upon like the model's own."""
        dispatch, call = self.dispatch(request), self.call(request)
        arguments = canonical.dumps(dict(edit))
        offers = offer(dispatch)
        offered = offers.at_version(call.tool, call.tool_version_id)
        dispatch.now = database_now()
        facts = rulings.gather(dispatch, offers, [call.tool], without=[call.pk])
        ruling = rulings.rule(offered, arguments, facts.said_by_person(call.rewritten(edit)), call.tool)
        if isinstance(ruling, Refuse):
            raise InvalidEdit({"arguments": " ".join(ruling.reasons)})
        assert offered is not None
        policy = rulings.version(ruling)
        asking = ruling if isinstance(ruling, NeedsApproval) else None
        return ReRuled(
            frozen=binding.frozen(dispatch, offered.spec, call, arguments, ruling.risk, policy),
            risk=Risk(ruling.risk),
            reasons=ruling.reasons,
            four_eyes=asking is not None and asking.four_eyes,
            approvers=asking.approvers if asking else 1,
            group=asking.group if asking else "",
            title=binding.plain_words(call.tool, edit),
            policy_version=policy,
        )

    def on_superseded(self, old: ApprovalRequest, new: ApprovalRequest, log: Record) -> None:
        dispatch, call = self.dispatch(old), self.call(old)
        changes = _as_frozen(call, new.content)
        told = {"call": str(call.pk), "dispatch": str(dispatch.pk), "tool": call.tool} | changes.pop("told")
        log.run(new.run_id, "tool_call_edited", actor=actor(old.decision), **told)
        ToolCall.objects.filter(pk=call.pk).update(request=new, **changes)
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
                self.answer_call(log, request, decision)
            case _:
                self.refuse_call(log, request, decision)
        self.wake(log, request)

    def refuse_call(self, log: Record, request: ApprovalRequest, decision: Decision) -> None:
        """One that was sent before it was asked about may have happened, and is not said to have been refused."""
        dispatch, call, said = self.dispatch(request), self.call(request), refusal(decision)
        if not doubt.leave(log, dispatch, call, said, actor=actor(decision)):
            self.move_call(log, request, decision, states.REFUSED, result=said, error_kind=ErrorKind.REJECTED)


def _as_frozen(call: ToolCall, content: Mapping[str, Any]) -> dict[str, Any]:
    """The changes that make a call what a person made of it, and what is told of them."""
    arguments = canonical.dumps(content["arguments"])
    return {"arguments": arguments, **rulings.edited(call, content["risk"], content["policy"])}


class QuestionKind(RunKind):
    name = platform_tools.QUESTION_KIND
    label = "Question"
    template = "runs/_request_question.html"
    verdicts = frozenset({verdicts.ANSWERED, verdicts.REJECTED})

    def on_decided(self, request: ApprovalRequest, decision: Decision, log: Record) -> None:
        if decision.verdict == verdicts.ANSWERED:
            self.answer_call(log, request, decision)
        else:
            told = {"result": refusal(decision), "error_kind": ErrorKind.REJECTED}
            self.move_call(log, request, decision, states.REFUSED, **told)
        self.wake(log, request)


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
            _add(dispatch, content, Decimal(content["amount_usd"]))
            log.run(request.run_id, "budget_raised", actor=actor(decision), **content)
        else:
            why = decision.reason or "Nobody added to the budget in time."
            lifecycle.end_dispatch(log, dispatch, StopReason.BUDGET, f"Its budget was used up. {why}")
        self.wake(log, request)


def _add(dispatch: Dispatch, content: Mapping[str, Any], amount: Decimal) -> None:
    match Scope(content["scope"]):
        case Scope.RUN:
            accounts.top_up(dispatch.run_id, amount)
        case Scope.NODE:
            Allotment.objects.filter(pk=content["allotment"]).update(granted_usd=F("granted_usd") + amount)
        case _:
            Dispatch.objects.filter(pk=dispatch.pk).update(cost_cap_usd=F("cost_cap_usd") + amount)
            Allotment.objects.filter(node=dispatch.node_id).update(granted_usd=F("granted_usd") + amount)


class AccountKind(BudgetKind):
    """A budget that many runs draw on was used up: all who wait for it go on, or end. They are woken by the reconciler,
    in batches, since each is moved under its own run's lock. Whoever decides could as well edit the cap alone."""

    name = ACCOUNT_KIND
    label = "Budget"
    permission = MAY_SET_BUDGETS

    def lock(self, request: ApprovalRequest) -> None:
        """Only its counter, which comes after the request in the order of locks."""

    def on_decided(self, request: ApprovalRequest, decision: Decision, log: Record) -> None:
        content = request.effective_content
        period = BudgetPeriod.objects.filter(pk=content["period"])
        if decision.verdict in (verdicts.APPROVED, verdicts.MODIFIED):
            period.update(added_usd=F("added_usd") + Decimal(content["amount_usd"]))
            log.run(request.run_id, "budget_raised", actor=actor(decision), **content)
            log.platform("budget_raised", actor=actor(decision), request=str(request.pk), **content)
        elif decision.verdict == verdicts.REJECTED:
            why = f"{decision.by_name} declined to add to it: {decision.reason}"
            period.update(declined_at=Now(), declined_why=why[:300])
            log.platform("budget_declined", actor=actor(decision), request=str(request.pk), period=content["period"])
        elif not content["refills"]:
            period.update(declined_at=Now(), declined_why="Nobody added to it in time.")


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
