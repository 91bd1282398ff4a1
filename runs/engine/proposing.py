"""A reply asked for tools: write the calls down, each with its ruling, and ask a person where the gate says so."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings
from django.db.models.functions import Now

from approvals import requests
from orchestrator_site.core import canonical
from orchestrator_site.core.events import Record
from orchestrator_site.core.ids import new_id
from runs import lifecycle, states
from runs.engine import binding, rulings
from runs.engine.offer import Offered
from runs.models import Dispatch, Handoff, Step, ToolCall
from runs.platform_tools import HANDOFF_KIND
from runs.values import ProposedCall
from tools.registry import PLATFORM_VERSION
from tools.values import Allow, Effect, ErrorKind, NeedsApproval, Refuse, Risk, Ruling

TOOL_CALL_KIND = "tool_call"
LIMIT_REACHED = "Refused: only {limit} calls a turn are allowed; ask for this one again in a later turn."
NOT_JSON = "Refused: the arguments cannot be kept as JSON ({why})."


def propose(
    log: Record,
    dispatch: Dispatch,
    step: Step,
    proposed: Sequence[ProposedCall],
    offered: Mapping[str, Offered],
    reasoning: str,
) -> None:
    """Write every call of a turn in the state its ruling puts it in. Locks: calls, then requests."""
    facts = rulings.gather(dispatch, [call.tool for call in proposed])
    limit = dispatch.manifest.spec().limits.tool_calls_per_turn
    for position, each in enumerate(proposed):
        call = _call(dispatch, step, position, each, offered.get(each.tool))
        if position >= limit:
            _refused(log, dispatch, call, LIMIT_REACHED.format(limit=limit), ErrorKind.NOT_GRANTED)
        elif fault := _not_canonical(each):
            _refused(log, dispatch, call, NOT_JSON.format(why=fault), ErrorKind.INVALID_ARGUMENTS)
        else:
            ruling = rulings.rule(offered.get(each.tool), call.arguments, facts, each.tool)
            _ruled(log, dispatch, call, ruling, offered.get(each.tool), reasoning)


def _call(dispatch: Dispatch, step: Step, position: int, each: ProposedCall, offered: Offered | None) -> ToolCall:
    arguments = "{}" if _not_canonical(each) else canonical.dumps(each.arguments)
    version = offered.spec.version_id if offered else PLATFORM_VERSION
    return ToolCall(
        id=new_id(),
        dispatch=dispatch,
        step=step,
        position=position,
        provider_id=each.provider_id,
        tool=each.tool[:128],
        tool_version_id=None if version == PLATFORM_VERSION else version,
        proposed_arguments=arguments,
        arguments=arguments,
        effect=offered.spec.effect if offered else Effect.UNSAFE,
        risk=offered.spec.risk if offered else Risk.LOW,
    )


def _not_canonical(each: ProposedCall) -> str | None:
    if not isinstance(each.arguments, dict):
        return "they are not an object"
    try:
        canonical.dumps(each.arguments)
    except canonical.NotCanonical as error:
        return str(error)
    return None


def _ruled(
    log: Record, dispatch: Dispatch, call: ToolCall, ruling: Ruling, offered: Offered | None, reasoning: str
) -> None:
    call.risk, call.ruling = ruling.risk, rulings.stored(ruling)
    if isinstance(ruling, Refuse):
        _refused(log, dispatch, call, rulings.sentence(ruling), ErrorKind(ruling.kind))
        return
    assert offered is not None
    if isinstance(ruling, NeedsApproval):
        _write(log, dispatch, call, states.PROPOSED, states.RULED)
        ask_approval(log, dispatch, call, ruling, offered, reasoning)
        return
    assert isinstance(ruling, Allow)  # the built-in policy defers nothing
    _write(log, dispatch, call, states.PROPOSED, states.RULED, states.READY)
    if ruling.notify:
        words = binding.plain_words(call.tool, canonical.loads(call.arguments))
        log.run(dispatch.run_id, "tool_call_notice", call=str(call.pk), tool=call.tool, what=words, risk=call.risk)


def ask_approval(
    log: Record, dispatch: Dispatch, call: ToolCall, ruling: NeedsApproval, offered: Offered, reasoning: str
) -> None:
    """Open the request for a ruled call and let the call wait for it."""
    content = binding.frozen(dispatch, offered.spec, call, call.arguments, ruling.risk, rulings.POLICY.version)
    request = requests.ask(
        log,
        kind=TOOL_CALL_KIND,
        run_id=dispatch.run_id,
        dispatch_id=dispatch.pk,
        call_id=call.pk,
        title=binding.plain_words(call.tool, content["arguments"]),
        frozen=content,
        risk=Risk(ruling.risk),
        reasons=ruling.reasons,
        reasoning=reasoning,
        policy_version=rulings.POLICY.version,
        requester_id=dispatch.run.owner_id,
        four_eyes=ruling.four_eyes,
        deadline_seconds=settings.BATON_APPROVAL_SECONDS,
        actor=f"agent:{dispatch.manifest.agent.slug}",
    )
    lifecycle.move_call(log, dispatch.run_id, call, states.AWAITING_APPROVAL, request=request)


def ask_handoff(log: Record, dispatch: Dispatch, handoff: Handoff) -> None:
    """Open the request for a handoff as its proposer's part ends; before the yes nothing is dispatched."""
    source, target = dispatch.manifest.agent.slug, handoff.target.slug
    handoff.request = requests.ask(
        log,
        kind=HANDOFF_KIND,
        run_id=dispatch.run_id,
        dispatch_id=dispatch.pk,
        title=f"Hand over from {source} to {target}?",
        frozen={
            "handoff": str(handoff.pk),
            "source": source,
            "target": target,
            "reason": handoff.reason,
            "task": handoff.task,
            "artifacts": handoff.artifacts,
            "preconditions": handoff.preconditions,
            "confidence": handoff.confidence,
        },
        risk=Risk.MEDIUM,
        reasons=["A person accepts every handoff."],
        reasoning=handoff.reason,
        requester_id=dispatch.run.owner_id,
        deadline_seconds=settings.BATON_APPROVAL_SECONDS,
        actor=f"agent:{source}",
    )
    handoff.save(update_fields=["request"])


def _refused(log: Record, dispatch: Dispatch, call: ToolCall, sentence: str, kind: ErrorKind) -> None:
    call.result, call.error_kind, call.ended_at = sentence, kind, Now()
    _write(log, dispatch, call, states.PROPOSED, states.RULED, states.REFUSED)


def _write(log: Record, dispatch: Dispatch, call: ToolCall, *path: str) -> None:
    """Insert a call at the end of the path its ruling took, with one event for the whole of it."""
    call.status = states.TOOL_CALL.check_path(*path)
    call.save(force_insert=True)
    told: dict[str, Any] = {"error_kind": str(call.error_kind)} if call.error_kind else {}
    log.run(
        dispatch.run_id,
        f"tool_call_{call.status}",
        actor=f"agent:{dispatch.manifest.agent.slug}",
        call=str(call.pk),
        dispatch=str(dispatch.pk),
        tool=call.tool,
        arguments_digest=canonical.digest(call.arguments),
        ruling=canonical.loads(call.ruling) if call.ruling else None,
        **told,
    )
