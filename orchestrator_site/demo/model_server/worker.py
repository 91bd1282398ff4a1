"""A worker: reads what its task needs, then does the one thing its offered tools allow, then says what came of it.

What it can do is read off the tools (`ABILITIES`), never off a name of an agent. Each turn starts from nothing but the
conversation: what was read, what was called, what was refused. A call that was refused or rejected is never made again.
"""

import re
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from orchestrator_site.demo.model_server import addresses, letters, prose
from orchestrator_site.demo.model_server.conversation import Conversation, Result
from orchestrator_site.demo.model_server.protocol import Body, Reply, ToolUse
from orchestrator_site.demo.model_server.reading import MONEY, Intent, Reading, read
from orchestrator_site.demo.model_server.router import QUOTE
from orchestrator_site.demo.model_server.tokens import stem, tokenize

PLATFORM = {"propose_handoff", "artifact_read", "ask_human", "blackboard_post", "memory_search"}
# An ability is a tool whose name holds one word of each group.
ABILITIES: dict[str, list[set[str]]] = {
    "refund": [{"refund", "reimburse"}],
    "cancel": [{"cancel"}],
    "address": [{"address"}],
    "write": [{"letter", "mail", "email", "message"}],
    "track": [{"track", "shipment", "parcel"}],
    "find": [{"find", "search", "list", "lookup"}, {"order"}],
    "read": [{"get", "read", "show", "fetch"}, {"order"}],
}
DOES = {
    Intent.CANCEL: "cancel",
    Intent.ADDRESS: "address",
    Intent.WRITE: "write",
    Intent.REFUND: "refund",
    Intent.PARTIAL_REFUND: "refund",
}
ACTING = ("refund", "cancel", "address", "write")
DOING = {
    "refund": "The refund",
    "cancel": "The cancellation",
    "address": "The change of address",
    "write": "The letter",
}
ARTIFACT = re.compile(r"artifact:[\w-]+")
HANDOFF_TO = re.compile(r"hand(?:off|over| off| over)? to ([a-z][a-z0-9-]+)")
PAYS = frozenset(stem(word) for word in ("refunds", "payments", "money", "billing", "payouts"))
CENT = Decimal("0.01")


@dataclass(frozen=True)
class Task:
    """What is to be done: the task's own words first, the person's quoted words where the task is silent."""

    reading: Reading
    quoted: Reading
    order_numbers: tuple[int, ...]

    @property
    def intents(self) -> tuple[Intent, ...]:
        return self.reading.intents or self.quoted.intents

    @property
    def said(self) -> str:
        return self.quoted.text or self.reading.text

    @property
    def complains(self) -> bool:
        return self.reading.complains or self.quoted.complains

    @property
    def amount(self) -> Decimal | None:
        return self.reading.amount if self.reading.amount is not None else self.quoted.amount

    @property
    def fraction(self) -> Decimal | None:
        return self.reading.fraction or self.quoted.fraction

    @property
    def search(self) -> dict[str, str]:
        """What the orders could be searched by, the surest first."""
        for key in ("email", "name", "product"):
            if value := getattr(self.quoted, key) or getattr(self.reading, key):
                return {key: value}
        return {}


def read_task(conversation: Conversation) -> Task:
    head, _, quote = conversation.request.partition(QUOTE)
    reading, quoted = read(head), read(quote.strip(" “”\n")) if quote else read("")
    numbers = reading.order_numbers or quoted.order_numbers or _numbers_before(conversation)
    return Task(reading, quoted, numbers)


def _numbers_before(conversation: Conversation) -> tuple[int, ...]:
    """`and when does it come?` is about the orders named last."""
    for earlier in reversed(conversation.earlier_requests):
        if numbers := read(earlier).order_numbers:
            return numbers
    return ()


def abilities(conversation: Conversation) -> dict[str, str]:
    """Ability -> name of the offered tool."""
    found: dict[str, str] = {}
    for name in conversation.tools:
        words = {stem(word) for word in re.split(r"[^a-zA-Z]+|_", name)}
        for ability, groups in ABILITIES.items():
            if name not in PLATFORM and all(words & {stem(word) for word in group} for group in groups):
                found.setdefault(ability, name)
                break
    return found


# One turn


@dataclass(frozen=True)
class Desk:
    """Everything one turn is decided from."""

    talk: Conversation
    task: Task
    can: dict[str, str]

    def results(self, ability: str) -> list[Result]:
        return self.talk.results_of(self.can[ability]) if ability in self.can else []

    @property
    def numbers(self) -> tuple[int, ...]:
        """The orders at hand: named in the task, or the only one a search found."""
        if self.task.order_numbers:
            return self.task.order_numbers
        found = self.found
        return (found[0]["order_number"],) if len(found) == 1 else ()

    @property
    def found(self) -> list[dict[str, Any]]:
        return [order for result in self.results("find") if result.ok for order in result.fields.get("orders", [])]

    @property
    def orders(self) -> list[prose.Order]:
        wanted = [result.fields for result in self.results("read") if result.ok]
        return [order for order in wanted if order.get("order_number") in self.numbers]

    @property
    def wish(self) -> str:
        """The acting ability this task calls for, empty when it only asks."""
        for intent in [*self.task.reading.intents, *self.task.quoted.intents]:
            if DOES.get(intent) in self.can:
                return DOES[intent]
        only = [ability for ability in ACTING if ability in self.can]
        return only[0] if len(only) == 1 and not self.task.intents else ""


def work(conversation: Conversation) -> Reply:
    desk = Desk(conversation, read_task(conversation), abilities(conversation))
    steps = (_read_artifacts, _after_an_act, _after_a_handoff, _search, _read_orders, _own_tool, _act, _hand_off)
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
        return Reply(f"I could not look up the order: {_sentence(failed[-1])}")
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
        Reply(" ".join(dict.fromkeys(_sentence(result) for result in failed)) + _check_number(failed))
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
    if _calls_for(desk, desk.wish) and all(result.ok for _, result in done):
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
    if any(word in result.text.lower() for word in ("reject", "declin", "did not approve", "not approved")):
        return f"{what} was not made: a colleague looked at it and decided against it. {_sentence(result)}"
    return f"{what} was not made. {_sentence(result)}"


def _sentence(result: Result) -> str:
    """The plain sentence of a result, whether it came as text or inside an object."""
    fields = result.fields
    text = str(fields.get("error") or fields.get("detail") or fields.get("message") or result.text).strip()
    text = re.sub(r"\s+", " ", text)[:400] or "No reason was given"
    return text if text.endswith((".", "!", "?")) else text + "."


def _act(desk: Desk) -> Reply | None:
    ability = desk.wish
    if not ability:
        return None
    for order in desk.orders:
        if obstacle := _obstacle(desk, ability, order):
            return Reply(obstacle)
    calls = _calls_for(desk, ability)
    return Reply(tools=(calls[0],)) if calls else None


def _obstacle(desk: Desk, ability: str, order: prose.Order) -> str:
    """What the order itself says against it, so that nobody is asked in vain."""
    number, status = order["order_number"], order["status"]
    if ability in {"cancel", "address"}:
        if status == "cancelled":
            return f"Order {number} was cancelled already, so there is nothing to change."
        if status in {"shipped", "delayed", "delivered"}:
            undone = "cancelled" if ability == "cancel" else "sent to another address"
            return f"{prose.state(order)} It can no longer be {undone}."
    if ability == "address" and not _address(desk, order):
        return f"Where should order {number} go? Please give me the street with the house number, the postal code and the town."
    if ability == "refund":
        return _refund_obstacle(desk, order)
    return ""


def _refund_obstacle(desk: Desk, order: prose.Order) -> str:
    refundable, amount = Decimal(order["refundable"]), _amount(desk, order)
    if refundable <= 0:
        return f"Order {order['order_number']} was paid back in full already: {prose.euros(order['refunded'])}. There is nothing left to refund."
    if amount > refundable:
        return (
            f"{prose.euros(amount)} is more than the {prose.euros(refundable)} that can still be paid back on order "
            f"{order['order_number']}. Shall I refund {prose.euros(refundable)}?"
        )
    return ""


def _calls_for(desk: Desk, ability: str) -> list[ToolUse]:
    """The calls of an ability still to be made, one for each order."""
    if not ability:
        return []
    made = {result.input.get("order_number") for result in desk.results(ability)}
    if ability == "write":
        return [] if made else _letter(desk)
    orders = desk.orders if "read" in desk.can else [{"order_number": number} for number in desk.numbers]
    return [
        ToolUse(desk.can[ability], arguments)
        for order in orders
        if order["order_number"] not in made and (arguments := _arguments(desk, ability, order))
    ]


def _arguments(desk: Desk, ability: str, order: prose.Order) -> dict[str, Any]:
    number = order["order_number"]
    if ability == "cancel":
        return {"order_number": number, "reason": _reason(desk)}
    if ability == "address":
        address = _address(desk, order)
        return {"order_number": number, "address": address} if address else {}
    return {
        "order_number": number,
        "amount": float(_amount(desk, order)),
        "currency": order.get("currency", "EUR"),
        "reason": _reason(desk),
    }


def _reason(desk: Desk) -> str:
    said = re.sub(r"\s+", " ", desk.task.said).strip(' “”"')
    return f"The customer wrote: {said[:300]}" if said else "The customer asked for it."


def _address(desk: Desk, order: prose.Order) -> dict[str, str]:
    """The whole new address: what the task gives, the rest as it stands; empty when the street is missing."""
    given = desk.task.reading.address or desk.task.quoted.address
    standing = order.get("address") or {}
    if "line1" in given:
        moved_town = given.get("city", standing.get("city")) != standing.get("city")
        if moved_town and "postal_code" not in given:
            return {}
        country = {"country": addresses.country_of(given)} if addresses.country_of(given) else {}
        return {
            **{key: standing[key] for key in ("postal_code", "city", "country") if key in standing},
            **country,
            **given,
        }
    corrected = letters.corrected_part(desk.task.said)
    return {**standing, **corrected} if corrected and standing else {}


def _amount(desk: Desk, order: prose.Order) -> Decimal:
    """Asked for in figures, as a share, as one item's price, or all that is left."""
    if "refundable" not in order:
        return desk.task.amount or Decimal(0)
    if desk.task.amount is not None:
        return desk.task.amount
    if desk.task.fraction:
        return (Decimal(order["total"]) * desk.task.fraction).quantize(CENT, ROUND_HALF_UP)
    named = [line for line in order["lines"] if _mentions(desk.task.said, line["product"])]
    if named and not desk.task.reading.wants_all and not desk.task.quoted.wants_all:
        return min(sum((Decimal(line["total"]) for line in named), Decimal(0)), Decimal(order["refundable"]))
    if Intent.PARTIAL_REFUND in desk.task.intents and "shipping" in desk.task.said.lower():
        return Decimal(order["shipping_cost"])
    return Decimal(order["refundable"])


def _mentions(text: str, product: str) -> bool:
    """The goods are meant when their main word occurs: `Stoneware teapot` by `teapot`."""
    said = {token.stem for token in tokenize(text)}
    nouns = [token.stem for token in tokenize(product.split(",")[0]) if token.kind == "word"]
    return bool(nouns) and nouns[-1] in said


def _letter(desk: Desk) -> list[ToolUse]:
    order = desk.orders[0] if desk.orders else None
    to = (order or {}).get("customer", {}).get("email") or desk.task.quoted.email or desk.task.reading.email
    if not to:
        return []
    subject, body = letters.compose(desk.task.said, order)
    return [ToolUse(desk.can["write"], {"to": to, "subject": subject, "body": body})]


# Handing on


def _hand_off(desk: Desk) -> Reply | None:
    """Money is somebody else's: propose it to the target that pays, with the sum the order supports."""
    target = _money_target(desk.talk)
    if not target or not desk.orders or not any(intent in MONEY for intent in _all_intents(desk)):
        return None
    order = desk.orders[0]
    if Decimal(order["refundable"]) <= 0 or (amount := _amount(desk, order)) > Decimal(order["refundable"]):
        return Reply(_refund_obstacle(desk, order))
    number = order["order_number"]
    arguments = {
        "target": target,
        "reason": f"Money back is wanted on order {number}, which is {order['status']}; {prose.euros(order['refundable'])} is refundable.",
        "task": f"Refund {amount:.2f} euros on order {number}. {QUOTE} “{desk.task.said[:3000]}”",
        "preconditions": [f"Order {number} has at least {prose.euros(amount)} left to refund."],
        "confidence": 0.9 if desk.task.amount is not None or desk.task.complains else 0.75,
    }
    return Reply(
        f"{prose.state(order)} I propose that {prose.euros(amount)} is paid back.",
        (ToolUse("propose_handoff", arguments),),
    )


def _all_intents(desk: Desk) -> tuple[Intent, ...]:
    return (*desk.task.reading.intents, *(desk.task.quoted.intents if not desk.task.reading.intents else ()))


def _money_target(talk: Conversation) -> str:
    """The allowed target that pays money: from the tool's schema or description, else as the system prompt names it."""
    tool = talk.tools.get("propose_handoff")
    if tool is None:
        return ""
    schema = (tool.get("input_schema") or {}).get("properties", {}).get("target", {})
    told = f"{tool.get('description', '')} {schema.get('description', '')} {' '.join(HANDOFF_TO.findall(talk.system))}"
    named = schema.get("enum") or re.findall(r"[a-z][a-z0-9-]+", told.lower())
    return next((slug for slug in named if stem(slug) in PAYS), "")


def _after_a_handoff(desk: Desk) -> Reply | None:
    results = desk.talk.results_of("propose_handoff")
    if not results:
        return None
    if results[-1].ok:
        return Reply("I have passed this on to the colleague who pays money back.")
    return Reply(
        f"I wanted to pass this on so that money is paid back, but that was not agreed to. {_sentence(results[-1])}"
    )


# Other people's tools


def _own_tool(desk: Desk) -> Reply | None:
    """A tool this program has never heard of: call the one that fits the request best, if its arguments can be filled."""
    strange = [name for name in desk.talk.tools if name not in PLATFORM and name not in desk.can.values()]
    if not strange or desk.wish:
        return None
    called = [result for result in desk.talk.results if result.tool in strange]
    if called:
        return Reply(f"{_sentence(called[-1])}" if called[-1].ok else f"That was not possible. {_sentence(called[-1])}")
    best = max(strange, key=lambda name: _likeness(desk, name))
    arguments = _fill(desk, desk.talk.tools[best])
    return Reply(tools=(ToolUse(best, arguments),)) if arguments is not None else None


def _likeness(desk: Desk, name: str) -> int:
    words = {
        token.stem for token in tokenize(f"{name.replace('_', ' ')} {desk.talk.tools[name].get('description', '')}")
    }
    return len(words & {token.stem for token in tokenize(desk.talk.request) if len(token.stem) > 3})


def _fill(desk: Desk, tool: Body) -> dict[str, Any] | None:
    schema = tool.get("input_schema") or {}
    filled: dict[str, Any] = {}
    for name in schema.get("required", []):
        value = _value_for(desk, name, schema.get("properties", {}).get(name, {}))
        if value is None:
            return None
        filled[name] = value
    return filled


def _value_for(desk: Desk, name: str, schema: Body) -> Any:
    number = desk.numbers[0] if desk.numbers else None
    if "order" in name:
        return str(number) if number and schema.get("type") == "string" else number
    if "amount" in name:
        return float(desk.task.amount) if desk.task.amount is not None else None
    if "mail" in name or name == "to":
        return (
            desk.task.quoted.email
            or desk.task.reading.email
            or next((order["customer"]["email"] for order in desk.orders), None)
        )
    if schema.get("enum"):
        return schema["enum"][0]
    return desk.task.said[:500] if schema.get("type", "string") == "string" else None


# Answering


def _answer(desk: Desk) -> str:
    orders, intents = desk.orders, desk.task.intents
    missing = [_sentence(result) for result in desk.results("read") if not result.ok]
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
