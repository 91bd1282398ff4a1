"""Text to tokens: words with their stems, numbers, money signs and marks, typing errors mended against a vocabulary."""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from orchestrator_site.demo.model_server import vocabulary

# One alternative for each kind, tried in this order.
KINDS = {
    "email": r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    "phone": r"\+\d[\d ()/-]{7,}\d|\(\d{2,5}\)[ -]?\d{3,}(?:-\d+)*|\b\d{3}[ -]\d{4}\b(?![ -]?\d)|\b0\d{1,4}(?:[ /-]\d{2,9}){1,4}\b",
    "date": r"\b\d{1,2}[./-]\d{1,2}(?:[./-]\d{2,4})\b|\b\d{1,2}/\d{1,2}\b|\b\d{4}-\d{2}-\d{2}\b|\b\d{1,2}:\d{2}\b",
    "ordinal": r"\b\d+(?:st|nd|rd|th)\b",
    "decimal": r"\b\d{1,3}(?:[.,]\d{3})*[.,]\d{2}\b(?!\d)|\b\d+[.,]\d{2}\b|\b\d+[.,]\d\b",
    "number": r"(?<![\w])\d[\dOoIlSB]{2,5}(?!\w)|\d+(?![A-Za-z\d])|\b[OIlSB][\dOoIlSB]{3}\b(?<=\d)",
    "code": r"\b(?=\w*\d)\w+\b",
    "word": r"[^\W\d_]+(?:['’´`][^\W\d_]+)*",
    "money": r"[€$£]",
    "percent": r"%",
    "hash": r"#",
    "stop": r"[.!?;\n]+",
    "comma": r"[,:()…–—-]+|[\"“”„]",
}
PATTERN = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in KINDS.items()))
LOOKALIKES = str.maketrans("OoIlSB", "001158")
SUFFIXES = ("ations", "ation", "ments", "ment", "ings", "ing", "ies", "ied", "ed", "es", "s", "ly", "e", "y")


@dataclass(frozen=True)
class Token:
    kind: str
    text: str
    start: int
    stem: str = ""

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    @property
    def value(self) -> int:
        """Of a number, with letters that look like digits read as digits."""
        return int(self.text.translate(LOOKALIKES))


def tokenize(text: str) -> list[Token]:
    tokens: list[Token] = []
    for match in PATTERN.finditer(unicodedata.normalize("NFC", text)):
        kind, written = match.lastgroup or "word", match.group()
        if kind == "word":
            tokens += [Token("word", written, match.start(), word_stem) for word_stem in stems_of(written)]
        else:
            tokens.append(Token(kind, written, match.start()))
    return tokens


@lru_cache(maxsize=20_000)
def stems_of(word: str) -> tuple[str, ...]:
    """The stems a written word stands for: two when it contracts `not`, else one."""
    plain = re.sub(r"['’´`]", "'", word.lower())
    if plain in vocabulary.CONTRACTIONS or plain.replace("'", "") in vocabulary.CONTRACTIONS:
        expanded = vocabulary.CONTRACTIONS.get(plain) or vocabulary.CONTRACTIONS[plain.replace("'", "")]
        return tuple(stem(part) for part in expanded.split())
    plain = re.sub(r"'(?:s|m|ve|re|d|ll)$", "", plain).replace("'", "")
    return (stem(mended(plain)),)


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    word = vocabulary.IRREGULAR.get(word, word)
    for suffix in SUFFIXES:
        rest = word.removesuffix(suffix)
        if rest == word or len(rest) < 3 or _must_stay(word, suffix):
            continue
        if suffix in {"ies", "ied"}:
            return rest
        return (
            _undoubled(rest)
            if suffix not in {"s", "es", "e", "y"}
            else rest.removesuffix("e" if len(rest) > 4 else "\0")
        )
    return word


def _must_stay(word: str, suffix: str) -> bool:
    if suffix in {"s", "es"}:
        return word.endswith(("ss", "us", "is"))
    if suffix == "y":
        return len(word) < 6 or word[-2] in "aeiou"
    if suffix in {"ment", "ments", "ation", "ations"}:
        return len(word.removesuffix(suffix)) < 4
    return suffix == "ing" and not re.search(r"[aeiouy]", word[:-3])


def _undoubled(rest: str) -> str:
    if len(rest) > 3 and rest[-1] == rest[-2] and rest[-1] not in "sz":
        rest = rest[:-1]
    return rest.removesuffix("e") if len(rest) > 4 else rest


@lru_cache(maxsize=20_000)
def mended(word: str) -> str:
    """The known word that was probably meant: one slip in four letters or more, two in eight or more."""
    if len(word) < 4 or word in vocabulary.NEVER_MENDED or _known(word):
        return word
    allowed = 2 if len(word) >= 8 else 1
    best = min(
        (
            (slips(word, known, allowed), known)
            for known in vocabulary.MENDABLE
            if abs(len(known) - len(word)) <= allowed
        ),
        default=(9, word),
    )
    return best[1] if best[0] <= allowed and best[1][0] == word[0] else word


def _known(word: str) -> bool:
    return word in vocabulary.MENDABLE or stem(word) in _known_stems()


@lru_cache(maxsize=1)
def _known_stems() -> frozenset[str]:
    words = {
        word
        for table in vocabulary.CUES.values()
        for cues in table.values()
        for cue in cues
        for part in cue.split()
        for word in part.split("|")
    }
    words |= {*vocabulary.DESK_WORDS, *vocabulary.FOREIGN, *vocabulary.NEVER_MENDED, *vocabulary.ACTION_STARTERS}
    return frozenset(stem(word) for word in words)


def slips(first: str, second: str, limit: int) -> int:
    """Edit distance where swapping two neighbours is one slip; anything above `limit` is `limit + 1`."""
    before: list[int] = []
    current = list(range(len(second) + 1))
    for row, letter in enumerate(first, 1):
        older, before, current = before, current, [row]
        for column, other in enumerate(second, 1):
            cost = min(before[column] + 1, current[-1] + 1, before[column - 1] + (letter != other))
            if row > 1 and column > 1 and letter == second[column - 2] and first[row - 2] == other:
                cost = min(cost, older[column - 2] + 1)
            current.append(cost)
        if min(current) > limit:
            return limit + 1
    return current[-1]
