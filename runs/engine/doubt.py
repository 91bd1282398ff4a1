"""A call that was sent, and of which nobody knows whether it happened: no ruling and no answer ends it, a person who
looked does (`uncertain`)."""

from orchestrator_site.core.events import SYSTEM, Record
from runs import lifecycle, states
from runs.engine import rulings
from runs.models import Dispatch, ToolCall
from tools.values import Effect, ErrorKind, Ruling

IN_DOUBT = "It was sent before, nobody can say whether it happened, and it may not be sent again."


def is_in_doubt(call: ToolCall) -> bool:
    """Open, and nobody knows whether an earlier send of it had its effect."""
    # A lookup said of a verifiable one that it had not, a person of an unsafe one.
    return call.effect == Effect.KEYED and call.attempts.left_in_doubt().exists()


def leave(
    log: Record,
    dispatch: Dispatch,
    call: ToolCall,
    why: str = "",
    ruling: Ruling | None = None,
    *,
    actor: str = SYSTEM,
) -> bool:
    """Whether the call is in doubt, and is left to a person who says what became of it. It may yet run, by the ruling
    that it has."""
    if not is_in_doubt(call):
        return False
    why, told = f"{IN_DOUBT} {why}".strip(), rulings.told(ruling) if ruling else None
    left = {"result": why, "error_kind": ErrorKind.LOST}
    lifecycle.move_call(log, dispatch.run_id, call, states.UNCERTAIN, actor=actor, told=told, **left)
    return True


def refuse(
    log: Record, dispatch: Dispatch, call: ToolCall, kind: ErrorKind, sentence: str, ruling: Ruling | None = None
) -> None:
    """The call does not run; one that is in doubt is not said to have been refused. `ruling`: what says so."""
    if leave(log, dispatch, call, sentence, ruling):
        return
    kept = rulings.made_again(call, ruling, ends=True) if ruling else {}
    lifecycle.move_call(log, dispatch.run_id, call, states.REFUSED, result=sentence, error_kind=kind, **kept)
