"""The model call of a turn: reserve, ask with no transaction open, record what came back."""

import datetime as dt
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_UP, Decimal

from django.conf import settings
from django.db import connection

from agents import pricing
from agents.values import ModelFailure, ModelReply, ModelRequest, ModelSpec
from approvals import requests
from orchestrator_site.core import crashpoints, doorbell, events
from orchestrator_site.core.events import Record
from runs import budgets, leases, lifecycle, states
from runs.budgets import Scope
from runs.engine import context, failing, proposing, turn
from runs.engine.offer import Offered, on_the_wire
from runs.engine.waiting import wait
from runs.models import Dispatch, Step
from runs.states import StopReason
from runs.values import AskAgain, CallTools, Continue, Ended, Finish, GiveUp, Lease, Outcome, Waiting
from tools.values import Risk

BUDGET_KIND = "budget"
# What the provider adds to a request on its own account, in tokens, and what a short request costs at least.
PROVIDER_OVERHEAD_TOKENS = 1000
LIVE_TEXT_SECONDS = 0.1
SHORTEST_CALL_SECONDS = 1.0


@dataclass(frozen=True)
class Asked:
    """A committed, reserved step and the request that goes with it."""

    step: Step
    request: ModelRequest


# -- reserve -----------------------------------------------------------------------------------------------------
def prepare(
    dispatch: Dispatch, steps: Sequence[Step], calls: Sequence, offered: dict[str, Offered], model: ModelSpec
) -> tuple[ModelRequest, int]:
    """The request, and an upper bound of its input tokens: no token is shorter than one byte."""
    manifest = dispatch.manifest.spec()
    request = ModelRequest(
        model=model,
        system=manifest.system_prompt,
        messages=context.messages(dispatch, steps, calls),
        tools=on_the_wire(offered),
        max_tokens=min(manifest.limits.tokens_per_call, model.output_limit),
        timeout_seconds=settings.BATON_MODEL_TIMEOUT_SECONDS,
    )
    answered = [step for step in steps if step.status == states.ANSWERED]
    if not answered:
        sent = json.dumps([request.system, list(request.messages), list(request.tools)], ensure_ascii=False)
        return request, len(sent.encode()) + PROVIDER_OVERHEAD_TOKENS
    last = answered[-1]
    before = last.input_tokens + last.cache_read_tokens + last.cache_write_tokens + last.output_tokens
    added = context.added_bytes(call for call in calls if call.step_id == last.pk)
    return request, before + added + PROVIDER_OVERHEAD_TOKENS


def reserve(lease: Lease, number: int, request: ModelRequest, input_bound: int) -> Asked | Outcome:
    """Commit the step with its reservation, or wait for a top-up when a cap has no room for it."""
    amount = pricing.worst_case_usd(request.model, input_bound, request.max_tokens)
    with events.recording() as log:
        dispatch = leases.hold(lease)
        if leases.is_cancelled(dispatch):
            return Continue()
        # No call outlives the agent's working time, but for the moment that a call is given at least.
        left = max(failing.remaining_seconds(dispatch), SHORTEST_CALL_SECONDS)
        request = replace(request, timeout_seconds=min(request.timeout_seconds, left))
        if scope := budgets.reserve(dispatch, amount):
            return _ask_top_up(log, dispatch, scope, amount)
        step = Step.objects.create(
            dispatch=dispatch,
            number=number,
            fence=lease.fence,
            model=request.model.name,
            reserved_usd=amount,
        )
        until = dispatch.now + dt.timedelta(seconds=request.timeout_seconds + 5)
        leases.note(dispatch, hand_deadline=until)
        log.run(dispatch.run_id, "step_asked", dispatch=str(dispatch.pk), step=number, model=step.model)
    crashpoints.reach("after_reserve")
    return Asked(step, request)


def _ask_top_up(log: Record, dispatch: Dispatch, scope: Scope, amount: Decimal) -> Waiting:
    whose = "this run" if scope == Scope.RUN else f"the agent {dispatch.manifest.agent.slug}"
    more = max(amount, dispatch.cost_cap_usd if scope == Scope.DISPATCH else dispatch.run.account.cap_usd)
    more = more.quantize(Decimal("0.01"), ROUND_UP)
    requests.ask(
        log,
        kind=BUDGET_KIND,
        run_id=dispatch.run_id,
        dispatch_id=dispatch.pk,
        title=f"The budget of {whose} is used up. Add {more:.2f} USD?",
        frozen={"dispatch": str(dispatch.pk), "scope": str(scope), "amount_usd": str(more)},
        risk=Risk.MEDIUM,
        reasons=["The next model call may cost more than what is left of the cap."],
        requester_id=dispatch.run.owner_id,
        deadline_seconds=settings.BATON_APPROVAL_SECONDS,
    )
    return wait(log, dispatch, f"a person to add to the budget of {whose}")


# -- ask ---------------------------------------------------------------------------------------------------------
def ask(asked: Asked, dispatch: Dispatch) -> ModelReply | ModelFailure:
    from agents import llm

    assert not connection.in_atomic_block
    connection.close()
    reply = llm.complete(asked.request, on_text=_live_text(dispatch, asked.step.number))
    crashpoints.reach("after_reply")
    return reply


def _live_text(dispatch: Dispatch, step: int) -> Callable[[str], None]:
    """Text goes to whoever watches, a few times a second; nobody relies on it."""
    pending: list[str] = []
    last = time.monotonic()

    def say(delta: str) -> None:
        nonlocal last
        pending.append(delta)
        if time.monotonic() - last >= LIVE_TEXT_SECONDS:
            doorbell.ring(
                doorbell.LIVE_TEXT,
                run=str(dispatch.run_id),
                dispatch=str(dispatch.pk),
                step=step,
                text="".join(pending),
            )
            pending.clear()
            last = time.monotonic()

    return say


# -- record ------------------------------------------------------------------------------------------------------
def record(lease: Lease, asked: Asked, answer: ModelReply | ModelFailure, offered: dict[str, Offered]) -> Outcome:
    """One transaction under the fence: the step, what it cost, and what follows from it. Raises LostLease."""
    with events.recording() as log:
        dispatch = leases.hold(lease)
        if isinstance(answer, ModelReply):
            outcome = _answered(log, dispatch, asked, answer, offered)
        else:
            outcome = failing.record(log, dispatch, asked.step, asked.request.model, answer)
        crashpoints.reach("before_reply_commit")
    crashpoints.reach("after_reply_commit")
    return outcome


def _answered(log: Record, dispatch: Dispatch, asked: Asked, reply: ModelReply, offered: dict[str, Offered]) -> Outcome:
    cost = pricing.cost_usd(asked.request.model, reply.usage)
    reply = replace(
        reply,
        content=turn.storable(reply.content),
        stop_reason=turn.storable(reply.stop_reason)[:40],
        stop_details=turn.storable(reply.stop_details),
    )
    lifecycle.move_step(
        log,
        dispatch,
        asked.step,
        states.ANSWERED,
        reply=json.dumps(reply.content, ensure_ascii=False, separators=(",", ":")),
        stop_reason=reply.stop_reason,
        cost_usd=cost,
        **vars(reply.usage),
    )
    leases.note(
        dispatch,
        iterations=dispatch.iterations + 1,
        tokens=dispatch.tokens + reply.usage.total_tokens,
        cost_usd=dispatch.cost_usd + cost,
        claims_without_progress=0,
        hand_deadline=None,
    )
    outcome = _follow(log, dispatch, asked.step, reply, offered)
    budgets.settle(dispatch, asked.step.reserved_usd, cost)
    return outcome


def _follow(log: Record, dispatch: Dispatch, step: Step, reply: ModelReply, offered: dict[str, Offered]) -> Outcome:
    match turn.next_step(reply):
        case CallTools(calls):
            proposing.propose(log, dispatch, step, calls, offered, reasoning=turn.text(reply))
            return Continue()
        case AskAgain():
            return Continue()
        case Finish(text):
            lifecycle.end_dispatch(log, dispatch, StopReason.FINISHED, "", output=text)
            return Ended(StopReason.FINISHED)
        case GiveUp(reason, message):
            lifecycle.end_dispatch(log, dispatch, reason, message, output=turn.text(reply))
            return Ended(reason)


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
    budgets.settle(dispatch, step.reserved_usd, step.reserved_usd)
