"""What the model said is recorded, with what follows from it: calls, a wait, or the end of the dispatch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from agents import pricing, roster
from agents.transcripts import to_json
from agents.values import ModelFailure, ModelReply
from orchestrator_site.core import crashpoints, events
from orchestrator_site.core.events import Record
from runs import budgets, contracts, leases, lifecycle, states
from runs.engine import effects, failing, limits, proposing, settling, turn
from runs.engine.effects import Intent
from runs.engine.memory import Memory
from runs.engine.offer import offer
from runs.engine.reserving import Asked
from runs.models import Dispatch, Step, ToolCall
from runs.models.pacing import MODEL
from runs.pacing import breakers
from runs.states import StopReason
from runs.values import (
    AskAgain,
    CallTools,
    Continue,
    Ended,
    Finish,
    GiveUp,
    Lease,
    NextStep,
    Outcome,
    ProposedCall,
    SendBack,
)
from tools import executors


@dataclass(frozen=True)
class Recorded:
    """What came of a step: the outcome, what the model said, the calls it asked for, and those to be sent now."""

    step: Step
    outcome: Outcome
    content: Sequence[Mapping[str, Any]] = ()
    calls: list[ToolCall] = field(default_factory=list)
    intents: list[Intent] = field(default_factory=list)


def record(lease: Lease, memory: Memory, asked: Asked, answer: ModelReply | ModelFailure) -> Recorded:
    """One transaction under the fence: the step, what it cost, and what follows from it. Raises LostLease."""
    if isinstance(answer, ModelFailure):
        with events.recording() as log:
            dispatch = leases.hold(lease)
            recorded = Recorded(asked.step, failing.record(log, dispatch, asked.step, asked.request.model, answer))
            crashpoints.reach("before_reply_commit")
    else:
        recorded = _answered(lease, memory, asked, _storable(answer))
    crashpoints.reach("after_reply_commit")
    if recorded.intents:
        crashpoints.reach("after_intent")
    return recorded


def _storable(reply: ModelReply) -> ModelReply:
    return replace(
        reply,
        content=turn.storable(reply.content),
        stop_reason=turn.storable(reply.stop_reason)[:40],
        stop_details=turn.storable(reply.stop_details),
    )


def _answered(lease: Lease, memory: Memory, asked: Asked, reply: ModelReply) -> Recorded:
    cost, before = pricing.cost_usd(asked.request.model, reply.usage), memory.dispatch
    following = contracts.held_to(before, turn.next_step(reply), memory.returned)
    proposed = following.calls if isinstance(following, CallTools) else ()
    known = offer(before, before.epoch)
    # Before the row is locked: a worker's first call starts its fork server, and nobody renews a locked row's lease.
    processes = executors.process_identities() if effects.may_act(proposed, known) else []
    with events.recording(together=True) as log:
        dispatch = leases.hold_known(
            lease,
            before,
            hand_seconds=effects.longest_seconds(proposed, known),
            iterations=before.iterations + 1,
            tokens=before.tokens + reply.usage.total_tokens,
            cost_usd=before.cost_usd + cost,
            claims_without_progress=0,
        )
        log.at = dispatch.now
        _step_answered(log, dispatch, asked.step, reply, cost)
        recorded = _follow(log, dispatch, asked.step, following, reply, processes)
        if memory.purse.has_account or asked.step.allotments:
            budgets.settle(log, dispatch, asked.step.reserved_usd, cost, asked.step.allotments)
        breakers.worked(log, roster.current(dispatch.epoch), MODEL, asked.step.model, dispatch.pk)
        crashpoints.reach("before_reply_commit")
        if recorded.intents:
            crashpoints.reach("before_intent_commit")
    return recorded


def _step_answered(log: Record, dispatch: Dispatch, step: Step, reply: ModelReply, cost: Decimal) -> None:
    lifecycle.move_step(
        log,
        dispatch,
        step,
        states.ANSWERED,
        reply=to_json(reply.content),
        stop_reason=reply.stop_reason,
        cost_usd=cost,
        **vars(reply.usage),
    )


def _follow(
    log: Record, dispatch: Dispatch, step: Step, following: NextStep, reply: ModelReply, processes: list[str]
) -> Recorded:
    match following:
        case CallTools(proposed):
            return _call_tools(log, dispatch, step, proposed, reply, processes)
        case AskAgain():
            return Recorded(step, Continue(), reply.content)
        case SendBack(faults):
            contracts.send_back(log, dispatch, step, faults)
            return Recorded(step, Continue(), reply.content)
        case Finish(text):
            lifecycle.end_dispatch(log, dispatch, StopReason.FINISHED, "", output=text)
            return Recorded(step, Ended(StopReason.FINISHED))
        case GiveUp(reason, message):
            lifecycle.end_dispatch(log, dispatch, reason, message, output=turn.text(reply))
            return Recorded(step, Ended(reason))


def _call_tools(
    log: Record,
    dispatch: Dispatch,
    step: Step,
    proposed: Sequence[ProposedCall],
    reply: ModelReply,
    processes: list[str],
) -> Recorded:
    """Rule on every call, write them down, and commit the intent of those that may go at once."""
    offers = offer(dispatch, dispatch.epoch)
    ruled = proposing.rule_all(dispatch, step, proposed, offers)
    late = limits.out_of_time(dispatch.pinned.limits, leases.working_seconds(dispatch))
    ready = [] if late else settling.ready_at_once(dispatch, ruled, offers.served)
    intents = effects.intend_at_once(dispatch, ready, processes)
    proposing.write(log, dispatch, ruled, [intent.attempt for intent in intents], turn.text(reply))
    return Recorded(step, Continue(), reply.content, [each.call for each in ruled], intents)


def settle_lost(lease: Lease, step: Step) -> None:
    with events.recording() as log:
        count_lost(log, leases.hold(lease), step)


def count_lost(log: Record, dispatch: Dispatch, step: Step) -> None:
    """A reply that a crash swallowed: its reservation counts as spent in full, marked as an estimate."""
    lifecycle.move_step(
        log,
        dispatch,
        step,
        states.LOST,
        error="The worker went away before the reply was recorded.",
        cost_usd=step.reserved_usd,
        cost_estimated=True,
    )
    leases.note(dispatch, cost_usd=dispatch.cost_usd + step.reserved_usd)
    budgets.settle(log, dispatch, step.reserved_usd, step.reserved_usd, step.allotments)
