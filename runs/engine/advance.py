"""One turn of a dispatch: the only mover of its loop. It never enqueues; it says what came of the turn."""

import dataclasses
import json
from collections.abc import Sequence

from django.db.models.functions import Now

from orchestrator_site.core import events
from runs import leases, lifecycle, states
from runs.engine import asking, cancelling, failing, limits, proposing, settling, turn
from runs.engine.offer import Offered, offer
from runs.engine.waiting import wait, waiting_on
from runs.models import Dispatch, Handoff, Step, ToolCall
from runs.states import StopReason
from runs.values import Continue, Ended, Lease, Outcome

SET_ASIDE = "It was started again and again and ended its worker each time; it was set aside."


@dataclasses.dataclass(frozen=True)
class View:
    """What a turn reads before it decides."""

    dispatch: Dispatch
    steps: list[Step]
    calls: list[ToolCall]
    offered: dict[str, Offered]

    def last_calls(self) -> list[ToolCall]:
        """The calls of the newest answered step, in the model's order."""
        answered = [step.pk for step in self.steps if step.status == states.ANSWERED]
        return [call for call in self.calls if answered and call.step_id == answered[-1]]


def advance(lease: Lease) -> Outcome:
    """Do the next thing of a held dispatch: recover, settle calls, or ask the model once.

    No transaction is open while a model or a tool is called. Raises LostLease when another worker holds it now.
    """
    if lease.is_worn_out:
        return cancelling.end_at_once(lease, StopReason.QUARANTINED, SET_ASIDE)
    view = _read(lease)
    if view.dispatch.run.cancel_requested_at is not None:
        return cancelling.end(lease, StopReason.CANCELLED, "The run was cancelled.")
    if stopped := _stopped_by_person(view):
        return cancelling.end(lease, StopReason.REJECTED, stopped)
    if unfinished := [step for step in view.steps if step.status == states.ASKED]:
        asking.settle_lost(lease, unfinished[0])
        return Continue()
    if open_calls := [call for call in view.last_calls() if not call.is_settled]:
        if late := limits.out_of_time(view.dispatch.manifest.spec().limits, leases.working_seconds(view.dispatch)):
            return cancelling.end(lease, late.reason, late.message)
        if settling.settle(lease, view.last_calls(), view.offered):
            return Continue()
        return _wait_for_people(lease, open_calls)
    if concluded := _concluded(lease, view):
        return concluded
    return _ask_model(lease, view)


def _read(lease: Lease) -> View:
    joined = Dispatch.objects.select_related("run", "manifest__agent")
    dispatch = joined.annotate(now=Now()).get(pk=lease.dispatch_id)  # type: ignore[no-redef]
    steps = list(dispatch.steps.order_by("number"))
    calls = list(dispatch.calls.select_related("request__decision").order_by("step__number", "position"))
    return View(dispatch, steps, calls, offer(dispatch.manifest.spec(), dispatch.manifest.agent.slug))


def _wait_for_people(lease: Lease, open_calls: Sequence[ToolCall]) -> Outcome:
    """Wait, unless a decision came while we looked: the rows are read again under the dispatch's lock."""
    with events.recording() as log:
        dispatch = leases.hold(lease)
        fresh = list(
            ToolCall.objects.filter(pk__in=[call.pk for call in open_calls])
            .select_related("request")
            .order_by("step__number", "position")
        )
        following = next((call for call in fresh if not call.is_settled), None)
        if (
            leases.is_cancelled(dispatch)
            or following is None
            or any(call.status != before.status for call, before in zip(fresh, open_calls, strict=True))
        ):
            return Continue()
        return wait(log, dispatch, waiting_on(following))


def _concluded(lease: Lease, view: View) -> Outcome | None:
    """All calls of the turn are settled: did one of them end the agent's part, or was a limit reached?"""
    dispatch = view.dispatch
    with events.recording() as log:
        held = leases.hold(lease)
        if leases.is_cancelled(held):
            return Continue()
        if handoff := Handoff.objects.filter(source=dispatch).select_related("target").first():
            proposing.ask_handoff(log, held, handoff)
            message = f"It proposed that {handoff.target.slug} continues."
            lifecycle.end_dispatch(log, held, StopReason.HANDED_OFF, message, output=_last_text(view))
            return Ended(StopReason.HANDED_OFF)
        if routes := [route.agent.slug for route in held.routes.select_related("agent")]:
            lifecycle.end_dispatch(log, held, StopReason.FINISHED, f"Routed to {', then '.join(routes)}.")
            return Ended(StopReason.FINISHED)
        limit = limits.reached(held, held.manifest.spec().limits, view.calls, leases.working_seconds(held))
        if limit:
            lifecycle.end_dispatch(log, held, limit.reason, limit.message, output=_last_text(view))
            return Ended(limit.reason)
    return None


def _stopped_by_person(view: View) -> str | None:
    """A person rejected a call and said that the agent's part ends with it."""
    for call in view.last_calls():
        decision = getattr(call.request, "decision", None) if call.request else None
        if decision is not None and decision.stop:
            return f"{decision.by_name} rejected {call.tool} and stopped the agent: {decision.reason}"
    return None


def _last_text(view: View) -> str:
    for step in reversed(view.steps):
        if step.status == states.ANSWERED:
            return turn.text_of(json.loads(step.reply))
    return ""


def _ask_model(lease: Lease, view: View) -> Outcome:
    chain = view.dispatch.manifest.spec().models
    failed = failing.failed_tries(view.dispatch, view.steps)
    choice = failing.choose(chain, failed)
    if choice is None:
        return failing.no_model(lease, failed)
    if choice.wait_seconds:
        return failing.wait_for_server(lease, choice, failed)
    request, input_bound = asking.prepare(view.dispatch, view.steps, view.calls, view.offered, choice.model)
    asked = asking.reserve(lease, len(view.steps) + 1, request, input_bound)
    if not isinstance(asked, asking.Asked):
        return asked
    answer = asking.ask(asked, view.dispatch)
    return asking.record(lease, asked, answer, view.offered)
