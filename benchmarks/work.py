"""The work every system does: runs of K model calls, where all but the last ask for one tool call of P bytes.

A prompt carries the order in a marker that the model server reads, so that no system needs to know its own turn.
"""

import random
import string
from dataclasses import dataclass

READ, EFFECT = "read_record", "stamp_record"  # the tool as `pure` and as `keyed`
SYSTEM_PROMPT = "You are a clerk. Take each record you need with the tool, one at a time, then say that you are done."
DESCRIPTION = "Take one record of the archive and return its text."
INPUT_SCHEMA = {
    "type": "object",
    "properties": {
        "record": {"type": "integer", "description": "number of the record"},
        "size": {"type": "integer", "description": "length of its text in bytes"},
    },
    "required": ["record", "size"],
    "additionalProperties": False,
}

# Letters at random: PostgreSQL's compression, which would flatter whoever writes the most, finds nothing in it.
_POOL = "".join(random.Random(7).choices(string.ascii_letters + string.digits, k=1 << 17))


@dataclass(frozen=True)
class Work:
    """`runs` pieces of work, each of `turns` model calls and `turns - 1` tool calls that return `payload` bytes."""

    runs: int
    turns: int
    payload: int
    tool: str = READ

    @property
    def steps(self) -> int:
        return self.runs * self.turns

    @property
    def prompt(self) -> str:
        return f"Go through the archive. [[bench turns={self.turns} size={self.payload} tool={self.tool}]]"


def record_text(record: int, size: int) -> str:
    """What the tool returns: `size` bytes of ASCII, another text for every record."""
    start = (record * 7919) % (len(_POOL) - size)
    return _POOL[start : start + size]
