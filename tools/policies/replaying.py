"""A stored ruling judged again by another policy, from what was recorded with it alone. Pure: no query, no clock.

What ruled before any policy had its say (a tool that was not granted or switched off, arguments that do not fit) is not
judged again, since no policy changes it. What was not recorded is said to be, and never guessed.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tools import gate
from tools.policies import facts
from tools.policies.ruling import Reading
from tools.policies.values import Policy
from tools.values import (
    Allow,
    Confirmation,
    Defer,
    Effect,
    ErrorKind,
    ExecutorKind,
    Grant,
    Label,
    NeedsApproval,
    Refuse,
    Risk,
    RiskRule,
    Ruling,
    RunFacts,
    Sink,
    SinkKind,
    ToolSpec,
)

# What becomes of a call, from the laxest to the strictest; what is asked may say of whom.
RUNS, TOLD, ASKS, FOUR_EYES, WAITS, REFUSED = (
    "runs",
    "runs and is told of",
    "asks",
    "asks four eyes",
    "waits",
    "refused",
)
# Without a person.
ALONE = frozenset({RUNS, TOLD})


@dataclass(frozen=True)
class Recorded:
    """One stored ruling: {verdict, facts, …} as `runs.engine.rulings.stored` writes it, of these arguments.

    `risk_rules` are those of the version of the tool that it was ruled with, and `amounts` the names of those arguments
    that say how much money. `names` identify it for whoever looks at samples.
    """

    ruling: Mapping[str, Any]
    tool: str
    arguments: Mapping[str, Any]
    risk_rules: Sequence[RiskRule] = ()
    amounts: Sequence[str] = ()
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def facts(self) -> Mapping[str, Any]:
        return self.ruling.get("facts", {})

    @property
    def rule(self) -> str:
        return str(self.facts.get("rule", ""))


@dataclass(frozen=True)
class Again:
    """What a call came to, and what it would. `rule` decides it, "" where the thresholds do."""

    was: str
    would_be: str
    rule: str
    reasons: Sequence[str]
    reading: Reading

    @property
    def agent(self) -> str:
        return str(self.reading.known["agent.slug"])

    @property
    def is_flip(self) -> bool:
        return self.was != self.would_be


class NotJudged(Exception):
    """No policy decides it, or too little was recorded."""


class BeforeAnyPolicy(NotJudged):
    """It was refused whatever the policy says."""


class NotRecorded(NotJudged):
    """`names` are facts that the policy asks for and that were not recorded."""

    def __init__(self, *names: str) -> None:
        self.names = names
        super().__init__(", ".join(names))


def again(recorded: Recorded, policy: Policy) -> Again:
    """Judge it by this policy. Raises BeforeAnyPolicy and NotRecorded."""
    known = _known(recorded)
    reading = Reading(policy, known)
    said = reading.said()
    if said.missing:
        raise NotRecorded(*sorted(said.missing))
    spec, grant, run = _spec(recorded, known), _grant(recorded, known), _run_facts(recorded, known)
    judged = gate.judge(spec, recorded.arguments, grant, policy, run, said)
    was = as_stored(recorded.ruling)
    would_be = treatment(judged)
    if is_approved_beforehand(recorded.facts, would_be):
        would_be = was
    return Again(was, would_be, said.rule.name if said.rule else "", judged.reasons, reading)


def _known(recorded: Recorded) -> dict[str, Any]:
    stored = recorded.ruling
    if stored.get("verdict") == Refuse.__name__ and stored.get("kind") != ErrorKind.POLICY:
        raise BeforeAnyPolicy
    try:
        return facts.recalled(recorded.facts, recorded.arguments)
    except KeyError:
        raise NotRecorded("facts") from None


def is_approved_beforehand(recorded: Mapping[str, Any], would_be: str) -> bool:
    """Whether what let a call with these facts run without a question would answer this one as well."""
    answers = {ASKS, _asks(False, 1, recorded.get(facts.STANDING_GROUP, ""))}
    return facts.STANDING in recorded and would_be in answers


# -- what becomes of a call ----------------------------------------------------------------------------------------
def treatment(judged: Ruling) -> str:
    match judged:
        case Allow():
            return TOLD if judged.notify else RUNS
        case NeedsApproval():
            return _asks(judged.four_eyes, judged.approvers, judged.group)
        case Defer():
            return WAITS
        case Refuse():
            return REFUSED


def as_stored(stored: Mapping[str, Any]) -> str:
    match stored["verdict"]:
        case Allow.__name__:
            return TOLD if stored.get("notify") else RUNS
        case NeedsApproval.__name__:
            return _asks(stored.get("four_eyes", False), stored.get("approvers", 1), stored.get("group", ""))
        case Defer.__name__:
            return WAITS
        case _:
            return REFUSED


def _asks(four_eyes: bool, approvers: int, group: str) -> str:
    word = FOUR_EYES if four_eyes else ASKS
    if approvers == 1 and not group:
        return word
    return f"{word} ({approvers} of {group or 'whoever may decide'})"


# -- as it was -----------------------------------------------------------------------------------------------------
def _spec(recorded: Recorded, known: Mapping[str, Any]) -> ToolSpec:
    """The tool as its switches stood then. Its schema held, or there would be no ruling by a policy."""
    return ToolSpec(
        name=known["tool.name"],
        version_id=0,
        description="",
        input_schema={},
        executor=ExecutorKind.PYTHON,
        effect=Effect(known["tool.effect"]),
        risk=Risk(known["tool.own_risk"]),
        risk_rules=tuple(recorded.risk_rules),
        confirmation=Confirmation(known["tool.confirmation"]),
        family=known["tool.family"],
        brings=frozenset(map(Label, known["tool.brings"])),
        sinks={"": Sink(SinkKind.DESTINATION)} if known["tool.is_external"] else {},
    )


def _grant(recorded: Recorded, known: Mapping[str, Any]) -> Grant:
    floor = known["grant.risk_floor"]
    return Grant(known["tool.name"], Risk(floor) if floor else None, known["grant.always_confirm"])


def _run_facts(recorded: Recorded, known: Mapping[str, Any]) -> RunFacts:
    moment: dt.datetime | None = known.get("now")
    return RunFacts(
        agent=known["agent.slug"],
        agent_active=known["agent.active"],
        cancel_requested=known["run.cancel_requested"],
        repeats_effect=known["run.repeats_effect"],
        restored=known["run.restored"],
        agent_kind=known["agent.kind"],
        caller=known["caller.name"],
        caller_is_app=known["caller.is_app"],
        caller_roles=tuple(known["caller.roles"]),
        source=known["run.source"],
        metadata=known["run.metadata"],
        depth=known["run.depth"],
        dispatch_usd=known["spend.dispatch_usd"],
        model_calls=known["calls.dispatch"],
        run_usd=known.get("spend.run_usd"),
        calls_of_tool=known.get("calls.of_tool"),
        now=moment,
        taint=tuple(known["taint"]),
        unvouched=recorded.facts.get("origins", {}),
        listed=known["listed"],
        lists=tuple(known[facts.LISTS]),
    )
