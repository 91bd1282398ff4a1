from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest

from tests.tools import targets
from tools import executors, outbound
from tools.egress import rules
from tools.values import CallContext, Effect, ExecutorKind, ToolResult, ToolSpec

ANYTHING = {"type": "object"}


def call_context(key: str = "key-1") -> CallContext:
    return CallContext(key, UUID(int=1), UUID(int=2), UUID(int=3))


def python_tool(name: str, effect: Effect = Effect.UNSAFE, schema: dict = ANYTHING) -> ToolSpec:
    return ToolSpec(name, 1, "", schema, ExecutorKind.PYTHON, {"callable": f"targets.{name}"}, effect)


def http_tool(config: dict, effect: Effect = Effect.UNSAFE, schema: dict = ANYTHING) -> ToolSpec:
    return ToolSpec("web", 1, "", schema, ExecutorKind.HTTP, config, effect)


@pytest.fixture(autouse=True)
def _this_machine_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No database is needed for what an executor does: the rules come from here."""
    allowed = outbound.Outbound(rules=(rules.parsed("*://127.0.0.1:*"),))
    monkeypatch.setattr(outbound, "_source", lambda: allowed)


Execute = Callable[..., ToolResult]


@pytest.fixture
def execute() -> Execute:
    def run(
        spec: ToolSpec, arguments: dict | None = None, *, seconds: float = 20, limit: int = 64_000, key: str = "key-1"
    ) -> ToolResult:
        given: dict[str, Any] = {"timeout_seconds": seconds, "result_limit_bytes": limit, "call": call_context(key)}
        return executors.run(spec, arguments or {}, **given)

    return run


@pytest.fixture
def target() -> Iterator[targets.HttpTarget]:
    with targets.http_target() as running:
        yield running
