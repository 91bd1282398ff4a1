"""The gate: may this call run, must a person be asked, or is it refused. Pure: no query, no clock."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tools import conditions
from tools.arguments import validate_arguments
from tools.values import (
    Allow,
    Confirmation,
    Effect,
    Grant,
    NeedsApproval,
    Policy,
    Refuse,
    Risk,
    Ruling,
    RunFacts,
    ToolSpec,
    highest,
)

BUILT_IN = Policy(version="built-in-1")


def judge(
    spec: ToolSpec | None, arguments: Mapping[str, Any], grant: Grant | None, policy: Policy, facts: RunFacts
) -> Ruling:
    """Rule on one call. What is unknown is refused; what cannot be evaluated asks."""
    stored = asdict(facts) | {"policy": policy.version}
    if spec is None:
        return Refuse(("There is no such tool.",), Risk.LOW, stored, "unknown_tool")
    stored |= {"effect": spec.effect, "tool_risk": spec.risk}
    if refusal := _refusal(spec, arguments, grant, facts):
        kind, sentence = refusal
        return Refuse((sentence,), spec.risk, stored, kind)
    assert grant is not None
    raised, reasons = _raised(spec, arguments, grant)
    risk = highest(spec.risk, raised)
    asking = _why_ask(spec, grant, policy, facts, risk, raised)
    if asking:
        return NeedsApproval((*asking, *reasons), risk, stored, four_eyes=risk.at_least(policy.four_eyes_from))
    reasons = reasons or (f"{spec.effect} and {risk} risk: it runs without asking.",)
    return Allow(reasons, risk, stored, notify=risk.at_least(policy.notify_from))


def _refusal(
    spec: ToolSpec, arguments: Mapping[str, Any], grant: Grant | None, facts: RunFacts
) -> tuple[str, str] | None:
    if grant is None or grant.tool != spec.name:
        return "not_granted", f"{spec.name} is not granted to {facts.agent}."
    if not spec.enabled:
        return "disabled", f"{spec.name} is switched off."
    if not facts.agent_active:
        return "disabled", f"The agent {facts.agent} was retired."
    if facts.cancel_requested:
        return "cancelled", "The run is being cancelled."
    if faults := validate_arguments(spec.input_schema, arguments):
        return "invalid_arguments", " ".join(faults)
    return None


def _raised(spec: ToolSpec, arguments: Mapping[str, Any], grant: Grant) -> tuple[Risk | None, tuple[str, ...]]:
    """The risk that the grant, and every rule that holds or cannot be evaluated, ask for; None when nothing does."""
    raised, reasons = [grant.risk_floor], []
    for rule in spec.risk_rules:
        try:
            applies = conditions.holds(rule.when, arguments)
        except conditions.ConditionFailed as error:
            reasons.append(f"A risk rule could not be evaluated ({error}), so it counts as met: {rule.reason}")
            raised.append(highest(rule.risk, Risk.HIGH))
            continue
        if applies:
            reasons.append(rule.reason)
            raised.append(rule.risk)
    return (highest(*raised) if any(raised) else None), tuple(reasons)


def _why_ask(
    spec: ToolSpec, grant: Grant, policy: Policy, facts: RunFacts, risk: Risk, raised: Risk | None
) -> tuple[str, ...]:
    """The opt-out covers the tool's own risk, and never what its grant or its arguments raise a call to."""
    reasons = []
    if spec.confirmation == Confirmation.ALWAYS or grant.always_confirm:
        reasons.append("A person always confirms this tool.")
    if facts.repeats_effect:
        reasons.append("The same call already had its effect in this run; this would repeat it.")
    if facts.restored and spec.effect != Effect.PURE:
        reasons.append("The database was restored from a backup during this run: it may have made this call already.")
    if spec.confirmation != Confirmation.NEVER:
        if risk.at_least(policy.ask_from):
            reasons.append(f"The risk of this call is {risk}.")
        if spec.effect == Effect.UNSAFE:
            reasons.append("Its effect cannot be undone or repeated safely.")
    elif raised is not None and raised.at_least(policy.ask_from):
        reasons.append(f"Its grant or its arguments raise the risk to {raised}, which the opt-out does not cover.")
    return tuple(reasons)
