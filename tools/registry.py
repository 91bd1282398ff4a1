"""The one registry: rows an operator edits, and the platform's own tools, registered in code by the rooms above."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import F

from orchestrator_site.core import events
from tools import definitions
from tools.definitions import InvalidDefinition
from tools.models import Tool, ToolVersion
from tools.values import Effect, ExecutorKind, Label, Risk, ToolSpec

# Versions of platform tools are the code's: they have no row, and no id of their own.
PLATFORM_VERSION = 0


@dataclass(frozen=True)
class PlatformTool:
    """`apply` runs inside the transaction that records its result; its signature is its owner's business."""

    spec: ToolSpec
    apply: Callable[..., Any]


_platform: dict[str, PlatformTool] = {}


def register_platform(name: str, description: str, input_schema: Mapping[str, Any], apply: Callable[..., Any]) -> None:
    spec = ToolSpec(
        name=name,
        version_id=PLATFORM_VERSION,
        description=description,
        input_schema=input_schema,
        executor=ExecutorKind.PLATFORM,
        effect=Effect.PURE,
        risk=Risk.LOW,
    )
    _platform[name] = PlatformTool(spec, apply)
    definitions.RESERVED.add(name)


def platform_tool(name: str) -> PlatformTool | None:
    return _platform.get(name)


def platform_names() -> list[str]:
    return sorted(_platform)


def specs(names: Iterable[str]) -> dict[str, ToolSpec]:
    """Current versions under today's switches, in the order asked for; unknown names are left out. One query."""
    wanted = list(names)
    rows = ToolVersion.objects.with_tool().filter(tool__name__in=wanted, tool__current=F("pk"))
    by_name = {row.tool.name: row.spec() for row in rows}
    by_name |= {name: _platform[name].spec for name in wanted if name in _platform}
    return {name: by_name[name] for name in wanted if name in by_name}


def spec(name: str) -> ToolSpec | None:
    return specs([name]).get(name)


def version_spec(version_id: int) -> ToolSpec:
    """The version a call was ruled with, under today's switches. Raises ToolVersion.DoesNotExist."""
    return ToolVersion.objects.with_tool().get(pk=version_id).spec()


def define(
    name: str,
    *,
    risk: Risk = Risk.HIGH,
    family: str = "",
    brings: Iterable[str] = (Label.UNTRUSTED,),
    sinks: Mapping[str, Any] | None = None,
    by: Any = None,
    **content: Any,
) -> ToolVersion:
    """Define a tool or a new version of it, and make that version current; the same content again changes nothing.

    `content`: description, input_schema, executor, config, effect, risk_rules, timeout_seconds, result_limit_bytes.
    `risk`, `family`, `brings` and `sinks` are taken for a new tool; later they are the operator's. Raises
    InvalidDefinition.
    """
    labels = {"family": family, "brings": sorted(map(str, brings)), "sinks": sinks}
    definitions.check(name, content, labels)
    actor = f"user:{by.get_username()}" if by else events.SYSTEM
    with events.recording() as log:
        tool, _ = Tool.objects.select_for_update().get_or_create(name=name, defaults={"risk": risk, **labels})
        latest = tool.versions.first()
        if latest and not definitions.differs(latest, content) and tool.current_id == latest.pk:
            return latest
        version = ToolVersion(tool=tool, number=latest.number + 1 if latest else 1, created_by=by, **content)
        version.save()
        tool.current = version
        tool.save()
        log.platform("tool_defined", actor=actor, tool=name, version=version.number, effect=version.effect)
    return version


def switch(tool: Tool, *, by: Any, **switches: Any) -> None:
    """Set `enabled`, `risk`, `confirmation`, `family`, `brings` or `sinks`; bites at the next call of every running
    dispatch.

    Raises django's ValidationError for a value that is none of the choices, InvalidDefinition for labels that are none.
    """
    if faults := definitions.label_faults(switches, tool.current.input_schema if tool.current else {}):
        raise InvalidDefinition(faults)
    with events.recording() as log:
        locked = Tool.objects.select_for_update().get(pk=tool.pk)
        before = {name: getattr(locked, name) for name in switches}
        for name, value in switches.items():
            setattr(locked, name, value)
        locked.clean_fields(exclude={"name", "current"})
        locked.save(update_fields=list(switches))
        after = {name: str(value) for name, value in switches.items()}
        before = {name: str(value) for name, value in before.items()}
        log.platform("tool_switched", actor=f"user:{by.get_username()}", tool=tool.name, before=before, after=after)
