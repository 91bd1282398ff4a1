"""What a proposal takes for granted: sentences, which people check, and conditions over the run's facts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from runs.handing_over import facts
from runs.models import Handoff
from tools import conditions
from tools.conditions import ConditionFailed

# Nobody has checked it: it has no condition, or the condition was not evaluated yet.
SAID, GREEN, RED, UNKNOWN = "said", "green", "red", "unknown"
LONGEST_CHECK = 500

SHAPE: dict[str, Any] = {
    "type": ["string", "object"],
    "minLength": 1,
    "maxLength": 4000,
    "properties": {
        "says": {"type": "string", "minLength": 1, "maxLength": 400, "description": "what has to hold, for people"},
        "check": {
            "type": "string",
            "minLength": 1,
            "maxLength": LONGEST_CHECK,
            "description": "the same as CEL over run, results, artifacts and handoff, "
            "for example: handoff.state.amount <= 50 && run.cost_usd < 1.0",
        },
    },
    "required": ["says", "check"],
    "additionalProperties": False,
    "description": "a sentence, or a sentence with a condition that the platform checks",
}


@dataclass(frozen=True)
class Precondition:
    """`check` is CEL, empty for a mere sentence. `why` says of an unknown one what kept it from being evaluated."""

    says: str
    check: str = ""
    outcome: str = SAID
    why: str = ""

    @property
    def blocks(self) -> bool:
        """What could not be evaluated counts as red."""
        return self.outcome in (RED, UNKNOWN)

    @property
    def obstacle(self) -> str:
        """Why it blocks, as a sentence."""
        if self.outcome == RED:
            return f"“{self.says}” does not hold."
        return f"“{self.says}” could not be evaluated: {self.why}."


def read(stored: Iterable[str | Mapping[str, str]]) -> list[Precondition]:
    """Of a proposal, or of a row."""
    return [Precondition(each) if isinstance(each, str) else Precondition(**each) for each in stored]


def stored(read: Iterable[Precondition]) -> list[dict[str, str]]:
    return [asdict(each) for each in read]


def faults(proposed: Iterable[str | Mapping[str, str]]) -> list[str]:
    """Conditions that can never be evaluated, each with the way out."""
    return [
        f"The check of {each.says!r} cannot be evaluated: {fault}"
        for each in read(proposed)
        if each.check and (fault := conditions.fault(each.check, facts.SAMPLE))
    ]


def evaluated(read: Sequence[Precondition], known: Mapping[str, Any]) -> list[Precondition]:
    """Pure: each condition over these facts."""
    return [_evaluated(each, known) if each.check else each for each in read]


def _evaluated(each: Precondition, known: Mapping[str, Any]) -> Precondition:
    try:
        outcome = GREEN if conditions.is_true(each.check, known) else RED
    except ConditionFailed as failure:
        return replace(each, outcome=UNKNOWN, why=str(failure)[:300])
    return replace(each, outcome=outcome, why="")


def now(handoff: Handoff, *, task: str | None = None) -> list[Precondition]:
    """As the rows are now. Reads no facts where there is nothing to check. Expects source, run and target joined."""
    listed = read(handoff.preconditions)
    if not any(each.check for each in listed):
        return listed
    return evaluated(listed, facts.of(handoff, task=task))
