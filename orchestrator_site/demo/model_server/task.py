"""What a worker's turn is decided from: its task, its abilities, and what its calls have brought so far."""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from orchestrator_site.demo.model_server import prose
from orchestrator_site.demo.model_server.conversation import Conversation, Result
from orchestrator_site.demo.model_server.reading import Intent, Reading, read
from orchestrator_site.demo.model_server.router import QUOTE
from orchestrator_site.demo.model_server.tokens import stem

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
    task = conversation.asked
    head, _, quote = task.partition(QUOTE)
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


# How the platform introduces an error or a person's no; a customer is told what follows.
PLATFORM_WORDS = re.compile(r"^(?:The tool failed: (?:\w+: )?|Refused by a person: )")


def sentence(result: Result) -> str:
    """The plain sentence of a result, whether it came as text or inside an object."""
    fields = result.fields
    text = str(fields.get("error") or fields.get("detail") or fields.get("message") or result.text).strip()
    text = PLATFORM_WORDS.sub("", re.sub(r"\s+", " ", text))[:400] or "No reason was given"
    return text if text.endswith((".", "!", "?")) else text + "."
