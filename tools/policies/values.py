"""A policy as the gate reads it: plain values, made of the rows of one version. No row, no query, no clock."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from tools.values import Risk

# What is ruled by when nothing was published yet.
BUILT_IN_VERSION = "built-in-1"


class Outcome(StrEnum):
    """What a rule makes of the calls that it covers, from the laxest to the strictest."""

    ALLOW = "allow"
    NOTIFY = "notify"
    ASK = "ask"
    DEFER = "defer"
    READ_ONLY = "read_only"
    DENY = "deny"

    @property
    def rank(self) -> int:
        return list(Outcome).index(self)


class Flow(StrEnum):
    """What is made of an act whose arguments may have come from content that nobody vouches for."""

    ASK = "ask"
    DENY = "deny"


@dataclass(frozen=True)
class Window:
    """Hours of some days in a named zone: from `opens` up to `closes`, which is the next day's where it is not later.

    `days`: 0 is Monday. `except_dates` are local dates on which it does not open.
    """

    name: str
    zone: str
    days: frozenset[int]
    opens: dt.time
    closes: dt.time
    except_dates: frozenset[dt.date] = frozenset()


@dataclass(frozen=True)
class Scope:
    """Which calls a rule is about; "" is any. A scope covers a call when each thing it names is the call's.

    The weights say which scope is the narrower: one that names a tool outweighs all that names none, and so on.
    """

    tool: str = ""
    family: str = ""
    agent: str = ""
    app: str = ""
    role: str = ""
    effect: str = ""
    risk: str = ""
    label: str = ""

    @cached_property
    def narrowness(self) -> int:
        return sum(weight for name, weight in _WEIGHTS.items() if getattr(self, name))

    def words(self) -> str:
        return ", ".join(f"{name} {getattr(self, name)}" for name in _WEIGHTS if getattr(self, name)) or "every call"


_WEIGHTS = {"tool": 128, "family": 64, "agent": 32, "app": 16, "role": 8, "label": 4, "risk": 2, "effect": 1}


@dataclass(frozen=True)
class Rule:
    """`condition` is CEL over the documented facts, "" for always. With a `window` it holds outside that window alone.

    `says` is the sentence that a person reads. `approvers` and `group` are of `ask`. It holds until `expires_at`.
    """

    name: str
    outcome: Outcome
    scope: Scope = Scope()
    condition: str = ""
    says: str = ""
    approvers: int = 1
    group: str = ""
    window: str = ""
    expires_at: dt.datetime | None = None


@dataclass(frozen=True)
class Policy:
    """How the platform treats each call. `version` is stored with every ruling made under it.

    The thresholds say what a call of each risk is met with where no rule covers it.
    """

    version: str
    rules: tuple[Rule, ...] = ()
    windows: Mapping[str, Window] = field(default_factory=dict)
    notify_from: Risk = Risk.MEDIUM
    ask_from: Risk = Risk.HIGH
    four_eyes_from: Risk = Risk.CRITICAL
    flow: Flow = Flow.ASK

    @cached_property
    def in_order(self) -> tuple[Rule, ...]:
        """The narrowest first, and among equals the strictest: whoever reads on need not look back."""
        return tuple(sorted(self.rules, key=lambda rule: (-rule.scope.narrowness, -rule.outcome.rank, rule.name)))


BUILT_IN = Policy(BUILT_IN_VERSION)
