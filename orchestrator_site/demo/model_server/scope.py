"""Whether a text is this desk's business, by its words: topics no shop has, and words the desk does not know."""

from collections.abc import Sequence
from functools import lru_cache

from orchestrator_site.demo.model_server import figures, vocabulary
from orchestrator_site.demo.model_server.intents import Wish
from orchestrator_site.demo.model_server.tokens import Token, stem


def is_foreign(tokens: Sequence[Token], wishes: Sequence[Wish], numbers: Sequence[int], complains: bool) -> bool:
    """Nothing for this desk: another company's business, or a topic with no order in it."""
    words = [token for token in tokens if token.kind == "word"]
    plain = {token.text.lower() for token in words}
    foreign = _foreign_words(plain)
    anchored = bool(numbers) and (figures.is_named(tokens) or not foreign - vocabulary.HARMLESS_FOREIGN)
    if plain & set(vocabulary.OTHER_COMPANIES) and not anchored:
        return True
    if anchored:
        return False
    if foreign and (not wishes or foreign - vocabulary.HARMLESS_FOREIGN):
        return True
    if wishes or complains:
        return not _speaks_of_orders(words, wishes) and bool(foreign or len(unknown_words(words)) >= 3)
    return not _only_desk_talk(words)


def _foreign_words(plain: set[str]) -> set[str]:
    singular = {word.removesuffix("s") for word in plain}
    return {word for word in vocabulary.FOREIGN if word in plain or word in singular}


@lru_cache(maxsize=1)
def desk_stems() -> frozenset[str]:
    return frozenset(stem(word) for word in vocabulary.DESK_WORDS)


def unknown_words(words: Sequence[Token]) -> list[str]:
    return [token.stem for token in words if token.stem not in desk_stems()]


def _speaks_of_orders(words: Sequence[Token], wishes: Sequence[Wish]) -> bool:
    goods = {
        stem(word)
        for word in "order parcel package delivery purchase shipment refund cancel item bought arrived money customer ordered product delivered address box stuff".split()
    }
    return any(token.stem in goods for token in words)


def _only_desk_talk(words: Sequence[Token]) -> bool:
    """Vague, but about this desk's business."""
    unknown = unknown_words(words)
    about = {stem(word) for word in "order parcel package delivery purchase shipment refund item".split()}
    if any(token.stem in about for token in words):
        return len(unknown) <= 4
    return len(unknown) <= 1
