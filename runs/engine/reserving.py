"""Before the model is asked: the step is committed with what it may cost at most, or the dispatch waits or ends."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings

from agents import pricing
from agents.transcripts import to_json
from agents.values import ModelRequest, ModelSpec
from orchestrator_site.core import crashpoints, events
from orchestrator_site.core.events import Record
from runs import budgets, leases, lifecycle, mail, states
from runs.budgets import Short, TakenBack, caps
from runs.engine import effects, failing, limits, shortage
from runs.engine.effects import Sent
from runs.engine.memory import Memory
from runs.engine.offer import Offers
from runs.engine.waiting import hold_up
from runs.models import Dispatch, Step
from runs.pacing import admitting, deeds
from runs.values import Continue, Ended, Lease, Outcome
from tools import flow

# What the provider adds to a request on its own account, in tokens, and what a short request costs at least.
PROVIDER_OVERHEAD_TOKENS = 1000
SHORTEST_CALL_SECONDS = 1.0
# Past the deadline of a model call its thread has this long to come back and record it.
MARGIN_SECONDS = 5


@dataclass(frozen=True)
class Asked:
    """A committed, reserved step and the request that goes with it."""

    step: Step
    request: ModelRequest


def prepare(memory: Memory, offers: Offers, model: ModelSpec) -> tuple[ModelRequest, int]:
    """The request, and an upper bound of its input tokens: no token is shorter than one byte."""
    manifest, contract = memory.dispatch.pinned, memory.dispatch.contract
    request = ModelRequest(
        model=model,
        system=manifest.system_prompt,
        messages=memory.transcript,
        tools=offers.on_the_wire,
        max_tokens=min(manifest.limits.tokens_per_call, model.output_limit),
        timeout_seconds=settings.BATON_MODEL_TIMEOUT_SECONDS,
        output_schema=contract.schema if contract else None,
    )
    bound = memory.input_bound()
    if bound is None:
        told = to_json([request.system, request.tools, request.output_schema])
        bound = len(told.encode()) + sum(len(message) + 1 for message in memory.transcript.written)
    return request, bound + PROVIDER_OVERHEAD_TOKENS


def reserve(
    lease: Lease, memory: Memory, offers: Offers, request: ModelRequest, input_bound: int, sent: Sequence[Sent]
) -> Asked | Outcome:
    """Record what the last turn sent, and commit the next step with its reservation, in one transaction.

    Comes to Continue where there is something else to do first: the run is cancelled, the roster has moved on, or
    somebody left a message that is not in the request.
    What was sent is recorded whatever it comes to. Raises LostLease.
    """
    with effects.keeping_late_evidence(sent), events.recording(together=True) as log:
        progress: dict[str, Any] = {"claims_without_progress": 0} if sent else {}
        if (labels := _labels(memory)) != memory.dispatch.labels:
            progress["labels"] = labels
        dispatch = leases.hold_known(
            lease, memory.dispatch, hand_seconds=request.timeout_seconds + MARGIN_SECONDS, **progress
        )
        log.at = dispatch.now
        if sent:
            effects.settle(log, dispatch, [effects.Looked(each, None) for each in sent])
        asked = _reserved(log, dispatch, memory, offers, request, input_bound)
        if sent:
            crashpoints.reach("before_record_commit")
    if sent:
        crashpoints.reach("after_record_commit")
    if isinstance(asked, Asked):
        crashpoints.reach("after_reserve")
    return asked


def _labels(memory: Memory) -> str:
    """Of all that the agent has read once it is asked for the next step."""
    brought = [call.labels for call in memory.calls if call.status not in (states.REFUSED, states.CANCELLED)]
    return flow.joined(memory.dispatch.labels, *brought, *(message.labels for message in memory.mail))


def end_at_limit(lease: Lease, memory: Memory) -> Ended | None:
    """Where a dispatch that has reached a limit would otherwise wait. Raises LostLease."""
    with events.recording() as log:
        dispatch = leases.hold(lease)
        return None if leases.is_stopped(dispatch) else _ended(log, dispatch, memory)


def _reserved(
    log: Record, dispatch: Dispatch, memory: Memory, offers: Offers, request: ModelRequest, input_bound: int
) -> Asked | Outcome:
    if leases.is_stopped(dispatch) or dispatch.epoch > offers.served.epoch or memory.is_told_more:
        return Continue()
    if ended := _ended(log, dispatch, memory):
        return ended
    deed = deeds.of_model_call(dispatch, request.model)
    if held := admitting.admit(dispatch, offers.served, [deed], waits=True)[0]:
        return hold_up(log, dispatch, held)
    # No call outlives the agent's working time, but for the moment that a call is given at least.
    left = max(failing.remaining_seconds(dispatch), SHORTEST_CALL_SECONDS)
    request = replace(request, timeout_seconds=min(request.timeout_seconds, left))
    amount = pricing.worst_case_usd(request.model, input_bound, request.max_tokens)
    try:
        reserved = budgets.reserve(log, dispatch, amount, memory.purse, caps.over(dispatch, offers.served))
    except TakenBack:
        return Continue()
    if isinstance(reserved, Short):
        return shortage.stop_short(log, dispatch, reserved, amount)
    step = Step(
        dispatch=dispatch,
        number=memory.number + 1,
        fence=dispatch.fence,
        model=request.model.name,
        reserved_usd=amount,
        allotments=reserved or None,
    )
    log.writes.insert([step])
    if memory.is_unread:
        mail.deliver(log, dispatch, step.number)
    log.run(dispatch.run_id, "step_asked", dispatch=str(dispatch.pk), step=step.number, model=step.model)
    return Asked(step, request)


def _ended(log: Record, dispatch: Dispatch, memory: Memory) -> Ended | None:
    limit = limits.reached(dispatch, dispatch.pinned.limits, memory.repeated, leases.working_seconds(dispatch))
    if limit is None:
        return None
    lifecycle.end_dispatch(log, dispatch, limit.reason, limit.message, output=memory.said)
    return Ended(limit.reason)
