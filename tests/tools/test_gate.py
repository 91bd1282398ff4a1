"""The gate, as one table: what it says of every combination that matters, and that tightening never makes it laxer."""

import dataclasses

import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st

from tools import gate
from tools.policies import facts as documented
from tools.policies.values import Policy
from tools.values import (
    STRICTNESS,
    Allow,
    Confirmation,
    Effect,
    ErrorKind,
    ExecutorKind,
    Grant,
    NeedsApproval,
    Refuse,
    Risk,
    RiskRule,
    RunFacts,
    ToolSpec,
)

SCHEMA = {"type": "object", "properties": {"amount": {"type": "number"}}, "required": ["amount"]}
FACTS = RunFacts(agent="clerk")
GRANT = Grant("pay")
REPEATING = RunFacts(agent="clerk", repeats_effect=True)
RESTORED = RunFacts(agent="clerk", restored=True)
LARGE = RiskRule("args.amount > 100.0", Risk.HIGH, "More than 100.")
HUGE = RiskRule("args.amount > 1000.0", Risk.CRITICAL, "More than 1000.")
BROKEN = RiskRule("args.nothing.here == 1", Risk.LOW, "Nobody knows.")
NOT_A_BOOLEAN = RiskRule("args.amount", Risk.LOW, "It is a number.")
LARGE_RULE = {"risk_rules": (LARGE,)}
BOTH_RULES = {"risk_rules": (LARGE, HUGE)}


def spec(**changes):
    plain = ToolSpec("pay", 1, "Pay.", SCHEMA, ExecutorKind.PYTHON, effect=Effect.KEYED, risk=Risk.LOW)
    return dataclasses.replace(plain, **changes)


def judge(arguments=None, *, grant=GRANT, facts=FACTS, policy=gate.BUILT_IN, **changes):
    return gate.judge(spec(**changes), arguments or {"amount": 5}, grant, policy, facts)


def word(ruling):
    match ruling:
        case Refuse(kind=kind):
            return kind
        case NeedsApproval(four_eyes=True):
            return "four eyes"
        case NeedsApproval():
            return "ask"
        case Allow(notify=True):
            return "notify"
        case Allow():
            return "allow"


RISKS = list(Risk)

# The word for risks           low      medium    high         critical
TABLE = {
    #  effect, confirmation
    ("pure",       "by_risk"): "allow   notify    ask          four_eyes",
    ("keyed",      "by_risk"): "allow   notify    ask          four_eyes",
    ("verifiable", "by_risk"): "allow   notify    ask          four_eyes",
    ("unsafe",     "by_risk"): "ask     ask       ask          four_eyes",
    ("pure",       "always"):  "ask     ask       ask          four_eyes",
    ("keyed",      "always"):  "ask     ask       ask          four_eyes",
    ("verifiable", "always"):  "ask     ask       ask          four_eyes",
    ("unsafe",     "always"):  "ask     ask       ask          four_eyes",
    ("pure",       "never"):   "allow   notify    notify       notify",
    ("keyed",      "never"):   "allow   notify    notify       notify",
    ("verifiable", "never"):   "allow   notify    notify       notify",
    ("unsafe",     "never"):   "allow   notify    notify       notify",
}  # fmt: skip

CELLS = [
    (Effect(effect), Confirmation(confirmation), risk, said.replace("_", " "))
    for (effect, confirmation), row in TABLE.items()
    for risk, said in zip(RISKS, row.split(), strict=True)
]


@pytest.mark.parametrize(("effect", "confirmation", "risk", "said"), CELLS)
def test_a_tool_as_it_stands(effect, confirmation, risk, said):
    ruling = judge(effect=effect, confirmation=confirmation, risk=risk)

    assert word(ruling) == said
    assert ruling.risk == risk
    assert ruling.reasons


def test_the_table_has_every_cell():
    assert len(CELLS) == len(Effect) * len(Confirmation) * len(Risk)


# What raises a call above its tool: the word for a tool of low risk, by its confirmation
RAISED = {
    # name                        by_risk       always       never          what
    "nothing":                   ("allow",     "ask",       "allow",     {}),
    "a floor of its grant":      ("ask",       "ask",       "ask",       {"grant": Grant("pay", Risk.HIGH)}),
    "a low floor":               ("notify",    "ask",       "notify",    {"grant": Grant("pay", Risk.MEDIUM)}),
    "its grant always confirms": ("ask",       "ask",       "ask",       {"grant": Grant("pay", always_confirm=True)}),
    "a rule that holds":         ("ask",       "ask",       "ask",       {**LARGE_RULE, "arguments": {"amount": 101}}),
    "a rule that does not":      ("allow",     "ask",       "allow",     {**LARGE_RULE, "arguments": {"amount": 100}}),
    "the highest of two rules":  ("four eyes", "four eyes", "four eyes", {**BOTH_RULES, "arguments": {"amount": 1001}}),
    "a rule that breaks":        ("ask",       "ask",       "ask",       {"risk_rules": (BROKEN,)}),
    "a rule that is no yes/no":  ("ask",       "ask",       "ask",       {"risk_rules": (NOT_A_BOOLEAN,)}),
    "repeating an effect":       ("ask",       "ask",       "ask",       {"facts": REPEATING}),
    "in a restored run":         ("ask",       "ask",       "ask",       {"facts": RESTORED}),
    "reading in a restored run": ("allow",     "ask",       "allow",     {"facts": RESTORED, "effect": Effect.PURE}),
}  # fmt: skip


@pytest.mark.parametrize(("by_risk", "always", "never", "what"), RAISED.values(), ids=RAISED)
def test_what_raises_a_call(by_risk, always, never, what):
    said = [word(judge(**what, confirmation=confirmation)) for confirmation in Confirmation]

    assert said == [by_risk, always, never]


REFUSED = {
    "no such tool": (lambda: gate.judge(None, {}, None, gate.BUILT_IN, FACTS), ErrorKind.UNKNOWN_TOOL),
    "no grant": (lambda: judge(grant=None), ErrorKind.NOT_GRANTED),
    "another tool's grant": (lambda: judge(grant=Grant("look")), ErrorKind.NOT_GRANTED),
    "switched off": (lambda: judge(enabled=False), ErrorKind.DISABLED),
    "agent retired": (lambda: judge(facts=RunFacts("clerk", agent_active=False)), ErrorKind.DISABLED),
    "run being cancelled": (lambda: judge(facts=RunFacts("clerk", cancel_requested=True)), ErrorKind.CANCELLED),
    "wrong arguments": (lambda: judge({"amount": "5"}), ErrorKind.INVALID_ARGUMENTS),
    "missing arguments": (lambda: judge({"sum": 5}), ErrorKind.INVALID_ARGUMENTS),
    "a schema that is none": (lambda: judge(input_schema={"type": 5}), ErrorKind.INVALID_ARGUMENTS),
}


@pytest.mark.parametrize(("ask", "kind"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("confirmation", Confirmation)
def test_what_is_refused_is_refused_whatever_the_confirmation(ask, kind, confirmation):
    ruling = ask()

    assert (word(ruling), ErrorKind(ruling.kind)) == (kind, kind)
    assert len(ruling.reasons) == 1


def test_a_ruling_keeps_what_it_was_based_on():
    ruling = judge(facts=RunFacts("clerk", repeats_effect=True), policy=Policy("mine"))

    recalled = documented.recalled(ruling.facts | {"now": "2026-01-05T09:00:00+00:00"}, {"amount": 5})
    assert ruling.facts["policy"] == "mine"
    assert recalled["run.repeats_effect"] is True
    assert (recalled["agent.slug"], recalled["tool.effect"], recalled["tool.risk"]) == ("clerk", "keyed", "low")
    assert {name for name in documented.FACTS if name not in recalled} == {"windows", "spend.run_usd", "calls.of_tool"}


def test_the_policy_says_from_which_risk_on_a_person_is_asked():
    strict = Policy("strict", notify_from=Risk.LOW, ask_from=Risk.MEDIUM, four_eyes_from=Risk.HIGH)

    assert [word(judge(risk=risk, policy=strict)) for risk in RISKS] == ["notify", "ask", "four eyes", "four eyes"]


def test_an_opt_out_never_covers_what_the_arguments_add():
    """Also where the tool's own risk is as high: raising it must not take a question away."""
    said = [
        word(judge({"amount": 101}, risk_rules=(LARGE,), confirmation=Confirmation.NEVER, risk=risk)) for risk in RISKS
    ]

    assert said == ["ask", "ask", "ask", "four eyes"]


def test_it_is_pure():
    """No database is set up for this test: a query would fail it. Nor does it change what it is given."""
    arguments = {"amount": 101}
    given_spec = spec(risk_rules=(LARGE, BROKEN))

    first, again = [gate.judge(given_spec, arguments, Grant("pay"), gate.BUILT_IN, FACTS) for _ in range(2)]

    assert first == again
    assert arguments == {"amount": 101}
    with pytest.raises(RuntimeError, match="Database access not allowed"):
        connection.cursor()


# -- tightening never makes a ruling laxer -----------------------------------------------------------------------
# Most cases are let through as they stand, so that every way of tightening has something to take away.
risks = st.sampled_from(RISKS)
rules = st.lists(st.sampled_from([LARGE, HUGE, BROKEN, NOT_A_BOOLEAN]), max_size=2).map(tuple)
rarely = st.sampled_from([False] * 9 + [True])
grants = st.sampled_from([GRANT] * 5 + [None]) | st.builds(Grant, st.just("pay"), st.none() | risks, rarely)
specs = st.builds(
    spec,
    effect=st.sampled_from(Effect),
    risk=risks,
    risk_rules=rules,
    confirmation=st.sampled_from(Confirmation),
    enabled=rarely.map(lambda off: not off),
)
facts = st.builds(RunFacts, st.just("clerk"), rarely, rarely.map(lambda retired: not retired), rarely)
arguments = st.fixed_dictionaries({"amount": st.sampled_from([5, 101, 1001, "5"])})

ORDER = ["allow", "notify", "ask", "four eyes"]


def strictness(ruling):
    """Refusals last; a second pair of eyes is stricter than one."""
    said = word(ruling)
    return (STRICTNESS[type(ruling)], ORDER.index(said) if said in ORDER else len(ORDER))


@st.composite
def tightened(draw):
    """A case and the same, tightened in one way."""
    case = draw(st.tuples(specs, arguments, grants, facts))
    tool, given_arguments, grant, known = case
    tighter = st.sampled_from(Risk).filter(lambda risk: risk.at_least(tool.risk))
    ways = [
        tighter.map(lambda risk: (dataclasses.replace(tool, risk=risk), given_arguments, grant, known)),
        rules.map(
            lambda more: (
                dataclasses.replace(tool, risk_rules=tool.risk_rules + more),
                given_arguments,
                grant,
                known,
            )
        ),
        st.just((dataclasses.replace(tool, enabled=False), given_arguments, grant, known)),
        st.just((dataclasses.replace(tool, confirmation=Confirmation.ALWAYS), given_arguments, grant, known)),
        st.just((tool, given_arguments, None, known)),
        st.just((tool, given_arguments, grant, dataclasses.replace(known, cancel_requested=True))),
        st.just((tool, given_arguments, grant, dataclasses.replace(known, agent_active=False))),
        st.just((tool, given_arguments, grant, dataclasses.replace(known, repeats_effect=True))),
        st.just((tool, given_arguments, grant, dataclasses.replace(known, restored=True))),
    ]
    if tool.confirmation == Confirmation.NEVER:
        by_risk = dataclasses.replace(tool, confirmation=Confirmation.BY_RISK)
        ways.append(st.just((by_risk, given_arguments, grant, known)))
    if tool.effect != Effect.UNSAFE:
        ways.append(
            st.just((dataclasses.replace(tool, effect=Effect.UNSAFE), given_arguments, grant, known)),
        )
    if grant is not None:
        confirming = dataclasses.replace(grant, always_confirm=True)
        ways.append(st.just((tool, given_arguments, confirming, known)))
        floor = grant.risk_floor or Risk.LOW
        higher = st.sampled_from(Risk).filter(lambda risk: risk.at_least(floor))
        ways.append(
            higher.map(lambda risk: (tool, given_arguments, dataclasses.replace(grant, risk_floor=risk), known))
        )
    return case, draw(st.one_of(*ways))


def ruled(case):
    tool, given_arguments, grant, known = case
    return gate.judge(tool, given_arguments, grant, gate.BUILT_IN, known)


@settings(max_examples=1000, deadline=None)
@given(tightened())
def test_tightening_never_makes_a_ruling_laxer(cases):
    before, after = map(ruled, cases)

    assert strictness(after) >= strictness(before)


@settings(deadline=None)
@given(st.tuples(specs, arguments, grants, facts), st.sampled_from(["notify_from", "ask_from", "four_eyes_from"]))
def test_nor_does_a_stricter_policy(case, threshold):
    tool, given_arguments, grant, known = case
    strict = dataclasses.replace(gate.BUILT_IN, **{threshold: Risk.LOW})  # type: ignore[arg-type]

    before = ruled(case)
    after = gate.judge(tool, given_arguments, grant, strict, known)

    assert strictness(after) >= strictness(before)
