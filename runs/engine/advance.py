"""The loop of a dispatch: the only mover of it. It never enqueues; it says what came of each turn."""

from collections.abc import Sequence

from django.db import Error as DatabaseError

from agents import roster
from agents.values import AgentKind, ModelSpec, Transfer
from orchestrator_site.core import canonical, events
from orchestrator_site.core.events import Record
from runs import contracts, leases, lifecycle
from runs.engine import (
    asking,
    cancelling,
    compacting,
    deferring,
    effects,
    failing,
    limits,
    persistence,
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
from runs.handing_over import questions
from runs.models import Dispatch, Handoff, ToolCall
from runs.models.pacing import AGENT
from runs.pacing import breakers
from runs.platform_tools import FINISH
from runs.states import DONE, EXECUTING, PAUSED, StopReason
from runs.values import RESUMED, Continue, Ended, Lease, Outcome, Waiting

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
        choice = failing.choose_for(memory.dispatch, failed, offers.served)
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
        if step := compacting.needed(memory, request):
            self.pause()
            return compacting.carry_out(self._lease, memory, step)
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
    if dispatch.pause_requested and all(call.status != EXECUTING for call in memory.calls):
        return _pause(lease)
    if not memory.number and (left_alone := _left_alone(dispatch)):
        return cancelling.end(lease, StopReason.REFUSED, left_alone)
    if open_calls := memory.open_calls:
        if late := limits.out_of_time(dispatch.pinned.limits, leases.working_seconds(dispatch)):
            return cancelling.end(lease, late.reason, late.message)
        if outcome := settling.settle(lease, dispatch, memory.calls):
            return outcome
        return _wait_for_people(lease, open_calls)
    if memory.ends_with_platform_call and (outcome := _concluded(lease, memory)):
        return outcome
    return compacting.take_summary(lease, memory) if memory.view.is_pending else None


def _left_alone(dispatch: Dispatch) -> str | None:
    """Its agent's breaker is open, and it is no probe: then it does not begin."""
    served, slug = roster.current(dispatch.epoch), dispatch.manifest.agent.slug
    row = breakers.shut(served, AGENT, slug)
    if row is None or breakers.lets_through(served, AGENT, slug, dispatch.pk):
        return None
    return breakers.sentence(row)


def _pause(lease: Lease) -> Outcome:
    """Its run is paused: the lease is given back between two turns. When it is resumed, the rows are read again."""
    with events.recording() as log:
        dispatch = leases.hold(lease)
        if leases.is_cancelled(dispatch) or not dispatch.pause_requested:
            return Continue()
        given_back = leases.given_back(dispatch) | {"claims_without_progress": 0}
        lifecycle.move_dispatch(log, dispatch, PAUSED, waiting_on=RESUMED, **given_back)
        return Waiting(RESUMED)


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
            leases.is_stopped(dispatch)
            or following is None
            or any(call.status != before.status for call, before in zip(fresh, open_calls, strict=True))
            or deferring.due(dispatch, fresh)
        ):
            return Continue()
        return wait(log, dispatch, waiting_on(following), due_at=deferring.next_due(fresh))


def _concluded(lease: Lease, memory: Memory) -> Outcome | None:
    """Did one of the platform's own tools end the agent's part: a handoff, decisions, a supervisor's word?"""
    with events.recording() as log:
        held = leases.hold(lease)
        if leases.is_cancelled(held):
            return Continue()
        if handoff := Handoff.objects.filter(source=held).select_related("target").first():
            if handoff.transfer != Transfer.SUMMARY:  # else its summary comes first
                handoff.source = held
                questions.ask(log, handoff)
            message = f"It proposed that {handoff.target.slug} continues."
            lifecycle.end_dispatch(log, held, StopReason.HANDED_OFF, message, output=memory.said)
            return Ended(StopReason.HANDED_OFF)
        if held.pinned.kind == AgentKind.SUPERVISOR:
            return _finished(log, held, memory.returned)
        if any(call.status != DONE and roster.slug_of(call.tool) for call in memory.calls):
            return None  # one of its decisions was sent back to it
        if routes := [route.agent.slug for route in held.routes.select_related("agent")]:
            lifecycle.end_dispatch(log, held, StopReason.FINISHED, f"Routed to {', then '.join(routes)}.")
            return Ended(StopReason.FINISHED)
    return None


def _finished(log: Record, held: Dispatch, returned: int) -> Outcome | None:
    """`returned`: how often its answer was not what was agreed."""
    words = held.calls.filter(tool=FINISH)
    said = words.filter(status=DONE, error_kind="").first()
    contract = held.contract
    if said is None and contract is not None and returned > contract.returns:
        return _violated(log, held, words.filter(result__startswith=contracts.MISFIT).order_by("step__number").last())
    if said is None:
        return None
    lifecycle.end_dispatch(log, held, StopReason.FINISHED, "", output=canonical.loads(said.arguments)["answer"])
    return Ended(StopReason.FINISHED)


def _violated(log: Record, held: Dispatch, said: ToolCall | None) -> Outcome:
    assert said is not None
    answer = canonical.loads(said.arguments)["answer"]
    lifecycle.end_dispatch(log, held, StopReason.CONTRACT_VIOLATED, said.result, output=answer)
    return Ended(StopReason.CONTRACT_VIOLATED)


def advance(lease: Lease) -> Outcome:
    """One turn that leaves nothing unrecorded."""
    loop = Loop(lease)
    outcome = loop.advance()
    loop.pause()
    return outcome
