"""Manifests, model calls and replies as plain values. No row, no query."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from orchestrator_site.core import canonical
from tools.values import Grant, Risk


class AgentKind(StrEnum):
    """Only routers and supervisors are offered `dispatch_to_*`. A planner's answer is a plan."""

    WORKER = "worker"
    ROUTER = "router"
    SUPERVISOR = "supervisor"
    PLANNER = "planner"


class Limits(BaseModel):
    """Bounds of one dispatch. Every one ends the loop with its own stop reason."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    iterations: int = Field(default=12, ge=1, le=1000, description="model calls")
    tokens_per_call: int = Field(default=2048, ge=1, le=128_000, description="output tokens of one model call")
    tokens_total: int = Field(default=200_000, ge=1, description="input and output tokens of the dispatch")
    cost_usd: Decimal = Field(default=Decimal("1"), ge=0, description="US dollars for the dispatch")
    wall_seconds: int = Field(default=3600, ge=1, description="working time; waiting for people does not count")
    tool_calls_per_turn: int = Field(default=8, ge=1, le=100)
    context_tokens: int | None = Field(
        default=None, ge=1000, description="input tokens of one model call; empty: as many as the model takes"
    )
    children: int = Field(default=20, ge=1, le=1000, description="agents that a supervisor may dispatch in all")


class GrantSpec(BaseModel):
    """A grant as it stands in a manifest. Overrides can only tighten what the tool's own row says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tool: str
    risk_floor: Risk | None = None
    always_confirm: bool = False
    timeout_seconds: float | None = Field(default=None, gt=0)
    result_limit_bytes: int | None = Field(default=None, gt=0)

    def grant(self) -> Grant:
        return Grant(**self.model_dump())


class ManifestSpec(BaseModel):
    """The content of one manifest version: everything a dispatch pins."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = Field(max_length=120)
    owns: str = Field(max_length=300, description="one line: what this agent is responsible for")
    kind: AgentKind = AgentKind.WORKER
    system_prompt: str
    models: tuple[str, ...] = Field(min_length=1, description="names in the model catalogue, first choice first")
    grants: tuple[GrantSpec, ...] = ()
    limits: Limits = Limits()
    handoff_targets: tuple[str, ...] = Field(default=(), description="slugs of agents it may propose")
    summariser: str = Field(
        default="", max_length=50, description="slug of who summarises its old turns; empty: the installation's"
    )
    output_schema: dict[str, Any] | None = Field(
        default=None, description="JSON Schema of its final answer, which then is JSON alone; null: any text"
    )
    routable: bool = Field(default=True, description="requests may be routed to it by what it is like")
    exemplars: tuple[str, ...] = Field(default=(), description="requests that should come to it, in people's words")

    @field_validator("output_schema")
    @classmethod
    def _is_writable(cls, schema: dict[str, Any] | None) -> dict[str, Any] | None:
        try:
            canonical.dumps(schema)
        except canonical.NotCanonical as error:
            raise PydanticCustomError("not_json", "it cannot be kept as JSON: {why}", {"why": str(error)}) from error
        return schema


class Transfer(StrEnum):
    """What of its work an agent passes on beside the task: what it names (structured), turns that it chooses
    (selective), a summary by a summariser agent, or the whole transcript (full)."""

    STRUCTURED = "structured"
    SELECTIVE = "selective"
    SUMMARY = "summary"
    FULL = "full"


@dataclass(frozen=True)
class Edge:
    """What may pass from one agent to another. A row can only forbid: what a manifest does not allow stays forbidden.

    `contract` is the JSON Schema of a proposal's state; None: any object, or none. `summariser` is a slug; empty: whom
    the source's manifest names, else the installation.
    `deadline_seconds` None: the installation's. `source_watches`: the source has the last word when the target has
    ended. `ring_limit`: how often the target may stand in one chain of handoffs.
    """

    may_hand_over: bool = True
    may_dispatch: bool = True
    contract: Mapping[str, Any] | None = None
    transfer: Transfer = Transfer.STRUCTURED
    summariser: str = ""
    deadline_seconds: int | None = None
    source_watches: bool = False
    ring_limit: int = 2


@dataclass(frozen=True)
class Problem:
    """One reason why a manifest cannot be published; `field` is a dotted path into the manifest."""

    field: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.field}: {self.sentence}"


def no_such(noun: str, name: str, known: Iterable[str]) -> str:
    """The sentence of a problem: what is named is not there; with what may have been meant."""
    sentence = f"there is no {noun} named {name!r}"
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"{sentence}; did you mean {close[0]!r}?" if close else f"{sentence}."


@dataclass(frozen=True)
class ModelSpec:
    """One row of the model catalogue. Prices are US dollars per million tokens, 0 where it is not `is_priced`."""

    name: str
    provider_model: str
    endpoint: str  # base URL; empty: the installation's default
    credential: str  # "env:NAME"; empty: the installation's key, which goes to the installation's endpoint alone
    context_window: int
    output_limit: int
    input_price: Decimal
    output_price: Decimal
    cache_read_price: Decimal
    cache_write_price: Decimal
    is_priced: bool = True


@dataclass(frozen=True)
class Usage:
    """Tokens of one reply. `input_tokens` excludes what was read from or written to the prompt cache."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens + self.cache_read_tokens + self.cache_write_tokens


@dataclass(frozen=True)
class ModelRequest:
    """What goes on the wire: `messages` and `tools` are the SDK's plain JSON shapes, tools in a stable order.

    `output_schema`: the JSON Schema that a final text is to fit.
    """

    model: ModelSpec
    system: str
    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]]
    max_tokens: int
    timeout_seconds: float = 600
    output_schema: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class ModelReply:
    """`content` is the SDK's plain JSON blocks, unknown block types included; they are echoed as they came.

    `stop_details` is what the provider says of a refusal: {category, explanation}, each may be missing or null.
    """

    content: Sequence[Mapping[str, Any]]
    stop_reason: str
    usage: Usage
    model: str
    request_id: str = ""
    stop_details: Mapping[str, Any] = field(default_factory=dict)


class FailureKind(StrEnum):
    """What may help after a failure.

    RETRY: come back after `retry_after_seconds`. NEXT_MODEL: this model cannot serve it, another may. NEXT_ACCESS: its
    key, or the account behind it, is refused: only a model with another one may. FATAL: the request itself is wrong.
    """

    RETRY = "retry"
    NEXT_MODEL = "next_model"
    NEXT_ACCESS = "next_access"
    FATAL = "fatal"


# Codes of failures of the server, whatever was asked: ours, and those that a provider sends within a stream.
OUTAGES = frozenset({
    "timeout", "connection", "truncated", "garbage", "overloaded_error", "api_error", "timeout_error",
})  # fmt: skip


@dataclass(frozen=True)
class ModelFailure:
    """`code` is the provider's error type or ours (timeout, connection, truncated, garbage); `sentence` is for people.

    `sent` is False only when it is certain that the provider did no work, so that nothing is owed. `usage` is what the
    call is to be counted at as far as the server said so; None: it said nothing.
    """

    kind: FailureKind
    code: str
    sentence: str
    retry_after_seconds: float | None = None
    sent: bool = True
    usage: Usage | None = None
    is_usage_estimated: bool = True
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_outage(self) -> bool:
        """The server is to blame, and not the request, the key, or a limit of whoever asks."""
        return self.code in OUTAGES or int(self.details.get("status", 0)) >= 500
