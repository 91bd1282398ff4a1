"""Check a tool's definition before it is kept: every fault is a sentence that names its field."""

import re
from collections.abc import Mapping
from typing import Any

import jsonschema

from tools import conditions
from tools.executors import validate_config
from tools.models import ToolVersion
from tools.values import Effect, ExecutorKind, Risk

# The provider's own rule for tool names.
NAME = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")


class InvalidDefinition(ValueError):
    """`faults` maps a field to what is wrong with it and the way out."""

    def __init__(self, faults: Mapping[str, str]):
        self.faults = dict(faults)
        super().__init__("; ".join(f"{field}: {sentence}" for field, sentence in faults.items()))


def check(name: str, content: Mapping[str, Any]) -> None:
    """Raises InvalidDefinition with every fault found."""
    faults: dict[str, str] = {}
    if not NAME.match(name):
        faults["name"] = "use 1 to 64 letters, digits, dashes and underscores"
    if not str(content.get("description", "")).strip():
        faults["description"] = "say in a sentence what the tool does: the model reads it"
    faults |= _schema_faults(content.get("input_schema"))
    faults |= _executor_faults(content)
    faults |= _rule_faults(content.get("risk_rules") or [])
    if content.get("effect", Effect.UNSAFE) not in list(Effect):
        faults["effect"] = f"choose one of {', '.join(Effect)}"
    if faults:
        raise InvalidDefinition(faults)


def differs(version: ToolVersion, content: Mapping[str, Any]) -> bool:
    return any(getattr(version, field) != value for field, value in content.items())


def _schema_faults(schema: Any) -> dict[str, str]:
    if not isinstance(schema, dict) or schema.get("type") != "object":
        return {"input_schema": 'a JSON Schema whose "type" is "object" is needed'}
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        return {"input_schema": f"not a valid JSON Schema: {error.message}"}
    return {}


def _executor_faults(content: Mapping[str, Any]) -> dict[str, str]:
    kind = content.get("executor")
    if kind not in (ExecutorKind.PYTHON, ExecutorKind.HTTP):
        return {"executor": "choose python or http"}
    sentences = validate_config(ExecutorKind(kind), content.get("config") or {})
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
        elif fault := conditions.fault(rule["when"]):
            faults[field] = f"when: {fault}"
    return faults
