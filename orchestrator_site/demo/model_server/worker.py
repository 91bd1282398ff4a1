"""A worker: reads what its task needs, then does the one thing its offered tools allow, then says what came of it.

What it can do is read off the tools (`ABILITIES`), never off a name of an agent. Each turn starts from nothing but the
conversation: what was read, what was called, what was refused. A call that was refused or rejected is never made again.
"""

import re

from orchestrator_site.demo.model_server import prose
from orchestrator_site.demo.model_server.acts import amount_of, calls_for, obstacle
from orchestrator_site.demo.model_server.conversation import Conversation, Result
from orchestrator_site.demo.model_server.handing_on import after_a_handoff, hand_off
from orchestrator_site.demo.model_server.own_tools import own_tool
from orchestrator_site.demo.model_server.protocol import Reply, ToolUse
from orchestrator_site.demo.model_server.reading import Intent
from orchestrator_site.demo.model_server.task import ACTING, DOES, Desk, abilities, read_task, sentence

DOING = {
    "refund": "The refund",
    "cancel": "The cancellation",
    "address": "The change of address",
    "write": "The letter",
}
ARTIFACT = re.compile(r"artifact:[\w-]+")


def work(conversation: Conversation) -> Reply:
    desk = Desk(conversation, read_task(conversation), abilities(conversation))
    steps = (_read_artifacts, _after_an_act, after_a_handoff, _search, _read_orders, own_tool, _act, hand_off)
    for step in steps:
        if (reply := step(desk)) is not None:
            return reply
    return Reply(_answer(desk))


def _read_artifacts(desk: Desk) -> Reply | None:
    references = [
        ref for ref in dict.fromkeys(ARTIFACT.findall(desk.talk.request)) if "artifact_read" in desk.talk.tools
    ]
    calls = [ToolUse("artifact_read", {"reference": ref}) for ref in references]
    return _those_not_made(desk, calls)


def _those_not_made(desk: Desk, calls: list[ToolUse]) -> Reply | None:
    new = tuple(call for call in calls if not desk.talk.was_called(call.name, call.input))
    return Reply(tools=new) if new else None


# Reading


def _search(desk: Desk) -> Reply | None:
    if desk.numbers or ("write" in desk.can and desk.task.quoted.email):
        return None
    if not desk.results("find"):
        if "find" in desk.can and desk.task.search:
            return Reply(tools=(ToolUse(desk.can["find"], dict(desk.task.search)),))
        return Reply(_ask_for_number(desk)) if desk.can.keys() & {"read", *ACTING} else None
    failed = [result for result in desk.results("find") if not result.ok]
    if failed:
        return Reply(f"I could not look up the order: {sentence(failed[-1])}")
    what = next(iter(desk.task.search.values()), "that")
    return Reply(
        prose.choices(desk.found)
        if desk.found
        else f"I found no order for “{what}”. Could you tell me the order number?"
    )


def _ask_for_number(desk: Desk) -> str:
    return "Which order is it about? Please tell me its number, or the e-mail address or name it was placed under."


def _read_orders(desk: Desk) -> Reply | None:
    if "read" not in desk.can:
        return None
    calls = [ToolUse(desk.can["read"], {"order_number": number}) for number in desk.numbers]
    if "track" in desk.can and _asks_where(desk):
        calls += [ToolUse(desk.can["track"], {"order_number": number}) for number in desk.numbers]
    if reply := _those_not_made(desk, calls):
        return reply
    failed = [result for result in desk.results("read") if not result.ok]
    return (
        Reply(" ".join(dict.fromkeys(sentence(result) for result in failed)) + _check_number(failed))
        if failed and not desk.orders
        else None
    )


def _check_number(failed: list[Result]) -> str:
    return " Could you check the number?" if any("no order" in result.text.lower() for result in failed) else ""


def _asks_where(desk: Desk) -> bool:
    return Intent.WHERE in desk.task.intents or (
        Intent.COMPARE in desk.task.intents and "first" in desk.task.said.lower()
    )


# Acting


def _after_an_act(desk: Desk) -> Reply | None:
    """Say what came of the acts; a refusal or a person's no is said plainly and ends the matter."""
    done = [(ability, result) for ability in ACTING for result in desk.results(ability)]
    if not done:
        return None
    if calls_for(desk, desk.wish) and all(result.ok for _, result in done):
        return None
    return Reply(" ".join(_outcome(ability, result) for ability, result in done))


OUTCOMES = {"refund": prose.refunded, "cancel": prose.cancelled, "address": prose.moved, "write": prose.posted}


def _outcome(ability: str, result: Result) -> str:
    if not result.ok:
        return _refusal(ability, result)
    body = result.fields.get("body")
    fields = body if isinstance(body, dict) else result.fields
    try:
        return OUTCOMES[ability]({**result.input, **fields})
    except (KeyError, TypeError, ValueError):
        return f"{DOING[ability]} went through."


def _refusal(ability: str, result: Result) -> str:
    number = result.input.get("order_number")
    what = DOING[ability] + (f" for order {number}" if number else "")
    if any(
        word in result.text.lower()
        for word in ("refused by a person", "reject", "declin", "did not approve", "not approved")
    ):
        return f"{what} was not made: a colleague looked at it and decided against it. {sentence(result)}"
    return f"{what} was not made. {sentence(result)}"


def _act(desk: Desk) -> Reply | None:
    ability = desk.wish
    if not ability:
        return None
    for order in desk.orders:
        if against := obstacle(desk, ability, order):
            return Reply(against)
    calls = calls_for(desk, ability)
    return Reply(_why(desk, ability), (calls[0],)) if calls else None


INTENDS = {
    "refund": "I would pay back {amount}; {refundable} of it is still refundable.",
    "cancel": "It has not left the warehouse, so I would cancel it.",
    "address": "It has not left the warehouse, so its address can still be changed.",
    "write": "I would send the customer this letter.",
}


def _why(desk: Desk, ability: str) -> str:
    """What a colleague who has to approve the call reads beside it."""
    if not desk.orders:
        return ""
    order = desk.orders[0]
    refundable = prose.euros(order["refundable"]) if "refundable" in order else ""
    amount = prose.euros(amount_of(desk, order)) if ability == "refund" and refundable else ""
    return f"{prose.state(order)} {INTENDS[ability].format(amount=amount, refundable=refundable)}"


# Answering


def _answer(desk: Desk) -> str:
    orders, intents = desk.orders, desk.task.intents
    missing = [sentence(result) for result in desk.results("read") if not result.ok]
    if not orders:
        return " ".join(missing) or _plain_answer(desk)
    if Intent.COMPARE in intents and len(orders) > 1:
        return "\n".join([prose.comparison(orders), *missing])
    return "\n".join([*(_about(desk, order) for order in orders), *missing])


def _about(desk: Desk, order: prose.Order) -> str:
    intents = desk.task.intents
    if Intent.COMPLAINT in intents:
        return (
            f"I am sorry to hear that. I have looked at order {order['order_number']}: {prose.goods(order)}, {prose.euros(order['total'])} in all; "
            f"it {prose.STATES.get(order['status'], order['status'])}. Would you like money back for it? If so, tell me for which item or how much."
        )
    if Intent.WHERE in intents:
        tracks = {result.input.get("order_number"): result.fields for result in desk.results("track") if result.ok}
        return prose.whereabouts(order, tracks.get(order["order_number"]))
    unable = [intent for intent in intents if intent in DOES]
    return prose.details(order) + (" What was asked for beyond that is not mine to do." if unable else "")


def _plain_answer(desk: Desk) -> str:
    """An agent without tools for it: what it is for, and what it was told."""
    said = re.sub(r"\s+", " ", desk.task.said).strip(" “”")
    return f"I have read your request: “{said[:300]}”. With what I am given I can take it no further myself, so a person should look at it."
