"""Matching cues (see `vocabulary`) in a row of tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from orchestrator_site.demo.model_server.tokens import Token, stem

GAP = 3  # tokens that `*` may skip


@dataclass(frozen=True)
class Found:
    """`start` and `end` are positions in the row of tokens that was searched, `end` exclusive."""

    start: int
    end: int


@lru_cache(maxsize=4000)
def _parts(cue: str) -> tuple[frozenset[str] | None, ...]:
    return tuple(
        None if part == "*" else frozenset("#" if word == "#" else stem(word) for word in part.split("|"))
        for part in cue.split()
    )


def find(cue: str, tokens: Sequence[Token], start: int = 0) -> Found | None:
    parts = _parts(cue)
    for first in range(start, len(tokens)):
        end = _match(parts, tokens, first)
        if end is not None:
            return Found(first, end)
    return None


def find_all(cue: str, tokens: Sequence[Token]) -> list[Found]:
    found, start = [], 0
    while (hit := find(cue, tokens, start)) is not None:
        found.append(hit)
        start = hit.start + 1
    return found


def any_of(cues: Sequence[str], tokens: Sequence[Token]) -> bool:
    return any(find(cue, tokens) for cue in cues)


def _match(parts: tuple[frozenset[str] | None, ...], tokens: Sequence[Token], at: int) -> int | None:
    """The position after the match that begins exactly at `at`, or None."""
    for number, part in enumerate(parts):
        if part is None:
            rest = parts[number + 1 :]
            for skipped in range(GAP + 1):
                end = _match(rest, tokens, at + skipped)
                if end is not None:
                    return end
            return None
        if at >= len(tokens) or _label(tokens[at]) not in part:
            return None
        at += 1
    return at


def _label(token: Token) -> str:
    return "#" if token.kind == "number" else token.stem
