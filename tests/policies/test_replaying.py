"""Rulings judged again from what was recorded: under the policy that made them, nothing changes."""

import datetime as dt
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runs.engine.rulings import stored
from tests.policies.cast import policy, rule
from tools import gate
from tools.policies import facts, replaying
from tools.policies.replaying import BeforeAnyPolicy, NotRecorded, Recorded
from tools.policies.tallying import Tally
from tools.policies.values import Flow, Policy, Window
from tools.values import (
    Confirmation,
    Effect,
    ExecutorKind,
    Grant,
    Label,
    Risk,
    RiskRule,
    RunFacts,
    Sink,
    SinkKind,
    ToolSpec,
)

MONDAY = dt.datetime(2026, 1, 5, 9, tzinfo=dt.UTC)
OFFICE = Window("office_hours", "Europe/Berlin", frozenset(range(5)), dt.time(9), dt.time(17))
LARGE = RiskRule("args.amount > 100.0", Risk.HIGH, "More than 100.")
SCHEMA = {"type": "object", "properties": {"amount": {"type": "number"}}, "required": ["amount"]}
SPEC = ToolSpec("pay", 1, "Pay.", SCHEMA, ExecutorKind.PYTHON, effect=Effect.KEYED, risk=Risk.LOW, sinks={})
FACTS = RunFacts(agent="clerk", now=MONDAY, run_usd=0.5, calls_of_tool=1)

RULES = [
    rule("deny large", "deny", tool="pay", condition="args.amount > 500.0"),
    rule("ask two", "ask", tool="pay", condition="args.amount > 50.0", approvers=2, group="finance"),
    rule("allow small", "allow", tool="pay", condition="args.amount <= 50.0"),
    rule("payments at night", "defer", family="payments", window="office_hours"),
    rule("no writing at night", "read_only", window="office_hours"),
    rule("tell of agents", "notify", agent="clerk", condition="calls.of_tool < 3"),
    rule("dear runs", "ask", condition="spend.run_usd > 1.0"),
    rule("after untrusted content", "ask", label="untrusted", condition="'sensitive' in taint"),
    rule("breaks", "allow", condition="args.nothing.here == 1"),
    rule("apps", "deny", app="shop", condition="'gold' in run.metadata && run.metadata.gold"),
    rule("risky", "ask", risk="high", group="finance"),
]
LARGEST = policy(*RULES, windows=[OFFICE])

specs = st.builds(
    lambda **changes: replace(SPEC, **changes),
    effect=st.sampled_from(Effect),
    risk=st.sampled_from(Risk),
    confirmation=st.sampled_from(Confirmation),
    family=st.sampled_from(["", "payments"]),
    risk_rules=st.sampled_from([(), (LARGE,)]),
    sinks=st.sampled_from([None, {}, {"amount": Sink(SinkKind.AMOUNT)}, {"amount": Sink(SinkKind.DESTINATION)}]),
    brings=st.sampled_from([frozenset(), frozenset({Label.UNTRUSTED})]),
    enabled=st.sampled_from([True, True, True, False]),
)
grants = st.builds(
    Grant, st.just("pay"), risk_floor=st.sampled_from([None, *Risk]), always_confirm=st.sampled_from([False, True])
)
run_facts = st.builds(
    RunFacts,
    agent=st.sampled_from(["clerk", "boss"]),
    caller=st.sampled_from(["shop", "ann"]),
    caller_is_app=st.booleans(),
    caller_roles=st.sampled_from([(), ("operators",)]),
    metadata=st.sampled_from([{}, {"gold": True}]),
    repeats_effect=st.sampled_from([False, False, True]),
    restored=st.sampled_from([False, False, True]),
    now=st.sampled_from([MONDAY, MONDAY + dt.timedelta(hours=12)]),
    run_usd=st.sampled_from([0.5, 2.5]),
    calls_of_tool=st.sampled_from([0, 4]),
    taint=st.sampled_from([(), ("untrusted",), ("sensitive", "untrusted")]),
    unvouched=st.sampled_from([{}, {"amount": "first appeared in a result"}]),
)
policies = st.builds(
    lambda rules, ask, eyes, flow: policy(*rules, windows=[OFFICE], ask_from=ask, four_eyes_from=eyes, flow=flow),
    st.lists(st.sampled_from(RULES), unique_by=lambda each: each.name),
    st.sampled_from(Risk),
    st.sampled_from(Risk),
    st.sampled_from(Flow),
)


def recorded(spec: ToolSpec, arguments: dict, grant: Grant, facts: RunFacts, under: Policy) -> Recorded:
    """As it stands in a row, and was read back."""
    text = stored(gate.judge(spec, arguments, grant, under, facts))
    return Recorded(json.loads(text), spec.name, arguments, spec.risk_rules, amounts=("amount",))


def of(amount: float = 20, under: Policy = gate.BUILT_IN, facts: RunFacts = FACTS, **changes) -> Recorded:
    return recorded(replace(SPEC, **changes), {"amount": amount}, Grant("pay"), facts, under)


@settings(max_examples=400, deadline=None)
@given(specs, grants, run_facts, policies, st.sampled_from([5, 70, 600]))
def test_the_policy_that_ruled_changes_nothing(spec, grant, facts, under, amount):
    past = recorded(spec, {"amount": amount}, grant, facts, under)

    try:
        judged = replaying.again(past, under)
    except BeforeAnyPolicy:
        assert not spec.enabled
        return

    assert judged.was == judged.would_be
    assert judged.rule == past.rule
    assert list(judged.reasons) == past.ruling["reasons"]


@settings(max_examples=300, deadline=None)
@given(specs, grants, run_facts, policies, policies, st.sampled_from([5, 70, 600]))
def test_another_policy_says_what_it_would_have_said(spec, grant, facts, under, draft, amount):
    past = recorded(spec, {"amount": amount}, grant, facts, under)
    live = gate.judge(spec, {"amount": amount}, grant, draft, facts)

    try:
        assert replaying.again(past, draft).would_be == replaying.treatment(live)
    except BeforeAnyPolicy:
        assert not spec.enabled


@pytest.mark.parametrize(
    ("draft", "would_be"),
    [
        ((), replaying.TOLD),
        ((rule("g", "ask", tool="pay", group="finance"),), replaying.TOLD),
        ((rule("g", "ask", tool="pay", group="legal"),), "asks (1 of legal)"),
        ((rule("g", "ask", tool="pay", approvers=2, group="finance"),), "asks (2 of finance)"),
        ((rule("g", "deny", tool="pay"),), replaying.REFUSED),
    ],
)
def test_what_was_approved_beforehand_still_is_unless_more_is_asked_for(draft, would_be):
    asked = of(risk=Risk.HIGH)
    beforehand = {facts.STANDING: 7, facts.STANDING_GROUP: "finance"}
    ran = {"verdict": "Allow", "notify": True, "facts": {**asked.ruling["facts"], **beforehand}}

    judged = replaying.again(replace(asked, ruling=ran), policy(*draft))

    assert (judged.was, judged.would_be) == (replaying.TOLD, would_be)
    assert replaying.again(asked, policy(*draft)).would_be != replaying.TOLD


def test_a_flip_has_its_rule_and_its_reasons():
    judged = replaying.again(of(600), LARGEST)

    assert (judged.was, judged.would_be) == (replaying.RUNS, replaying.REFUSED)
    assert judged.rule == "deny large"
    assert judged.reasons == ("So it is ruled. (Rule “deny large”.)",)


def test_what_was_not_recorded_is_said_and_not_guessed():
    lacking = replace(FACTS, calls_of_tool=None)

    with pytest.raises(NotRecorded) as told:
        replaying.again(of(facts=lacking), policy(rule("often", "ask", condition="calls.of_tool > 3")))

    assert told.value.names == ("calls.of_tool",)


BLOCKED = policy(rule("blocked", "deny", tool="pay", condition="'blocked' in listed.amount"))


@pytest.mark.parametrize(
    ("known", "listed", "outcome"),
    [
        (("blocked",), {"amount": ["blocked"]}, replaying.REFUSED),
        (("blocked", "others"), {"amount": ["others"]}, replaying.RUNS),
        (("others",), {"amount": ["others"]}, replaying.ASKS),
        ((), {}, replaying.ASKS),
    ],
)
def test_of_a_list_that_is_not_there_nobody_knows_that_it_lacks_a_value(known, listed, outcome):
    """Asked live, where it was taken away; on the past, where it was made later, that is said."""
    run = replace(FACTS, lists=known, listed=listed)

    assert replaying.treatment(gate.judge(SPEC, {"amount": 20}, Grant("pay"), BLOCKED, run)) == outcome
    if outcome == replaying.ASKS:
        reasons = gate.judge(SPEC, {"amount": 20}, Grant("pay"), BLOCKED, run).reasons
        assert "there is no list of destinations 'blocked'" in reasons[0]
        with pytest.raises(NotRecorded) as told:
            replaying.again(of(facts=run), BLOCKED)
        assert told.value.names == ("listed",)
    else:
        assert replaying.again(of(facts=run), BLOCKED).would_be == outcome


def test_a_fact_that_no_rule_comes_to_ask_for_is_not_missed():
    lacking = replace(FACTS, calls_of_tool=None, run_usd=None)
    narrower = rule("pay", "deny", tool="pay")

    judged = replaying.again(of(facts=lacking), policy(rule("often", "ask", condition="calls.of_tool > 3"), narrower))

    assert judged.would_be == replaying.REFUSED


@pytest.mark.parametrize("ruling", [{}, {"verdict": "Allow", "facts": {"agent": "clerk"}}, {"verdict": "Allow"}])
def test_a_ruling_from_before_facts_were_kept_is_counted_as_such(ruling):
    tally = Tally()

    tally.add(Recorded(ruling, "pay", {}), gate.BUILT_IN)

    assert (tally.judged, tally.unclear, tally.not_recorded) == (0, 1, {"facts": 1})


def test_a_tally_counts_flips_approvals_and_money():
    tally, draft = Tally(), policy(*RULES[:3])

    for amount in (20, 30, 70, 80, 600):
        tally.add(of(amount, risk=Risk.HIGH), draft)

    assert (tally.judged, tally.flips) == (5, 5)
    assert (tally.approvals_more, tally.approvals_fewer) == (0, 3)
    assert (tally.money_more, tally.money_fewer) == ({"pay.amount": "50"}, {})
    assert tally.flips_by_rule == {
        "allow small → asks → runs and is told of": 2,
        "ask two → asks → asks (2 of finance)": 2,
        "deny large → asks → refused": 1,
    }
    assert tally.matched == ["allow small", "ask two", "deny large"]


def test_a_rule_that_held_for_nothing_is_named():
    tally, draft = Tally(), policy(*RULES[:3])

    tally.add(of(20), draft)

    assert tally.without_match(draft) == ["deny large", "ask two"]


def test_a_tally_goes_to_json_and_back():
    tally = Tally()
    tally.add(of(600), LARGEST)

    assert Tally.of(json.loads(json.dumps(tally.told()))) == tally


def test_samples_leave_room_for_every_kind():
    tally = Tally()

    for amount in [600] * 30 + [70]:
        tally.add(of(amount), LARGEST)

    assert [sample["rule"] for sample in tally.samples] == ["deny large"] * 3 + ["ask two"]
