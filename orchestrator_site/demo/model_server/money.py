"""Whether the whole price is wanted back or a part of it."""

from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache

from orchestrator_site.demo.model_server import cues, vocabulary
from orchestrator_site.demo.model_server.clauses import unnegated
from orchestrator_site.demo.model_server.intents import Intent, Wish
from orchestrator_site.demo.model_server.tokens import Token, stem


def wants_all(tokens: Sequence[Token]) -> bool:
    """`in full`, but not `not the whole order`, `20 percent` or `I paid the full price`."""
    if any(token.kind == "percent" or token.stem == "percent" for token in tokens):
        return False
    if cues.any_of(["pay full price", "pay the full|total price"], tokens):
        return False
    hits = (unnegated(phrase, tokens) for phrase in vocabulary.FULL)
    return any(hit is not None and not _is_figure_of_speech(tokens, hit) for hit in hits)


BEFORE_ALL = {"after", "at", "first", "abov"}
AFTER_ALL = {
    stem(word) for word in "was fine else day night week over right okay ok good well broken except but bar".split()
}


def _is_figure_of_speech(tokens: Sequence[Token], hit: cues.Found) -> bool:
    """`after all`, `all day`, `everything was fine`, `everything but the lid`."""
    before = tokens[hit.start - 1].stem if hit.start else ""
    after = tokens[hit.end].stem if hit.end < len(tokens) else ""
    return before in BEFORE_ALL or after in AFTER_ALL


def names_a_part(tokens: Sequence[Token]) -> bool:
    return (
        any(token.kind == "percent" for token in tokens)
        or cues.any_of(vocabulary.PART, tokens)
        or _names_an_item(tokens)
    )


def _names_an_item(tokens: Sequence[Token]) -> bool:
    """`refund the teapot from 1071`: one thing of the order, not the order or its buyer."""
    for phrase in vocabulary.REFUND_OF:
        for hit in cues.find_all(phrase, tokens):
            noun = tokens[hit.end].stem if hit.end < len(tokens) and tokens[hit.end].kind == "word" else ""
            if noun and noun not in _not_items():
                return True
    return False


@lru_cache(maxsize=1)
def _not_items() -> frozenset[str]:
    return frozenset(stem(word) for word in vocabulary.NOT_ITEMS)


def money_kind(wish: Wish, amount: Decimal | None, wants_all: bool, part: bool) -> Wish:
    if wish.intent is not Intent.REFUND or wants_all or not (part or amount is not None):
        return wish
    return Wish(Intent.PARTIAL_REFUND, wish.order_numbers, wish.text)


def fraction(tokens: Sequence[Token]) -> Decimal | None:
    for at, token in enumerate(tokens):
        if token.kind == "percent" or token.stem == "percent":
            if at and tokens[at - 1].kind in {"number", "decimal", "code"} and tokens[at - 1].text.isdigit():
                return Decimal(tokens[at - 1].text) / 100
        elif token.kind == "word" and token.text.lower() in vocabulary.FRACTIONS:
            return Decimal(vocabulary.FRACTIONS[token.text.lower()])
    return None
