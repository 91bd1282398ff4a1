"""Bring the calls of a turn to their ends: `pure` ones in parallel, the rest one by one in the model's order."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.conf import settings
from django.db import connection

from agents import roster
from agents.roster import Roster
from agents.values import AgentKind
from approvals import requests
from orchestrator_site.core import canonical, events
from orchestrator_site.core.events import Record
from runs import leases, lifecycle, states
from runs.engine import deferring, doubt, effects, proposing, rulings, standing
from runs.engine.offer import Offered, Offers, offer
from runs.engine.proposing import Ruled
from runs.engine.waiting import hold_up, wait
from runs.models import Dispatch, Run, ToolCall
from runs.models.pacing import TOOL
from runs.pacing import admitting, breakers, deeds, switches
from runs.platform_tools import POST_TO_BOARD, TOUCH_OTHERS, PlatformCall, apply, prepare
from runs.values import Answer, AskPerson, Continue, Fault, Lease, NotYet, Outcome, Waiting
from tools.values import Defer, Effect, ErrorKind, NeedsApproval, Risk, Ruling, ToolResult

# Pure calls of one turn that run side by side, in helper threads that compute and touch no row.
PARALLEL = 8


def settle(lease: Lease, dispatch: Dispatch, calls: Sequence[ToolCall]) -> Outcome | None:
    """Do what can be done now of a turn's calls; None when nothing was possible and the rest waits for people.

    Raises LostLease.
    """
    if executing := [call for call in calls if call.status == states.EXECUTING]:
        effects.recover(lease, executing[0])
        return Continue()
    if due := deferring.due(dispatch, calls):
        deferring.rule_due(lease, dispatch, due)
        return Continue()
    offers = offer(dispatch, dispatch.epoch)
    ready = _ready([(call, offers.get(call.tool)) for call in calls])
    if not ready:
        return None
    if ready[0].tool in offers and offers[ready[0].tool].is_platform:
        return _answer_platform(lease, dispatch, ready[0])
    intents = effects.intend(lease, dispatch, [call.pk for call in ready])
    if isinstance(intents, Waiting):
        return intents
    if intents:
        effects.record(lease, dispatch, send_all(intents))
    return Continue()


def ready_at_once(dispatch: Dispatch, ruled: Sequence[Ruled], served: Roster) -> list[tuple[ToolCall, Offered]]:
    """Of calls that were ruled just now: those that are sent first, with what was offered."""
    offered = {each.call.pk: each.offered for each in ruled if each.offered is not None}
    first = _ready([(each.call, each.offered) for each in ruled])
    # What was approved beforehand is counted with its intent, which is made when the call is taken up.
    beforehand = {each.call.pk for each in ruled if each.ruling and standing.of(each.ruling)}
    # Of an open breaker it is told, or a probe is asked for, when it is taken up.
    first = [c for c in first if c.pk not in beforehand and breakers.shut(served, TOOL, c.tool) is None]
    ready = [(call, offered[call.pk]) for call in first if not offered[call.pk].is_platform]
    done = [deeds.of_call(dispatch, each.spec) for _, each in ready]
    held = admitting.admit(dispatch, served, done, waits=False)
    return [each for each, stop in zip(ready, held, strict=True) if stop is None]


def _ready(calls: Sequence[tuple[ToolCall, Offered | None]]) -> list[ToolCall]:
    """The calls of a turn whose turn it is: `pure` ones side by side, else the first that is not settled, if ready."""
    side_by_side = [call for call, offered in calls if _is_parallel(call, offered)]
    if side_by_side:
        return side_by_side[:PARALLEL]
    following = next((call for call, _ in calls if not call.is_settled), None)
    return [following] if following is not None and following.status == states.READY else []


def _is_parallel(call: ToolCall, offered: Offered | None) -> bool:
    is_platform = offered is not None and offered.is_platform
    return call.status == states.READY and call.effect == Effect.PURE and not is_platform


def send_all(intents: Sequence[effects.Intent]) -> list[effects.Sent]:
    """Send committed intents, side by side when there are several. No transaction is open."""
    if len(intents) < 2:
        return [effects.spilled(effects.send(intent)) for intent in intents]
    connection.close()
    # Threads of its own: a call that waited in a shared queue would outlive the deadline its lease is renewed to.
    with ThreadPoolExecutor(len(intents), thread_name_prefix="pure-call") as helpers:
        return [effects.spilled(sent) for sent in helpers.map(effects.send, intents)]


def _answer_platform(lease: Lease, dispatch: Dispatch, call: ToolCall) -> Outcome:
    """One transaction: rule again, apply, and record what it answered. A call that has to wait stays as it is.

    Locks: run, where others are touched too.
    """
    prepared = prepare(dispatch, call)
    with events.recording() as log:
        if call.tool in TOUCH_OTHERS:
            Run.objects.select_for_update(no_key=True).only("pk").order_by().get(pk=lease.run_id)
        dispatch = leases.hold(lease)
        locked = ToolCall.objects.select_for_update().get(pk=call.pk)
        offers = offer(dispatch, dispatch.epoch)
        offered = offers.get(call.tool)
        if offered and (held := switches.stopping(offers.served, deeds.of_call(dispatch, offered.spec))):
            return hold_up(log, dispatch, held)
        ruling = _still(log, dispatch, locked, offers)
        if ruling is None:
            return Continue()
        asked = PlatformCall(locked, dispatch, dispatch.pinned, log, prepared)
        match apply(asked, canonical.loads(locked.arguments)):
            case Answer(content, labels):
                _end(log, dispatch, locked, ruling, ToolResult(content), labels)
            case Fault(sentence):
                _end(log, dispatch, locked, ruling, ToolResult(sentence, ErrorKind.RAISED))
            case AskPerson() as question:
                _ask(log, dispatch, locked, ruling, question)
            case NotYet(on, wake_on):
                return wait(log, dispatch, on, wake_on=wake_on)
        return Continue(moves_run=_begins_others(dispatch, locked))


def _begins_others(dispatch: Dispatch, call: ToolCall) -> bool:
    """A supervisor dispatched somebody, or rules may watch for what was posted: the run is moved on, by the reconciler
    where this worker goes away."""
    dispatched = dispatch.pinned.kind == AgentKind.SUPERVISOR and roster.slug_of(call.tool) is not None
    if call.status != states.DONE or not (dispatched or call.tool == POST_TO_BOARD):
        return False
    Dispatch.objects.filter(pk=dispatch.pk).update(unheeded=True)
    return True


def _still(log: Record, dispatch: Dispatch, call: ToolCall, offers: Offers) -> Ruling | None:
    """As an intent asks: today's ruling, and what a person approved. Where it may not, it is refused or asked about."""
    offered = offers.get(call.tool)
    ruling = rulings.rule_again(call, offered, rulings.gather(dispatch, offers, [call.tool], without=[call.pk]))
    if isinstance(ruling, Defer):
        deferring.defer(log, dispatch, call, ruling)
        return None
    if stop := effects.why_not_today(call, ruling):
        doubt.refuse(log, dispatch, call, *stop, ruling)
        return None
    if call.request is None and isinstance(ruling, NeedsApproval):
        if asked := effects.to_be_asked(log, dispatch, call, ruling, offered):
            proposing.ask(log, dispatch, [asked, *effects.asked_beside(log, dispatch, [asked], offers)])
        return None
    if call.request is None:
        return ruling
    assert offered is not None
    may = effects.may_use_approval(log, dispatch, call, effects.digest_from_rows(dispatch, call, offered.spec))
    return ruling if may else None


def _end(log: Record, dispatch: Dispatch, call: ToolCall, ruling: Ruling, result: ToolResult, labels: str = "") -> None:
    """Platform tools have no attempt: their answer is recorded where they ran."""
    to = states.DONE if result.ok else states.FAILED
    told: dict[str, Any] = {"result": result.content, "error_kind": str(result.error or ""), "labels": labels}
    lifecycle.move_call(log, dispatch.run_id, call, to, **told, **rulings.kept(call, ruling))
    proposing.tell_people(log, dispatch, call, ruling)


def _ask(log: Record, dispatch: Dispatch, call: ToolCall, ruling: Ruling, question: AskPerson) -> None:
    request = requests.ask(
        log,
        kind=question.kind,
        run_id=dispatch.run_id,
        dispatch_id=dispatch.pk,
        call_id=call.pk,
        title=question.title,
        frozen=question.frozen,
        risk=Risk.LOW,
        reasons=[f"The agent {dispatch.manifest.agent.slug} asks before it goes on."],
        requester_id=dispatch.run.owner_id,
        addressed_to=question.addressed_to,
        deadline_seconds=settings.BATON_APPROVAL_SECONDS,
        actor=f"agent:{dispatch.manifest.agent.slug}",
    )
    kept = rulings.kept(call, ruling)
    lifecycle.move_call(log, dispatch.run_id, call, states.AWAITING_APPROVAL, request=request, **kept)
    proposing.tell_people(log, dispatch, call, ruling)
