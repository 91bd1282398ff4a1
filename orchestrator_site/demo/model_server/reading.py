"""What a text asks of the desk: intents, order numbers, money, addresses, corrections and negations.

`read(text)` gives a `Reading`. It is built from tables (`vocabulary`) in four steps: tokens, figures, clauses, and the
rules that say which of several hints is the wish and which only its story.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache

from orchestrator_site.demo.model_server import addresses, cues, figures, vocabulary
from orchestrator_site.demo.model_server.tokens import Token, stem, tokenize


class Intent(StrEnum):
    WHERE = "where_is_it"
    DETAILS = "order_details"
    COMPARE = "compare_orders"
    COMPLAINT = "complaint"
    REFUND = "refund"
    PARTIAL_REFUND = "partial_refund"
    CANCEL = "cancel"
    ADDRESS = "change_address"
    WRITE = "write_customer"


ACTIONS = (Intent.REFUND, Intent.PARTIAL_REFUND, Intent.CANCEL, Intent.ADDRESS, Intent.WRITE)
QUESTIONS = (Intent.WHERE, Intent.DETAILS, Intent.COMPARE)
MONEY = (Intent.REFUND, Intent.PARTIAL_REFUND)


@dataclass(frozen=True)
class Wish:
    """One thing asked for, in the words of its clause."""

    intent: Intent
    order_numbers: tuple[int, ...]
    text: str


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
            return "out_of_scope"
        if len(self.intents) == 1:
            return self.intents[0].value
        return "multi" if self.intents else "ambiguous"


@dataclass
class Clause:
    """A stretch of tokens that asks for one thing, or tells a part of the story."""

    tokens: list[Token]
    offset: int  # position of the first token in the whole row
    asks: bool = False
    scores: dict[Intent, int] = field(default_factory=dict)
    hits: dict[Intent, int] = field(default_factory=dict)  # where the first cue of an intent stands

    @property
    def text_span(self) -> tuple[int, int]:
        return self.tokens[0].start, self.tokens[-1].end


def read(text: str) -> Reading:
    text = _spaced(text)
    tokens = tokenize(text)
    address = addresses.postal_address(text)
    orders = figures.order_mentions(tokens, address.span if address else None)
    clauses = [clause for clause in _clauses(tokens) if clause.tokens]
    for clause in clauses:
        _score(clause, address.span if address else None, len(orders))
    _score_sums(clauses, figures.asked_back_at(tokens, orders))
    _take_back(tokens, clauses)
    wants_all, part = _wants_all(tokens), _names_a_part(tokens)
    amount = figures.stated_amount(tokens, orders, part=part)
    wishes = _wishes(text, clauses, orders, tokens)
    wishes = wishes or _by_default(clauses, tokens, orders)
    wishes = [_money_kind(wish, amount, wants_all, part) for wish in wishes]
    is_partial = any(wish.intent is Intent.PARTIAL_REFUND for wish in wishes)
    complains = any(clause.scores.get(Intent.COMPLAINT, 0) >= 3 for clause in clauses)
    numbers = tuple(int(mention.value) for mention in orders)
    foreign = _is_foreign(tokens, wishes, numbers, complains)
    return Reading(
        text=text,
        wishes=() if foreign else tuple(wishes),
        order_numbers=() if foreign else numbers,
        amount=amount if is_partial and not foreign else None,
        fraction=_fraction(tokens) if is_partial else None,
        wants_all=wants_all,
        complains=complains,
        is_foreign=foreign,
        email=addresses.email_address(text),
        name=addresses.person_name(text),
        product=addresses.product(text),
        address=address.fields if address else {},
    )


# Clauses


def _clauses(tokens: Sequence[Token]) -> list[Clause]:
    """Cut at the end of a sentence, and before `and`, a comma or `then` where what follows starts a new request."""
    starters = _starter_stems()
    clauses, current = [], Clause([], 0)
    for at, token in enumerate(tokens):
        if token.kind == "stop" and not _is_abbreviation(tokens, at):
            current.asks = current.asks or "?" in token.text
            clauses.append(current)
            current = Clause([], at + 1)
        elif current.tokens and _joins_clauses(token) and _starts_request(tokens, at + 1, starters):
            clauses.append(current)
            current = Clause([], at + 1)
        else:
            current.tokens.append(token)
    clauses.append(current)
    for clause in clauses:
        clause.asks = clause.asks or _asks(clause.tokens)
    return clauses


@lru_cache(maxsize=1)
def _starter_stems() -> frozenset[str]:
    return frozenset(stem(word) for word in vocabulary.ACTION_STARTERS)


def _is_abbreviation(tokens: Sequence[Token], at: int) -> bool:
    before = tokens[at - 1] if at else None
    return (
        tokens[at].text == "."
        and before is not None
        and before.text.lower() in {"no", "nr", "mr", "mrs", "ms", "dr", "st", "rd", "approx", "str", "ord", "ref"}
    )


def _joins_clauses(token: Token) -> bool:
    return token.kind == "comma" or token.stem in {"and", "then", "but", "also", "plus"}


def _starts_request(tokens: Sequence[Token], at: int, starters: frozenset[str]) -> bool:
    skipped = {"pleas", "please", "then", "also", "now", "just", "so", "and", "kind", "instead", "but", "maybe"}
    while at < len(tokens) and tokens[at].stem in skipped:
        at += 1
    return at < len(tokens) and tokens[at].kind == "word" and tokens[at].stem in starters


def _asks(tokens: Sequence[Token]) -> bool:
    words = [
        token.stem
        for token in tokens
        if token.kind == "word"
        and token.stem
        not in {
            "pleas",
            "hi",
            "hello",
            "hey",
            "and",
            "also",
            "then",
            "but",
            "so",
            "could",
            "can",
            "would",
            "you",
            "kind",
            "i",
            "want",
            "to",
            "know",
            "ne",
            "need",
            "me",
        }
    ]
    return bool(words) and words[0] in {stem(word) for word in vocabulary.ASKING}


# Intents


def _score(clause: Clause, address_span: tuple[int, int] | None, order_count: int) -> None:
    for name, strengths in vocabulary.CUES.items():
        intent = Intent(name)
        for strength, phrases in strengths.items():
            for phrase in phrases:
                hit = _unnegated(phrase, clause.tokens)
                if hit is None:
                    continue
                clause.scores[intent] = max(clause.scores.get(intent, 0), strength)
                clause.hits[intent] = min(clause.hits.get(intent, 999), hit.start)
    if order_count < 2:
        clause.scores.pop(Intent.COMPARE, None)
    start, end = clause.text_span
    if address_span and start <= address_span[0] < end:
        # A street with a house number is where the parcel shall go, whatever the words around it.
        clause.scores[Intent.ADDRESS] = 3
        clause.hits[Intent.ADDRESS] = min(clause.hits.get(Intent.ADDRESS, 999), len(clause.tokens) - 1)
    _settle(clause, bool(address_span))


def _unnegated(phrase: str, tokens: Sequence[Token]) -> cues.Found | None:
    for hit in cues.find_all(phrase, tokens):
        if not _is_negated(tokens, hit, phrase):
            return hit
    return None


def _is_negated(tokens: Sequence[Token], hit: cues.Found, phrase: str) -> bool:
    """`do not cancel`, `instead of cancelling`, `no refund`; not `has not arrived`, whose cue holds the word itself."""
    if any(token.stem in vocabulary.NEGATORS | {"no"} for token in tokens[hit.start : hit.end]) or phrase.startswith(
        "no"
    ):
        return False
    before = tokens[max(0, hit.start - 4) : hit.start]
    for position in range(len(before) - 1, -1, -1):
        token = before[position]
        if token.kind in {"comma", "stop"}:
            return False
        if (
            token.stem in {"instead", "rather"}
            and position + 1 < len(before)
            and before[position + 1].stem in {"of", "than"}
        ):
            return True
        if token.stem in vocabulary.NEGATORS:
            helper = before[position - 1].stem if position else (tokens[hit.start - 5].stem if hit.start >= 5 else "")
            return helper not in {"have", "be", "why", "can", "could", "ha"}
        if token.stem == "no" and position == len(before) - 1:
            return True
    return False


def _settle(clause: Clause, has_address: bool) -> None:
    """Which of several hints inside one clause counts."""
    scores, hits = clause.scores, clause.hits
    if Intent.ADDRESS in scores and not has_address and _only_asks_for_address(clause):
        scores.pop(Intent.ADDRESS)
    if Intent.ADDRESS in scores and not has_address and not _says_address(clause):
        scores.pop(Intent.ADDRESS)
    if Intent.COMPARE in scores and clause.asks:
        scores.pop(Intent.ADDRESS, None)
    if Intent.WRITE in scores and not _writes(clause):
        scores.pop(Intent.WRITE)
    if Intent.WRITE in scores:
        # What a letter is to say is no wish of its own; what stands before it may be.
        for other in [other for other in scores if other is not Intent.WRITE]:
            if hits[other] >= hits[Intent.WRITE] or other in QUESTIONS or other is Intent.COMPLAINT:
                scores.pop(other)
    if Intent.CANCEL in scores and any(intent in scores for intent in MONEY) and _only_story_of_cancelling(clause):
        scores.pop(Intent.CANCEL)


def _only_asks_for_address(clause: Clause) -> bool:
    changing = {
        stem(word)
        for word in "change new wrong correct amend update moved move redirect instead alter edit fix switch different another should divert reroute deliver send ship".split()
    }
    return clause.asks and not any(token.stem in changing for token in clause.tokens)


def _says_address(clause: Clause) -> bool:
    """Without an address written out, `go to` and `send to me` are too little."""
    if not clause.asks and cues.find(
        "send|ship|deliver|redirect|bring * to the|my|our|a|her|his|another|someone|somewhere", clause.tokens
    ):
        return not cues.find("to the|a customer|client|buyer", clause.tokens)
    spoken = {
        stem(word)
        for word in "address postcode postal zip street redirect reroute house flat office work neighbour neighbor mum mom sister brother parents divert moved move apartment door home workplace relocate forward place location destination somewhere hotel locker pickup live stay building town city".split()
    }
    return any(token.stem in spoken for token in clause.tokens)


def _writes(clause: Clause) -> bool:
    """A letter is asked for; `write it down` and `my e-mail address is` are not letters."""
    stems = [token.stem for token in clause.tokens]
    if cues.find("write it down", clause.tokens) or cues.find(
        "write me a poem|story|song|essay|haiku|limerick|script|program", clause.tokens
    ):
        return False
    story = [
        "my email",
        "email be",
        "i email",
        "i write",
        "i have write",
        "your email|mail|message|letter",
        "we email",
        "email address",
        "by mail",
        "get|receive * email|mail|message|letter",
        "not reply",
        "no reply|answer",
        "mail man",
        "in the mail",
        "i already write|email|mail",
        "the email say",
        "email you",
    ]
    asked = [
        "write",
        "send",
        "draft",
        "compos",
        "drop",
        "let",
        "tell",
        "inform",
        "notif",
        "reply",
        "apolog",
        "thank",
        "ne",
        "need",
        "contact",
        "want",
        "pleas",
    ]
    return not (
        cues.any_of(story, clause.tokens)
        and not any(
            word in stems for word in ("draft", "compos", "inform", "notif", "tell", "letter") if word != "letter"
        )
    ) or (
        any(
            cues.find(phrase, clause.tokens)
            for phrase in (
                "send * email|mail|letter|message",
                "write to",
                "write * customer|client|buyer",
                "draft",
                "compose",
            )
        )
        and bool(asked)
    )


def _only_story_of_cancelling(clause: Clause) -> bool:
    return bool(cues.find("be|have|get|i cancel", clause.tokens)) or cues.any_of(
        [
            "not want|need",
            "no longer want|need",
            "change * mind",
            "by mistake",
            "by accident",
            "not send",
            "not deliver",
        ],
        clause.tokens,
    )


def _take_back(tokens: Sequence[Token], clauses: list[Clause]) -> None:
    """`cancel 1042, actually no, just change the address`: a wish given after a correction replaces the one before it."""
    strong = [
        hit
        for hit, reach in figures.corrections_in(tokens)
        if reach == figures.FAR or tokens[hit.start].stem in {stem("actually"), "no", "rather"}
    ]
    for hit in strong:
        later = [
            clause for clause in clauses if clause.offset + len(clause.tokens) > hit.start and _acts(clause, hit.end)
        ]
        earlier = [clause for clause in clauses if clause.offset <= hit.start and _acts(clause, 0)]
        if later and earlier and earlier[-1] is not later[0] and _follows_closely(hit, later[0]):
            for intent in ACTIONS:
                earlier[-1].scores.pop(intent, None)


def _acts(clause: Clause, after: int) -> bool:
    return any(clause.scores.get(intent, 0) >= 3 and clause.offset + clause.hits[intent] >= after for intent in ACTIONS)


def _follows_closely(hit: cues.Found, clause: Clause) -> bool:
    first = min(clause.offset + clause.hits[intent] for intent in ACTIONS if intent in clause.scores)
    return hit.end <= first <= hit.end + 4


def _wishes(text: str, clauses: list[Clause], orders: list[figures.Mention], tokens: Sequence[Token]) -> list[Wish]:
    found: list[tuple[Clause, Intent]] = []
    for clause in clauses:
        found += [(clause, intent) for intent in _asked_in(clause)]
    found = _without_story(found)
    wishes: list[Wish] = []
    for clause, intent in found:
        if intent in {wish.intent for wish in wishes}:
            wishes = [_with_more(wish, clause, orders) if wish.intent is intent else wish for wish in wishes]
            continue
        numbers = _numbers_of(clause, clauses, orders)
        start, end = clause.text_span
        wishes.append(Wish(intent, numbers, text[start:end].strip(" ,;-–")))
    return wishes


def _score_sums(clauses: list[Clause], places: list[int]) -> None:
    for clause in clauses:
        for at in places:
            if clause.offset <= at < clause.offset + len(clause.tokens) and not any(
                intent in clause.scores for intent in ACTIONS
            ):
                clause.scores[Intent.REFUND], clause.hits[Intent.REFUND] = 3, at - clause.offset


def _by_default(clauses: list[Clause], tokens: Sequence[Token], orders: list[figures.Mention]) -> list[Wish]:
    """No cue at all, but an order and several words of its own: told, it is a complaint; asked, a question about details."""
    unknown = _unknown([token for token in tokens if token.kind == "word"])
    if not orders or (not figures.is_named(tokens) and len(unknown) < 3):
        return []
    asked = [clause for clause in clauses if clause.asks]
    if len(unknown) < 2:
        return []
    numbers = tuple(int(mention.value) for mention in orders)
    return [Wish(Intent.DETAILS if asked else Intent.COMPLAINT, numbers, " ".join(token.text for token in tokens))]


def _with_more(wish: Wish, clause: Clause, orders: list[figures.Mention]) -> Wish:
    own = _own_numbers(clause, orders)
    return Wish(wish.intent, tuple(dict.fromkeys([*wish.order_numbers, *own])), wish.text)


def _own_numbers(clause: Clause, orders: list[figures.Mention]) -> tuple[int, ...]:
    return tuple(
        int(mention.value) for mention in orders if clause.offset <= mention.at < clause.offset + len(clause.tokens)
    )


def _numbers_of(clause: Clause, clauses: list[Clause], orders: list[figures.Mention]) -> tuple[int, ...]:
    """The numbers a clause names, else those named last before it, else the first named after it."""
    if own := _own_numbers(clause, orders):
        return own
    position = clauses.index(clause)
    for other in [*reversed(clauses[:position]), *clauses[position + 1 :]]:
        if numbers := _own_numbers(other, orders):
            return numbers
    return ()


def _asked_in(clause: Clause) -> list[Intent]:
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


# Money


def _wants_all(tokens: Sequence[Token]) -> bool:
    """`in full`, but not `not the whole order`, `20 percent` or `I paid the full price`."""
    if any(token.kind == "percent" or token.stem == "percent" for token in tokens):
        return False
    if cues.any_of(["pay full price", "pay the full|total price"], tokens):
        return False
    return any(_unnegated(phrase, tokens) for phrase in vocabulary.FULL)


def _names_a_part(tokens: Sequence[Token]) -> bool:
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


def _money_kind(wish: Wish, amount: Decimal | None, wants_all: bool, part: bool) -> Wish:
    if wish.intent is not Intent.REFUND or wants_all or not (part or amount is not None):
        return wish
    return Wish(Intent.PARTIAL_REFUND, wish.order_numbers, wish.text)


def _fraction(tokens: Sequence[Token]) -> Decimal | None:
    for at, token in enumerate(tokens):
        if token.kind == "percent" or token.stem == "percent":
            if at and tokens[at - 1].kind in {"number", "decimal", "code"} and tokens[at - 1].text.isdigit():
                return Decimal(tokens[at - 1].text) / 100
        elif token.kind == "word" and token.text.lower() in vocabulary.FRACTIONS:
            return Decimal(vocabulary.FRACTIONS[token.text.lower()])
    return None


# Scope


def _is_foreign(tokens: Sequence[Token], wishes: Sequence[Wish], numbers: Sequence[int], complains: bool) -> bool:
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
        return not _speaks_of_orders(words, wishes) and bool(foreign or len(_unknown(words)) >= 3)
    return not _only_desk_talk(words)


def _foreign_words(plain: set[str]) -> set[str]:
    singular = {word.removesuffix("s") for word in plain}
    return {word for word in vocabulary.FOREIGN if word in plain or word in singular}


@lru_cache(maxsize=1)
def _desk_stems() -> frozenset[str]:
    return frozenset(stem(word) for word in vocabulary.DESK_WORDS)


def _unknown(words: Sequence[Token]) -> list[str]:
    return [token.stem for token in words if token.stem not in _desk_stems()]


def _speaks_of_orders(words: Sequence[Token], wishes: Sequence[Wish]) -> bool:
    goods = {
        stem(word)
        for word in "order parcel package delivery purchase shipment refund cancel item bought arrived money customer ordered product delivered address box stuff".split()
    }
    return any(token.stem in goods for token in words)


def _only_desk_talk(words: Sequence[Token]) -> bool:
    """Vague, but about this desk's business."""
    unknown = _unknown(words)
    about = {stem(word) for word in "order parcel package delivery purchase shipment refund item".split()}
    if any(token.stem in about for token in words):
        return len(unknown) <= 4
    return len(unknown) <= 1


def _spaced(text: str) -> str:
    """`20eur`, `order1042` and `no1042` as two words."""
    text = re.sub(r"(\d)(?=(?:eur|euros?|usd|gbp|quid|pounds?)\b)", r"\1 ", text, flags=re.IGNORECASE)
    return re.sub(r"\b(order|ordr|no|nr|ord|num|number)[.:-]?(?=\d{3,6}\b)", r"\1 ", text, flags=re.IGNORECASE)
