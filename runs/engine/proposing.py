"""A reply asked for tools: write the calls down, each with its ruling, and ask a person where the gate says so."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models.functions import Now

from approvals import requests
from orchestrator_site.core import canonical
from orchestrator_site.core.events import Record
from orchestrator_site.core.ids import new_id
from runs import lifecycle, states
from runs.engine import binding, rulings, standing
from runs.engine.offer import Offered, Offers
from runs.models import Attempt, Dispatch, Step, ToolCall
from runs.values import ProposedCall
from tools import flow
from tools.registry import PLATFORM_VERSION
from tools.values import Allow, Defer, Effect, ErrorKind, NeedsApproval, Refuse, Risk, Ruling

TOOL_CALL_KIND = "tool_call"
LIMIT_REACHED = "Refused: only {limit} calls a turn are allowed; ask for this one again in a later turn."
NOT_JSON = "Refused: the arguments cannot be kept as JSON ({why})."


@dataclass(frozen=True)
class Ruled:
    """A call that is not written yet, in the status its ruling put it in. `offered` is None for an unknown tool."""

    call: ToolCall
    offered: Offered | None
    ruling: Ruling | None

    @property
    def may_run(self) -> bool:
        return self.call.status == states.READY


def rule_all(dispatch: Dispatch, step: Step, proposed: Sequence[ProposedCall], offers: Offers) -> list[Ruled]:
    """Every call of a turn with its ruling. The caller holds the dispatch, and writes them."""
    facts = rulings.gather(dispatch, offers, [call.tool for call in proposed])
    limit = dispatch.pinned.limits.tool_calls_per_turn
    ruled = []
    for position, each in enumerate(proposed):
        offered = offers.get(each.tool)
        call = _call(dispatch, step, position, each, offered)
        if position >= limit:
            ruled.append(_refused(call, offered, LIMIT_REACHED.format(limit=limit), ErrorKind.NOT_GRANTED))
        elif fault := _not_canonical(each):
            ruled.append(_refused(call, offered, NOT_JSON.format(why=fault), ErrorKind.INVALID_ARGUMENTS))
        else:
            ruling = rulings.rule(offered, call.arguments, facts, each.tool)
            ruled.append(_ruled(call, offered, standing.relaxed(ruling, offered, dispatch, call)))
            facts = facts if call.status == states.REFUSED else facts.after(each.tool)
    return ruled


def write(log: Record, dispatch: Dispatch, ruled: Sequence[Ruled], attempts: Sequence[Attempt], reasoning: str) -> None:
    """The calls, the attempts of those that are sent at once, and a question for each that a person must approve.

    Locks: calls, then requests.
    """
    log.writes.insert([each.call for each in ruled])
    log.writes.insert(attempts)
    sent = {attempt.call_id: attempt for attempt in attempts}
    for each in ruled:
        _tell(log, dispatch, each, sent.get(each.call.pk))
    asking = [each for each in ruled if isinstance(each.ruling, NeedsApproval)]
    if asking:
        log.writes.send()  # the questions point at the calls
    ask(log, dispatch, asking, reasoning)


def ask(log: Record, dispatch: Dispatch, asking: Sequence[Ruled], reasoning: str = "") -> None:
    """Of ruled calls: those of them that are alike in one question. Locks requests."""
    for alike in _alike(asking):
        batch = new_id() if len(alike) > 1 else None
        for place, each in enumerate(alike):
            assert isinstance(each.ruling, NeedsApproval)
            assert each.offered is not None
            _ask(log, dispatch, each.call, each.ruling, each.offered, reasoning, batch=batch, place=place)


def _alike(asking: Sequence[Ruled]) -> list[list[Ruled]]:
    """Calls of the same tool that the same people decide are one question; in each, the riskiest comes first."""
    alike: dict[Any, list[Ruled]] = {}
    for each in asking:
        ruling = each.ruling
        assert isinstance(ruling, NeedsApproval)
        who = (each.call.tool, each.call.tool_version_id, ruling.approvers, ruling.group, ruling.four_eyes)
        alike.setdefault(who, []).append(each)
    return [sorted(own, key=lambda each: -Risk(each.call.risk).rank) for own in alike.values()]


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
        labels=flow.joined(*offered.spec.brings) if offered else "",
    )


def _not_canonical(each: ProposedCall) -> str | None:
    if not isinstance(each.arguments, dict):
        return "they are not an object"
    try:
        canonical.dumps(each.arguments)
    except canonical.NotCanonical as error:
        return str(error)
    return None


def _ruled(call: ToolCall, offered: Offered | None, ruling: Ruling) -> Ruled:
    call.risk, call.ruling = ruling.risk, rulings.stored(ruling)
    if isinstance(ruling, Refuse):
        return _refused(call, offered, rulings.sentence(ruling), ErrorKind(ruling.kind), ruling)
    path = [states.PROPOSED, states.RULED]
    match ruling:
        case Allow():
            path.append(states.READY)
        case Defer(until=until):
            path.append(states.DEFERRED)
            call.due_at = until
    call.status = states.TOOL_CALL.check_path(*path)
    return Ruled(call, offered, ruling)


def _refused(
    call: ToolCall, offered: Offered | None, sentence: str, kind: ErrorKind, ruling: Ruling | None = None
) -> Ruled:
    call.result, call.error_kind, call.ended_at = sentence, kind, Now()
    call.status = states.TOOL_CALL.check_path(states.PROPOSED, states.RULED, states.REFUSED)
    return Ruled(call, offered, ruling)


def _ask(
    log: Record,
    dispatch: Dispatch,
    call: ToolCall,
    ruling: NeedsApproval,
    offered: Offered,
    reasoning: str,
    *,
    batch: UUID | None = None,
    place: int = 0,
) -> None:
    """Open the request for a ruled call and let the call wait for it. `batch`: asked together with others alike."""
    content = binding.frozen(dispatch, offered.spec, call, call.arguments, ruling.risk, rulings.version(ruling))
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
        policy_version=rulings.version(ruling),
        requester_id=dispatch.run.owner_id,
        four_eyes=ruling.four_eyes,
        approvers=ruling.approvers,
        group=ruling.group,
        batch=batch,
        place=place,
        deadline_seconds=settings.BATON_APPROVAL_SECONDS,
        actor=f"agent:{dispatch.manifest.agent.slug}",
    )
    lifecycle.move_call(log, dispatch.run_id, call, states.AWAITING_APPROVAL, request=request)


def _tell(log: Record, dispatch: Dispatch, ruled: Ruled, attempt: Attempt | None) -> None:
    """One event for the whole path that a call took to the status it is written in.

    The call's row holds arguments and ruling; the event binds them to the chain by their digests.
    """
    call = ruled.call
    told: dict[str, Any] = {"arguments_digest": canonical.digest(call.arguments)}
    if ruled.ruling is not None:
        told["verdict"] = type(ruled.ruling).__name__
        told["ruling_digest"] = rulings.digest(call.ruling)
    if attempt is not None:
        lifecycle.told_of_attempt(log, dispatch, call, attempt, **told)
    else:
        if call.error_kind:
            told["error_kind"] = str(call.error_kind)
        log.run(
            dispatch.run_id,
            f"tool_call_{call.status}",
            actor=f"agent:{dispatch.manifest.agent.slug}",
            call=str(call.pk),
            dispatch=str(dispatch.pk),
            tool=call.tool,
            **told,
        )
    if attempt is not None and ruled.ruling is not None:
        tell_people(log, dispatch, call, ruled.ruling)


def tell_people(log: Record, dispatch: Dispatch, call: ToolCall, ruling: Ruling) -> None:
    """Of a call that runs now, where its ruling says so."""
    if isinstance(ruling, Allow) and ruling.notify:
        words = binding.plain_words(call.tool, canonical.loads(call.arguments))
        log.run(dispatch.run_id, "tool_call_notice", call=str(call.pk), tool=call.tool, what=words, risk=call.risk)
