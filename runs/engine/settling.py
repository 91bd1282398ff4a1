"""Bring the calls of a turn to their ends: `pure` ones in parallel, the rest one by one in the model's order."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from django.conf import settings
from django.db import connection

from approvals import requests
from orchestrator_site.core import canonical, events
from orchestrator_site.core.events import Record
from runs import leases, lifecycle, states
from runs.engine import effects, rulings
from runs.engine.offer import Offered
from runs.models import Dispatch, ToolCall
from runs.platform_tools import PlatformCall, apply
from runs.values import Answer, AskPerson, Fault, Lease
from tools.values import Effect, ErrorKind, ExecutorKind, Risk, ToolResult

# Pure calls of one turn that run side by side, in helper threads that compute and touch no row.
PARALLEL = 8


def settle(lease: Lease, calls: Sequence[ToolCall], offered: Mapping[str, Offered]) -> bool:
    """Do what can be done now of a turn's calls; False when nothing was possible and the rest waits for people.

    Raises LostLease.
    """
    if executing := [call for call in calls if call.status == states.EXECUTING]:
        effects.recover(lease, executing[0])
        return True
    if pure := [call for call in calls if _is_parallel(call, offered)]:
        _execute(lease, pure[:PARALLEL], offered)
        return True
    following = next((call for call in calls if not call.is_settled), None)
    if following is None or following.status != states.READY:
        return False
    if _is_platform(following, offered):
        _answer_platform(lease, following, offered[following.tool])
    else:
        _execute(lease, [following], offered)
    return True


def _is_platform(call: ToolCall, offered: Mapping[str, Offered]) -> bool:
    return call.tool in offered and offered[call.tool].spec.executor == ExecutorKind.PLATFORM


def _is_parallel(call: ToolCall, offered: Mapping[str, Offered]) -> bool:
    return call.status == states.READY and call.effect == Effect.PURE and not _is_platform(call, offered)


def _execute(lease: Lease, calls: Sequence[ToolCall], offered: Mapping[str, Offered]) -> None:
    intents = effects.intend(lease, [call.pk for call in calls], offered)
    connection.close()
    if len(intents) > 1:
        # Threads of its own: a call that waited in a shared queue would outlive the deadline its lease is renewed to.
        with ThreadPoolExecutor(len(intents), thread_name_prefix="pure-call") as helpers:
            results = list(helpers.map(effects.send, intents))
    else:
        results = [effects.send(intent) for intent in intents]
    if intents:
        effects.record(lease, list(zip(intents, results, strict=True)))


def _answer_platform(lease: Lease, call: ToolCall, offered: Offered) -> None:
    """One transaction: rule again, apply, and record what it answered."""
    with events.recording() as log:
        dispatch = leases.hold(lease)
        locked = ToolCall.objects.select_for_update().get(pk=call.pk)
        if not _may_still(log, dispatch, locked, offered):
            return
        asked = PlatformCall(locked, dispatch, dispatch.manifest.spec())
        match apply(asked, canonical.loads(locked.arguments)):
            case Answer(content):
                _end(log, dispatch, locked, ToolResult(content))
            case Fault(sentence):
                _end(log, dispatch, locked, ToolResult(sentence, ErrorKind.RAISED))
            case AskPerson() as question:
                _ask(log, dispatch, locked, question)


def _may_still(log: Record, dispatch: Dispatch, call: ToolCall, offered: Offered) -> bool:
    """As an intent asks: today's ruling, and what a person approved. The call is refused where it may not."""
    ruling = rulings.rule(offered, call.arguments, rulings.gather(dispatch, []), call.tool)
    if stop := effects.why_not_today(call, ruling):
        effects.refuse(log, dispatch, call, *stop)
        return False
    if call.request is None:
        return True
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
