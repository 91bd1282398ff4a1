"""A model's reply -> the next step. Pure: no query, no clock. Every stop reason, known or not, has an outcome."""

from collections.abc import Iterable, Mapping
from typing import Any

from agents.values import ModelReply
from runs.states import StopReason
from runs.values import UNSTORABLE, AskAgain, CallTools, Finish, GiveUp, NextStep, ProposedCall

# An id is echoed with the result, so it is kept whole or not taken.
LONGEST_ID = 200
_CUT_OFF: dict[str, NextStep] = {
    "max_tokens": GiveUp(StopReason.MAX_TOKENS, "The model's answer was cut off at its output limit."),
    "model_context_window_exceeded": GiveUp(
        StopReason.MAX_TOKENS, "The conversation no longer fits into the model's context window."
    ),
    "pause_turn": AskAgain(),
}


def next_step(reply: ModelReply) -> NextStep:
    """What cut the reply off decides first: a tool call in a reply that was cut off is never executed."""
    if reply.stop_reason in _CUT_OFF:
        return _CUT_OFF[reply.stop_reason]
    if reply.stop_reason == "refusal":
        return GiveUp(StopReason.REFUSED, _declined(reply.stop_details))
    calls = tuple(_proposed(block) for block in reply.content if block.get("type") == "tool_use")
    if len({call.provider_id for call in calls}) < len(calls):
        return GiveUp(StopReason.MODEL_FAILED, "The model gave two tool calls the same id.")
    if any(len(call.provider_id) > LONGEST_ID for call in calls):
        return GiveUp(StopReason.MODEL_FAILED, f"The model gave a tool call an id of over {LONGEST_ID} characters.")
    if calls and reply.stop_reason == "tool_use":
        return CallTools(calls)
    if calls:
        # Only `tool_use` promises that the last call is whole.
        return GiveUp(StopReason.MODEL_FAILED, f"The model stopped ({reply.stop_reason}) in the middle of its calls.")
    if reply.stop_reason in ("end_turn", "stop_sequence"):
        return Finish(text(reply))
    return GiveUp(StopReason.MODEL_FAILED, f"The model stopped for a reason not known here: {reply.stop_reason!r}.")


def _declined(details: Mapping[str, Any]) -> str:
    """With the provider's category and its own words, where it gives them."""
    category = f" ({details['category']})" if details.get("category") else ""
    explanation = f" {details['explanation']}" if details.get("explanation") else ""
    return f"The model declined to answer{category}.{explanation}"


def storable(value: Any) -> Any:
    """A reply's content without what no row can keep: NUL and half characters become U+FFFD."""
    match value:
        case str():
            return UNSTORABLE.sub("\ufffd", value)
        case Mapping():
            return {storable(name): storable(inner) for name, inner in value.items()}
        case list() | tuple():
            return [storable(inner) for inner in value]
    return value


def text(reply: ModelReply) -> str:
    return text_of(reply.content)


def text_of(blocks: Iterable[Mapping[str, Any]]) -> str:
    """The text of a reply's blocks, told apart by their `type`."""
    return "\n\n".join(block["text"] for block in blocks if block.get("type") == "text" and block.get("text"))


def _proposed(block: Mapping[str, Any]) -> ProposedCall:
    return ProposedCall(str(block.get("id", "")), str(block.get("name", "")), block.get("input"))
