"""Numbers as people write or dictate them, rewritten so that they are single figures."""

import re

from orchestrator_site.demo.model_server import vocabulary

ORDER_WORD = r"\b(?P<word>(?:order|number|no|nr)(?:\s+(?:number|no|nr))?[.:]?\s+(?:is\s+)?|#\s*)"
DIGITS = {
    word: str(value) for value, word in enumerate("zero one two three four five six seven eight nine".split())
} | {"oh": "0", "o": "0"}
DIGIT = "|".join(DIGITS)
SMALL = "|".join(word for word, value in vocabulary.NUMBER_WORDS.items() if 1 <= value < 20)
TENS = "|".join(word for word, value in vocabulary.NUMBER_WORDS.items() if value >= 20)
SPELT = re.compile(rf"\b(?:{DIGIT})(?:[\s-]+(?:{DIGIT})){{3}}\b", re.IGNORECASE)
PAIRED = re.compile(
    rf"{ORDER_WORD}(?P<front>ten|eleven|twelve|thirteen|fourteen|fifteen)[\s-]+"
    rf"(?P<back>hundred|(?:oh|o|zero)[\s-]+(?:{DIGIT})|(?:{TENS})(?:[\s-]+(?:{DIGIT}))?|{SMALL})\b",
    re.IGNORECASE,
)


def spaced(text: str) -> str:
    """`20eur` and `order1042` as two words; `order 10 42`, `order 1,042`, `one oh four two` and `order ten forty-two` as 1042."""
    text = re.sub(r"(\d)(?=(?:eur|euros?|usd|gbp|quid|pounds?)\b)", r"\1 ", text, flags=re.IGNORECASE)
    text = re.sub(r"\b(order|ordr|no|nr|ord|num|number)[.:-]?(?=\d{3,6}\b)", r"\1 ", text, flags=re.IGNORECASE)
    text = re.sub(rf"{ORDER_WORD}(\d)[.,](\d{{3}})\b(?![.,]\d)", r"\g<word>\2\3", text, flags=re.IGNORECASE)
    text = re.sub(rf"{ORDER_WORD}(1[0-5])[ -](\d\d)\b(?![.,]?\d)", r"\g<word>\2\3", text, flags=re.IGNORECASE)
    text = re.sub(rf"{ORDER_WORD}(\d)[ -](\d)[ -](\d)[ -](\d)\b", r"\g<word>\2\3\4\5", text, flags=re.IGNORECASE)
    text = SPELT.sub(lambda match: "".join(DIGITS[word] for word in _parts(match.group())), text)
    return PAIRED.sub(lambda match: match["word"] + str(_value(match["front"]) * 100 + _value(match["back"])), text)


def _parts(words: str) -> list[str]:
    return re.split(r"[\s-]+", words.lower())


def _value(words: str) -> int:
    """`forty-two` as 42; `hundred` behind `fourteen` adds nothing."""
    return sum(0 if word in {"hundred", "oh", "o"} else vocabulary.NUMBER_WORDS[word] for word in _parts(words))
