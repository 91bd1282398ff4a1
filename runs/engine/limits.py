"""Has this dispatch reached a limit? Pure: no query, no clock."""

from agents.values import Limits
from runs.models import Dispatch
from runs.states import StopReason
from runs.values import GiveUp

SAME_CALL_LIMIT = 3


def reached(dispatch: Dispatch, limits: Limits, repeated: str | None, working_seconds: float) -> GiveUp | None:
    """The first limit reached, with a sentence a person understands.

    `repeated` names a tool that was called SAME_CALL_LIMIT times alike. `working_seconds` includes the current slice.
    """
    if dispatch.iterations >= limits.iterations:
        sentence = f"It used all {limits.iterations} model calls it may make without coming to an end."
        return GiveUp(StopReason.MAX_ITERATIONS, sentence)
    if dispatch.tokens >= limits.tokens_total:
        sentence = f"It used {dispatch.tokens:,} tokens; its limit is {limits.tokens_total:,}."
        return GiveUp(StopReason.MAX_TOKENS, sentence)
    if late := out_of_time(limits, working_seconds):
        return late
    if repeated:
        sentence = f"It called {repeated} {SAME_CALL_LIMIT} times with the same arguments and got the same result."
        return GiveUp(StopReason.LOOP_DETECTED, sentence)
    return None


def out_of_time(limits: Limits, working_seconds: float) -> GiveUp | None:
    """Asked before every call as well: what was proposed in time is not begun after it."""
    if working_seconds >= limits.wall_seconds:
        return GiveUp(StopReason.TIMEOUT, f"It worked for {limits.wall_seconds} seconds, which is its limit.")
    return None
