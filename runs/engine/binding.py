"""What a person approves, frozen: built once for the question, and once more from the rows before anything is sent."""

from collections.abc import Mapping
from typing import Any

from orchestrator_site.core import canonical
from runs.models import Dispatch, ToolCall
from tools import executors
from tools.values import ExecutorKind, Risk, ToolSpec


def frozen(
    dispatch: Dispatch, spec: ToolSpec, call: ToolCall, arguments: str, risk: Risk | str, policy_version: str
) -> dict[str, Any]:
    """Everything that makes this call this call. `arguments` is canonical JSON text."""
    return {
        "call": str(call.pk),
        "tool": spec.name,
        "tool_version": spec.version_id,
        "effect": str(spec.effect),
        "arguments": canonical.loads(arguments),
        "agent": dispatch.manifest.agent.slug,
        "manifest": dispatch.manifest_id,
        "target": target(spec, canonical.loads(arguments)),
        "risk": str(risk),
        "policy": policy_version,
    }


def target(spec: ToolSpec, arguments: Mapping[str, Any]) -> str:
    """Where the call goes, as kept in the ledger and shown to whoever approves it."""
    if spec.executor == ExecutorKind.PLATFORM:
        return f"platform:{spec.name}"
    return executors.endpoint(spec, arguments)


def digest(content: Mapping[str, Any]) -> str:
    return canonical.digest(canonical.dumps(content))


def plain_words(tool: str, arguments: Mapping[str, Any]) -> str:
    """One line a person understands: the tool, and its short arguments by name."""
    verb = tool.replace("_", " ").replace("-", " ").capitalize()
    short = [f"{name.replace('_', ' ')} {value}" for name, value in arguments.items() if _is_short(value)]
    return f"{verb}: {', '.join(short)}" if short else verb


def _is_short(value: Any) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool) and len(str(value)) <= 60
