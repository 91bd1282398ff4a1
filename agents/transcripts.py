"""A transcript: messages that are only ever added, or added to at the end, each written as JSON once."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

Message = Mapping[str, Any]

to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Transcript(Sequence[Message]):
    """`written` is each message's JSON in UTF-8. Raises TypeError or ValueError for what has no JSON form."""

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        self._messages: list[Message] = []
        self.written: list[bytes] = []
        for message in messages:
            self.append(message)

    def append(self, message: Message) -> None:
        self.written.append(to_json(message).encode())
        self._messages.append(message)

    def add_to_last(self, blocks: Sequence[Mapping[str, Any]]) -> None:
        """More blocks for the newest message, where that is a user's; else a user message of their own."""
        if not self._messages or self._messages[-1]["role"] != "user":
            self.append({"role": "user", "content": list(blocks)})
            return
        self.written.pop()
        content = self._messages.pop()["content"]
        before = [{"type": "text", "text": content}] if isinstance(content, str) else content
        self.append({"role": "user", "content": [*before, *blocks]})

    def __len__(self) -> int:
        return len(self._messages)

    def __iter__(self) -> Iterator[Message]:
        return iter(self._messages)

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Message]: ...
    def __getitem__(self, index: int | slice) -> Message | Sequence[Message]:
        return self._messages[index]
