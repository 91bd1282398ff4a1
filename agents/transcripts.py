"""A transcript: messages that are only ever added, each written as JSON once."""

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
