"""What the fit sees of a text: its embedding beside its own words and their parts, hashed.

The embedding knows what words mean; the hashed part knows words that no embedding has seen, such as a product's name.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any
from zlib import crc32

import numpy as np

from agents.routing.embedders import Embedder, Vectors, unit

BUCKETS = 512
# The hashed part's say beside the embedding's. Between 0.5 and 1 the figures of docs/routing.md hardly change.
SHARE = 0.8

Rarity = np.ndarray[Any, np.dtype[np.float32]]  # by bucket: the rarer in the exemplars, the weightier


def rarity(texts: Sequence[str]) -> Rarity:
    seen = (_counted(texts) != 0).sum(axis=0)
    return (np.log((1 + len(texts)) / (1 + seen)) + 1).astype(np.float32)


def features(texts: Sequence[str], embedder: Embedder, rarity: Rarity) -> Vectors:
    """A row a text. Raises EmbedderFailed."""
    return np.hstack([unit(embedder.embed(texts)), SHARE * unit(_counted(texts) * rarity)])


def _counted(texts: Sequence[str]) -> Vectors:
    """Signed counts by bucket, dampened: what collides cancels out more often than it adds up."""
    counts = np.zeros((len(texts), BUCKETS), np.float32)
    for row, text in zip(counts, texts, strict=True):
        for part in _parts(text):
            number = crc32(part.encode())
            row[number % BUCKETS] += 1 if number >> 31 else -1
    return np.sign(counts) * np.log1p(np.abs(counts))


def _parts(text: str) -> Iterator[str]:
    """Words, pairs of words, and runs of three to five letters; every digit counts as the same."""
    words = re.findall(r"\w+", re.sub(r"\d", "0", text.lower()))
    yield from (f"w:{word}" for word in words)
    yield from (f"b:{one} {next}" for one, next in pairwise(words))
    for word in words:
        bounded = f"<{word}>"
        for length in (3, 4, 5):
            yield from (f"c:{bounded[at : at + length]}" for at in range(len(bounded) - length + 1))
