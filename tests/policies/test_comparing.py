"""Whether a policy may allow what another does not is said from their texts, and never too seldom: where nothing is
said no call is ruled more laxly, by fewer people or by others."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from tests.policies.cast import policy, rule
from tools import gate
from tools.policies.comparing import why_weaker
from tools.policies.values import Flow, Outcome, Policy, Rule, Scope, Window
from tools.values import (
    Allow,
    Defer,
    Effect,
    ExecutorKind,
    Grant,
    NeedsApproval,
    Refuse,
    Risk,
    Ruling,
    RunFacts,
    ToolSpec,
)

MONDAY = dt.datetime(2026, 1, 5, 9, tzinfo=dt.UTC)
EVERY_DAY = frozenset(range(7))
OFFICE = Window("office", "UTC", frozenset(range(5)), dt.time(8), dt.time(17))
ALWAYS = replace(OFFICE, days=EVERY_DAY, opens=dt.time(0), closes=dt.time(0))
NEVER = replace(OFFICE, days=frozenset())
SPEC = ToolSpec("pay", 1, "Pay.", {"type": "object"}, ExecutorKind.PYTHON, effect=Effect.KEYED, risk=Risk.LOW, sinks={})


def strictness(ruled: Ruling) -> int:
    match ruled:
        case Allow():
            return int(ruled.notify)
        case NeedsApproval():
            return 2
        case Defer():
            return 3
        case Refuse():
            return 4


def is_laxer(now: Ruling, was: Ruling) -> bool:
    if strictness(now) != strictness(was):
        return strictness(now) < strictness(was)
    if not (isinstance(now, NeedsApproval) and isinstance(was, NeedsApproval)):
        return False
    lost_group = was.group not in ("", now.group)
    return now.approvers < was.approvers or lost_group or (was.four_eyes and not now.four_eyes)


scopes = st.sampled_from(
    [
        Scope(),
        Scope(tool="pay"),
        Scope(family="payments"),
        Scope(risk="high"),
        Scope(effect="keyed"),
        Scope(agent="boss"),
    ]
)
rules = st.builds(
    Rule,
    name=st.sampled_from("abcd"),
    outcome=st.sampled_from(Outcome),
    scope=scopes,
    condition=st.sampled_from(["", "args.amount > 50.0", "windows.office", "!windows.office"]),
    approvers=st.sampled_from([1, 1, 2, 3]),
    group=st.sampled_from(["", "", "aaa", "finance"]),
    window=st.sampled_from(["", "", "office"]),
    expires_at=st.sampled_from([None, None, MONDAY - dt.timedelta(days=1), MONDAY + dt.timedelta(days=1)]),
).map(lambda each: each if each.outcome != Outcome.DEFER else replace(each, window="office"))
windows = st.sampled_from([OFFICE, OFFICE, ALWAYS, NEVER])
risks = st.sampled_from(Risk)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    return policy(
        *draw(st.lists(rules, max_size=3, unique_by=lambda each: each.name)),
        windows=[draw(windows)],
        ask_from=draw(risks),
        four_eyes_from=draw(risks),
        notify_from=draw(risks),
        flow=draw(st.sampled_from(Flow)),
    )


@st.composite
def changed(draw: st.DrawFn, old: Policy) -> Policy:
    """One or two things are another way than they were."""
    kept = list(old.rules)
    opened, thresholds = old.windows["office"], {}
    for _ in range(draw(st.integers(1, 2))):
        match draw(st.sampled_from(["add", "add", "change", "change", "remove", "window", "threshold"])):
            case "add":
                fresh = draw(rules)
                if fresh.name not in {each.name for each in kept}:
                    kept.append(fresh)
            case "change" if kept:
                place = draw(st.integers(0, len(kept) - 1))
                other = draw(rules)
                field = draw(st.sampled_from(["outcome", "scope", "condition", "approvers", "group", "expires_at"]))
                kept[place] = replace(kept[place], **{field: getattr(other, field)})
                if kept[place].outcome == Outcome.DEFER:
                    kept[place] = replace(kept[place], window="office")
            case "remove" if kept:
                kept.pop(draw(st.integers(0, len(kept) - 1)))
            case "window":
                opened = draw(windows)
            case "threshold":
                thresholds[draw(st.sampled_from(["ask_from", "four_eyes_from", "notify_from"]))] = draw(risks)
    return replace(old, rules=tuple(kept), windows={"office": opened}, **thresholds)


def rulings(now: Policy, was: Policy) -> Iterator[tuple[Ruling, Ruling]]:
    """Of calls of every kind, at a moment of the week and one of its end."""
    for effect in (Effect.PURE, Effect.KEYED):
        for risk in Risk:
            for amount in (5, 600):
                for moment in (MONDAY, MONDAY - dt.timedelta(days=1)):
                    spec = replace(SPEC, effect=effect, risk=risk, family="payments")
                    facts = RunFacts(agent="boss", now=moment)
                    asked = (spec, {"amount": amount}, Grant("pay"))
                    yield gate.judge(*asked, now, facts), gate.judge(*asked, was, facts)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_where_nothing_is_said_no_call_is_ruled_more_laxly(data: st.DataObject) -> None:
    was = data.draw(policies())
    now = data.draw(changed(was))
    assume(now != was and not why_weaker(now, was))
    event("is no weaker")

    for ruled, before in rulings(now, was):
        assert not is_laxer(ruled, before), (ruled, before)


THREE = rule("three", "ask", approvers=3, group="finance")


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (
            policy(rule("nights", "deny", condition="!windows.office"), windows=[OFFICE]),
            policy(rule("nights", "deny", condition="!windows.office"), windows=[ALWAYS]),
        ),
        (policy(rule("look", "ask")), policy(rule("look", "read_only"))),
        (policy(THREE), policy(THREE, rule("one", "ask", tool="pay"))),
        (policy(THREE), policy(THREE, rule("others", "ask", approvers=3, group="aaa"))),
        (
            policy(THREE, windows=[NEVER]),
            policy(THREE, rule("later", "defer", tool="pay", window="office"), windows=[NEVER]),
        ),
        (policy(rule("tell", "notify")), policy()),
    ],
)
def test_what_would_be_ruled_more_laxly_is_said(was: Policy, now: Policy) -> None:
    assert any(is_laxer(ruled, before) for ruled, before in rulings(now, was))
    assert why_weaker(now, was)


@pytest.mark.parametrize(
    "now",
    [
        policy(THREE, rule("no", "deny", tool="pay")),
        policy(THREE, rule("only reading", "read_only", tool="pay")),
        policy(THREE, rule("four", "ask", tool="pay", approvers=4, group="finance")),
        policy(replace(THREE, outcome=Outcome.DENY)),
        policy(THREE, ask_from=Risk.LOW),
        policy(replace(THREE, says="In other words.")),
    ],
)
def test_what_can_only_tighten_needs_no_second_person(now: Policy) -> None:
    assert why_weaker(now, policy(THREE)) == []
