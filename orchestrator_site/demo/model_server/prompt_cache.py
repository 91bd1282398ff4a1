"""Usage figures of the input, with the provider's prompt cache imitated.

A request is a row of blocks: tools, system, messages. A block marked `cache_control` makes everything up to it an
entry of the cache. The longest known entry is read, what follows up to the last mark is written, the rest is new.
"""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

KNOWN_PREFIXES = 20_000
SHORTEST_CACHED_TOKENS = 256


def cost_of(text: str) -> int:
    """Tokens of a text, estimated at four characters each."""
    return (len(text) + 3) // 4


def _blocks(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from body.get("tools") or []
    system = body.get("system") or []
    yield from [{"type": "text", "text": system}] if isinstance(system, str) else system
    for message in body.get("messages") or []:
        content = message.get("content") or []
        yield from [{"type": "text", "text": content}] if isinstance(content, str) else content


class PromptCache:
    """Remembers the most recent prefixes, oldest forgotten first."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def count(self, body: dict[str, Any]) -> int:
        return sum(cost_of(json.dumps(block, sort_keys=True)) for block in _blocks(body))

    def usage(self, body: dict[str, Any]) -> dict[str, int]:
        digest = hashlib.blake2b(str(body.get("model")).encode(), digest_size=16)
        total = read = marked = 0
        entries: list[bytes] = []
        for block in _blocks(body):
            written = json.dumps({key: value for key, value in block.items() if key != "cache_control"}, sort_keys=True)
            digest.update(written.encode())
            total += cost_of(written)
            key = digest.digest()
            if key in self._known:
                read = total
            if "cache_control" in block and total >= SHORTEST_CACHED_TOKENS:
                marked = total
                entries.append(key)
        self._remember(entries)
        read = read if marked else 0
        created = max(0, marked - read)
        return {
            "input_tokens": total - read - created,
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": created,
        }

    def _remember(self, entries: list[bytes]) -> None:
        for key in entries:
            self._known[key] = None
            self._known.move_to_end(key)
        while len(self._known) > KNOWN_PREFIXES:
            self._known.popitem(last=False)
