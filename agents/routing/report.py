"""What a route table makes of requests: of labelled ones, and beside a draft of another table. No row is written."""

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents.models import EXEMPLAR_LENGTH
from agents.roster import Roster
from agents.routing import cascade, embedders, rules, table
from agents.routing.cascade import Book
from agents.routing.fits import Served
from agents.routing.fitting import RouteTable, RouteTexts, fit
from agents.routing.rules import Rule
from agents.routing.values import SAMPLE, Judgement, RoutingRequest
from tools import conditions

NOBODYS = ("", "oos")
STAGES = ("rules", "semantic")


class NotReadable(Exception):
    """What is wrong with a file, its place in it, and the way out."""


@dataclass(frozen=True)
class Labelled:
    """`agent` empty: nobody's."""

    request: RoutingRequest
    agent: str


def read_labelled(path: Path) -> list[Labelled]:
    """A CSV with the columns text,agent; an agent that is empty or `oos`: nobody's. Raises NotReadable, OSError."""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if not {"text", "agent"} <= set(reader.fieldnames or ()):
            raise NotReadable(f"{path}: its first line must name the columns text,agent.")
        try:
            return [_labelled(row, f"{path}, line {reader.line_num}") for row in reader]
        except (csv.Error, UnicodeDecodeError) as error:
            raise NotReadable(f"{path}, line {reader.line_num}: {error}.") from error


def _labelled(row: Mapping[str, str | None], where: str) -> Labelled:
    text, agent = row["text"], (row["agent"] or "").strip()
    if not text or not text.strip():
        raise NotReadable(f"{where}: there is no text.")
    return Labelled(RoutingRequest(text), "" if agent in NOBODYS else agent)


# Labelled requests


@dataclass(frozen=True)
class Tally:
    """Of somebody's requests: `right`, `wrong` and `asked` (of them `offered` the right agent) add up to all. Of
    nobody's: `caught` and `routed`. `by_stage`: {stage: (right, wrong, nobody's routed)}."""

    right: int
    wrong: int
    asked: int
    offered: int
    caught: int
    routed: int
    by_stage: Mapping[str, tuple[int, int, int]]

    @property
    def somebodys(self) -> int:
        return self.right + self.wrong + self.asked

    @property
    def nobodys(self) -> int:
        return self.caught + self.routed

    def lines(self) -> list[str]:
        told = [
            f"{self.somebodys} requests of agents, {self.nobodys} of nobody",
            f"  to the right agent    {_of(self.right, self.somebodys)}",
            f"  to a wrong one        {_of(self.wrong, self.somebodys)}; "
            f"{_of(self.wrong, self.right + self.wrong)} of what was answered",
            f"  asked                 {_of(self.asked, self.somebodys)}; the right agent among the candidates in "
            f"{_of(self.offered, self.asked)}",
            f"  nobody's, caught      {_of(self.caught, self.nobodys)}",
        ]
        for stage in STAGES:
            right, wrong, routed = self.by_stage.get(stage, (0, 0, 0))
            told.append(f"  by {stage + ':':19} {right} right, {wrong} wrong, {routed} of nobody's")
        return told


def _of(part: int, whole: int) -> str:
    return f"{part} ({100 * part / whole:.1f} %)" if whole else "0"


def tally(judged: Iterable[tuple[Labelled, Judgement]]) -> Tally:
    """A plan template is a right answer to a request that is labelled with its name."""
    count: Counter[str] = Counter()
    by_stage: Counter[tuple[str, str]] = Counter()
    for labelled, said in judged:
        outcome = _outcome(labelled, said)
        count[outcome] += 1
        count["offered"] += outcome == "asked" and labelled.agent in {one.slug for one in said.candidates}
        by_stage[said.decided_by, outcome] += 1
    return Tally(
        **{name: count[name] for name in ("right", "wrong", "asked", "offered", "caught", "routed")},
        by_stage={
            stage: (by_stage[stage, "right"], by_stage[stage, "wrong"], by_stage[stage, "routed"]) for stage in STAGES
        },
    )


def _outcome(labelled: Labelled, said: Judgement) -> str:
    if not labelled.agent:
        return "routed" if said.is_decided else "caught"
    if not said.is_decided:
        return "asked"
    return "right" if labelled.agent in (said.agent, said.template) else "wrong"


# A draft of another table


class DraftRule(BaseModel):
    """As the columns of a routing rule: exactly one of `agent` and `template`."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1)
    priority: int = Field(default=100, ge=0)
    condition: str
    agent: str = ""
    template: str = ""


class DraftAgent(BaseModel):
    """What an agent is known by."""

    model_config = ConfigDict(extra="forbid")

    description: str
    exemplars: list[str] = []


class Draft(BaseModel):
    """{rules: [{name, priority, condition, agent | template}], agents: {slug: {description, exemplars: [text]}}}."""

    model_config = ConfigDict(extra="forbid")

    rules: list[DraftRule] = []
    agents: dict[str, DraftAgent]


def export(served: Roster) -> Draft:
    """The live table, as a draft to begin with."""
    live = table.live(served)
    return Draft(
        rules=[
            DraftRule(
                name=rule.name, priority=place, condition=rule.condition, agent=rule.agent, template=rule.template
            )
            for place, rule in enumerate(rules.live(served))
        ],
        agents={
            route.slug: DraftAgent(description=route.description, exemplars=list(route.exemplars))
            for route in live.routes
        },
    )


def read_draft(path: Path, served: Roster) -> Draft:
    """Raises NotReadable, which names every field that is wrong, and OSError."""
    try:
        draft = Draft.model_validate_json(path.read_bytes())
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, part['loc'])) or 'it'}: {part['msg']}" for part in error.errors()]
    else:
        faults = list(_faults(draft, served))
    if faults:
        raise NotReadable("\n".join(f"{path}, {fault}" for fault in faults))
    return draft


def _faults(draft: Draft, served: Roster) -> Iterable[str]:
    for place, rule in enumerate(draft.rules):
        if fault := conditions.fault(rule.condition, SAMPLE):
            yield f"rules.{place}.condition: {fault}"
        if bool(rule.agent) == bool(rule.template):
            yield f"rules.{place}: name an agent or a plan template, and not both."
        if rule.agent and served.entry(rule.agent) is None:
            yield f"rules.{place}.agent: {rule.agent!r} is not at work."
    for slug, agent in draft.agents.items():
        if served.entry(slug) is None:
            yield f"agents.{slug}: there is no such agent at work."
        for place, text in enumerate(agent.exemplars):
            if not 0 < len(text.strip()) <= EXEMPLAR_LENGTH:
                yield f"agents.{slug}.exemplars.{place}: a request has 1 to {EXEMPLAR_LENGTH} characters."


def drafted(draft: Draft, served: Roster) -> Book:
    """The draft, fitted here and now, to judge by. Raises EmbedderFailed; ValueError when it has no agent."""
    routes = tuple(
        RouteTexts(slug, agent.description, tuple(agent.exemplars)) for slug, agent in sorted(draft.agents.items())
    )
    ordered = sorted(draft.rules, key=lambda rule: (rule.priority, rule.name))
    live = cascade.live(served)
    return Book(
        [Rule(rule.name, rule.condition, rule.agent, rule.template) for rule in ordered],
        live.at_work,
        {slug: agent.description for slug, agent in draft.agents.items()},
        embedders.configured(),
        Served(0, served.epoch, fit(RouteTable(routes), embedders.configured())),
    )


@dataclass(frozen=True)
class Changed:
    """One request that the draft would send elsewhere; `label` is whose it is, None where nobody said."""

    text: str
    before: str
    after: str
    label: str | None

    def __str__(self) -> str:
        told = f"{' '.join(self.text.split())[:80]!r}: {self.before} → {self.after}"
        if self.label is None:
            return told
        return f"{told}   ({self.label or 'nobody'}’s)"


def changes(
    requests: Sequence[tuple[RoutingRequest, str | None]], before: Sequence[Judgement], after: Sequence[Judgement]
) -> list[Changed]:
    return [
        Changed(request.text, where(old), where(new), label)
        for (request, label), old, new in zip(requests, before, after, strict=True)
        if where(old) != where(new)
    ]


def where(said: Judgement) -> str:
    """An agent, a plan, or that a question is asked."""
    return said.agent or (f"the plan {said.template}" if said.template else "asked")


def judge_all(book: Book, requests: Iterable[RoutingRequest]) -> list[Judgement]:
    return [cascade.judge_by(book, request) for request in requests]


def as_json(draft: Draft) -> dict[str, Any]:
    return draft.model_dump(mode="json")
