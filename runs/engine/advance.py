"""The loop of a dispatch: the only mover of it. It never enqueues; it says what came of each turn."""

from collections.abc import Sequence

from django.db import Error as DatabaseError

from agents.values import ModelSpec
from orchestrator_site.core import events
from runs import leases, lifecycle
from runs.engine import (
    asking,
    cancelling,
    effects,
    failing,
    limits,
    persistence,
    proposing,
    recording,
    reserving,
    settling,
)
from runs.engine.effects import Sent
from runs.engine.memory import Memory, read
from runs.engine.offer import Offers, offer
from runs.engine.recording import Recorded
from runs.engine.reserving import Asked
from runs.engine.waiting import wait, waiting_on
from runs.models import Handoff, ToolCall
from runs.states import StopReason
from runs.values import Continue, Ended, Lease, Outcome

SET_ASIDE = "It was started again and again and ended its worker each time; it was set aside."


class Loop:
    """The turns of one held dispatch.

    A turn asks the model once and sends what it asked for; what that brought is recorded in the transaction that opens
    the next turn, or by `pause`. So a turn commits twice: before the model is asked, and before anything is sent.
    """

    def __init__(self, lease: Lease, *, is_new: bool = False) -> None:
        """`is_new`: no worker has taken a turn of the dispatch before, so it has no steps to be read."""
        self._lease = lease
        self._memory: Memory | None = None
        self._sent: list[Sent] = []
        self._is_new = is_new

    def advance(self) -> Outcome:
        """Do the next thing: recover, settle the calls of a turn that stood still, or take a turn.

        No transaction is open while a model or a tool is called. Raises LostLease when another worker holds it now.
        """
        if self._lease.is_worn_out:
            return cancelling.end_at_once(self._lease, StopReason.QUARANTINED, SET_ASIDE)
        if self._memory is None:
            memory = read(self._lease, is_new=self._is_new)
            self._is_new = False
            if outcome := _take_up(self._lease, memory):
                return outcome
            self._memory = memory
        return self._turn(self._memory)

    def pause(self) -> None:
        """Record what the last turn sent, before the dispatch is given back. Raises LostLease."""
        sent, self._sent = self._sent, []
        if sent and self._memory is not None:
            effects.record(self._lease, self._memory.dispatch, sent)
        self._memory = None

    def _turn(self, memory: Memory) -> Outcome:
        """Ask the model, and send what it asks for."""
        asked = self._asked(memory)
        if not isinstance(asked, Asked):
            self._memory = None  # whatever stood in the way is read from the rows
            return asked
        recorded = recording.record(self._lease, memory, asked, asking.ask(asked, memory.dispatch))
        self._follow(memory, recorded)
        return recorded.outcome

    def _asked(self, memory: Memory) -> Asked | Outcome:
        offers = offer(memory.dispatch, memory.dispatch.epoch)
        failed = failing.failed_tries(memory.dispatch, memory.tail)
        choice = failing.choose(memory.dispatch.pinned.models, failed, offers.served)
        if choice is not None and not choice.wait_seconds:
            return self._reserved(memory, offers, choice.model)
        self.pause()
        if ended := reserving.end_at_limit(self._lease, memory):
            return ended
        if choice is None:
            return failing.no_model(self._lease, failed)
        return failing.wait_for_server(self._lease, choice, failed)

    def _reserved(self, memory: Memory, offers: Offers, model: ModelSpec) -> Asked | Outcome:
        request, input_bound = reserving.prepare(memory, offers, model)
        sent, self._sent = self._sent, []
        try:
            return reserving.reserve(self._lease, memory, offers, request, input_bound, sent)
        except DatabaseError as error:
            if not sent or not persistence.may_pass(error):
                raise
            effects.record(self._lease, memory.dispatch, sent)
            return Continue()

    def _follow(self, memory: Memory, recorded: Recorded) -> None:
        """Send what may go at once. Where a call of the turn stays open, all is recorded and read again."""
        self._sent = settling.send_all(recorded.intents)
        if any(effects.is_in_doubt_after(sent) for sent in self._sent):
            self.pause()
            return
        effects.foresee(self._sent)
        memory.took(recorded.step, recorded.content, recorded.calls)
        if memory.open_calls:
            self.pause()


def _take_up(lease: Lease, memory: Memory) -> Outcome | None:
    """What comes ahead of the next turn: an end, what a crash left behind, calls that waited; else None."""
    dispatch = memory.dispatch
    if leases.is_cancelled(dispatch):
        return cancelling.end(lease, StopReason.CANCELLED, "The run was cancelled.")
    if stopped := _stopped_by_person(memory):
        return cancelling.end(lease, StopReason.REJECTED, stopped)
    if memory.unfinished:
        recording.settle_lost(lease, memory.unfinished)
        return Continue()
    if open_calls := memory.open_calls:
        if late := limits.out_of_time(dispatch.pinned.limits, leases.working_seconds(dispatch)):
            return cancelling.end(lease, late.reason, late.message)
        if settling.settle(lease, dispatch, memory.calls):
            return Continue()
        return _wait_for_people(lease, open_calls)
    if memory.ends_with_platform_call:
        return _concluded(lease, memory)
    return None


def _stopped_by_person(memory: Memory) -> str | None:
    """A person rejected a call and said that the agent's part ends with it."""
    for call in memory.calls:
        decision = getattr(call.request, "decision", None) if call.request else None
        if decision is not None and decision.stop:
            return f"{decision.by_name} rejected {call.tool} and stopped the agent: {decision.reason}"
    return None


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


def _concluded(lease: Lease, memory: Memory) -> Outcome | None:
    """Did one of the platform's own tools end the agent's part: a handoff, or routes to others?"""
    with events.recording() as log:
        held = leases.hold(lease)
        if leases.is_cancelled(held):
            return Continue()
        if handoff := Handoff.objects.filter(source=held).select_related("target").first():
            proposing.ask_handoff(log, held, handoff)
            message = f"It proposed that {handoff.target.slug} continues."
            lifecycle.end_dispatch(log, held, StopReason.HANDED_OFF, message, output=memory.said)
            return Ended(StopReason.HANDED_OFF)
        if routes := [route.agent.slug for route in held.routes.select_related("agent")]:
            lifecycle.end_dispatch(log, held, StopReason.FINISHED, f"Routed to {', then '.join(routes)}.")
            return Ended(StopReason.FINISHED)
    return None


def advance(lease: Lease) -> Outcome:
    """One turn that leaves nothing unrecorded."""
    loop = Loop(lease)
    outcome = loop.advance()
    loop.pause()
    return outcome
