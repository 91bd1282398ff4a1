"""A plan as typed data. Its JSON Schema is what a planner is asked to answer by. No row, no query."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from runs.values import ARTIFACT

KEY = r"^[a-z0-9]+([_-][a-z0-9]+)*$"
JOIN = r"^(all|any|always|quorum\([1-9][0-9]{0,3}\))$"
# What stands for the item in the task of a node that goes over many.
ITEM = "{item}"

# An agent's slug and a number fit in, and a number more in a node's key.
Key = Annotated[str, StringConstraints(pattern=KEY, max_length=55)]
Task = Annotated[str, StringConstraints(min_length=1, max_length=20_000)]


class Typed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Retry(Typed):
    """In place of what the agent's own rule says. The pause doubles with every try, up to an hour."""

    tries: int = Field(default=2, ge=1, le=10, description="in all, the first one included")
    backoff_seconds: float = Field(default=2, ge=0, le=3600)


class Over(Typed):
    """What a node goes over, one inner node for each: exactly one of the three."""

    items: tuple[str, ...] | None = Field(default=None, max_length=1000)
    result_of: Key | None = Field(default=None, description="a node whose result is a JSON list, or lines")
    document: str | None = Field(default=None, description="an artifact, or a node, whose text is cut into chunks")
    chunk_characters: int = Field(default=8000, ge=100, le=100_000)

    @model_validator(mode="after")
    def _one_of_three(self) -> "Over":
        if sum(each is not None for each in (self.items, self.result_of, self.document)) != 1:
            raise ValueError("give exactly one of items, result_of and document")
        return self


class Reduce(Typed):
    """How several results become one. `join`: how many of them have to have succeeded."""

    how: Literal["concatenate", "synthesis", "vote", "merge"] = "concatenate"
    agent: str | None = Field(default=None, description="who writes a synthesis, or merges two and two")
    task: str = Field(default="", max_length=20_000)
    field: str = Field(default="", description="vote: the field of the answers that is counted; empty: the whole text")
    ties: str = Field(default="person", description="vote: who decides between equals, an agent or a person")
    join: str = Field(default="any", pattern=JOIN)

    @model_validator(mode="after")
    def _has_its_agent(self) -> "Reduce":
        if self.how in ("synthesis", "merge") and not self.agent:
            raise ValueError(f"{self.how} needs an agent")
        return self


class Judge(Typed):
    """An agent that scores the result from 0 to 1. Below the bar the planner adds nodes, at most `rounds` times."""

    agent: str
    bar: float = Field(default=0.8, ge=0, le=1)
    rounds: int = Field(default=2, ge=0, le=10)
    planner: str | None = Field(default=None, description="who adds nodes; the agent that made the plan, if it is one")


class NodeSpec(Typed):
    """A node: what is done by whom, and after what. It is told the results of its `inputs`: its parents' by default."""

    key: Key
    agent: str | None = None
    task: str = Field(default="", max_length=20_000)
    depends_on: tuple[Key, ...] = ()
    join: str = Field(default="all", pattern=JOIN, description="how many parents have to have succeeded")
    inputs: tuple[str, ...] = Field(default=(), description="nodes before it, or artifacts, that it is told of")
    timeout_seconds: int | None = Field(default=None, ge=1, le=7 * 24 * 3600)
    retry: Retry | None = None
    fallback: tuple[str, ...] | None = Field(default=None, description="agents that try it in turn, when it fails")
    agents: tuple[str, ...] = Field(default=(), max_length=50, description="the same task to each of them")
    models: tuple[str, ...] = Field(default=(), max_length=50, description="the same task to the agent by each of them")
    over: Over | None = None
    limit: int | None = Field(default=None, ge=1, le=1000, description="inner nodes at work at once")
    reduce: Reduce | None = None
    output_schema: dict[str, Any] | None = Field(default=None, description="what the answer has to fit")
    budget_usd: Decimal | None = Field(default=None, gt=0, description="its share of what the run may spend")

    @property
    def kind(self) -> str:
        if self.over is not None:
            return "map"
        if self.agents or self.models:
            return "ensemble"
        return "agent" if self.agent else "reduce"

    @property
    def named_agents(self) -> list[tuple[str, str]]:
        """Every agent with the field that names it."""
        named = [("agent", self.agent)] if self.agent else []
        named += [(f"agents.{n}", slug) for n, slug in enumerate(self.agents)]
        named += [(f"fallback.{n}", slug) for n, slug in enumerate(self.fallback or ())]
        if self.reduce is not None:
            named += [("reduce.agent", self.reduce.agent)] if self.reduce.agent else []
            named += [("reduce.ties", self.reduce.ties)] if self.reduce.ties != "person" else []
        return named

    @property
    def quorum(self) -> int | None:
        return quorum(self.join)


class PlanSpec(Typed):
    """A plan. `answer`: the nodes whose results are its result; empty: those that nothing comes after."""

    goal: str = Field(default="", max_length=2000)
    nodes: tuple[NodeSpec, ...]
    answer: tuple[Key, ...] = ()
    concurrency: int | None = Field(default=None, ge=1, le=1000, description="nodes at work at once")
    judge: Judge | None = None


def quorum(join: str) -> int | None:
    match = re.match(r"quorum\((\d+)\)$", join)
    return int(match[1]) if match else None


def references(spec: Mapping[str, Any]) -> list[str]:
    """The artifacts that a node is told of, of a `NodeSpec` as it is stored."""
    return [each for each in spec.get("inputs", ()) if ARTIFACT.fullmatch(each)]


def named(spec: Mapping[str, Any]) -> list[str]:
    """As `references`, with the document that it goes over."""
    document = (spec.get("over") or {}).get("document") or ""
    return references(spec) + [document] * (ARTIFACT.fullmatch(document) is not None)


def only_read(spec: Mapping[str, Any]) -> set[str]:
    """What a node is told of, or goes over, without its join rule counting it, of a `NodeSpec` as it is stored."""
    over = spec.get("over") or {}
    named = [*spec.get("inputs", ()), over.get("result_of"), over.get("document")]
    return {each for each in named if each} - set(spec.get("depends_on", ()))


def stored(spec: BaseModel) -> dict[str, Any]:
    """As JSON, without what was not said."""
    return spec.model_dump(mode="json", exclude_unset=True)
