"""Where the arguments of an act come from. Pure: no query, no clock.

A value is vouched for when, as a whole, it stands in what a person said, in the result of a trusted source, or on a
list of destinations that its sink names. Whatever was taken apart, put together, encoded or made up stands in none.
"""

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

from tools.arguments import as_number
from tools.values import ToolSpec

# What holds a word together when letters or digits stand on both sides of it.
_JOINTS = "@.+-_/:%#&=?~\\'’"
# What may stand right before a word or right after it, and is no part of it.
_OPENS, _CLOSES = "([{<«“‘'\"", ")]}>»”’'\".,;:!?…"
# What leads on from a closing mark: the mark was none.
_LEADS_ON = "./\\*$~@="
# A pattern or a call, where a letter or a digit follows.
_BEGINS_MORE = "!$*([{"
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:(?://)?")
# A number with leading zeros is a name: of an account, of an article.
_NUMBER = re.compile(r"(?<![\w.,])[-−]?(?:0|[1-9]\d*)(?:[.,]\d+)*(?![\w])")
_IN_GROUPS = re.compile(r"\b[A-Za-z]{2}\d{2}(?: [A-Za-z0-9]{4}){2,7}(?: [A-Za-z0-9]{1,3})?\b")
_GROUPED = re.compile(r"[1-9]\d{0,2}(?:([.,])\d{3})(?:\1\d{3})*(?:[.,]\d{1,2})?\Z")
_BLANKS = re.compile(r"\s+")
# An account number, as people write it in groups.
_ACCOUNT = re.compile(r"[0-9a-z]{8,40}\Z")
ACCOUNT_DIGITS = 6
NOWHERE = "stands in nothing that the agent was given"
EMPTY = "is empty, which may mean all, and nobody said so"
# Instead of an argument, where an act that nobody has described is given none.
NO_ARGUMENTS = "no arguments"
SAYS_NOTHING = "say nothing of what it acts on, and nobody has described this tool"


@dataclass(frozen=True)
class Source:
    """A text that the agent was given. `where` completes "first appeared in …".

    `vouches`: a person said it, or a trusted source brought it. `asked_with` are the `words` of what the agent itself
    had put into the call that brought it: a source that only says them back vouches for nothing.
    """

    text: str
    where: str
    vouches: bool
    asked_with: tuple[str, ...] = ()


def joined(*labels: str) -> str:
    """Labels as rows keep them, each once: `sensitive untrusted`."""
    return " ".join(sorted({label for each in labels for label in each.split()}))


def taint(labels: str) -> tuple[str, ...]:
    return tuple(labels.split())


def unvouched(
    spec: ToolSpec, arguments: Mapping[str, Any], listed: Mapping[str, Collection[str]], sources: Sequence[Source]
) -> dict[str, str]:
    """By argument of a sink that nobody vouches for, where it comes from, to stand after its name in a sentence."""
    if spec.sinks is None and not arguments:
        return {NO_ARGUMENTS: SAYS_NOTHING}
    found = {}
    for name in _sinks(spec, arguments):
        if _is_empty(arguments[name]):
            if name in spec.input_schema.get("required", ()):
                found[name] = EMPTY
            continue
        named = set(spec.sinks[name].lists) if spec.sinks is not None else set()
        if named & set(listed.get(name, ())):
            continue
        for leaf in _leaves(arguments[name]):
            if not _is_vouched(leaf, sources):
                found[name] = _origin(leaf, sources)
                break
    return found


def _sinks(spec: ToolSpec, arguments: Mapping[str, Any]) -> list[str]:
    """Of an act that nobody has described, every argument."""
    return [name for name in arguments if spec.sinks is None or name in spec.sinks]


def _is_empty(value: Any) -> bool:
    """Of an argument that may be left out this is to leave it out; of one that has to be given it may mean: all."""
    return value is None or value in ([], {}) or (isinstance(value, str) and not folded(value))


def words(value: Any) -> tuple[str, ...]:
    """All that plain JSON holds, names too, as texts."""
    return tuple(str(leaf) for leaf in _leaves(value) if not isinstance(leaf, bool))


def _leaves(value: Any) -> Iterator[Any]:
    match value:
        case Mapping():
            for name, inner in value.items():
                yield name
                yield from _leaves(inner)
        case list() | tuple():
            for inner in value:
                yield from _leaves(inner)
        case None | "":
            return
        case _:
            yield value


def _is_vouched(leaf: Any, sources: Sequence[Source]) -> bool:
    if isinstance(leaf, bool):
        return False
    return any(source.vouches and stands_in(leaf, source.text) and not _said_back(leaf, source) for source in sources)


def _said_back(leaf: Any, source: Source) -> bool:
    """Whether the agent had put it into the call, whole or in parts."""
    if any(stands_in(leaf, part) for part in source.asked_with):
        return True
    return _is_made_of(_bare(str(leaf)), frozenset(filter(None, map(_bare, source.asked_with))))


@lru_cache(maxsize=256)
def _bare(text: str) -> str:
    """Its letters and digits alone, without a scheme such as `https://`."""
    return "".join(filter(str.isalnum, _SCHEME.sub("", folded(text), count=1)))


def _is_made_of(word: str, parts: Collection[str]) -> bool:
    """Whether it is one of the parts, or several of two and more characters one behind the other."""
    if word in parts:
        return True
    lengths = {len(part) for part in parts if len(part) > 1}
    reached, ahead = {0}, [0]
    while ahead:
        start = ahead.pop()
        ends = {start + length for length in lengths if word[start : start + length] in parts} - reached
        reached |= ends
        ahead += ends
    return bool(word) and len(word) in reached


def _origin(leaf: Any, sources: Sequence[Source]) -> str:
    if not isinstance(leaf, bool):
        for source in sources:
            if not source.vouches and stands_in(leaf, source.text):
                return f"first appeared in {source.where}"
        for source in sources:
            if source.vouches and stands_in(leaf, source.text):
                return f"was said back by {source.where}, which the agent had asked with it"
    return NOWHERE


def stands_in(value: Any, text: str) -> bool:
    """Whether it stands there as a whole: no part of a longer word, address, number or path."""
    if not text:
        return False
    plain, wanted_text = folded(text), folded(str(value))
    if isinstance(value, (int, float)) or _decimal(value) is not None:
        wanted = _decimal(value)
        is_number = wanted is not None and wanted in _numbers(text)
        return is_number or (isinstance(value, str) and _account(wanted_text, plain))
    if wanted_text.isascii() and not any(map(str.isalnum, wanted_text)):
        return False  # a pattern, or the root of all
    return _whole(wanted_text, plain) or _account(wanted_text, plain)


@lru_cache(maxsize=256)
def folded(text: str) -> str:
    """One spelling of what people read as the same: letters without case, blanks alike. Of two that name different
    hosts, such as ß and ss, neither stands for the other."""
    return _BLANKS.sub(" ", unicodedata.normalize("NFKC", text).lower()).strip()


def _whole(wanted: str, text: str) -> bool:
    start = text.find(wanted)
    while start >= 0:
        end = start + len(wanted)
        if not _goes_on_before(_back(text, start), wanted[0]) and not _goes_on_after(text[end : end + 3], wanted[-1]):
            return True
        start = text.find(wanted, start + 1)
    return False


def _back(text: str, start: int) -> str:
    """The three characters ahead of it, outwards."""
    return text[max(start - 3, 0) : start][::-1]


def _goes_on_after(beyond: str, edge: str) -> bool:
    """Whether a word goes on behind its last character; `beyond` are the next three."""
    if not edge.isalnum():
        return not _ends(beyond, _CLOSES)
    if beyond[:1].isalnum():
        return True
    if beyond[:1] and beyond[0] in _JOINTS:
        return beyond[1:2] == beyond[0] == "." or not _ends(beyond[1:], _CLOSES)
    return bool(beyond) and beyond[0] in _BEGINS_MORE and beyond[1:2].isalnum()


def _goes_on_before(beyond: str, edge: str) -> bool:
    """Whether a word has begun ahead of its first character; `beyond` are the three before, outwards."""
    if not edge.isalnum():
        return not _ends(beyond, _OPENS)
    if beyond[:1].isalnum():
        return True
    if not beyond[1:] or beyond[0] not in _JOINTS:
        return False
    return beyond[1].isalnum() or beyond[1] in _JOINTS or (beyond[0] in "/\\@" and not _ends(beyond[1:], _OPENS))


def _ends(beyond: str, marks: str) -> bool:
    """Whether nothing but a mark stands between it and a blank or the end."""
    if not beyond or beyond[0].isspace():
        return True
    return beyond[0] in marks and not (beyond[1:2].isalnum() or (beyond[1:] and beyond[1] in _LEADS_ON))


def _account(wanted: str, text: str) -> bool:
    bare = wanted.replace(" ", "").replace("-", "")
    if not _ACCOUNT.match(bare) or sum(map(str.isdigit, bare)) < ACCOUNT_DIGITS:
        return False
    return re.search(rf"(?<![\w-]){'[ -]?'.join(bare)}(?![\w-])", text) is not None


@lru_cache(maxsize=64)
def _numbers(text: str) -> frozenset[Decimal]:
    """Those that stand alone: what is part of a date, a time, a longer name or an account is no number."""
    found: set[Decimal] = set()
    plain = _IN_GROUPS.sub("…", unicodedata.normalize("NFKC", text))
    for match in _NUMBER.finditer(plain):
        before, after = _back(plain, match.start()), plain[match.end() : match.end() + 3]
        if not _goes_on_before(before, match[0][-1]) and not _goes_on_after(after, match[0][-1]):
            found |= set(_readings(match[0].replace("−", "-")))
    return frozenset(found)


def _readings(written: str) -> Iterator[Decimal]:
    """1,000 is a thousand, 1.000 a thousand or one, 1,5 one and a half."""
    sign, digits = ("-", written[1:]) if written.startswith("-") else ("", written)
    if grouped := _GROUPED.match(digits):
        mark = grouped[1]
        other = "." if mark == "," else ","
        whole, _, rest = digits.partition(other)
        yield Decimal(f"{sign}{whole.replace(mark, '')}.{rest or 0}")
    if digits.count(",") + digits.count(".") <= 1 and not (grouped and "," in digits):
        yield Decimal(sign + digits.replace(",", "."))


def _decimal(value: Any) -> Decimal | None:
    if isinstance(value, str) and not re.fullmatch(r"-?(0|[1-9]\d{0,17})(\.\d{1,9})?", value):
        return None
    return as_number(value)
