"""Bring the calls of a turn to their ends: `pure` ones in parallel, the rest one by one in the model's order."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from django.conf import settings
from django.db import connection

from approvals import requests
from orchestrator_site.core import canonical, events
from orchestrator_site.core.events import Record
from runs import leases, lifecycle, states
from runs.engine import effects, rulings
from runs.engine.offer import Offered, offer
from runs.engine.proposing import Ruled
from runs.models import Dispatch, ToolCall
from runs.platform_tools import PlatformCall, apply
from runs.values import Answer, AskPerson, Fault, Lease
from tools.values import Effect, ErrorKind, Risk, ToolResult

# Pure calls of one turn that run side by side, in helper threads that compute and touch no row.
PARALLEL = 8


def settle(lease: Lease, dispatch: Dispatch, calls: Sequence[ToolCall]) -> bool:
    """Do what can be done now of a turn's calls; False when nothing was possible and the rest waits for people.

    Raises LostLease.
    """
    if executing := [call for call in calls if call.status == states.EXECUTING]:
        effects.recover(lease, executing[0])
        return True
    offers = offer(dispatch, dispatch.epoch)
    ready = _ready([(call, offers.get(call.tool)) for call in calls])
    if not ready:
        return False
    if ready[0].tool in offers and offers[ready[0].tool].is_platform:
        _answer_platform(lease, ready[0])
    elif intents := effects.intend(lease, dispatch, [call.pk for call in ready]):
        effects.record(lease, dispatch, send_all(intents))
    return True


def ready_at_once(ruled: Sequence[Ruled]) -> list[tuple[ToolCall, Offered]]:
    """Of calls that were ruled just now: those that are sent first, with what was offered."""
    offered = {each.call.pk: each.offered for each in ruled if each.offered is not None}
    first = _ready([(each.call, each.offered) for each in ruled])
    return [(call, offered[call.pk]) for call in first if not offered[call.pk].is_platform]


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
        return [effects.send(intent) for intent in intents]
    connection.close()
    # Threads of its own: a call that waited in a shared queue would outlive the deadline its lease is renewed to.
    with ThreadPoolExecutor(len(intents), thread_name_prefix="pure-call") as helpers:
        return list(helpers.map(effects.send, intents))


def _answer_platform(lease: Lease, call: ToolCall) -> None:
    """One transaction: rule again, apply, and record what it answered."""
    with events.recording() as log:
        dispatch = leases.hold(lease)
        locked = ToolCall.objects.select_for_update().get(pk=call.pk)
        if not _may_still(log, dispatch, locked):
            return
        asked = PlatformCall(locked, dispatch, dispatch.pinned)
        match apply(asked, canonical.loads(locked.arguments)):
            case Answer(content):
                _end(log, dispatch, locked, ToolResult(content))
            case Fault(sentence):
                _end(log, dispatch, locked, ToolResult(sentence, ErrorKind.RAISED))
            case AskPerson() as question:
                _ask(log, dispatch, locked, question)


def _may_still(log: Record, dispatch: Dispatch, call: ToolCall) -> bool:
    """As an intent asks: today's ruling, and what a person approved. The call is refused where it may not."""
    offers = offer(dispatch, dispatch.epoch)
    offered = offers.get(call.tool)
    ruling = rulings.rule(offered, call.arguments, rulings.gather(dispatch, offers, []), call.tool)
    if stop := effects.why_not_today(call, ruling):
        effects.refuse(log, dispatch, call, *stop)
        return False
    if call.request is None:
        return True
    assert offered is not None
    return effects.may_use_approval(log, dispatch, call, effects.digest_from_rows(dispatch, call, offered.spec))


def _end(log: Record, dispatch: Dispatch, call: ToolCall, result: ToolResult) -> None:
    """Platform tools have no attempt: their answer is recorded where they ran."""
    to = states.DONE if result.ok else states.FAILED
    error = str(result.error or "")
    lifecycle.move_call(log, dispatch.run_id, call, to, result=result.content, error_kind=error)


def _ask(log: Record, dispatch: Dispatch, call: ToolCall, question: AskPerson) -> None:
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
    lifecycle.move_call(log, dispatch.run_id, call, states.AWAITING_APPROVAL, request=request)
