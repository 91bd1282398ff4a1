"""Has this dispatch reached a limit? Pure: no query, no clock."""

from collections import Counter
from collections.abc import Iterable

from agents.values import Limits
from runs.models import Dispatch, ToolCall
from runs.states import StopReason
from runs.values import GiveUp

SAME_CALL_LIMIT = 3


def reached(dispatch: Dispatch, limits: Limits, calls: Iterable[ToolCall], working_seconds: float) -> GiveUp | None:
    """The first limit reached, with a sentence a person understands. `working_seconds` includes the current slice."""
    if dispatch.iterations >= limits.iterations:
        sentence = f"It used all {limits.iterations} model calls it may make without coming to an end."
        return GiveUp(StopReason.MAX_ITERATIONS, sentence)
    if dispatch.tokens >= limits.tokens_total:
        sentence = f"It used {dispatch.tokens:,} tokens; its limit is {limits.tokens_total:,}."
        return GiveUp(StopReason.MAX_TOKENS, sentence)
    if late := out_of_time(limits, working_seconds):
        return late
    if repeated := _repeated(calls):
        sentence = f"It called {repeated} {SAME_CALL_LIMIT} times with the same arguments and got the same result."
        return GiveUp(StopReason.LOOP_DETECTED, sentence)
    return None


def out_of_time(limits: Limits, working_seconds: float) -> GiveUp | None:
    """Asked before every call as well: what was proposed in time is not begun after it."""
    if working_seconds >= limits.wall_seconds:
        return GiveUp(StopReason.TIMEOUT, f"It worked for {limits.wall_seconds} seconds, which is its limit.")
    return None


def _repeated(calls: Iterable[ToolCall]) -> str | None:
    seen = Counter((call.tool, call.arguments, call.result) for call in calls if call.is_settled)
    return next((tool for (tool, _, _), times in seen.items() if times >= SAME_CALL_LIMIT), None)
