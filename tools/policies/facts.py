"""The facts that rules are written over: every name with its kind, what it says, and a sample of it.

A ruling stores the facts that it was made by, so that another policy can be tried on them later. What stands at its
`default` is left out of what is stored; a fact without a default is stored whenever it was gathered, and where it is
missing nobody knows it.
"""

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tools.conditions import Kind

# Grows when a fact is added or changes its meaning; stored with every ruling as `facts_version`.
VERSION = 2
MISSING = object()
# Stored beside the facts where a rule could not be evaluated: nothing that was approved beforehand covers that.
BROKEN = "broken"
# Stored beside the facts where a call ran on what was approved beforehand: the id of it, and the group that gave it.
STANDING, STANDING_GROUP = "standing_approval", "standing_approval_group"


@dataclass(frozen=True)
class Fact:
    """`default` is MISSING where the fact is stored whatever it is."""

    kind: Kind
    says: str
    sample: Any
    default: Any = MISSING


FACTS: Mapping[str, Fact] = {
    "args": Fact(Kind.ANY, "the arguments of the call", {}),
    "tool.name": Fact(Kind.TEXT, "the tool that is called", "issue_refund"),
    "tool.family": Fact(Kind.TEXT, "the family that its operator put it in", "payments", ""),
    "tool.effect": Fact(Kind.TEXT, "pure, keyed, verifiable or unsafe", "unsafe"),
    "tool.risk": Fact(Kind.TEXT, "low, medium, high or critical; with what grant and arguments raise it to", "high"),
    "tool.own_risk": Fact(Kind.TEXT, "the risk that stands on the tool itself", "high"),
    "tool.confirmation": Fact(Kind.TEXT, "by_risk, always or never", "by_risk", "by_risk"),
    "tool.is_external": Fact(Kind.FLAG, "whether what it is given leaves the installation", True, False),
    "tool.brings": Fact(Kind.TEXTS, "labels of what it brings in: untrusted, sensitive", ["untrusted"], []),
    "grant.risk_floor": Fact(Kind.TEXT, "the least risk that the agent's grant says, or nothing", "", ""),
    "grant.always_confirm": Fact(Kind.FLAG, "whether the agent's grant has a person confirm each call", False, False),
    "agent.slug": Fact(Kind.TEXT, "the agent that asks for the call", "refund-clerk"),
    "agent.kind": Fact(Kind.TEXT, "worker, router, supervisor, planner …", "worker", "worker"),
    "agent.active": Fact(Kind.FLAG, "false once it is retired", True, True),
    "caller.name": Fact(Kind.TEXT, "who started the run", "ann"),
    "caller.is_app": Fact(Kind.FLAG, "whether the run was started with an app's token", False, False),
    "caller.roles": Fact(Kind.TEXTS, "the groups of who started the run", ["operators"], []),
    "run.source": Fact(Kind.TEXT, "api, web, admin or demo", "api"),
    "run.metadata": Fact(Kind.ANY, "what was given with the request", {}, {}),
    "run.depth": Fact(Kind.NUMBER, "how many handoffs and dispatches lie before this one", 0, 0),
    "run.repeats_effect": Fact(Kind.FLAG, "the same call had its effect in this run already", False, False),
    "run.restored": Fact(Kind.FLAG, "the database was restored from a backup during the run", False, False),
    "run.cancel_requested": Fact(Kind.FLAG, "somebody is cancelling the run", False, False),
    "spend.dispatch_usd": Fact(Kind.NUMBER, "what this agent's part has cost so far", 0.1, 0),
    "spend.run_usd": Fact(Kind.NUMBER, "what the run has cost so far; gathered when a rule asks for it", 0.1),
    "calls.dispatch": Fact(Kind.NUMBER, "model calls of this agent's part so far", 1, 0),
    "calls.of_tool": Fact(
        Kind.NUMBER, "calls of this tool in the run so far, earlier ones of the turn too; gathered when a rule asks", 1
    ),
    "now": Fact(
        Kind.MOMENT, "the moment, for now.getHours('Europe/Berlin')", dt.datetime(2026, 1, 5, 9, tzinfo=dt.UTC)
    ),
    "windows": Fact(Kind.FLAGS, "of each time window of the policy, whether it is open", {}, {}),
    "taint": Fact(Kind.TEXTS, "labels of what the agent has read so far: untrusted, sensitive", ["untrusted"], []),
    "flow.unvouched": Fact(Kind.TEXTS, "arguments that no person, list or trusted source vouches for", ["iban"], []),
    "listed": Fact(Kind.ANY, "by argument, the lists of destinations that have it", {}, {}),
}
# Beside the facts: the names of all lists of destinations there are. A condition that asks for another one cannot be
# evaluated: that a value is not on it is not known.
LISTS = "lists"
# What costs a query; gathered only where the policy in force, or a shadow, asks for it.
ON_DEMAND = ("spend.run_usd", "calls.of_tool")

SAMPLE: Mapping[str, Any] = {name: fact.sample for name, fact in FACTS.items()}
KINDS: Mapping[str, Kind] = {name: fact.kind for name, fact in FACTS.items()}


def asks_for(condition: str, name: str) -> bool:
    """Whether a condition mentions a fact; a text in it that reads alike counts too, which costs a query at most."""
    return name in condition


_LIST = re.compile(r"""["']([^"']*)["']\s+in\s+listed\b""")


@lru_cache(maxsize=2048)
def lists_named(condition: str) -> frozenset[str]:
    """The lists of destinations that a condition asks for: `"blocked" in listed.iban`."""
    return frozenset(_LIST.findall(condition))


def told(known: Mapping[str, Any]) -> dict[str, Any]:
    """As stored with a ruling: plain JSON, without the arguments, which the call keeps, and without the windows, which
    follow from the policy and the moment."""
    short = {**known, "listed": {name: lists for name, lists in known["listed"].items() if lists}}
    kept = {
        name: value.isoformat() if isinstance(value, dt.datetime) else value
        for name, value in short.items()
        if name not in ("args", "windows", LISTS) and value != FACTS[name].default
    }
    return kept | ({LISTS: known[LISTS]} if known.get(LISTS) else {}) | {"facts_version": VERSION}


def recalled(stored: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a stored ruling. Those that were not recorded are not among them.

    Raises KeyError for a ruling from before facts were stored whole.
    """
    if stored["facts_version"] != VERSION:
        raise KeyError("facts_version")
    known = {name: stored.get(name, fact.default) for name, fact in FACTS.items() if name not in ("args", "windows")}
    known = {name: value for name, value in known.items() if value is not MISSING}
    listed = {name: known["listed"].get(name, []) for name in arguments}
    now = dt.datetime.fromisoformat(known["now"])
    return known | {"now": now, "args": dict(arguments), "listed": listed, LISTS: stored.get(LISTS, [])}
