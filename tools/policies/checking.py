"""Is this rule one that can ever work? Every fault is a sentence at its column. Pure."""

import re
from collections.abc import Collection, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from tools import conditions
from tools.conditions import Kind
from tools.policies import facts
from tools.policies.values import Outcome, Policy, Rule, Window
from tools.values import Effect, Label, Risk

_TEXT = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'")
_ARGUMENT = re.compile(r"\bargs\s*\.\s*([A-Za-z_]\w*)")
_WINDOW = re.compile(r"\bwindows\s*\.\s*([A-Za-z_]\w*)")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")
_KINDS = {
    "string": Kind.TEXT,
    "number": Kind.NUMBER,
    "integer": Kind.NUMBER,
    "boolean": Kind.FLAG,
}
_CHOICES: Mapping[str, Collection[str]] = {"effect": list(Effect), "risk": list(Risk), "label": list(Label)}


def faults(policy: Policy, **known: Any) -> dict[str, str]:
    """All of a policy's, by "rules.<place>.<column>" and "windows.<place>.<column>"; `known` as `rule_faults` takes
    it, but for the windows."""
    found: dict[str, str] = {}
    for place, window in enumerate(policy.windows.values()):
        found |= {f"windows.{place}.{column}": says for column, says in window_faults(window).items()}
    named: set[str] = set()
    for place, rule in enumerate(policy.rules):
        faulty = rule_faults(rule, windows=policy.windows, **known)
        if not rule.name.strip():
            faulty["name"] = "Give the rule a short name: it is stored with each ruling."
        elif rule.name in named:
            faulty["name"] = f"There are two rules {rule.name!r}: a ruling has to say which one decided."
        named.add(rule.name)
        found |= {f"rules.{place}.{column}": says for column, says in faulty.items()}
    return found


def rule_faults(
    rule: Rule,
    *,
    tools: Mapping[str, Mapping[str, Any]],
    families: Collection[str],
    agents: Collection[str],
    groups: Mapping[str, int],
    lists: Collection[str],
    windows: Collection[str],
) -> dict[str, str]:
    """By column. `tools` are input schemas by name, `groups` the number of their active members by name, `lists` the
    names of lists of destinations."""
    faults = {name: sentence for name, sentence in _scope_faults(rule, tools, families, agents, groups) if sentence}
    if rule.condition and (fault := _condition_fault(rule, tools, lists, windows)):
        faults["condition"] = fault
    if not rule.says.strip():
        faults["says"] = "Write the sentence that people read when this rule decides."
    if rule.outcome == Outcome.DEFER and not rule.window:
        faults["window"] = "Name the window whose next opening the call waits for."
    elif rule.window and rule.window not in windows:
        faults["window"] = f"This policy has no window {rule.window!r}{_known(windows)}."
    faults |= _asking_faults(rule, groups)
    return faults


def _scope_faults(
    rule: Rule,
    tools: Collection[str],
    families: Collection[str],
    agents: Collection[str],
    groups: Collection[str],
) -> list[tuple[str, str]]:
    known = {"tool": tools, "family": families, "agent": agents, "role": groups, **_CHOICES}
    found = []
    for column, names in known.items():
        named = getattr(rule.scope, column)
        if named and named not in names:
            found.append((column, f"There is no {column} {named!r}{_known(names)}."))
    return found


def _known(names: Collection[str]) -> str:
    listed = ", ".join(sorted(names)[:12])
    return f": choose {listed}" if listed else ""


def _asking_faults(rule: Rule, groups: Mapping[str, int]) -> dict[str, str]:
    if rule.outcome != Outcome.ASK:
        wrong = {"approvers": rule.approvers != 1, "group": bool(rule.group)}
        return {column: "Only a rule that asks has approvers." for column, is_wrong in wrong.items() if is_wrong}
    if not 1 <= rule.approvers <= 9:
        return {"approvers": "Ask between one and nine people."}
    if rule.group and rule.group not in groups:
        return {"group": f"There is no group {rule.group!r}{_known(groups)}."}
    if rule.group and groups[rule.group] < rule.approvers:
        return {"approvers": f"{rule.group} has {groups[rule.group]} active members: nobody could ever answer this."}
    return {}


def _condition_fault(
    rule: Rule, tools: Mapping[str, Mapping[str, Any]], lists: Collection[str], windows: Collection[str]
) -> str | None:
    for name in sorted(facts.lists_named(rule.condition).difference(lists)):
        return f"There is no list of destinations {name!r}{_known(lists)}."
    bare = _TEXT.sub('""', rule.condition)
    for name in _WINDOW.findall(bare):
        if name not in windows:
            return f"This policy has no window {name!r}{_known(windows)}."
    sample = {**facts.SAMPLE, "windows": dict.fromkeys(windows, True)}
    schema = tools.get(rule.scope.tool)
    if schema is None:
        return conditions.fault(rule.condition, sample, facts.KINDS)
    properties = schema.get("properties", {})
    if schema.get("additionalProperties") is False:
        for name in _ARGUMENT.findall(bare):
            if name not in properties:
                return f"{rule.scope.tool} has no argument {name!r}{_known(properties)}."
    named = {f"args.{name}": kind for name, kind in _argument_kinds(properties).items()}
    return conditions.fault(rule.condition, sample, {**facts.KINDS, **named})


def _argument_kinds(properties: Mapping[str, Any]) -> dict[str, Kind]:
    """Of those arguments whose schema allows one kind alone."""
    kinds = {name: _KINDS.get(shape.get("type", "")) for name, shape in properties.items() if isinstance(shape, dict)}
    return {name: kind for name, kind in kinds.items() if kind is not None and re.fullmatch(r"[A-Za-z_]\w*", name)}


def window_faults(window: Window) -> dict[str, str]:
    """By column."""
    faults = {}
    if not _NAME.match(window.name):
        faults["name"] = "Use a short name of small letters, digits and underscores: conditions call it windows.<name>."
    try:
        ZoneInfo(window.zone)
    except (ValueError, OSError, KeyError):
        faults["zone"] = f"There is no time zone {window.zone!r}: write one like Europe/Berlin."
    if not window.days:
        faults["days"] = "Choose the days on which it opens."
    return faults
