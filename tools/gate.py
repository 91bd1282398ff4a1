"""The gate: may this call run, must a person be asked, must it wait, or is it refused. Pure: no query, no clock.

What is unknown is refused. A policy's rules decide over the thresholds of risk; what a tool or a grant has a person
confirm, what would repeat an effect, and what content that nobody vouches for asks for, no rule takes away.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tools import conditions
from tools.arguments import validate_arguments
from tools.policies import facts as documented
from tools.policies.ruling import Reading, Said
from tools.policies.values import BUILT_IN, Flow, Outcome, Policy
from tools.values import (
    Allow,
    Confirmation,
    Defer,
    Effect,
    ErrorKind,
    Grant,
    Label,
    NeedsApproval,
    Refuse,
    Risk,
    Ruling,
    RunFacts,
    ToolSpec,
    highest,
)

__all__ = ["BUILT_IN", "judge"]

# Arguments that are named in a sentence at most.
MOST_NAMED = 5


def judge(
    spec: ToolSpec | None,
    arguments: Mapping[str, Any],
    grant: Grant | None,
    policy: Policy,
    facts: RunFacts,
    said: Said | None = None,
) -> Ruling:
    """Rule on one call. What is unknown is refused; what cannot be evaluated asks.

    `said` is what the policy's rules make of it, where that is known.
    """
    if spec is None:
        stored = {"agent.slug": facts.agent, "policy": policy.version}
        return Refuse(("There is no such tool.",), Risk.LOW, stored, ErrorKind.UNKNOWN_TOOL)
    known = known_of(spec, arguments, grant, facts)
    if refusal := _refusal(spec, arguments, grant, facts):
        kind, sentence = refusal
        return Refuse((sentence,), spec.risk, _stored(known, policy, facts), kind)
    assert grant is not None
    return _Call(spec, arguments, grant, policy, facts, known).ruling(said)


def known_of(spec: ToolSpec, arguments: Mapping[str, Any], grant: Grant | None, facts: RunFacts) -> dict[str, Any]:
    """The documented facts by name."""
    known: dict[str, Any] = {
        "args": dict(arguments),
        "tool.name": spec.name,
        "tool.family": spec.family,
        "tool.effect": str(spec.effect),
        "tool.risk": str(spec.risk),
        "tool.own_risk": str(spec.risk),
        "tool.confirmation": str(spec.confirmation),
        "tool.is_external": spec.is_external,
        "tool.brings": sorted(map(str, spec.brings)),
        "grant.risk_floor": str(grant.risk_floor or "") if grant else "",
        "grant.always_confirm": grant.always_confirm if grant else False,
        "agent.slug": facts.agent,
        "agent.kind": facts.agent_kind,
        "agent.active": facts.agent_active,
        "caller.name": facts.caller,
        "caller.is_app": facts.caller_is_app,
        "caller.roles": list(facts.caller_roles),
        "run.source": facts.source,
        "run.metadata": dict(facts.metadata),
        "run.depth": facts.depth,
        "run.repeats_effect": facts.repeats_effect,
        "run.restored": facts.restored,
        "run.cancel_requested": facts.cancel_requested,
        "spend.dispatch_usd": facts.dispatch_usd,
        "calls.dispatch": facts.model_calls,
        "taint": list(facts.taint),
        "flow.unvouched": sorted(facts.unvouched),
        "listed": {name: list(facts.listed.get(name, ())) for name in arguments},
        documented.LISTS: sorted({*facts.lists, *(name for names in facts.listed.values() for name in names)}),
    }
    on_demand = {"now": facts.now, "spend.run_usd": facts.run_usd, "calls.of_tool": facts.calls_of_tool}
    return known | {name: value for name, value in on_demand.items() if value is not None}


def _stored(known: Mapping[str, Any], policy: Policy, facts: RunFacts, said: Said | None = None) -> dict[str, Any]:
    stored = documented.told(known) | {"policy": policy.version}
    if said is not None and said.rule is not None:
        stored["rule"] = said.rule.name
    if said is not None and said.broken:
        stored[documented.BROKEN] = True
    if facts.unvouched:
        stored["origins"] = dict(facts.unvouched)
    return stored


def _refusal(
    spec: ToolSpec, arguments: Mapping[str, Any], grant: Grant | None, facts: RunFacts
) -> tuple[str, str] | None:
    if grant is None or grant.tool != spec.name:
        return ErrorKind.NOT_GRANTED, f"{spec.name} is not granted to {facts.agent}."
    if not spec.enabled:
        return ErrorKind.DISABLED, f"{spec.name} is switched off."
    if not facts.agent_active:
        return ErrorKind.DISABLED, f"The agent {facts.agent} was retired."
    if facts.cancel_requested:
        return ErrorKind.CANCELLED, "The run is being cancelled."
    if faults := validate_arguments(spec.input_schema, arguments):
        return ErrorKind.INVALID_ARGUMENTS, " ".join(faults)
    return None


@dataclass(frozen=True)
class _Call:
    """One call that nothing forbids from the start. `known` is completed by the risk that its arguments raise it to."""

    spec: ToolSpec
    arguments: Mapping[str, Any]
    grant: Grant
    policy: Policy
    facts: RunFacts
    known: dict[str, Any]

    def ruling(self, said: Said | None) -> Ruling:
        raised, raising = self._raised()
        risk = highest(self.spec.risk, raised)
        self.known["tool.risk"] = str(risk)
        said = said or Reading(self.policy, self.known).said()
        stored = _stored(self.known, self.policy, self.facts, said)
        flow = self._flow()
        own = (f"{said.rule.says} (Rule “{said.rule.name}”.)",) if said.rule else ()
        if said.outcome in (Outcome.DENY, Outcome.READ_ONLY):
            return Refuse(own, risk, stored, ErrorKind.POLICY)
        if flow and self.policy.flow == Flow.DENY:
            return Refuse(flow, risk, stored, ErrorKind.POLICY)
        if said.outcome == Outcome.DEFER:
            assert said.until is not None
            return Defer(own, risk, stored, said.until)
        asking = (*self._always_asks(), *flow, *said.broken)
        if said.outcome == Outcome.ASK:
            asking = (*own, *asking)
        elif said.outcome is None:
            asking = (*asking, *self._by_risk(risk, raised))
        if asking:
            four_eyes = risk.at_least(self.policy.four_eyes_from)
            return NeedsApproval((*asking, *raising), risk, stored, four_eyes, said.approvers, said.group)
        reasons = own or raising or (f"{self.spec.effect} and {risk} risk: it runs without asking.",)
        notify = said.outcome == Outcome.NOTIFY or risk.at_least(self.policy.notify_from)
        return Allow(reasons, risk, stored, notify=notify)

    def _raised(self) -> tuple[Risk | None, tuple[str, ...]]:
        """The risk that the grant, and each rule that holds or cannot be evaluated, ask for; None when nothing does."""
        raised, reasons = [self.grant.risk_floor], []
        for rule in self.spec.risk_rules:
            try:
                applies = conditions.holds(rule.when, self.arguments)
            except conditions.ConditionFailed as error:
                reasons.append(f"A risk rule could not be evaluated ({error}), so it counts as met: {rule.reason}")
                raised.append(highest(rule.risk, Risk.HIGH))
                continue
            if applies:
                reasons.append(rule.reason)
                raised.append(rule.risk)
        return (highest(*raised) if any(raised) else None), tuple(reasons)

    def _always_asks(self) -> tuple[str, ...]:
        reasons = []
        if self.spec.confirmation == Confirmation.ALWAYS or self.grant.always_confirm:
            reasons.append("A person always confirms this tool.")
        if self.facts.repeats_effect:
            reasons.append("The same call already had its effect in this run; this would repeat it.")
        if self.facts.restored and self.spec.effect != Effect.PURE:
            reasons.append(
                "The database was restored from a backup during this run: it may have made this call already."
            )
        return tuple(reasons)

    def _by_risk(self, risk: Risk, raised: Risk | None) -> tuple[str, ...]:
        """The opt-out covers the tool's own risk, and never what its grant or its arguments raise a call to."""
        if self.spec.confirmation != Confirmation.NEVER:
            reasons = [f"The risk of this call is {risk}."] if risk.at_least(self.policy.ask_from) else []
            if self.spec.effect == Effect.UNSAFE:
                reasons.append("Its effect cannot be undone or repeated safely.")
            return tuple(reasons)
        if raised is not None and raised.at_least(self.policy.ask_from):
            return (f"Its grant or its arguments raise the risk to {raised}, which the opt-out does not cover.",)
        return ()

    def _flow(self) -> tuple[str, ...]:
        """Why content that the agent has read has a person look at this act."""
        taint = self.facts.taint
        if Label.UNTRUSTED not in taint or not self.spec.acts:
            return ()
        if Label.SENSITIVE in taint and self.spec.is_external:
            return (
                "The agent has read content that anybody may have written, and content that must not leave; this call "
                "could carry the one out at the other's word.",
                *self._unvouched(),
            )
        return self._unvouched()

    def _unvouched(self) -> tuple[str, ...]:
        named = [f"“{name}” {where}." for name, where in sorted(self.facts.unvouched.items())]
        more = [f"And {len(named) - MOST_NAMED} more arguments."] if len(named) > MOST_NAMED else []
        return (*named[:MOST_NAMED], *more)
