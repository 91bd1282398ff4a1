"""A whole policy as a JSON document, and back: what the API takes, what simulations keep, and what is compared."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from tools.policies.values import Flow, Outcome, Policy, Rule, Scope, Window
from tools.values import Risk

THRESHOLDS = ("notify_from", "ask_from", "four_eyes_from")
SCOPE = tuple(Scope.__dataclass_fields__)


def told(policy: Policy) -> dict[str, Any]:
    """{notify_from, ask_from, four_eyes_from, flow, rules: [...], windows: [...]}; the version is not part of it."""
    return {
        **{name: str(getattr(policy, name)) for name in THRESHOLDS},
        "flow": str(policy.flow),
        "rules": [_rule_told(rule) for rule in policy.rules],
        "windows": [_window_told(window) for window in policy.windows.values()],
    }


def _rule_told(rule: Rule) -> dict[str, Any]:
    return {
        "name": rule.name,
        "outcome": str(rule.outcome),
        **{name: getattr(rule.scope, name) for name in SCOPE},
        "condition": rule.condition,
        "window": rule.window,
        "approvers": rule.approvers,
        "group": rule.group,
        "says": rule.says,
        "expires_at": rule.expires_at.isoformat() if rule.expires_at else None,
    }


def _window_told(window: Window) -> dict[str, Any]:
    return {
        "name": window.name,
        "zone": window.zone,
        "days": sorted(window.days),
        "opens": window.opens.strftime("%H:%M:%S"),
        "closes": window.closes.strftime("%H:%M:%S"),
        "except_dates": sorted(date.isoformat() for date in window.except_dates),
    }


def read(document: Mapping[str, Any], version: str) -> Policy:
    """Of a document as `told` writes it. What a rule or a window leaves out is as its value says; raises KeyError and
    ValueError for what is none, so whoever takes documents from outside checks their shape before."""
    return Policy(
        version=version,
        rules=tuple(_rule(each) for each in document.get("rules", ())),
        windows={each["name"]: _window(each) for each in document.get("windows", ())},
        flow=Flow(document.get("flow", Flow.ASK)),
        **{name: Risk(document[name]) for name in THRESHOLDS if name in document},
    )


def _rule(told: Mapping[str, Any]) -> Rule:
    expires = told.get("expires_at")
    return Rule(
        name=told["name"],
        outcome=Outcome(told["outcome"]),
        scope=Scope(**{name: told.get(name, "") for name in SCOPE}),
        condition=told.get("condition", "").strip(),
        says=told.get("says", ""),
        approvers=told.get("approvers", 1),
        group=told.get("group", ""),
        window=told.get("window", ""),
        expires_at=dt.datetime.fromisoformat(expires) if isinstance(expires, str) else expires,
    )


def _window(told: Mapping[str, Any]) -> Window:
    return Window(
        name=told["name"],
        zone=told.get("zone", "UTC"),
        days=frozenset(told.get("days", ())),
        opens=_time(told["opens"]),
        closes=_time(told["closes"]),
        except_dates=frozenset(map(_date, told.get("except_dates", ()))),
    )


def _time(given: Any) -> dt.time:
    return given if isinstance(given, dt.time) else dt.time.fromisoformat(given)


def _date(given: Any) -> dt.date:
    return given if isinstance(given, dt.date) else dt.date.fromisoformat(given)
