"""What the cues alone take for the wishes of a text: the strongest hint, which `scorer` weighs with all others.

Beside something to do, a complaint or a remark on delivery is only the story; the rules for that are here.
"""

from dataclasses import dataclass
from functools import cached_property

from orchestrator_site.demo.model_server import addresses, cues, figures, scope, sums
from orchestrator_site.demo.model_server.clauses import Clause, score, score_sums, split_into_clauses, take_back
from orchestrator_site.demo.model_server.intents import ACTIONS, QUESTIONS, Intent, Wish
from orchestrator_site.demo.model_server.tokens import Token


@dataclass
class Hints:
    """A text with everything that is plain to see in it: figures, address, scored clauses."""

    text: str
    tokens: list[Token]
    address: addresses.PostalAddress | None
    orders: list[figures.Mention]
    clauses: list[Clause]

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(int(mention.value) for mention in self.orders)

    @cached_property
    def wishes(self) -> list[Wish]:
        return _wishes(self.text, self.clauses, self.orders)

    @cached_property
    def complains(self) -> bool:
        return any(clause.scores.get(Intent.COMPLAINT, 0) >= 3 for clause in self.clauses)

    @cached_property
    def is_foreign(self) -> bool:
        return scope.is_foreign(self.tokens, self.wishes, self.numbers, self.complains)

    @property
    def label(self) -> str:
        """`multi`, `ambiguous` or `out_of_scope`, or the one intent, as the cues have it."""
        intents = {wish.intent for wish in self.wishes}
        if self.is_foreign:
            return "out_of_scope"
        return "multi" if len(intents) > 1 else intents.pop() if intents else "ambiguous"


def hints_in(text: str, tokens: list[Token]) -> Hints:
    address = addresses.postal_address(text)
    span = address.span if address else None
    orders = figures.order_mentions(tokens, span)
    clauses = [clause for clause in split_into_clauses(tokens) if clause.tokens]
    for clause in clauses:
        score(clause, span, len(orders))
    score_sums(clauses, sums.asked_back_at(tokens, orders))
    take_back(tokens, clauses)
    return Hints(text, tokens, address, orders, clauses)


def _wishes(text: str, clauses: list[Clause], orders: list[figures.Mention]) -> list[Wish]:
    found: list[tuple[Clause, Intent]] = []
    for clause in clauses:
        found += [(clause, intent) for intent in asked_in(clause)]
    found = _without_story(found)
    wishes: list[Wish] = []
    for clause, intent in found:
        if intent in {wish.intent for wish in wishes}:
            wishes = [_with_more(wish, clause, orders) if wish.intent is intent else wish for wish in wishes]
            continue
        numbers = numbers_of(clause, clauses, orders)
        start, end = clause.text_span
        wishes.append(Wish(intent, numbers, text[start:end].strip(" ,;-–")))
    return wishes


def _with_more(wish: Wish, clause: Clause, orders: list[figures.Mention]) -> Wish:
    own = own_numbers(clause, orders)
    return Wish(wish.intent, tuple(dict.fromkeys([*wish.order_numbers, *own])), wish.text)


def own_numbers(clause: Clause, orders: list[figures.Mention]) -> tuple[int, ...]:
    return tuple(
        int(mention.value) for mention in orders if clause.offset <= mention.at < clause.offset + len(clause.tokens)
    )


def numbers_of(clause: Clause, clauses: list[Clause], orders: list[figures.Mention]) -> tuple[int, ...]:
    """The numbers a clause names, else those named last before it, else the first named after it."""
    if own := own_numbers(clause, orders):
        return own
    position = clauses.index(clause)
    for other in [*reversed(clauses[:position]), *clauses[position + 1 :]]:
        if numbers := own_numbers(other, orders):
            return numbers
    return ()


def asked_in(clause: Clause) -> list[Intent]:
    """What one clause asks for: its actions; without any, its strongest question or complaint."""
    actions = [intent for intent in ACTIONS if clause.scores.get(intent, 0) >= 2]
    if actions:
        return actions
    rest = {intent: score for intent, score in clause.scores.items() if score >= 1}
    if not rest:
        return []
    order = [Intent.COMPARE, Intent.COMPLAINT, Intent.WHERE, Intent.DETAILS]
    if clause.asks and rest.get(Intent.DETAILS, 0) >= 3 and _asks_for_content(clause):
        order = [Intent.COMPARE, Intent.DETAILS, Intent.COMPLAINT, Intent.WHERE]
    return [max(rest, key=lambda intent: (rest[intent], -order.index(intent)))]


def _asks_for_content(clause: Clause) -> bool:
    return bool(cues.find("what|which|many|much|contents|invoice|total|price", clause.tokens)) and not cues.find(
        "when|where", clause.tokens[:3]
    )


def _without_story(found: list[tuple[Clause, Intent]]) -> list[tuple[Clause, Intent]]:
    """Beside something to do, a complaint or a remark on delivery is only the reason; a real question stays."""
    if any(intent in ACTIONS for _, intent in found):
        return [
            (clause, intent)
            for clause, intent in found
            if intent in ACTIONS or (intent in QUESTIONS and clause.asks and clause.scores.get(intent, 0) >= 3)
        ]
    intents = {intent for _, intent in found}
    if len(intents) < 2:
        return found
    if Intent.COMPARE in intents:
        return [(clause, intent) for clause, intent in found if intent is Intent.COMPARE]
    strong = [(clause, intent) for clause, intent in found if clause.scores[intent] >= 3]
    if Intent.COMPLAINT in {intent for _, intent in strong}:
        return [(clause, intent) for clause, intent in found if intent is Intent.COMPLAINT]
    asked = [(clause, intent) for clause, intent in strong if clause.asks]
    return asked or strong or found[:1]
