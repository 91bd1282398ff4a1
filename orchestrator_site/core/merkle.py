"""A Merkle tree over the entries of a checkpoint: one chain's place in it can be shown without the others.

A leaf is SHA-256(0x00 ‖ canonical JSON of [chain, seq, hash]), a node SHA-256(0x01 ‖ left ‖ right); the last one of a
row that has no neighbour goes up as it is.
"""

import hashlib
from collections.abc import Sequence

from orchestrator_site.core import canonical

Entry = tuple[str, int, str]


def root(entries: Sequence[Entry]) -> str:
    """Hex; the SHA-256 of nothing when there is no entry."""
    row = _leaves(entries)
    while len(row) > 1:
        row = _above(row)
    return row[0].hex() if row else hashlib.sha256().hexdigest()


def path(entries: Sequence[Entry], index: int) -> list[list[str]]:
    """The neighbours on the way from one entry up to the root: [["left" or "right", hex], …]."""
    row, found = _leaves(entries), []
    while len(row) > 1:
        if (neighbour := index ^ 1) < len(row):
            found.append(["left" if neighbour < index else "right", row[neighbour].hex()])
        row, index = _above(row), index // 2
    return found


def _leaves(entries: Sequence[Entry]) -> list[bytes]:
    return [hashlib.sha256(b"\x00" + canonical.dumps(list(entry)).encode()).digest() for entry in entries]


def _above(row: list[bytes]) -> list[bytes]:
    pairs = [row[at : at + 2] for at in range(0, len(row), 2)]
    return [hashlib.sha256(b"\x01" + b"".join(pair)).digest() if len(pair) == 2 else pair[0] for pair in pairs]
