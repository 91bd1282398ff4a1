"""What this room refuses. The text of each is one plain sentence for the person who asked.

ApprovalError
├── NotDecided                 nothing was written; the request is as it was
│   ├── AlreadyDecided         somebody was first: who, what and when
│   ├── NotAllowedToDecide     not this person
│   ├── DeadlinePassed
│   ├── DigestMismatch         what was seen is not what is asked
│   ├── InvalidVerdict         this kind of request takes no such verdict
│   ├── ReasonNeeded
│   ├── AnswerNeeded
│   ├── InvalidStanding        what was approved beside it: `faults`
│   ├── OverrideNeeded         something stands in the way of a yes: `obstacles`
│   └── InvalidEdit            `faults`: field -> sentence
└── NotConsumable              this approval permits nothing (any more)
"""

from collections.abc import Mapping, Sequence

from approvals import states
from approvals.models import CLOCK, Decision


class ApprovalError(Exception):
    pass


class NotDecided(ApprovalError):
    pass


class AlreadyDecided(NotDecided):
    def __init__(self, decision: Decision) -> None:
        self.decision = decision
        super().__init__(_told(decision))


class NotAllowedToDecide(NotDecided):
    pass


class DeadlinePassed(NotDecided):
    def __init__(self) -> None:
        super().__init__("The deadline of this request has passed.")


class DigestMismatch(NotDecided):
    def __init__(self) -> None:
        super().__init__("What you saw is not what is asked: reload the page and look again.")


class InvalidVerdict(NotDecided):
    pass


class ReasonNeeded(NotDecided):
    def __init__(self) -> None:
        super().__init__("Say why you reject it: the agent is told your reason.")


class OverrideReasonNeeded(ReasonNeeded):
    def __init__(self) -> None:
        NotDecided.__init__(self, "Say why you permit it against what stands in its way.")


class OverrideNeeded(NotDecided):
    """`obstacles` are sentences."""

    def __init__(self, obstacles: Sequence[str]) -> None:
        self.obstacles = tuple(obstacles)
        super().__init__(f"{' '.join(obstacles)} To permit it all the same, override that and say why.")


class AnswerNeeded(NotDecided):
    def __init__(self) -> None:
        super().__init__("Write an answer.")


class InvalidEdit(NotDecided):
    """`faults` maps a field's name to a sentence; the empty name stands for the edit as a whole."""

    def __init__(self, faults: Mapping[str, str]) -> None:
        self.faults = dict(faults)
        super().__init__(" ".join(self.faults.values()))


class InvalidStanding(NotDecided):
    """`faults` maps `pattern.<argument>` or another field of the terms to a sentence; "" stands for the whole."""

    def __init__(self, faults: Mapping[str, str]) -> None:
        self.faults = dict(faults)
        told = (f"{name.removeprefix('pattern.')}: {fault}" if name else fault for name, fault in faults.items())
        super().__init__(" ".join(told))


class NotConsumable(ApprovalError):
    pass


def _told(decision: Decision) -> str:
    when = f"{decision.at:%Y-%m-%d %H:%M:%S} UTC"
    if decision.via == CLOCK:
        return f"This request expired at {when}."
    if decision.verdict == states.SUPERSEDED:
        why = f": {decision.reason}" if decision.reason else ""
        return f"This request was superseded by {decision.by_name} at {when}{why}"
    return f"{decision.by_name} {decision.verdict} this request at {when}."
