"""What the cascade is given and what it answers, as plain values. No row, no query."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Caller:
    """Who started the run: `roles` are the names of groups; an app has a token and is nobody in person."""

    username: str = ""
    roles: tuple[str, ...] = ()
    is_app: bool = False


@dataclass(frozen=True)
class RoutingRequest:
    """`metadata` is what came with the run, as plain JSON."""

    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    caller: Caller = Caller()

    def facts(self) -> dict[str, Any]:
        """What a rule's condition may ask for."""
        caller = {**asdict(self.caller), "roles": list(self.caller.roles)}
        return {"text": self.text, "metadata": dict(self.metadata), "caller": caller}


# One request's facts, to try a condition on before it is saved.
SAMPLE: Mapping[str, Any] = RoutingRequest("where is my order?").facts()


@dataclass(frozen=True)
class Candidate:
    """An agent that may be offered in a question; `probability` None: nothing is known of how likely it is."""

    slug: str
    owns: str
    probability: float | None = None


@dataclass(frozen=True)
class Judgement:
    """What the cascade made of a request.

    Decided: `agent` or `template` says for whom, `decided_by` is "rules" or "semantic". Not decided: both are empty,
    and `candidates` are those to ask about, likeliest first. `line` is one readable line. `stages` is JSON, an object
    for each stage that had its turn: {stage: "rules", tried, matched, passed_over: [{rule, why}]}, and {stage:
    "semantic", fit, epoch, embedder, top: [{agent, probability, threshold}], trouble}.
    """

    line: str
    stages: tuple[Mapping[str, Any], ...]
    agent: str = ""
    template: str = ""
    decided_by: str = ""
    candidates: tuple[Candidate, ...] = ()

    @property
    def is_decided(self) -> bool:
        return bool(self.agent or self.template)

    def to_json(self) -> dict[str, Any]:
        told = asdict(self)
        return {**told, "stages": list(told["stages"]), "candidates": list(told["candidates"])}
