"""Which tools a dispatch is offered: exactly what it was granted, in a stable order."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from agents import roster
from agents.values import AgentKind, ManifestSpec
from runs.platform_tools import ASK_HUMAN, PROPOSE_HANDOFF, dispatch_spec
from tools import registry
from tools.values import Grant, ToolSpec


@dataclass(frozen=True)
class Offered:
    spec: ToolSpec
    grant: Grant

    def at_version(self, version_id: int | None) -> "Offered":
        """The grant as pinned, the tool at the version a call was ruled with, under today's switches."""
        return self if version_id is None else Offered(registry.version_spec(version_id), self.grant)


def offer(manifest: ManifestSpec, slug: str) -> dict[str, Offered]:
    """Granted tools by name in the manifest's order; routers get the live roster and one way to ask instead."""
    if manifest.kind == AgentKind.ROUTER:
        return _router_offer(manifest, slug)
    specs = registry.specs(grant.tool for grant in manifest.grants)
    grants = {grant.tool: grant.grant() for grant in manifest.grants}
    return {name: Offered(_shaped(specs[name], manifest), grants[name]) for name in grants if name in specs}


def _router_offer(manifest: ManifestSpec, slug: str) -> dict[str, Offered]:
    asking = registry.platform_tool(ASK_HUMAN)
    assert asking is not None
    # The epoch is read from the database: a router never works from a roster that missed a signal.
    live = roster.current(min_epoch=roster.database_epoch())
    specs = [dispatch_spec(tool) for tool in live.dispatch_tools(manifest, slug)] + [asking.spec]
    return {spec.name: Offered(spec, Grant(spec.name)) for spec in specs}


def _shaped(spec: ToolSpec, manifest: ManifestSpec) -> ToolSpec:
    """The proposal tool names the targets this agent may propose."""
    if spec.name != PROPOSE_HANDOFF:
        return spec
    schema = dict(spec.input_schema)
    schema["properties"] = schema["properties"] | {
        "target": {"type": "string", "enum": list(manifest.handoff_targets), "description": "who continues"}
    }
    return replace(spec, input_schema=schema)


def on_the_wire(offered: Mapping[str, Offered]) -> list[dict[str, Any]]:
    """The SDK's plain tool definitions. Switched-off tools are not offered."""
    return [
        {"name": name, "description": each.spec.description, "input_schema": dict(each.spec.input_schema)}
        for name, each in offered.items()
        if each.spec.enabled
    ]
