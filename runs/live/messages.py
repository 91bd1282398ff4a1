"""What clients get: `{seq, type, at, data}`. `seq` is null for what has no place in a chain of events."""

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TEXT, LIVE, BEAT = "text", "live", "beat"


@dataclass(frozen=True, slots=True)
class Message:
    """Encoded once, sent to all. `text` is the whole message as JSON on one line."""

    seq: int | None
    type: str
    text: str


def event(seq: int, type: str, at: dt.datetime, data: str) -> Message:
    """`data` is canonical JSON text and is passed on as it is."""
    return Message(seq, type, f'{{"seq":{seq},"type":{json.dumps(type)},"at":"{_moment(at)}","data":{data}}}')


def passing(type: str, data: Mapping[str, Any]) -> Message:
    """A message that nobody can ask for again."""
    message = {"seq": None, "type": type, "at": _moment(dt.datetime.now(dt.UTC)), "data": data}
    return Message(None, type, json.dumps(message, separators=(",", ":")))


def live(*, degraded: bool) -> Message:
    """Degraded: news come by asking the rows every other second, not by doorbell."""
    return passing(LIVE, {"degraded": degraded})


def _moment(at: dt.datetime) -> str:
    return at.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


# Nothing happened for a while; clients are not told of it, but a stream sends a sign of life.
QUIET = Message(None, BEAT, "")
