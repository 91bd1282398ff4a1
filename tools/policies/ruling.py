"""What the rules of a policy make of one call. Pure: no query, no clock.

The narrowest scope that a holding rule has decides; among rules of equal scope the strictest, whatever their order. A
rule that cannot be evaluated asks a person, and neither allows nor keeps another from being stricter.
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tools import conditions
from tools.policies import facts as documented
from tools.policies import windows
from tools.policies.values import Outcome, Policy, Rule, Scope
from tools.values import Effect, Risk

_NAMES = frozenset(documented.FACTS)


class ListMissing(conditions.FactMissing):
    def __init__(self, name: str) -> None:
        super().__init__("listed")
        self.args = (f"there is no list of destinations {name!r}",)


@dataclass(frozen=True)
class Said:
    """`rule` decides; None where none holds. `broken` says of each rule that could not be evaluated why.

    `approvers` and `group` are the most that the rules of that scope ask for, or that could not be evaluated; `until`
    is a deferred call's moment.
    `missing` are facts that a rule asked for and that are not known.
    """

    rule: Rule | None = None
    broken: tuple[str, ...] = ()
    approvers: int = 1
    group: str = ""
    until: dt.datetime | None = None
    missing: frozenset[str] = frozenset()

    @property
    def outcome(self) -> Outcome | None:
        return self.rule.outcome if self.rule else None


class Reading:
    """A policy's rules put to the facts of one call, each at most once. A fact that is not known breaks what asks."""

    def __init__(self, policy: Policy, known: Mapping[str, Any]) -> None:
        self.policy = policy
        self.known = {**known, "windows": _opened(policy, known.get("now"))}
        self._facts = conditions.Facts(self.known, _NAMES)
        self._answers: dict[str, bool | conditions.ConditionFailed] = {}

    def said(self) -> Said:
        holding: list[Rule] = []
        doubtful: list[Rule] = []
        broken: list[str] = []
        missing: set[str] = set()
        for rule in self.policy.in_order:
            if holding and rule.scope.narrowness < holding[0].scope.narrowness:
                break
            answer = self._answer(rule)
            if answer is True:
                holding.append(rule)
            elif answer is not False:
                missing |= {answer.name} & _NAMES if isinstance(answer, conditions.FactMissing) else set()
                doubtful.append(rule)
                broken.append(f"The rule “{rule.name}” could not be evaluated ({answer}), so a person is asked.")
        approvers, group = _asked([*holding, *doubtful])
        said = _decided(self.policy, holding, broken, self.known)
        return replace(said, approvers=approvers, group=group, missing=frozenset(missing))

    def holds(self, rule: Rule) -> bool:
        """Whether or not a narrower one decides. What cannot be evaluated does not hold."""
        return self._answer(rule) is True

    def _answer(self, rule: Rule) -> bool | conditions.ConditionFailed:
        if rule.name not in self._answers:
            try:
                self._answers[rule.name] = _holds(rule, self.policy, self.known, self._facts)
            except conditions.ConditionFailed as failure:
                self._answers[rule.name] = failure
        return self._answers[rule.name]


def _opened(policy: Policy, now: dt.datetime | None) -> dict[str, bool]:
    """Of each window, whether it is open; nothing where no moment is known."""
    return {} if now is None else {name: windows.is_open(window, now) for name, window in policy.windows.items()}


def _decided(policy: Policy, holding: list[Rule], broken: list[str], known: Mapping[str, Any]) -> Said:
    if not holding:
        return Said(broken=tuple(broken))
    strictest = holding[0]
    until = None
    if strictest.outcome == Outcome.DEFER:
        until = windows.next_opening(policy.windows[strictest.window], known["now"])
        if until is None:
            never = f"The window {strictest.window} does not open within a year, so a person is asked."
            return Said(broken=(*broken, never))
    return Said(strictest, tuple(broken), until=until)


def _asked(rules: list[Rule]) -> tuple[int, str]:
    """The most people that any of them asks for, with that rule's group; among equals the first group by name."""
    asking = [(rule.approvers, rule.group) for rule in rules if rule.outcome == Outcome.ASK]
    return min(asking, key=lambda each: (-each[0], not each[1], each[1]), default=(1, ""))


def _holds(rule: Rule, policy: Policy, known: Mapping[str, Any], facts: conditions.Facts) -> bool:
    """`known` with `windows`, as `_opened` says them. Raises ConditionFailed."""
    if not _covers(rule.scope, known) or (rule.outcome == Outcome.READ_ONLY and known["tool.effect"] == Effect.PURE):
        return False
    if rule.expires_at is not None and _moment(known) >= rule.expires_at:
        return False
    if rule.window:
        _moment(known)
        if rule.window not in policy.windows:
            raise conditions.ConditionFailed(f"the policy has no window {rule.window!r}")
        if known["windows"][rule.window]:
            return False
    if absent := documented.lists_named(rule.condition).difference(known.get(documented.LISTS, ())):
        raise ListMissing(min(absent))
    return not rule.condition or facts.is_true(rule.condition)


def _moment(known: Mapping[str, Any]) -> dt.datetime:
    if known.get("now") is None:
        raise conditions.FactMissing("now")
    return known["now"]


def _covers(scope: Scope, known: Mapping[str, Any]) -> bool:
    """Whether each thing that the scope names is the call's, or a lower risk. Raises FactMissing."""
    try:
        return all(_checks(scope, known))
    except KeyError as missing:
        raise conditions.FactMissing(missing.args[0]) from None


def _checks(scope: Scope, known: Mapping[str, Any]) -> Iterator[bool]:
    if scope.tool:
        yield known["tool.name"] == scope.tool
    if scope.family:
        yield known["tool.family"] == scope.family
    if scope.agent:
        yield known["agent.slug"] == scope.agent
    if scope.app:
        yield known["caller.is_app"] and known["caller.name"] == scope.app
    if scope.role:
        yield scope.role in known["caller.roles"]
    if scope.effect:
        yield known["tool.effect"] == scope.effect
    if scope.risk:
        yield Risk(known["tool.risk"]).at_least(Risk(scope.risk))
    if scope.label:
        yield scope.label in known["taint"]
