"""Postal addresses and e-mail addresses, names and goods mentioned in a text."""

import re
from dataclasses import dataclass

from orchestrator_site.demo.model_server import vocabulary

WORD = r"[^\W\d_][\w'’.-]*"
STREET_WORD = "|".join(sorted(vocabulary.STREETS, key=len, reverse=True))
ENDING = "|".join(vocabulary.STREET_ENDINGS)
HOUSE_FIRST = rf"\d{{1,5}}[a-zA-Z]?\s+(?:{WORD}\s+){{0,3}}(?:{STREET_WORD})\b\.?"
HOUSE_LAST = rf"(?:{WORD}(?:{ENDING})|(?:{WORD}\s+){{1,2}}?(?:{STREET_WORD})|(?-i:Am|An der|Im|Auf der|Rue|rue|Via|via|Calle|Rua)\s+{WORD}(?:\s+{WORD})?)\s+\d{{1,3}}[a-zA-Z]?\b"
HOUSE_AND_NAME = r"\d{1,4}[a-zA-Z]?\s+(?:[A-ZÄÖÜ][\w'’-]+\s?){1,3}(?=,)"
STREET = re.compile(rf"\b(?:(?i:{HOUSE_FIRST}|{HOUSE_LAST})|{HOUSE_AND_NAME})")
TAIL_ENDS = re.compile(
    r"[!?;\n]|\.(?=\s|$)|\s(?:instead|please|pls|thanks|thank you|and|then (?=[a-z])|also|not (?=\d)|because|since|as soon)\b|\s[-–—]\s",
    re.IGNORECASE,
)
POSTCODE = re.compile(
    r"\b(?:[A-Z]{1,2}\d[A-Z\d]?\s*\d[A-Z]{2}|D\d\d\s?[A-Z\d]{4}|\d{5}(?:-\d{4})?|\d{4}\s?[A-Z]{2}|\d{2}-\d{3}|\d{4}-\d{3}|\d{3}\s\d{2}|\d{4})\b"
)
EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
NAME = re.compile(
    r"\b(?:(?:my|his|her|the|our|customer's)\s+name\s+is|(?:i am|i'm|this is|it's|name:|under (?:the name(?: of)?)?|in the name of|on behalf of|"
    r"customer|for customer|client|ordered by|placed by|belonging to|order(?:s)? (?:of|by|for|from)|mr\.?|mrs\.?|ms\.?))\s+"
    r"(?P<name>[A-ZÄÖÜ][\w'’-]+(?:\s+[A-ZÄÖÜ][\w'’-]+){0,2})",
)
NAME_ANY_CASE = re.compile(NAME.pattern.replace("(?:(?:my", "(?i:(?:my", 1))
PRODUCT = re.compile(
    r"\b(?:order(?:ed)?|bought|purchased|parcel|package|delivery)\s+(?:(?:with|of|for|containing|including)\s+)?(?:a|an|the|my|some|two|three|that)\s+"
    r"(?P<product>[a-z][a-z' -]{2,40}?)(?=[.,!?;\n]|\s(?:on|from|last|yesterday|and|but|in|it|that|is|was|has|have|from|to|by|for|which|arrive|come|please|a week|two|three|\d)\b|$)",
    re.IGNORECASE,
)
NOT_PRODUCTS = {
    "order",
    "parcel",
    "package",
    "delivery",
    "thing",
    "stuff",
    "item",
    "customer",
    "buyer",
    "client",
    "money",
    "whole",
    "week",
    "weekend",
    "day",
    "same",
    "number",
    "status",
}


@dataclass(frozen=True)
class PostalAddress:
    """`span` is where it stands in the text. Fields the text does not give are absent."""

    fields: dict[str, str]
    span: tuple[int, int]

    @property
    def is_complete(self) -> bool:
        return {"line1", "postal_code", "city"} <= self.fields.keys()


def postal_address(text: str) -> PostalAddress | None:
    """The last street with a house number, and the town, postal code and country that follow it."""
    streets = [match for match in STREET.finditer(text) if not _is_an_order(text, match)]
    if not streets:
        return None
    street = streets[-1]
    for match in streets[:-1]:
        if (
            not re.search(r"\bnot\b[^.]*$", text[: match.start()], re.IGNORECASE)
            and text[match.end() : street.start()].lower().find("not") >= 0
        ):
            street = match
            break
    ending = TAIL_ENDS.search(text, street.end())
    end = ending.start() if ending else len(text)
    tail = text[street.end() : end] if text[street.end() : street.end() + 1] in {",", "\n", " ", ""} else ""
    fields = {"line1": _tidy(street.group()), **_place(tail)}
    return PostalAddress(fields, (street.start(), end if tail.strip(" ,") else street.end()))


SMALL_WORDS = frozenset(
    "on its it the to a an my our your is in and for was did not i we be at from of please has have this that with by or but "
    "arrived still when where are days day week weeks times items pieces euros euro people minutes hours ago years".split()
)


def _is_an_order(text: str, match: re.Match[str]) -> bool:
    """`1042 on its way` is no street; nor is a number that is called an order's."""
    words = match.group().split()
    if {word.lower().strip(".,") for word in words} & SMALL_WORDS:
        return True
    if not words[0][:1].isdigit():
        return False
    before = text[: match.start()].lower().rstrip(" #:")
    lowered = len(words) > 1 and words[1][:1].islower()
    return before.endswith(("order", "ordr", "order no", "order no.", "number", "no.")) or (
        len(words[0]) == 4 and lowered
    )


def _tidy(part: str) -> str:
    return re.sub(r"\s+", " ", part).strip(" ,.")


def _place(tail: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    parts = [part for part in (_tidy(part) for part in re.split(r",|\n", tail)) if part]
    if parts and parts[-1].lower() in vocabulary.COUNTRIES:
        fields["country"] = vocabulary.COUNTRIES[parts.pop().lower()]
    for part in parts:
        postcode = POSTCODE.search(part)
        if postcode and "postal_code" not in fields:
            fields["postal_code"] = postcode.group()
            part = _tidy(part.replace(postcode.group(), " "))
        part = re.sub(r"\b[A-Z]{2}$", "", part).strip() if part.isupper() or re.search(r"\s[A-Z]{2}$", part) else part
        if part and "city" not in fields and part[0].isupper():
            fields["city"] = part
    return fields


def country_of(fields: dict[str, str]) -> str:
    """What a postal code says of the country, where its form is found in one country alone."""
    forms = {
        r"[A-Z]{1,2}\d[A-Z\d]?\s*\d[A-Z]{2}": "United Kingdom",
        r"D\d\d\s?[A-Z\d]{4}": "Ireland",
        r"\d{4}\s?[A-Z]{2}": "Netherlands",
        r"\d{2}-\d{3}": "Poland",
        r"\d{4}-\d{3}": "Portugal",
    }
    code = fields.get("postal_code", "")
    return next((country for form, country in forms.items() if re.fullmatch(form, code)), "")


def email_address(text: str) -> str:
    match = EMAIL.search(text)
    return match.group().rstrip(".") if match else ""


def person_name(text: str) -> str:
    match = NAME_ANY_CASE.search(text)
    return match.group("name") if match else ""


def product(text: str) -> str:
    for match in PRODUCT.finditer(text):
        found = _tidy(match.group("product")).lower()
        if found and not set(found.split()) & NOT_PRODUCTS:
            return found
    return ""
