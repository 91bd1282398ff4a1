"""The router: which of the offered `dispatch_to_*` tools owns each wish of a request.

Nothing is known of any agent but the description of its tool. A description earns points for naming what a wish is
about (`OWNED_BY`), and for sharing a rare word with the request; so an agent published a minute ago wins its own
subject. Money is routed by one rule: paid out directly only when order number and amount are stated and
nothing is complained of; every other wish for money goes where complaints are checked.
"""

import math
import re
from dataclasses import dataclass
from functools import lru_cache

from orchestrator_site.demo.model_server import prose, vocabulary
from orchestrator_site.demo.model_server.conversation import Conversation
from orchestrator_site.demo.model_server.protocol import Reply, ToolUse
from orchestrator_site.demo.model_server.reading import MONEY, Intent, Reading, Wish, read
from orchestrator_site.demo.model_server.tokens import stem, tokenize

PREFIX = "dispatch_to_"
ASK = "ask_human"
QUOTE = "The person wrote:"
# How sure it is of who owns a wish that it knows, and of who shares a rare word with the request.
KNOWN, BY_WORDS = 0.9, 0.7
INTENT_POINTS, RARE_WORD_POINTS, FIT = 3.0, 4.0, 1.2

PAY_OUT, CHECK_MONEY = "pay_out", "check_money"
# What a description says when its agent owns a wish, and how surely.
OWNED_BY: dict[str, dict[str, float]] = {
    Intent.WHERE: {"where": 1.0, "tracking": 1.0, "question": 0.8, "status": 0.7, "shipment": 0.7, "parcel": 0.6, "delivery": 0.4},
    Intent.DETAILS: {"contents": 1.0, "question": 1.0, "details": 1.0, "price": 0.8, "status": 0.8, "lookup": 0.6},
    Intent.COMPARE: {"compare": 1.0, "question": 0.7, "difference": 0.7},
    Intent.COMPLAINT: {"complaint": 1.0, "damage": 0.7, "broken": 0.6, "faulty": 0.6, "quality": 0.4},
    Intent.CANCEL: {"cancel": 1.0, "stop": 0.5, "change": 0.3},
    Intent.ADDRESS: {"address": 1.0, "redirect": 0.8, "change": 0.3},
    Intent.WRITE: {"letter": 1.0, "write": 1.0, "email": 0.8, "mail": 0.8, "message": 0.6, "correspondence": 1.0},
    PAY_OUT: {"refund": 1.0, "reimburse": 0.9, "pay": 0.6, "money": 0.5},
    CHECK_MONEY: {"complaint": 1.0, "wish": 0.9, "check": 0.5, "refund": 0.6, "money": 0.5},
}  # fmt: skip

DOING = {
    Intent.WHERE: "Find out where {orders} is and when it will arrive",
    Intent.DETAILS: "Answer a question about {orders}",
    Intent.COMPARE: "Compare {orders}",
    Intent.COMPLAINT: "Look into a complaint about {orders}",
    Intent.CANCEL: "Cancel {orders}",
    Intent.ADDRESS: "Change the delivery address of {orders}",
    Intent.WRITE: "Write to the customer of {orders}",
    Intent.REFUND: "Money back is wanted, a full refund of {orders}",
    Intent.PARTIAL_REFUND: "Money back is wanted, a partial refund{amount} on {orders}",
}  # fmt: skip


@dataclass(frozen=True)
class Owner:
    """One dispatch tool as the router sees it."""

    tool: str
    stems: frozenset[str]
    line: str

    @property
    def title(self) -> str:
        return self.tool.removeprefix(PREFIX).replace("_", " ")


def is_router(conversation: Conversation) -> bool:
    return any(name.startswith(PREFIX) for name in conversation.tools)


def route(conversation: Conversation) -> Reply:
    if any(result.tool.startswith(PREFIX) for result in conversation.results):
        return Reply(_relay(conversation))
    owners = owners_in(conversation)
    text = _with_answers(conversation)
    reading = read(text)
    own = [] if _only_corrects(text) else list(reading.wishes)
    wishes = own or _carried_over(conversation, reading)
    choices = {wish: choose(wish, reading, owners) for wish in wishes}
    if not any(choices.values()):
        return _without_wish(conversation, reading, owners, text)
    return Reply(tools=tuple(_dispatches(choices, reading, text)))


def owners_in(conversation: Conversation) -> list[Owner]:
    owners = []
    for name, tool in conversation.tools.items():
        if name.startswith(PREFIX):
            line = tool.get("description", "")
            title = name.removeprefix(PREFIX).replace("_", " ")
            stems = frozenset(token.stem for token in tokenize(f"{title}. {line}") if token.kind == "word")
            owners.append(Owner(name, stems, line))
    return owners


# Choosing


def choose(wish: Wish, reading: Reading, owners: list[Owner]) -> Owner | None:
    """The best owner of a wish, or None when no description fits it."""
    words = _words(reading.text if len(reading.wishes) < 2 else wish.text)
    points = {
        owner: INTENT_POINTS * _intent_fit(kind_of(wish, reading), owner) + _rare_words(words, owner, owners)
        for owner in owners
    }
    best = max(points, key=lambda owner: points[owner], default=None)
    return best if best and points[best] >= FIT else None


def kind_of(wish: Wish, reading: Reading) -> str:
    """The row of `OWNED_BY` a wish is looked up in."""
    if wish.intent not in MONEY:
        return wish.intent
    stated = wish.intent is Intent.PARTIAL_REFUND and reading.amount is not None and wish.order_numbers
    return PAY_OUT if stated and not reading.complains else CHECK_MONEY


@lru_cache(maxsize=64)
def _signs(kind: str) -> dict[str, float]:
    return {stem(word): weight for word, weight in OWNED_BY[kind].items()}


def _intent_fit(kind: str, owner: Owner) -> float:
    found = sorted((weight for sign, weight in _signs(kind).items() if sign in owner.stems), reverse=True)
    return found[0] + 0.1 * sum(found[1:]) if found else 0.0


def _words(text: str) -> frozenset[str]:
    return frozenset(token.stem for token in tokenize(text) if token.kind == "word" and len(token.stem) > 3)


@lru_cache(maxsize=1)
def _everyday() -> frozenset[str]:
    """Stems that say nothing about whose subject a request is."""
    cue_words = {
        word
        for table in vocabulary.CUES.values()
        for group in table.values()
        for cue in group
        for part in cue.split()
        for word in part.split("|")
    }
    more = "stated amount wish left request agent owns pass task work person desk hand customer".split()
    return frozenset(stem(word) for word in cue_words | set(vocabulary.DESK_WORDS) | set(more))


def _rare_words(words: frozenset[str], owner: Owner, owners: list[Owner]) -> float:
    points = 0.0
    for word in words & owner.stems:
        sharing = sum(word in other.stems for other in owners)
        if sharing == len(owners) > 1:
            continue
        points += (0.4 if word in _everyday() else RARE_WORD_POINTS) / math.sqrt(sharing)
    return points


def _by_words_alone(text: str, owners: list[Owner]) -> Owner | None:
    words = _words(text)
    points = {owner: _rare_words(words, owner, owners) for owner in owners}
    best = max(points, key=lambda owner: points[owner], default=None)
    return best if best and points[best] >= RARE_WORD_POINTS / 2 else None


# Passing on


def _dispatches(choices: dict[Wish, Owner | None], reading: Reading, text: str) -> list[ToolUse]:
    """One call for each agent, in the order of the wishes; two wishes of one agent share a call."""
    tasks: dict[str, list[str]] = {}
    for wish, owner in choices.items():
        if owner:
            tasks.setdefault(owner.tool, []).append(describe(wish, reading))
    return [_dispatch(tool, f"{' '.join(parts)} {QUOTE} “{text}”", KNOWN) for tool, parts in tasks.items()]


def _dispatch(tool: str, task: str, confidence: float) -> ToolUse:
    return ToolUse(tool, {"task": task, "confidence": confidence})


def describe(wish: Wish, reading: Reading) -> str:
    numbers = wish.order_numbers or reading.order_numbers
    names = [f"order {number}" for number in numbers]
    orders = (
        " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
        or "an order whose number is not known"
    )
    amount = f" of {reading.amount:.2f} euros" if reading.amount is not None else ""
    if kind_of(wish, reading) == PAY_OUT:
        return f"Refund {reading.amount:.2f} euros on {orders}."
    return DOING[wish.intent].format(orders=orders, amount=amount) + "."


CORRECTING = frozenset(
    "sorry oh oops no not i mean meant it its is was the order number wrong instead rather please".split()
)


def _only_corrects(text: str) -> bool:
    """`sorry, I meant order 1043` asks for nothing of its own."""
    words = re.findall(r"[a-z]+", text.lower().replace("'", ""))
    return bool(words) and bool(re.search(r"\d", text)) and CORRECTING.issuperset(words)


def _carried_over(conversation: Conversation, reading: Reading) -> list[Wish]:
    """`and 1043?` asks again what was asked before."""
    if not reading.order_numbers or reading.is_foreign or len(tokenize(reading.text)) > 8:
        return []
    for earlier in reversed(conversation.earlier_requests):
        if wishes := read(earlier).wishes:
            return [Wish(wish.intent, reading.order_numbers, reading.text) for wish in wishes[-1:]]
    return []


def _with_answers(conversation: Conversation) -> str:
    """What was asked; after a question, what was answered, about the orders named before.

    The answer stands for itself where it says what is wanted: the request was too vague to be asked about again.
    """
    answers = [str(result.fields.get("answer") or result.text) for result in conversation.results_of(ASK) if result.ok]
    if not answers:
        return conversation.asked
    answer = MEANT.get(answers[-1].strip(), answers[-1].strip())
    numbers = () if read(answer).order_numbers else read(conversation.asked).order_numbers
    alone = " ".join([answer, *(f"Order {number}." for number in numbers)])
    return alone if read(alone).wishes else "\n".join([conversation.asked, answer])


def _without_wish(conversation: Conversation, reading: Reading, owners: list[Owner], text: str) -> Reply:
    """Somebody's special subject, a question back, or a refusal in plain words."""
    if owner := _by_words_alone(text, owners):
        return Reply(tools=(_dispatch(owner.tool, f"{QUOTE} “{text}”", BY_WORDS),))
    if reading.is_foreign or reading.wishes:
        return Reply(_decline(owners))
    if ASK in conversation.tools and not conversation.results_of(ASK):
        return Reply(tools=(ToolUse(ASK, {"question": _question(reading), "candidates": CANDIDATES}),))
    return Reply(f"I am sorry, I still cannot tell what should be done. {_question(reading)}")


CANDIDATES = [
    "Find out where it is",
    "Answer a question about what was ordered",
    "Cancel it",
    "Change the delivery address",
    "Money back",
]


# What a person means who takes a candidate as it is offered.
MEANT = dict(
    zip(
        CANDIDATES,
        (
            "Where is it?",
            "What is in it, and what did it cost?",
            "Cancel it, please.",
            "Please change the delivery address.",
            "I want my money back.",
        ),
        strict=True,
    )
)


def _question(reading: Reading) -> str:
    numbers = " and ".join(str(number) for number in reading.order_numbers)
    return (
        f"What should be done about order {numbers}?"
        if numbers
        else "What would you like us to do, and for which order?"
    )


OFFERS = {
    Intent.WHERE: "find out where an order is",
    Intent.DETAILS: "answer questions about it",
    Intent.CANCEL: "cancel it",
    Intent.ADDRESS: "change its delivery address",
    CHECK_MONEY: "look into complaints and money back",
    Intent.WRITE: "write to its customer",
}  # fmt: skip


def _decline(owners: list[Owner]) -> str:
    """Names what this desk can do, and only what somebody here owns."""
    offers = [offer for kind, offer in OFFERS.items() if any(_intent_fit(kind, owner) >= 0.5 for owner in owners)]
    can = f" For an order of our shop I can have somebody {prose.joined_or(offers)}." if offers else ""
    return f"I am sorry, that is nothing this desk can help with.{can}"


def _relay(conversation: Conversation) -> str:
    """What the agents answered, in the order they were asked."""
    said = []
    for result in conversation.results:
        if result.tool.startswith(PREFIX):
            fields = result.fields
            said.append(str(fields.get("answer") or fields.get("text") or fields.get("output") or result.text).strip())
    return "\n".join(part for part in said if part) or "The request was passed on."
