"""The sums of money in a text: in figures, in words, with cents, and the one that is asked back."""

from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache

from orchestrator_site.demo.model_server import cues, vocabulary
from orchestrator_site.demo.model_server.figures import NOTHING, Mention, corrected, is_money
from orchestrator_site.demo.model_server.tokens import Token, stem

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


def stated_amount(tokens: Sequence[Token], orders: Sequence[Mention], *, part: bool = False) -> Decimal | None:
    """The sum asked back: of all sums in the text the one nearest to the asking, the last one after a correction."""
    taken = {mention.at for mention in orders}
    mentions = corrected(tokens, [m for m in sums_in(tokens) if m.at not in taken])
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
    if is_money(tokens, at):
        return _with_cents(tokens, at)
    return Mention(at, Decimal(token.value)) if _asked_bare(tokens, at) else None


DATED = {stem(word) for word in "on from since until till by before after dated at around the of".split()}


def _is_day_and_month(tokens: Sequence[Token], at: int) -> bool:
    """`on 27.5.` and `at 10.30`, but not `on 27.5 euros` nor `the 6.95`."""
    before = tokens[at - 1].stem if at else ""
    day, _, month = tokens[at].text.replace(",", ".").partition(".")
    likely = len(day) <= 2 and 1 <= int(day) <= 31 and 1 <= int(month) <= 12
    hour = before in {"at", "around"} and int(day) < 24 and len(month) == 2 and int(month) < 60
    if is_money(tokens, at) or before not in DATED:
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
