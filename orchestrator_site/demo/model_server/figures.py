"""The numbers in a text: which are orders, and which of them a correction took back (for sums of money see `sums`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from orchestrator_site.demo.model_server import cues, vocabulary
from orchestrator_site.demo.model_server.tokens import Token, stem

NEAR, FAR = 4, 8  # tokens that may stand between a correction and the number it gives
ORDER_STEMS = {stem(word) for word in "order number no nr purchase reference ref ord num parcel customer".split()}
NOT_ORDERS = {
    stem(word)
    for word in "year line page room model phone tel telephone mobile call ending end card pin zip postcode plz box article item version iban account size door flat apartment unit suite building postal code since consignment tracking highway route flight".split()
}
LABEL_STEMS = {stem(word) for word in "label sticker tag".split()}
EXCLUDING = [
    "not",
    "except",
    "apart from",
    "instead of",
    "rather than",
    "leave",
    "keep",
    "other than",
    "all but",
    "except for",
    "do not touch",
    "but not",
    "never mind",
    "ignore",
    "without",
    "not touch",
]
STAYS = [
    "be fine|ok|okay|right|correct|good|perfect",
    "can|should|may|must stay|remain",
    "stay as",
    "stay",
    "be not affect|concern",
    "arrive fine|safely|ok",
    "be all right",
]
FIRST_LIKELY, LAST_ORDER, LAST_LIKELY = 1000, 1600, 1999
ABBREVIATIONS = {"no", "nr", "num", "ord", "ordr", "ref", "order", "number"}


@dataclass(frozen=True)
class Mention:
    """A number at a place in the row of tokens; `length` tokens long."""

    at: int
    value: Decimal
    length: int = 1

    @property
    def end(self) -> int:
        return self.at + self.length


# Orders


def order_mentions(tokens: Sequence[Token], address_span: tuple[int, int] | None = None) -> list[Mention]:
    """The order numbers that remain after corrections and exclusions, in the order of the text."""
    numbers = [at for at, token in enumerate(tokens) if token.kind == "number" and not _inside(token, address_span)]
    places = [at for at in numbers if _is_order(tokens, at)] or [at for at in numbers if _could_be_order(tokens, at)]
    found = [Mention(at, Decimal(tokens[at].value)) for at in places]
    return [mention for mention in corrected(tokens, found) if not _excluded(tokens, mention, len(found))]


def _inside(token: Token, span: tuple[int, int] | None) -> bool:
    return span is not None and span[0] <= token.start < span[1]


def _is_order(tokens: Sequence[Token], at: int) -> bool:
    token = tokens[at]
    before, after = _around(tokens, at)
    named = before.kind == "hash" or (before.stem in ORDER_STEMS and before.kind == "word")
    if is_money(tokens, at) or after.kind == "percent" or (before.stem in NOT_ORDERS and before.kind == "word"):
        return False
    if len(token.text) != 4:
        return named and 3 <= len(token.text) <= 6 and not _counts_things(after)
    if _in_a_date(tokens, at) or before.stem == "ending" or _is_time(tokens, at):
        return False
    if named or not _titled(after):
        return True
    return FIRST_LIKELY <= token.value <= LAST_LIKELY and not _names_a_street(after)


def _could_be_order(tokens: Sequence[Token], at: int) -> bool:
    """When nothing else in the text is an order: `look at 1266`, `box 1429 is wet`."""
    return (
        len(tokens[at].text) == 4
        and FIRST_LIKELY <= tokens[at].value <= LAST_ORDER
        and not is_money(tokens, at)
        and _around(tokens, at)[1].kind != "percent"
        and not _in_a_date(tokens, at)
        and not _is_time(tokens, at)
    )


def _is_time(tokens: Sequence[Token], at: int) -> bool:
    """`at 1930`, but not `look at 1266`: that is no time of day."""
    before = tokens[at - 1].stem if at else ""
    hour, minute = divmod(tokens[at].value, 100)
    return before == "at" and hour < 24 and minute < 60 and (at < 2 or tokens[at - 2].stem not in {"look", "glanc"})


def is_named(tokens: Sequence[Token]) -> bool:
    """Some number is called an order's in so many words: `order 1042`, `#1042`, `no. 1042`."""
    numbers = [at for at, token in enumerate(tokens) if token.kind == "number"]
    return any(_is_order(tokens, at) and _introduced(tokens, at) for at in numbers)


def _introduced(tokens: Sequence[Token], at: int) -> bool:
    before = _around(tokens, at)[0]
    right_before = tokens[at - 1].stem if at else ""
    return (
        before.kind == "hash"
        or before.stem in ORDER_STEMS
        or right_before in {"in", "from", "on", "for", "cancel", "refund"}
    )


NOTHING = Token("none", "", -1)


def _around(tokens: Sequence[Token], at: int) -> tuple[Token, Token]:
    """The neighbours, looking over a dot or colon before the number, as in `no. 1042` and `order: 1042`."""
    back = at - 1
    while back >= 0 and (
        tokens[back].text in {":", "-"}
        or (tokens[back].text == "." and back and tokens[back - 1].text.lower() in ABBREVIATIONS)
        or (tokens[back].stem == "be" and back == at - 1)
    ):
        back -= 1
    return (tokens[back] if back >= 0 else NOTHING), (tokens[at + 1] if at + 1 < len(tokens) else NOTHING)


def is_money(tokens: Sequence[Token], at: int) -> bool:
    before = tokens[at - 1] if at else NOTHING
    after = tokens[at + 1] if at + 1 < len(tokens) else NOTHING
    marks = {stem(word) for word in vocabulary.CURRENCY}
    return before.kind == "money" or after.kind == "money" or after.stem in marks or _opens_with_currency(tokens, at)


def _opens_with_currency(tokens: Sequence[Token], at: int) -> bool:
    """`EUR 12`, but not the order in `8 eur 1304`: there the currency has its number already."""
    named = at > 0 and tokens[at - 1].stem in {"eur", "usd", "gbp"}
    return named and not (at > 1 and tokens[at - 2].kind in {"number", "decimal"})


def _in_a_date(tokens: Sequence[Token], at: int) -> bool:
    before = tokens[at - 1] if at else NOTHING
    months = {stem(month) for month in vocabulary.MONTHS}
    year_like = 1900 <= tokens[at].value <= 2099
    return year_like and (
        (before.stem in months | {"in", "since", "from", "of", "year"} and before.kind == "word")
        or before.kind == "ordinal"
    )


def _titled(token: Token) -> bool:
    return token.kind == "word" and token.text[:1].isupper()


def _names_a_street(after: Token) -> bool:
    return _titled(after) and after.text.lower().endswith(vocabulary.STREET_ENDINGS)


def _counts_things(after: Token) -> bool:
    return after.stem in {stem(word) for word in "day week month time item piece euro hour minute".split()}


def _excluded(tokens: Sequence[Token], mention: Mention, count: int) -> bool:
    window = [token for token in tokens[max(0, mention.at - 4) : mention.at] if token.kind in {"word", "stop", "comma"}]
    for token in reversed(window):
        if token.kind != "word":
            window = window[window.index(token) + 1 :]
            break
    if count > 1 and any(_ends_with(cue, window) for cue in EXCLUDING):
        return True
    if count > 1 and any(hit.start == 0 for cue in STAYS for hit in cues.find_all(cue, tokens[mention.end :])):
        return True
    around = tokens[max(0, mention.at - 6) : mention.at]
    return count > 1 and any(token.stem in LABEL_STEMS for token in around)


def _ends_with(cue: str, window: Sequence[Token]) -> bool:
    """The cue stands right before the number, with nothing but `order`, `no` or `the` between."""
    hit = cues.find(cue, window)
    return hit is not None and all(token.stem in ORDER_STEMS | {"the", "for", "on"} for token in window[hit.end :])


# Corrections


@lru_cache(maxsize=1)
def _markers() -> tuple[tuple[str, int], ...]:
    return tuple((phrase, FAR if far else NEAR) for phrase, far in vocabulary.CORRECTIONS)


TRAILING = ["# rather", "# i mean", "# it be", "# be right|correct|it", "# that be", "# actually", "# sorry"]


def _trailing(tokens: Sequence[Token], mentions: list[Mention]) -> list[Mention]:
    """`Cancel 1409. Hm, 1490 rather.`: a sentence of nothing but a number and a word that sets it right."""
    wrong: list[Mention] = []
    for cue in TRAILING:
        for hit in cues.find_all(cue, tokens):
            right = next((mention for mention in mentions if mention.at == hit.start), None)
            earlier = [mention for mention in mentions if mention.at < hit.start]
            if right and earlier and _stands_alone(tokens, hit):
                wrong.append(earlier[-1])
    return [mention for mention in mentions if mention not in wrong]


def _stands_alone(tokens: Sequence[Token], hit: cues.Found) -> bool:
    start = hit.start
    while start and tokens[start - 1].kind != "stop":
        start -= 1
    ends = hit.end >= len(tokens) or tokens[hit.end].kind in {"stop", "comma"}
    return start > 0 and ends and _only_fillers(tokens[start : hit.start])


def corrections_in(tokens: Sequence[Token]) -> list[tuple[cues.Found, int]]:
    """Where the text takes something back, and within how many tokens the right thing must follow."""
    taken: list[tuple[cues.Found, int]] = []
    for phrase, reach in _markers():
        for hit in cues.find_all(phrase, tokens):
            if any(other.start <= hit.start < other.end for other, _ in taken):
                continue
            if reach == FAR or _breaks_off(tokens, hit):
                taken.append((hit, reach))
    return sorted(taken, key=lambda item: item[0].start)


def _breaks_off(tokens: Sequence[Token], hit: cues.Found) -> bool:
    """A weak word such as `no` or `wait` takes back only right after a number or a break: not in `and no. 1043`."""
    before = tokens[hit.start - 1] if hit.start else NOTHING
    return before.kind in {"comma", "stop", "number", "decimal"}


def corrected(tokens: Sequence[Token], mentions: list[Mention]) -> list[Mention]:
    kept = _trailing(tokens, mentions)
    for hit, reach in corrections_in(tokens):
        after = _group_after(tokens, kept, hit, reach)
        before = [mention for mention in kept if mention.end <= hit.start]
        if not after or not before:
            continue
        dropped = before[-1:] if len(after) == 1 else _last_group(tokens, before)
        repeated = {mention.value for mention in after}
        kept = [m for m in kept if m not in dropped and not (m in before and m.value in repeated)]
    return _once(kept)


def _group_after(tokens: Sequence[Token], mentions: list[Mention], hit: cues.Found, reach: int) -> list[Mention]:
    """The numbers that a correction gives: the first near enough, and those listed with it."""
    first = next((mention for mention in mentions if mention.at >= hit.end), None)
    if first is None:
        return []
    between = tokens[hit.end : first.at]
    if sum(token.kind != "comma" for token in between) > reach or not _only_fillers(between):
        return []
    return _listed_from(tokens, first, mentions)


def _only_fillers(between: Sequence[Token]) -> bool:
    filler_stems = {stem(word) for word in vocabulary.FILLERS}
    return all(
        token.kind in {"comma", "hash", "stop", "money", "number", "decimal"} or token.stem in filler_stems
        for token in between
    )


def _listed_from(tokens: Sequence[Token], first: Mention, mentions: list[Mention]) -> list[Mention]:
    group = [first]
    for mention in mentions[mentions.index(first) + 1 :]:
        between = tokens[group[-1].end : mention.at]
        if not _joins(between):
            break
        group.append(mention)
    return group


def _joins(between: Sequence[Token]) -> bool:
    joining = {"and", "or", "with", "to", "order", "be", "against", "versus", "v", "plus"}
    return len(between) <= 3 and all(token.kind in {"hash", "comma"} or token.stem in joining for token in between)


def _last_group(tokens: Sequence[Token], before: list[Mention]) -> list[Mention]:
    group = [before[-1]]
    for mention in reversed(before[:-1]):
        if not _joins(tokens[mention.end : group[0].at]):
            break
        group.insert(0, mention)
    return group


def _once(mentions: list[Mention]) -> list[Mention]:
    seen: set[Decimal] = set()
    return [m for m in mentions if not (m.value in seen or seen.add(m.value))]  # type: ignore[func-returns-value]
