"""What a text asks of the desk: wishes, order numbers, money, an address.

`read(text)` gives a `Reading` in three steps: what is plain to see (`hints`: figures, clauses, cues), what all of it
together speaks for (`scorer`), and the wishes that follow from that.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache

from orchestrator_site.demo.model_server import addresses, money, scorer, sums
from orchestrator_site.demo.model_server.clauses import Clause
from orchestrator_site.demo.model_server.hints import Hints, hints_in, numbers_of
from orchestrator_site.demo.model_server.intents import ACTIONS, MONEY, QUESTIONS, Intent, Wish
from orchestrator_site.demo.model_server.spelling import spaced
from orchestrator_site.demo.model_server.tokens import tokenize

__all__ = ["ACTIONS", "MONEY", "QUESTIONS", "Intent", "Reading", "Wish", "read"]
MULTI, AMBIGUOUS, FOREIGN = "multi", "ambiguous", "out_of_scope"
SURE, PLAIN = 0.5, 0.7  # how likely a clause's wish must be to count as one of several, or to make them several
POSSIBLE = 0.1  # how likely it must be of the whole text that it has several wishes


@dataclass(frozen=True)
class Reading:
    text: str
    wishes: tuple[Wish, ...] = ()
    order_numbers: tuple[int, ...] = ()
    amount: Decimal | None = None
    fraction: Decimal | None = None
    wants_all: bool = False
    complains: bool = False
    is_foreign: bool = False
    email: str = ""
    name: str = ""
    product: str = ""
    address: dict[str, str] = field(default_factory=dict)

    @property
    def intents(self) -> tuple[Intent, ...]:
        return tuple(dict.fromkeys(wish.intent for wish in self.wishes))

    @property
    def label(self) -> str:
        """One word for the whole: the intent, `multi`, `ambiguous` or `out_of_scope`."""
        if self.is_foreign:
            return FOREIGN
        if len(self.intents) == 1:
            return self.intents[0].value
        return MULTI if self.intents else AMBIGUOUS


@lru_cache(maxsize=2000)
def read(text: str) -> Reading:
    text = spaced(text)
    hints = hints_in(text, tokenize(text))
    label = _label(hints)
    wishes = _wishes(hints, label)
    wants_all, part = money.wants_all(hints.tokens), money.names_a_part(hints.tokens)
    amount = sums.stated_amount(hints.tokens, hints.orders, part=part)
    wishes = [money.money_kind(wish, amount, wants_all, part) for wish in wishes]
    is_partial = any(wish.intent is Intent.PARTIAL_REFUND for wish in wishes)
    return Reading(
        text=text,
        wishes=tuple(wishes),
        order_numbers=() if label == FOREIGN else hints.numbers,
        amount=amount if is_partial else None,
        fraction=money.fraction(hints.tokens) if is_partial else None,
        wants_all=wants_all,
        complains=hints.complains,
        is_foreign=label == FOREIGN,
        email=addresses.email_address(text),
        name=addresses.person_name(text),
        product=addresses.product(text),
        address=hints.address.fields if hints.address else {},
    )


def _label(hints: Hints) -> str:
    if not any(token.kind == "word" for token in hints.tokens):
        return AMBIGUOUS
    likely = scorer.likelihoods(hints)
    best = max(likely, key=lambda label: likely[label])
    return MULTI if likely[MULTI] >= POSSIBLE and best not in {AMBIGUOUS, FOREIGN} and _acts_twice(hints) else best


def _acts_twice(hints: Hints) -> bool:
    """Two clauses that each, alone, plainly ask for something else, one of them at least for an act."""
    if len(hints.clauses) < 2:
        return False
    found = {
        label
        for clause in hints.clauses
        if (label := _label_of(clause, hints, PLAIN)) and (label in ACTIONS or (label in QUESTIONS and clause.asks))
    }
    return len(found) > 1 and bool(found & set(ACTIONS))


def _wishes(hints: Hints, label: str) -> list[Wish]:
    if label in {AMBIGUOUS, FOREIGN}:
        return []
    if label == MULTI:
        return _several(hints)
    return [Wish(Intent(label), hints.numbers, hints.text)]


def _several(hints: Hints) -> list[Wish]:
    """The wishes the cues found, when there are two; else each clause is weighed by itself."""
    if len({wish.intent for wish in hints.wishes}) > 1:
        return hints.wishes
    found: dict[str, Wish] = {}
    for clause in hints.clauses:
        label = _label_of(clause, hints)
        if label and label not in found:
            start, end = clause.text_span
            numbers = numbers_of(clause, hints.clauses, hints.orders)
            found[label] = Wish(Intent(label), numbers, hints.text[start:end].strip(" ,;-–"))
    return list(found.values()) or [_likeliest(hints)]


def _label_of(clause: Clause, hints: Hints, least: float = SURE) -> str:
    start, end = clause.text_span
    likely = scorer.likelihoods(_alone(hints.text[start:end]))
    best = max(likely, key=lambda label: likely[label])
    return best if likely[best] >= least and best not in {MULTI, AMBIGUOUS, FOREIGN} else ""


def _alone(text: str) -> Hints:
    return hints_in(text, tokenize(text))


def _likeliest(hints: Hints) -> Wish:
    likely = scorer.likelihoods(hints)
    intents = [label for label in likely if label not in {MULTI, AMBIGUOUS, FOREIGN}]
    return Wish(Intent(max(intents, key=lambda label: likely[label])), hints.numbers, hints.text)
