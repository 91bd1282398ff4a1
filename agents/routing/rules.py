"""Rules: the first whose condition holds decides, and no model is asked."""

from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from agents.models import RoutingRule
from agents.roster import Roster
from agents.routing.values import RoutingRequest
from tools import conditions

NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Rule:
    """One of `agent`, a slug, and `template` is empty."""

    name: str
    condition: str
    agent: str
    template: str


@dataclass(frozen=True)
class RuleWord:
    """What the rules said: the one that decides, if any, how many were tried, and which could not have their say."""

    decides: Rule | None
    tried: int
    passed_over: tuple[tuple[str, str], ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "stage": "rules",
            "tried": self.tried,
            "matched": self.decides.name if self.decides else None,
            "passed_over": [{"rule": rule, "why": why} for rule, why in self.passed_over],
        }


def live(served: Roster) -> tuple[Rule, ...]:
    """In the order in which they are tried. Read once an epoch."""
    return served.keep("routing.rules", _read)


def _read() -> tuple[Rule, ...]:
    rows = RoutingRule.objects.in_force().values_list("name", "condition", "agent__slug", "template")
    return tuple(Rule(name, condition, agent or "", template) for name, condition, agent, template in rows)


def judge(
    request: RoutingRequest,
    rules: Sequence[Rule],
    at_work: Container[str],
    without: Collection[str] = (),
    unusable: Mapping[str, str] = NONE,
) -> RuleWord:
    """A rule that fails over this request does not match, and neither does one whose target cannot have it."""
    facts, passed_over, tried = request.facts(), [], 0
    for rule in rules:
        tried += 1
        try:
            if not conditions.is_true(rule.condition, facts):
                continue
        except conditions.ConditionFailed as failure:
            passed_over.append((rule.name, f"could not be evaluated: {failure}"))
            continue
        if why := _why_not(rule, at_work, without, unusable):
            passed_over.append((rule.name, why))
            continue
        return RuleWord(rule, tried, tuple(passed_over))
    return RuleWord(None, tried, tuple(passed_over))


def _why_not(rule: Rule, at_work: Container[str], without: Collection[str], unusable: Mapping[str, str]) -> str:
    if rule.template in unusable:
        return f"matched, but {unusable[rule.template]}"
    if rule.agent in without:
        return f"matched, but {rule.agent} had this request already"
    if rule.agent and rule.agent not in at_work:
        return f"matched, but {rule.agent} is not at work"
    return ""
