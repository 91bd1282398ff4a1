"""A call in doubt: a person who looked says whether it happened."""

from enum import StrEnum
from uuid import UUID

from django.contrib.auth.models import User

from orchestrator_site.core import events
from orchestrator_site.core.events import Record
from runs import lifecycle, states, waking
from runs.engine.effects import is_dead
from runs.errors import BadRequest, NotPossible
from runs.models import Dispatch, Run, ToolCall
from tools.values import ErrorKind


class Finding(StrEnum):
    """What the person found. REPEAT: it did not happen, run it again."""

    HAPPENED = "happened"
    REPEAT = "repeat"
    ABANDON = "abandon"


def may_repeat(call: ToolCall) -> bool:
    """Whether `repeat` is offered without a person's word: every process of the old attempts was seen to be gone."""
    attempts = call.attempts.all()  # none is known of a call that was ready when a backup was made
    return not call.dispatch.is_final and bool(attempts) and all(is_dead(attempt) for attempt in attempts)


def resolve(
    call_id: UUID,
    finding: Finding,
    *,
    by: User,
    result: str = "",
    reason: str = "",
    attests_dead: bool = False,
) -> ToolCall:
    """Locks: run, dispatch, call. `result` is what the model is told of a call that happened.

    Raises BadRequest, and NotPossible when somebody resolved it first or a repeat cannot be allowed.
    """
    if finding == Finding.HAPPENED and not result.strip():
        raise BadRequest({"result": "Say what the call brought: the agent goes on with it."})
    run_id = Run.objects.values_list("pk", flat=True).get(dispatches__calls=call_id)
    with events.recording() as log:
        run = Run.objects.select_for_update(of=("self",), no_key=True).select_related("agent").get(pk=run_id)
        dispatch = Dispatch.objects.select_for_update().get(calls=call_id)
        call = ToolCall.objects.select_for_update(of=("self",)).get(pk=call_id)
        call.dispatch = dispatch
        if call.status != states.UNCERTAIN:
            raise NotPossible(f"The call is {call.status}; somebody was here before you.")
        _apply(log, call, finding, f"user:{by.get_username()}", result, attests_dead)
        log.run(
            run.pk,
            "uncertain_call_decided",
            actor=f"user:{by.get_username()}",
            call=str(call.pk),
            finding=finding,
            reason=reason,
            attests_dead=attests_dead,
        )
        waking.wake(log, run, dispatch)
    return call


def _apply(log: Record, call: ToolCall, finding: Finding, actor: str, result: str, attests_dead: bool) -> None:
    run_id = call.dispatch.run_id
    match finding:
        case Finding.HAPPENED:
            lifecycle.move_call(log, run_id, call, states.RESOLVED, actor=actor, result=result, error_kind="")
        case Finding.ABANDON:
            told = "Nobody knows whether this call happened; a person decided to leave it. Do not repeat it."
            lifecycle.move_call(log, run_id, call, states.RESOLVED, actor=actor, result=told, error_kind=ErrorKind.LOST)
        case Finding.REPEAT:
            if call.dispatch.is_final:
                raise NotPossible("The agent's part has ended, so nothing can run again.")
            if not attests_dead and not may_repeat(call):
                raise NotPossible("Its old attempt may still be alive: confirm that you know it is not.")
            call.attempts.left_in_doubt().update(nothing_sent=True)
            lifecycle.move_call(log, run_id, call, states.READY, actor=actor, result="", error_kind="")
