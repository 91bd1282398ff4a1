"""A text cut into clauses, and how loudly the cues of each clause speak for each intent (see `vocabulary`)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from orchestrator_site.demo.model_server import cues, figures, vocabulary
from orchestrator_site.demo.model_server.intents import ACTIONS, MONEY, QUESTIONS, Intent
from orchestrator_site.demo.model_server.tokens import Token, stem


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


def split_into_clauses(tokens: Sequence[Token]) -> list[Clause]:
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


def score(clause: Clause, address_span: tuple[int, int] | None, order_count: int) -> None:
    for name, strengths in vocabulary.CUES.items():
        intent = Intent(name)
        for strength, phrases in strengths.items():
            for phrase in phrases:
                hit = unnegated(phrase, clause.tokens)
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


def unnegated(phrase: str, tokens: Sequence[Token]) -> cues.Found | None:
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


def take_back(tokens: Sequence[Token], clauses: list[Clause]) -> None:
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


def score_sums(clauses: list[Clause], places: list[int]) -> None:
    for clause in clauses:
        for at in places:
            if clause.offset <= at < clause.offset + len(clause.tokens) and not any(
                intent in clause.scores for intent in ACTIONS
            ):
                clause.scores[Intent.REFUND], clause.hits[Intent.REFUND] = 3, at - clause.offset
