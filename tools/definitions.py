"""Check a tool's definition before it is kept: every fault is a sentence that names its field."""

import math
import re
from collections.abc import Mapping
from typing import Any

from orchestrator_site.core import json_schema
from tools import conditions
from tools.executors import validate_config
from tools.models import ToolVersion
from tools.values import Effect, ExecutorKind, Label, Risk, SinkKind

# The provider's own rule for tool names.
NAME = re.compile(r"^[a-zA-Z0-9_-]{1,64}\Z")
FAMILY = re.compile(r"[a-z][a-z0-9_-]{0,39}\Z")
# Names of the platform's own tools, added as they are registered, and how those begin that lead to agents.
RESERVED: set[str] = set()
RESERVED_PREFIX = "dispatch_to_"
CONTENT = (
    "description",
    "input_schema",
    "executor",
    "config",
    "effect",
    "risk_rules",
    "timeout_seconds",
    "result_limit_bytes",
)


class InvalidDefinition(ValueError):
    """`faults` maps a field to what is wrong with it and the way out."""

    def __init__(self, faults: Mapping[str, str]):
        self.faults = dict(faults)
        super().__init__("; ".join(f"{field}: {sentence}" for field, sentence in faults.items()))


def check(name: str, content: Mapping[str, Any], labels: Mapping[str, Any] | None = None) -> None:
    """`labels`: {family, brings, sinks}, each may be missing. Raises InvalidDefinition with every fault found."""
    faults: dict[str, str] = {}
    if not NAME.match(name):
        faults["name"] = "use 1 to 64 letters, digits, dashes and underscores"
    elif name in RESERVED or name.startswith(RESERVED_PREFIX):
        faults["name"] = f"{name} is one of the platform's own tools; choose another name"
    if not str(content.get("description", "")).strip():
        faults["description"] = "say in a sentence what the tool does: the model reads it"
    faults |= _schema_faults(content.get("input_schema"))
    faults |= _executor_faults(content)
    faults |= _rule_faults(content.get("risk_rules") or [])
    faults |= _limit_faults(content)
    faults |= label_faults(labels or {}, content.get("input_schema") or {})
    if content.get("effect", Effect.UNSAFE) not in list(Effect):
        faults["effect"] = f"choose one of {', '.join(Effect)}"
    if faults:
        raise InvalidDefinition(faults)


def label_faults(labels: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with the labels that a person set, by field; for what is left out nothing is."""
    faults = {}
    if labels.get("family") and not FAMILY.match(labels["family"]):
        faults["family"] = "use a short word of small letters, digits, dashes and underscores, such as payments"
    brings = labels.get("brings", [])
    if not isinstance(brings, list) or not set(brings) <= set(Label):
        faults["brings"] = f"a list of {' and '.join(Label)}; an empty one for a source that is trusted"
    if fault := _sink_fault(labels.get("sinks"), schema):
        faults["sinks"] = fault
    return faults


def _sink_fault(sinks: Any, schema: Mapping[str, Any]) -> str | None:
    if sinks is None:
        return None
    if not isinstance(sinks, dict):
        return 'by argument is needed, like {"iban": {"kind": "destination"}}'
    known = schema.get("properties", {})
    for name, sink in sinks.items():
        if name not in known:
            return f"there is no argument {name!r}: choose {', '.join(sorted(known)) or 'none'}"
        if not isinstance(sink, dict) or not {"kind"} <= set(sink) <= {"kind", "lists"}:
            return f"{name}: needs a kind, and may have lists"
        if sink["kind"] not in list(SinkKind):
            return f"{name}: kind must be one of {', '.join(SinkKind)}"
        lists = sink.get("lists", [])
        if not isinstance(lists, list) or not all(isinstance(each, str) for each in lists):
            return f"{name}: lists must be names of lists of destinations"
    return None


def differs(version: ToolVersion, content: Mapping[str, Any]) -> bool:
    """Whether this content, with defaults for what it leaves out, is another than the version's."""
    wanted = ToolVersion(**content)
    return any(getattr(version, field) != getattr(wanted, field) for field in CONTENT)


def _schema_faults(schema: Any) -> dict[str, str]:
    if not isinstance(schema, dict) or schema.get("type") != "object":
        return {"input_schema": 'a JSON Schema whose "type" is "object" is needed'}
    problems = json_schema.problems(schema)
    return {"input_schema": " ".join(problems).removesuffix(".")} if problems else {}


def _executor_faults(content: Mapping[str, Any]) -> dict[str, str]:
    kind = content.get("executor")
    if kind not in (ExecutorKind.PYTHON, ExecutorKind.HTTP):
        return {"executor": "choose python or http"}
    effect = content.get("effect", Effect.UNSAFE)
    known = Effect(effect) if effect in list(Effect) else None
    sentences = validate_config(ExecutorKind(kind), content.get("config") or {}, known)
    return {"config": "; ".join(sentences)} if sentences else {}


def _rule_faults(rules: Any) -> dict[str, str]:
    if not isinstance(rules, list):
        return {"risk_rules": "a list of {when, risk, reason} is needed"}
    faults = {}
    for number, rule in enumerate(rules):
        field = f"risk_rules.{number}"
        if not isinstance(rule, dict) or set(rule) != {"when", "risk", "reason"}:
            faults[field] = "needs exactly when, risk and reason"
        elif rule["risk"] not in list(Risk):
            faults[field] = f"risk must be one of {', '.join(Risk)}"
        elif fault := conditions.fault(rule["when"], {"args": {}}):
            faults[field] = f"when: {fault}"
    return faults


def _limit_faults(content: Mapping[str, Any]) -> dict[str, str]:
    """A limit that is left out, or empty in a form, is its default."""
    faults = {}
    for field in ("timeout_seconds", "result_limit_bytes"):
        limit = content.get(field)
        if limit is None:
            continue
        if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not 0 < limit < math.inf:
            faults[field] = "a number above zero is needed"
    return faults
