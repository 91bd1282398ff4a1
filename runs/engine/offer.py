"""Which tools a dispatch is offered: exactly what it was granted, in a stable order, under today's switches."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from agents import roster
from agents.roster import Roster
from agents.values import AgentKind, ManifestSpec
from runs.models import Dispatch
from runs.platform_tools import ASK_HUMAN, PROPOSE_HANDOFF, dispatch_spec
from tools import registry
from tools.values import ExecutorKind, Grant, ToolSpec


@dataclass(frozen=True)
class Offered:
    spec: ToolSpec
    grant: Grant

    @property
    def is_platform(self) -> bool:
        return self.spec.executor == ExecutorKind.PLATFORM


class Offers(Mapping[str, Offered]):
    """What one manifest is offered at one epoch of the roster, by name; worked out once for all its dispatches."""

    def __init__(self, served: Roster, by_name: Mapping[str, Offered], *, agent_active: bool):
        self.served = served
        self.agent_active = agent_active
        self._by_name = by_name
        # The SDK's plain tool definitions. Switched-off tools are not offered.
        self.on_the_wire: list[dict[str, Any]] = [
            {"name": name, "description": each.spec.description, "input_schema": dict(each.spec.input_schema)}
            for name, each in by_name.items()
            if each.spec.enabled
        ]

    def __getitem__(self, name: str) -> Offered:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def at_version(self, name: str, version_id: int | None) -> Offered | None:
        """The grant as pinned, the tool at the version a call was ruled with, under today's switches."""
        offered = self.get(name)
        if offered is None or version_id is None or offered.spec.version_id == version_id:
            return offered
        spec = self.served.keep(("tool version", version_id), lambda: registry.version_spec(version_id))
        return Offered(spec, offered.grant)


def offer(dispatch: Dispatch, epoch: int | None = None) -> Offers:
    """`epoch` is the least that will do, as read under the dispatch's lock; without it the database is asked.

    Expects manifest and agent to be joined.
    """
    served = roster.today() if epoch is None else roster.current(min_epoch=epoch)
    return served.keep(("offers", dispatch.manifest_id), lambda: _offers(dispatch, served))


def _offers(dispatch: Dispatch, served: Roster) -> Offers:
    manifest, agent = dispatch.pinned, dispatch.manifest.agent
    agent.refresh_from_db(fields=["active"])
    by_name = _routers(manifest, agent.slug, served) if manifest.kind == AgentKind.ROUTER else _granted(manifest)
    return Offers(served, by_name, agent_active=agent.active)


def _granted(manifest: ManifestSpec) -> dict[str, Offered]:
    """Granted tools in the manifest's order."""
    specs = registry.specs(grant.tool for grant in manifest.grants)
    grants = {grant.tool: grant.grant() for grant in manifest.grants}
    return {name: Offered(_shaped(specs[name], manifest), grants[name]) for name in grants if name in specs}


def _routers(manifest: ManifestSpec, slug: str, served: Roster) -> dict[str, Offered]:
    """The live roster, and one way to ask instead."""
    asking = registry.platform_tool(ASK_HUMAN)
    assert asking is not None
    specs = [dispatch_spec(tool) for tool in served.dispatch_tools(manifest, slug)] + [asking.spec]
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
