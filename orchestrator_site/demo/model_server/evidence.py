"""What speaks for one intent or another in a text, as named pieces of evidence that a scorer can weigh.

`w:` a word's stem, `b:` two neighbours, `c:` a word's class (see `lexicon`), `p:` two classes within three words, `both:` two topics
anywhere, `cue:` a
cue and its strength, `hint:` what the cues make of it all. `#` is an order number, `€` a sum, `@` an address.
"""

from collections.abc import Iterator
from itertools import combinations, pairwise

from orchestrator_site.demo.model_server import figures, lexicon, scope, sums
from orchestrator_site.demo.model_server.hints import Hints
from orchestrator_site.demo.model_server.intents import MONEY
from orchestrator_site.demo.model_server.tokens import Token

REACH = 3  # words within which two classes are a pair
MARKS = {"#", "€", "@", "?"}
TOPICS = {
    "refund",
    "cancel",
    "place",
    "redirect",
    "letter",
    "travel",
    "contents",
    "compare",
    "join",
    "damage",
    "person",
}
REFUND = "refund"


def evidence_in(hints: Hints) -> list[str]:
    row = _simplified(hints)
    classes = [lexicon.classes_of(word) or ((word,) if word in MARKS else ()) for word in row]
    found = {*_words(row), *_classes(row, classes), *_cues(hints), *_shape(hints, row)}
    if not hints.orders:
        found |= {f"no order {name}" for name in found if name.startswith("c:")}
    return sorted(found)


def _simplified(hints: Hints) -> list[str]:
    """The text as a row of stems and marks."""
    orders = {mention.at for mention in hints.orders}
    money = {mention.at for mention in sums.sums_in(hints.tokens)} - orders
    row: list[str] = []
    for at, token in enumerate(hints.tokens):
        mark = _mark(hints, token, at, orders, money)
        if mark and not (mark == "@" and row[-1:] == ["@"]):
            row.append(mark)
    return row


def _mark(hints: Hints, token: Token, at: int, orders: set[int], money: set[int]) -> str:
    if hints.address and hints.address.span[0] <= token.start < hints.address.span[1]:
        return "@"
    if at in orders or (token.kind == "number" and figures.FIRST_LIKELY <= token.value <= figures.LAST_LIKELY):
        return "#"
    if at in money:
        return "€"
    if token.kind == "stop":
        return "?" if "?" in token.text else "."
    if token.kind == "comma":
        return ""
    return token.stem if token.kind == "word" else f"<{token.kind}>"


def _words(row: list[str]) -> Iterator[str]:
    yield from (f"w:{word}" for word in row if word != ".")
    yield from (f"b:{first} {second}" for first, second in zip(["^", *row], [*row, "$"], strict=True))


def _classes(row: list[str], classes: list[tuple[str, ...]]) -> Iterator[str]:
    for names in classes:
        yield from (f"c:{name}" for name in names)
    for distance in range(1, REACH + 1):
        for firsts, seconds in zip(classes, classes[distance:], strict=False):
            yield from (f"p:{first} {second}" for first in firsts for second in seconds)
    present = {name for names in classes for name in names} & TOPICS
    yield from (f"both:{first} {second}" for first, second in combinations(sorted(present), 2))
    opening = next((word for word in row if word.isalpha()), "")
    yield from (f"first:{name}" for name in lexicon.classes_of(opening))


def _cues(hints: Hints) -> Iterator[str]:
    yield f"hint:{coarse(hints.label)}"
    for clause in hints.clauses:
        for intent, strength in clause.scores.items():
            yield f"cue:{coarse(intent)}:{strength}"
            if clause.asks:
                yield f"cue asked:{coarse(intent)}"


def _shape(hints: Hints, row: list[str]) -> Iterator[str]:
    words = [word for word in row if word.isalpha()]
    unknown = [word for word in words if word not in scope.desk_stems() and not lexicon.classes_of(word)]
    yield "any text"
    yield f"orders:{min(len(hints.orders), 2)}"
    yield f"named:{figures.is_named(hints.tokens)}"
    yield f"asks:{'?' in row}"
    yield f"length:{min(5, len(words) // 4)}"
    yield f"unknown:{min(4, len(unknown))}"
    yield f"unknown:{min(3, len(unknown))} orders:{min(len(hints.orders), 1)}"
    names = _proper_names(hints.tokens)
    yield f"names:{min(names, 2)} orders:{min(len(hints.orders), 1)}"
    if hints.address:
        yield "address"
    if "€" in row:
        yield "sum"


TITLES = {"mr", "mrs", "ms", "miss", "dr", "for", "i"}


def _proper_names(tokens: list[Token]) -> int:
    """Capitalised words inside a sentence that the desk does not know: often somebody else's business."""
    return sum(
        after.kind == "word"
        and after.text[0].isupper()
        and after.text.lower() not in TITLES
        and before.kind not in {"stop", "comma"}
        and before.text.lower() not in TITLES
        and not (after.stem in scope.desk_stems() or lexicon.classes_of(after.stem))
        for before, after in pairwise(tokens)
    )


def coarse(label: str) -> str:
    """Both kinds of money back are one to the scorer; figures tell them apart."""
    return REFUND if label in MONEY else str(label)
