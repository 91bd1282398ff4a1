"""What the rooms above say about tools: specifications, grants, rulings and results. No row, no query."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID


class Risk(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        return list(Risk).index(self)

    def at_least(self, other: "Risk") -> bool:
        return self.rank >= other.rank


def highest(*risks: Risk | None) -> Risk:
    """The highest of the risks given; `None` counts as no opinion."""
    return max((risk for risk in risks if risk is not None), key=lambda risk: risk.rank)


class Effect(StrEnum):
    """What repeating a call would do; set by a person, and `unsafe` until one says otherwise."""

    PURE = "pure"  # repeat freely
    KEYED = "keyed"  # repeat with the same idempotency key
    VERIFIABLE = "verifiable"  # ask lookup(key) before repeating
    UNSAFE = "unsafe"  # never repeated by the machine


class ExecutorKind(StrEnum):
    PYTHON = "python"
    HTTP = "http"
    PLATFORM = "platform"


class Confirmation(StrEnum):
    """Whether a person is asked, apart from the risk: `never` is a person's explicit opt-out of the default."""

    BY_RISK = "by_risk"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True)
class RiskRule:
    """`when` is a CEL expression over `args`; where it holds, the call's risk is at least `risk`."""

    when: str
    risk: Risk
    reason: str


@dataclass(frozen=True)
class ToolSpec:
    """One immutable tool version with the live switches of its tool row (`enabled`, `confirmation`, `risk`)."""

    name: str
    version_id: int
    description: str
    input_schema: Mapping[str, Any]
    executor: ExecutorKind
    config: Mapping[str, Any] = field(default_factory=dict)
    effect: Effect = Effect.UNSAFE
    risk: Risk = Risk.HIGH
    risk_rules: tuple[RiskRule, ...] = ()
    confirmation: Confirmation = Confirmation.BY_RISK
    enabled: bool = True
    timeout_seconds: float = 30
    result_limit_bytes: int = 64_000


@dataclass(frozen=True)
class Grant:
    """An agent's view of one tool: its overrides can only tighten what the tool says."""

    tool: str
    risk_floor: Risk | None = None
    always_confirm: bool = False
    timeout_seconds: float | None = None
    result_limit_bytes: int | None = None

    def timeout_for(self, spec: ToolSpec) -> float:
        return min(spec.timeout_seconds, self.timeout_seconds or spec.timeout_seconds)

    def result_limit_for(self, spec: ToolSpec) -> int:
        return min(spec.result_limit_bytes, self.result_limit_bytes or spec.result_limit_bytes)


@dataclass(frozen=True)
class Policy:
    """How the platform treats each risk. `version` is stored with every ruling made under it."""

    version: str
    notify_from: Risk = Risk.MEDIUM
    ask_from: Risk = Risk.HIGH
    four_eyes_from: Risk = Risk.CRITICAL


@dataclass(frozen=True)
class RunFacts:
    """What the gate may know of the run; everything here is stored with the ruling.

    `repeats_effect`: the same tool with the same canonical arguments already sent an effect in this run. `restored`:
    the database was restored while the run was open, so nobody knows what it did since the backup was made.
    """

    agent: str
    cancel_requested: bool = False
    agent_active: bool = True
    repeats_effect: bool = False
    restored: bool = False


@dataclass(frozen=True)
class Allow:
    reasons: tuple[str, ...]
    risk: Risk
    facts: Mapping[str, Any]
    notify: bool = False


@dataclass(frozen=True)
class NeedsApproval:
    """`four_eyes`: the person who started the run may not decide it."""

    reasons: tuple[str, ...]
    risk: Risk
    facts: Mapping[str, Any]
    four_eyes: bool = False


@dataclass(frozen=True)
class Defer:
    reasons: tuple[str, ...]
    risk: Risk
    facts: Mapping[str, Any]
    until: dt.datetime


@dataclass(frozen=True)
class Refuse:
    """`kind` is a stable word for programs: unknown_tool, not_granted, disabled, cancelled, invalid_arguments."""

    reasons: tuple[str, ...]
    risk: Risk
    facts: Mapping[str, Any]
    kind: str


Ruling = Allow | NeedsApproval | Defer | Refuse

# How strict a ruling is: an approved call whose ruling today is stricter than the one approved does not run.
STRICTNESS = {Allow: 0, NeedsApproval: 1, Defer: 2, Refuse: 3}


class ErrorKind(StrEnum):
    """Why a tool call brought no result. `LOST`: sent, and nobody can say whether it took effect."""

    RAISED = "raised"
    TIMEOUT = "timeout"
    INVALID_ARGUMENTS = "invalid_arguments"
    INVALID_RESULT = "invalid_result"
    TOO_LARGE = "too_large"
    UNREACHABLE = "unreachable"
    HTTP_STATUS = "http_status"
    SECRET_MISSING = "secret_missing"
    LOST = "lost"
    UNKNOWN_TOOL = "unknown_tool"
    NOT_GRANTED = "not_granted"
    DISABLED = "disabled"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class ToolResult:
    """`content` is what the model reads: canonical JSON text of the value, or one plain sentence of the error.

    `sent` is False only when it is certain that nothing left the platform, so that a repeat can do no harm.
    """

    content: str
    error: ErrorKind | None = None
    sent: bool = True
    may_go_on: bool = False  # its process could not be killed, so the effect may still come

    @property
    def ok(self) -> bool:
        return self.error is None


@dataclass(frozen=True)
class CallContext:
    """Given to callables that name a `call` parameter. `idempotency_key` is the same for every attempt of one call."""

    idempotency_key: str
    run_id: UUID
    dispatch_id: UUID
    call_id: UUID


@dataclass(frozen=True)
class Found:
    """A lookup's answer: the effect happened, and this was its result."""

    result: ToolResult


@dataclass(frozen=True)
class Absent:
    """A lookup's answer: no effect under this key."""


@dataclass(frozen=True)
class CannotTell:
    """The lookup itself failed; `reason` is one plain sentence."""

    reason: str


Lookup = Found | Absent | CannotTell
