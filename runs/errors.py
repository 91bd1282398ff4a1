"""What can go wrong in the conductor.

RunError
├── LostLease            another worker holds the dispatch now: stop, and write nothing
├── Suspected            it may have ended its workers: only a process of its own may claim it
├── BadRequest           an outside value is wrong; `faults` names each field and the way out
└── NotPossible          the verb does not fit the state the row is in; the message says which and why
"""

from collections.abc import Mapping


class RunError(Exception):
    """Every error of this room."""


class LostLease(RunError):
    """The dispatch has another owner, or its fence has grown."""


class Suspected(RunError):
    """The dispatch went down with worker after worker."""


class BadRequest(RunError):
    """`faults` maps a field to one sentence."""

    def __init__(self, faults: Mapping[str, str]):
        self.faults = dict(faults)
        super().__init__("; ".join(f"{field}: {sentence}" for field, sentence in faults.items()))


class NotPossible(RunError):
    """The message is one sentence for the person who asked."""
