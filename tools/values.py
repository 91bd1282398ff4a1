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


class Label(StrEnum):
    """What is said of content; what carries none of them is trusted."""

    UNTRUSTED = "untrusted"  # written by whoever, and may hold instructions
    SENSITIVE = "sensitive"  # must not leave


class SinkKind(StrEnum):
    """What an argument does with the value that it is given."""

    DESTINATION = "destination"  # says where something goes: an address, an account, a host
    AMOUNT = "amount"
    CONTENT = "content"  # is read by people or programs elsewhere
    CODE = "code"  # is executed


@dataclass(frozen=True)
class Sink:
    """`lists` names the lists of destinations whose members need nobody else to vouch for them."""

    kind: SinkKind
    lists: tuple[str, ...] = ()


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
    """One immutable tool version with the live switches of its tool row.

    Those are `enabled`, `confirmation`, `risk`, `family`, and the labels that a person set: `brings`, of what its
    results carry in, and `sinks` by argument. `sinks` None: nobody has said, so every argument is one of each kind.
    """

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
    family: str = ""
    brings: frozenset[Label] = frozenset()
    sinks: Mapping[str, Sink] | None = None

    @property
    def is_external(self) -> bool:
        """What it is given leaves: for a destination, or as what a read asks for elsewhere, such as the words of a
        search. Of an act that nobody has described, it is taken that it does."""
        if self.sinks is None:
            return self.executor != ExecutorKind.PLATFORM and self.effect != Effect.PURE
        if self.effect == Effect.PURE:
            return bool(self.sinks)
        return any(sink.kind == SinkKind.DESTINATION for sink in self.sinks.values())

    @property
    def acts(self) -> bool:
        """It changes something, or takes something out."""
        return self.effect != Effect.PURE or self.is_external


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
class RunFacts:
    """What the gate may know of the run and its caller (`tools/policies/facts.py` says what each means).

    `repeats_effect`: the same tool with the same canonical arguments already sent an effect in this run. `restored`:
    the database was restored while the run was open, so nobody knows what it did since the backup was made.
    `taint` are the labels of what the agent has read. `unvouched` says, by argument of a sink, where its value came
    from, of those that nobody vouches for; `listed` the lists of destinations that hold an argument's value, of all
    the `lists` there are.
    `run_usd` and `calls_of_tool` are None where no rule asks for them, `now` where no moment is known.
    """

    agent: str
    cancel_requested: bool = False
    agent_active: bool = True
    repeats_effect: bool = False
    restored: bool = False
    agent_kind: str = "worker"
    caller: str = ""
    caller_is_app: bool = False
    caller_roles: tuple[str, ...] = ()
    source: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    depth: int = 0
    dispatch_usd: float = 0
    model_calls: int = 0
    run_usd: float | None = None
    calls_of_tool: int | None = None
    now: dt.datetime | None = None
    taint: tuple[str, ...] = ()
    unvouched: Mapping[str, str] = field(default_factory=dict)
    listed: Mapping[str, list[str]] = field(default_factory=dict)
    lists: tuple[str, ...] = ()


@dataclass(frozen=True)
class Allow:
    reasons: tuple[str, ...]
    risk: Risk
    facts: Mapping[str, Any]
    notify: bool = False


@dataclass(frozen=True)
class NeedsApproval:
    """`four_eyes`: the person who started the run may not decide it. `approvers`: how many different people have to
    approve, each of them in the group of that name; "" = whoever may decide."""

    reasons: tuple[str, ...]
    risk: Risk
    facts: Mapping[str, Any]
    four_eyes: bool = False
    approvers: int = 1
    group: str = ""


@dataclass(frozen=True)
class Defer:
    reasons: tuple[str, ...]
    risk: Risk
    facts: Mapping[str, Any]
    until: dt.datetime


@dataclass(frozen=True)
class Refuse:
    """`kind` is a word for programs: unknown_tool, not_granted, disabled, cancelled, invalid_arguments, policy."""

    reasons: tuple[str, ...]
    risk: Risk
    facts: Mapping[str, Any]
    kind: str


Ruling = Allow | NeedsApproval | Defer | Refuse

# How strict a ruling is: an approved call whose ruling today is stricter than the one approved does not run.
STRICTNESS = {Allow: 0, NeedsApproval: 1, Defer: 2, Refuse: 3}


class ErrorKind(StrEnum):
    """Why a tool call brought no result. `LOST`: sent, and nobody can say whether it took effect.

    `EGRESS_REFUSED`: the platform opened no connection to where the call would have led. `BREAKER_OPEN`: the tool
    failed again and again, and is left alone for a while.
    """

    RAISED = "raised"
    TIMEOUT = "timeout"
    INVALID_ARGUMENTS = "invalid_arguments"
    INVALID_RESULT = "invalid_result"
    TOO_LARGE = "too_large"
    UNREACHABLE = "unreachable"
    EGRESS_REFUSED = "egress_refused"
    HTTP_STATUS = "http_status"
    SECRET_MISSING = "secret_missing"
    LOST = "lost"
    UNKNOWN_TOOL = "unknown_tool"
    NOT_GRANTED = "not_granted"
    POLICY = "policy"
    DISABLED = "disabled"
    BREAKER_OPEN = "breaker_open"
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
    said_5xx: bool = False

    @property
    def ok(self) -> bool:
        return self.error is None

    @property
    def is_outage(self) -> bool:
        """The tool is to blame, and not the arguments, the platform, or a limit of whoever asked."""
        if self.error == ErrorKind.TIMEOUT:
            return self.sent
        return self.said_5xx or self.error in (ErrorKind.RAISED, ErrorKind.UNREACHABLE, ErrorKind.LOST)


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
