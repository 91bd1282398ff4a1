"""What a person decides of a handoff: yes, with another task or to another agent; guidance to its source; or no."""

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import User

from agents import roster
from agents.models import Agent
from approvals import kinds
from approvals import states as verdicts
from approvals.errors import InvalidEdit, InvalidVerdict, OverrideNeeded
from approvals.kinds import ReRuled
from approvals.models import ApprovalRequest, Decision
from orchestrator_site.core.events import Record
from runs import lifecycle, orchestration, platform_tools, states
from runs.approval_kinds import RunKind, actor
from runs.handing_over import preconditions, proposals, questions, transfers
from runs.models import Handoff
from runs.orchestration import handoffs
from runs.orchestration.handoffs import GUIDANCE_LIMIT
from tools.values import Risk


def register() -> None:
    kinds.register(HandoffKind())


_DID = {verdicts.ANSWERED: "sent this back with guidance"}


class HandoffKind(RunKind):
    """Approved: as it is. Modified: with another task, to another agent that its source may hand over to, or both.
    Answered: declined, and the answer is guidance to its source, which goes on."""

    name = platform_tools.HANDOFF_KIND
    label = "Handoff"
    template = "runs/_request_handoff.html"
    verdicts = frozenset({verdicts.APPROVED, verdicts.MODIFIED, verdicts.REJECTED, verdicts.ANSWERED})
    overridable = True
    did = _DID

    def re_rule(self, request: ApprovalRequest, edit: Mapping[str, Any], by: User) -> ReRuled:
        """`edit` is {task?, target?}. What is passed on stays what was shown, whoever gets it."""
        _check_shape(edit)
        handoff = handoff_of(request)
        task, target = edit.get("task", handoff.task), edit.get("target", handoff.target.slug)
        if target != handoff.target.slug and (fault := redirect_fault(handoff, target)):
            raise InvalidEdit({"target": fault})
        tokens = transfers.tokens_at_most(task, handoff.passed)
        return ReRuled(
            frozen=request.content | {"task": task, "target": target, "tokens_at_most": tokens},
            risk=Risk(request.risk),
            reasons=tuple(request.reasons),
            title=questions.title(handoff.source.manifest.agent.slug, target),
        )

    def on_superseded(self, old: ApprovalRequest, new: ApprovalRequest, log: Record) -> None:
        Handoff.objects.filter(request=old).update(request=new)

    def on_decided(self, request: ApprovalRequest, decision: Decision, log: Record) -> None:
        handoff, to = handoff_of(request), _STATUS[decision.verdict]
        changes: dict[str, Any] = {}
        if to == states.ACCEPTED:
            changes = _accepted(handoff, request.effective_content, decision)
        elif decision.verdict == verdicts.ANSWERED and not handoffs.may_be_guided(handoff.source.node_id):
            raise InvalidVerdict(f"It was sent back {GUIDANCE_LIMIT} times already: accept it, or decline it.")
        lifecycle.move_handoff(log, request.run_id, handoff, to, actor=actor(decision), **changes)
        with orchestration.moving(log, self.run(request)) as moves:
            handoffs.decided(moves, handoff)


_STATUS = {
    verdicts.APPROVED: states.ACCEPTED,
    verdicts.MODIFIED: states.ACCEPTED,
    verdicts.REJECTED: states.DECLINED,
    verdicts.ANSWERED: states.DECLINED,
    verdicts.EXPIRED: states.EXPIRED,
}


def handoff_of(request: ApprovalRequest) -> Handoff:
    joined = Handoff.objects.select_related("source__manifest__agent", "source__run__owner", "target")
    return joined.get(request=request)


def _check_shape(edit: Mapping[str, Any]) -> None:
    if not edit or not set(edit) <= {"task", "target"}:
        raise InvalidEdit(
            {"task": "Only the task and the target of a handoff can be edited: give one of them, or both."}
        )
    for name, sentence in _EMPTY.items():
        if name in edit and not (isinstance(edit[name], str) and edit[name].strip()):
            raise InvalidEdit({name: sentence})


_EMPTY = {"task": "Write the task that the target is given.", "target": "Name the agent that is to continue."}


def redirect_fault(handoff: Handoff, target: str) -> str | None:
    """Why it cannot go to this agent instead; or None."""
    source = handoff.source
    if fault := proposals.target_fault(source, source.pinned, target):
        return f"As a proposal to {target} it would be refused. {fault}"
    if not Agent.objects.at_work().filter(slug=target).exists():
        return f"There is no agent {target!r} at work."
    edge = roster.today().edge(source.manifest.agent.slug, target)
    return next(iter(proposals.state_faults(edge, target, handoff.state)), None)


def redirects(handoff: Handoff) -> list[str]:
    """The slugs of the other agents that it could go to."""
    source = handoff.source
    targets = proposals.allowed(source.pinned, source.manifest.agent.slug, roster.today())
    others = [slug for slug in targets if slug != handoff.target.slug]
    return [slug for slug in others if redirect_fault(handoff, slug) is None]


def _accepted(handoff: Handoff, content: Mapping[str, Any], decision: Decision) -> dict[str, Any]:
    """What a yes changes of it. Raises OverrideNeeded where a precondition does not hold, and InvalidVerdict where
    operators have forbidden it since it was proposed."""
    source, target = handoff.source.manifest.agent.slug, content["target"]
    if not roster.today().edge(source, target).may_hand_over:
        raise InvalidVerdict(f"Operators forbid handoffs from {source} to {target} by now: redirect it, or decline it.")
    agent = Agent.objects.select_related("published__agent").get(slug=target)
    handoff.target = agent
    looked_at = preconditions.now(handoff, task=content["task"])
    if (obstacles := [each.obstacle for each in looked_at if each.blocks]) and not decision.override:
        raise OverrideNeeded(obstacles)
    return {
        "task": content["task"],
        "target": agent,
        "tokens_at_most": content["tokens_at_most"],
        "preconditions": preconditions.stored(looked_at),
    }
