"""The numbers in a text: which are orders, which are money, and which of them a correction took back."""

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
BACK_STEMS = {
    stem(word)
    for word in "refund back give credit return reimburse pay repay compensate transfer send difference deduct goodwill send rebate knock".split()
}
AGREED_STEMS = {
    stem(word)
    for word in "accept offer promise agree compensation reimbursement allowance owe overcharge claim".split()
}
PRICE_STEMS = {stem(word) for word in vocabulary.PRICE_TALK - {"was"}}
NOTES = {stem("tenner"): Decimal(10), stem("fiver"): Decimal(5)}
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
    return [mention for mention in _corrected(tokens, found) if not _excluded(tokens, mention, len(found))]


def _inside(token: Token, span: tuple[int, int] | None) -> bool:
    return span is not None and span[0] <= token.start < span[1]


def _is_order(tokens: Sequence[Token], at: int) -> bool:
    token = tokens[at]
    before, after = _around(tokens, at)
    named = before.kind == "hash" or (before.stem in ORDER_STEMS and before.kind == "word")
    if _is_money(tokens, at) or after.kind == "percent" or (before.stem in NOT_ORDERS and before.kind == "word"):
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
        and not _is_money(tokens, at)
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


def _is_money(tokens: Sequence[Token], at: int) -> bool:
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


def _corrected(tokens: Sequence[Token], mentions: list[Mention]) -> list[Mention]:
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


# Money


def stated_amount(tokens: Sequence[Token], orders: Sequence[Mention], *, part: bool = False) -> Decimal | None:
    """The sum asked back: of all sums in the text the one nearest to the asking, the last one after a correction."""
    taken = {mention.at for mention in orders}
    mentions = _corrected(tokens, [m for m in sums_in(tokens) if m.at not in taken])
    asking = [at for at, token in enumerate(tokens) if token.stem in BACK_STEMS and token.kind == "word"]
    mentions = [mention for mention in mentions if not _is_whole_of(tokens, mention, mentions)]
    candidates = [mention for mention in mentions if not _is_a_price(tokens, mention)] or (mentions if part else [])
    if not candidates:
        return None
    if not asking:
        return candidates[-1].value
    return min(candidates, key=lambda mention: _distance(mention, asking)).value


def _is_whole_of(tokens: Sequence[Token], mention: Mention, mentions: Sequence[Mention]) -> bool:
    """The second sum in `22.45 of the $90`."""
    between = [tokens[other.end : mention.at] for other in mentions if 0 < mention.at - other.end <= 4]
    return any(token.stem == "of" for stretch in between for token in stretch)


MOVES_MONEY = frozenset(
    stem(word) for word in "reverse wire owe owed overcharged compensate deduct return repay credit".split()
)


def asked_back_at(tokens: Sequence[Token], orders: Sequence[Mention]) -> list[int]:
    """Where a sum stands beside `back`, `off`, `too much` or a verb that moves money: it is wanted back."""
    taken = {mention.at for mention in orders}
    return [mention.at for mention in sums_in(tokens) if mention.at not in taken and _wanted_back(tokens, mention)]


def _wanted_back(tokens: Sequence[Token], mention: Mention) -> bool:
    before = {token.stem for token in tokens[max(0, mention.at - 4) : mention.at]}
    after = [token.stem for token in tokens[mention.end : mention.end + 4]]
    return bool(
        {"back", "off"} & {*before, *after} or before & MOVES_MONEY or cues.find("too much", tokens[mention.end :])
    )


def _distance(mention: Mention, asking: list[int]) -> int:
    return min(abs(mention.at - at) for at in asking)


def sums_in(tokens: Sequence[Token]) -> list[Mention]:
    found: list[Mention] = []
    at = 0
    while at < len(tokens):
        mention = _figure_sum(tokens, at) or _spoken_sum(tokens, at)
        if mention:
            found.append(mention)
        at = mention.end if mention else at + 1
    return found


def _figure_sum(tokens: Sequence[Token], at: int) -> Mention | None:
    token = tokens[at]
    following = tokens[at + 1] if at + 1 < len(tokens) else NOTHING
    if token.kind not in {"decimal", "number"} or following.kind == "percent" or following.stem in {"percent", "%"}:
        return None
    if token.kind == "decimal":
        return None if _is_day_and_month(tokens, at) else Mention(at, decimal_of(token.text))
    if _is_money(tokens, at):
        return _with_cents(tokens, at)
    return Mention(at, Decimal(token.value)) if _asked_bare(tokens, at) else None


DATED = {stem(word) for word in "on from since until till by before after dated at around the of".split()}


def _is_day_and_month(tokens: Sequence[Token], at: int) -> bool:
    """`on 27.5.` and `at 10.30`, but not `on 27.5 euros` nor `the 6.95`."""
    before = tokens[at - 1].stem if at else ""
    day, _, month = tokens[at].text.replace(",", ".").partition(".")
    likely = len(day) <= 2 and 1 <= int(day) <= 31 and 1 <= int(month) <= 12
    hour = before in {"at", "around"} and int(day) < 24 and len(month) == 2 and int(month) < 60
    if _is_money(tokens, at) or before not in DATED:
        return False
    return hour or (likely and before not in {"the", "of"}) or (likely and tokens[at].end < _dot_after(tokens, at))


def _dot_after(tokens: Sequence[Token], at: int) -> int:
    """The end of a dot right behind a token that is not the end of the text; 0 without one."""
    following = tokens[at + 1] if at + 2 < len(tokens) else NOTHING
    return following.end if following.text == "." and following.start == tokens[at].end else 0


def _with_cents(tokens: Sequence[Token], at: int) -> Mention:
    """`6 euros 50` and `6 pounds and 50 pence` as one sum; `50 cents` as half a euro."""
    unit = tokens[at + 1] if at + 1 < len(tokens) else NOTHING
    value = Decimal(tokens[at].value)
    if unit.stem in {"cent", "penc"}:
        return Mention(at, value / 100, 2)
    rest = at + 3 if at + 2 < len(tokens) and tokens[at + 2].stem == "and" else at + 2
    cents = tokens[rest] if rest < len(tokens) else NOTHING
    after = tokens[rest + 1] if rest + 1 < len(tokens) else NOTHING
    if (
        unit.kind == "word"
        and cents.kind == "number"
        and cents.value < 100
        and (rest == at + 2 or after.stem in {"cent", "penc"})
    ):
        return Mention(at, value + Decimal(cents.value) / 100, rest - at + 1)
    return Mention(at, value)


def _asked_bare(tokens: Sequence[Token], at: int) -> bool:
    """A number without a currency counts as money right after words of paying back, or before `back`."""
    if len(tokens[at].text) > 3:
        return False
    following = [token.stem for token in tokens[at + 1 : at + 2]]
    before = [token.stem for token in tokens[max(0, at - 4) : at] if token.kind == "word"]
    if following == ["back"] or (following == ["off"] and not before):
        return True
    if not following or following[0] in {
        "on",
        "for",
        "from",
        "to",
        "off",
        "instead",
        "pleas",
        "not",
        "of",
        "",
        "and",
        "only",
        "in",
        "would",
        "be",
        "as",
        "becaus",
        "by",
        "into",
        "onto",
        "sinc",
        "i",
        "you",
        "he",
        "she",
        "they",
        "we",
        "it",
        "now",
        "total",
        "thank",
        "thanks",
    }:
        asks = BACK_STEMS | AGREED_STEMS | {"mak", "make"}
        return bool(asks & set(before)) or (bool(before) and before[-1] in {"mean", "sorry", "rather", "wait", "no"})
    return False


def _spoken_sum(tokens: Sequence[Token], at: int) -> Mention | None:
    if tokens[at].stem in NOTES:
        return Mention(at, NOTES[tokens[at].stem])
    if mention := _euros_and_cents(tokens, at):
        return mention
    value, end = _number_words(tokens, at)
    if value is None or end >= len(tokens):
        return None
    if (
        tokens[end].stem == "back"
        and value > 1
        and not (at and tokens[at - 1].stem in {"the", "those", "these", "thes", "thos", "all"})
    ):
        return Mention(at, Decimal(value), end - at)
    marks = {stem(word) for word in vocabulary.CURRENCY}
    if tokens[end].stem in {"cent", "penc"}:
        return Mention(at, Decimal(value) / 100, end + 1 - at)
    if tokens[end].stem not in marks:
        return None
    rest = end + 2 if end + 1 < len(tokens) and tokens[end + 1].stem == "and" else end + 1
    cents, after = _number_words(tokens, rest)
    if cents is not None and (rest == end + 1 or (after < len(tokens) and tokens[after].stem in {"cent", "penc"})):
        return Mention(at, Decimal(value) + Decimal(cents) / 100, after - at)
    return Mention(at, Decimal(value), end + 1 - at)


def _euros_and_cents(tokens: Sequence[Token], at: int) -> Mention | None:
    """`six fifty` is 6.50: a number below twenty right before one of the tens."""
    values = [_number_stems().get(token.stem) for token in tokens[at : at + 3]]
    if len(values) < 2 or values[0] is None or values[1] is None or not (1 <= values[0] < 20 <= values[1]):
        return None
    last = values[2] if len(values) > 2 and values[2] is not None and values[2] < 10 else 0
    return Mention(at, Decimal(values[0]) + Decimal(values[1] + last) / 100, 3 if last else 2)


@lru_cache(maxsize=1)
def _number_stems() -> dict[str, int]:
    return {stem(word): value for word, value in vocabulary.NUMBER_WORDS.items()}


def _number_words(tokens: Sequence[Token], at: int) -> tuple[int | None, int]:
    """A number below a thousand in words, and the position after it."""
    total, end = None, at
    while end < len(tokens) and tokens[end].kind == "word":
        word = tokens[end].stem
        if word in _number_stems():
            total = (total or 0) + _number_stems()[word]
        elif word == stem("hundred"):
            total = (total or 1) * 100
        elif not (word == "and" and total is not None and total >= 100):
            break
        end += 1
        if end < len(tokens) and tokens[end].text == "-":
            end += 1
    return total, end


def decimal_of(text: str) -> Decimal:
    """`1,200.50`, `1.200,50`, `5,90` and `12.5` as numbers."""
    whole, point, fraction = text.rpartition("." if text.rfind(".") > text.rfind(",") else ",")
    digits = whole.replace(",", "").replace(".", "")
    return Decimal(f"{digits or 0}.{fraction}") if point else Decimal(text)


def _says_what_it_was(tokens: Sequence[Token], token: Token, mention: Mention) -> bool:
    """`it was only 12`, but not `I was told I would get 12`."""
    return token.text.lower() in {"was", "were"} and any(
        token is near for near in tokens[max(0, mention.at - 2) : mention.at]
    )


def _is_a_price(tokens: Sequence[Token], mention: Mention) -> bool:
    """Told as what something cost, not asked back."""
    before = tokens[max(0, mention.at - 5) : mention.at]
    for token in reversed(before):
        if token.kind in {"stop"} or token.stem in BACK_STEMS - {"pay", "send"}:
            return False
        if token.stem in PRICE_STEMS or _says_what_it_was(tokens, token, mention):
            after = [later.stem for later in tokens[mention.end : mention.end + 2]]
            return "back" not in after
    return False
