"""What a policy makes of a call, as one table: rows are facts, columns are sets of rules, every cell is run.

And what holds of every policy: denying more never allows more, order within a scope is immaterial, nothing is asked of
a database or a clock, and what is broken never allows.
"""

import datetime as dt
import socket
import time
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.policies.cast import policy, rule
from tests.policies.test_replaying import LARGEST, RULES, grants, policies, run_facts, specs
from tools import gate
from tools.policies import replaying
from tools.policies.values import Outcome, Policy, Rule, Window
from tools.values import STRICTNESS, Effect, ExecutorKind, Grant, Label, Risk, RunFacts, Sink, SinkKind, ToolSpec

MONDAY = dt.datetime(2026, 1, 5, 9, tzinfo=dt.UTC)
OFFICE = Window("office", "Europe/Berlin", frozenset(range(5)), dt.time(9), dt.time(17))
SCHEMA = {"type": "object", "properties": {"amount": {"type": "number"}}}
PAY = ToolSpec(
    "pay", 1, "Pay.", SCHEMA, ExecutorKind.PYTHON, effect=Effect.KEYED, risk=Risk.HIGH, family="payments", sinks={}
)
READ = ToolSpec("read", 2, "Read.", SCHEMA, ExecutorKind.PYTHON, effect=Effect.PURE, risk=Risk.LOW, sinks={})
MAIL = replace(PAY, name="mail", family="mail", risk=Risk.LOW, sinks={"amount": Sink(SinkKind.DESTINATION)})
FACTS = RunFacts(agent="clerk", caller="ann", now=MONDAY, run_usd=0.1, calls_of_tool=0)
NIGHT = replace(FACTS, now=MONDAY + dt.timedelta(hours=12))
TAINTED = replace(FACTS, taint=("untrusted",), unvouched={"amount": "first appeared in a result"})

# Rows: a tool, its arguments, what is known, and its grant where that says something.
ROWS: dict[str, tuple[Any, ...]] = {
    "reads": (READ, {}, FACTS),
    "reads at night": (READ, {}, NIGHT),
    "pays 20": (PAY, {"amount": 20}, FACTS),
    "pays 70": (PAY, {"amount": 70}, FACTS),
    "pays 600": (PAY, {"amount": 600}, FACTS),
    "pays 20 at night": (PAY, {"amount": 20}, NIGHT),
    "pays nothing said": (PAY, {}, FACTS),
    "pays 20 again": (PAY, {"amount": 20}, replace(FACTS, repeats_effect=True)),
    "pays 20, always confirmed": (PAY, {"amount": 20}, FACTS, Grant("pay", always_confirm=True)),
    "pays 20, critical": (replace(PAY, risk=Risk.CRITICAL), {"amount": 20}, FACTS),
    "pays 20, after a web page": (PAY, {"amount": 20}, TAINTED),
    "pays 20 for the boss": (PAY, {"amount": 20}, replace(FACTS, agent="boss")),
    "mails": (MAIL, {"amount": 1}, FACTS),
    "mails after a web page": (MAIL, {"amount": 1}, TAINTED),
    "pays 20, switched off": (replace(PAY, enabled=False), {"amount": 20}, FACTS),
    "pays 20 while cancelling": (PAY, {"amount": 20}, replace(FACTS, cancel_requested=True)),
}

SMALL = rule("small", "allow", tool="pay", condition="args.amount <= 50.0")
TWO = rule("two", "ask", tool="pay", condition="args.amount > 50.0", approvers=2, group="finance")
CAP = rule("cap", "deny", tool="pay", condition="args.amount > 500.0")
HOURS = rule("hours", "defer", family="payments", window="office")
QUIET = rule("quiet", "read_only", window="office")
CLERKS = rule("clerks", "deny", agent="clerk")
BROKEN = rule("broken", "allow", tool="pay", condition="args.nothing.here == 1")
TELL = rule("tell", "notify", family="payments")

# Columns: none; the rules of paying; hours of a family; read-only at night; agents refused, but for what is narrower;
# a broken one that would allow; a deny beside an allow of the same scope.
COLUMNS = {
    "none": (),
    "paying": (SMALL, TWO, CAP),
    "hours": (HOURS,),
    "quiet": (QUIET,),
    "agents": (CLERKS, SMALL),
    "broken": (BROKEN, TELL),
    "both": (SMALL, rule("no", "deny", tool="pay", condition="args.amount < 30.0")),
}

# fmt: off
TABLE = {
    #                             none       paying     hours      quiet      agents     broken     both
    "reads":                     "runs       runs       runs       runs       refused    runs       runs",
    "reads at night":            "runs       runs       runs       runs       refused    runs       runs",
    "pays 20":                   "asks       told       asks       asks       told       asks       refused",
    "pays 70":                   "asks       two        asks       asks       refused    asks       asks",
    "pays 600":                  "asks       refused    asks       asks       refused    asks       asks",
    "pays 20 at night":          "asks       told       waits      refused    told       asks       refused",
    "pays nothing said":         "asks       two        asks       asks       refused    asks       asks",
    "pays 20 again":             "asks       asks       asks       asks       asks       asks       refused",
    "pays 20, always confirmed": "asks       asks       asks       asks       asks       asks       refused",
    "pays 20, critical":         "four       told       four       four       told       four       refused",
    "pays 20, after a web page": "asks       asks       asks       asks       asks       asks       refused",
    "pays 20 for the boss":      "asks       told       asks       asks       told       asks       refused",
    "mails":                     "runs       runs       runs       runs       refused    runs       runs",
    "mails after a web page":    "asks       asks       asks       asks       refused    asks       asks",
    "pays 20, switched off":     "refused    refused    refused    refused    refused    refused    refused",
    "pays 20 while cancelling":  "refused    refused    refused    refused    refused    refused    refused",
}
# fmt: on
WORDS = {
    "runs": replaying.RUNS,
    "told": replaying.TOLD,
    "asks": replaying.ASKS,
    "two": "asks (2 of finance)",
    "four": replaying.FOUR_EYES,
    "waits": replaying.WAITS,
    "refused": replaying.REFUSED,
}
CELLS = [
    (row, column, WORDS[word])
    for row, words in TABLE.items()
    for column, word in zip(COLUMNS, words.split(), strict=True)
]


def judged(row: str, under: Policy):
    spec, arguments, facts, *grant = ROWS[row]
    return gate.judge(spec, arguments, grant[0] if grant else Grant(spec.name), under, facts)


@pytest.mark.parametrize(("row", "column", "expected"), CELLS)
def test_every_cell(row, column, expected):
    assert replaying.treatment(judged(row, policy(*COLUMNS[column], windows=[OFFICE]))) == expected


def test_the_table_is_whole():
    assert set(TABLE) == set(ROWS)
    assert len(CELLS) == len(ROWS) * len(COLUMNS)


# -- what holds of every policy ------------------------------------------------------------------------------------
def strictness(ruling) -> int:
    return STRICTNESS[type(ruling)]


denials = st.builds(
    lambda scope, condition: rule("one more", "deny", condition=condition, **scope),
    st.sampled_from([{}, {"tool": "pay"}, {"family": "payments"}, {"agent": "clerk"}, {"risk": "high"}]),
    st.sampled_from(["", "args.amount > 50.0", "'untrusted' in taint", "args.nothing.here == 1"]),
)


@settings(max_examples=300, deadline=None)
@given(specs, grants, run_facts, policies, denials, st.sampled_from([5, 70, 600]))
def test_one_more_denial_never_allows_more(spec, grant, facts, under, denial, amount):
    """A denial that is no narrower than what decides changes nothing; a narrower one only refuses."""
    more = replace(under, rules=(*under.rules, denial))

    before = gate.judge(spec, {"amount": amount}, grant, under, facts)
    after = gate.judge(spec, {"amount": amount}, grant, more, facts)

    assert strictness(after) >= strictness(before)


@settings(max_examples=300, deadline=None)
@given(specs, grants, run_facts, policies, st.randoms(use_true_random=False), st.sampled_from([5, 70, 600]))
def test_the_order_of_rules_is_immaterial(spec, grant, facts, under, random, amount):
    shuffled = list(under.rules)
    random.shuffle(shuffled)

    one = gate.judge(spec, {"amount": amount}, grant, under, facts)
    other = gate.judge(spec, {"amount": amount}, grant, replace(under, rules=tuple(shuffled)), facts)

    assert one == other


@settings(max_examples=200, deadline=None)
@given(specs, grants, run_facts, policies, st.sampled_from(Outcome), st.sampled_from([5, 70, 600]))
def test_a_broken_rule_never_allows(spec, grant, facts, under, outcome, amount):
    """Whatever it would have said: it asks at best."""
    broken = Rule("broken", outcome, condition="args.nothing.here == 1", says="x", window="")
    if outcome == Outcome.DEFER:
        broken = replace(broken, window="office_hours")
    more = replace(under, rules=(*under.rules, broken))

    before = gate.judge(spec, {"amount": amount}, grant, under, facts)
    after = gate.judge(spec, {"amount": amount}, grant, more, facts)

    assert strictness(after) >= strictness(before)


def test_a_rule_that_is_broken_alone_asks_about_what_would_run():
    """The control: without it the same call runs."""
    alone = policy(rule("broken", "allow", condition="args.nothing.here == 1"))

    assert replaying.treatment(judged("reads", policy())) == replaying.RUNS
    assert replaying.treatment(judged("reads", alone)) == replaying.ASKS


def test_the_gate_asks_nothing_of_a_database_or_a_clock(monkeypatch):
    def forbidden(*args, **kwargs):
        raise AssertionError("the gate is pure")

    class NoClock(dt.datetime):
        now = utcnow = today = forbidden

    for row in ROWS:
        judged(row, LARGEST)  # what is imported on need, and compiled
    for name in ("time", "monotonic", "time_ns", "perf_counter", "sleep"):
        monkeypatch.setattr(time, name, forbidden)
    monkeypatch.setattr(dt, "datetime", NoClock)
    monkeypatch.setattr(socket, "socket", forbidden)
    monkeypatch.setattr(connection, "ensure_connection", forbidden)
    monkeypatch.setattr(connection, "cursor", forbidden)

    found = [replaying.treatment(judged(row, LARGEST)) for row in ROWS]

    monkeypatch.undo()
    assert found == [replaying.treatment(judged(row, LARGEST)) for row in ROWS]
    assert len(set(found)) > 3


def test_every_outcome_is_in_the_table():
    assert {each.outcome for rules in COLUMNS.values() for each in rules} == set(Outcome)
    assert {each.outcome for each in RULES} == set(Outcome)
    assert Label.UNTRUSTED in TAINTED.taint


def test_a_broken_question_asks_those_whom_it_would_have_asked():
    three = rule("three", "ask", condition="args.nothing.here == 1", approvers=3, group="finance")

    ruled = judged("pays 20", policy(three))

    assert (ruled.approvers, ruled.group, ruled.facts["broken"]) == (3, "finance", True)
