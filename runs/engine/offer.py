"""Which tools a dispatch is offered: exactly what it was granted, in a stable order, under today's switches."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agents import roster
from agents.roster import Roster
from agents.values import AgentKind, ManifestSpec
from runs.handing_over import proposals
from runs.models import Dispatch
from runs.platform_tools import ASK_HUMAN, FINISH, PROPOSE_HANDOFF, WAIT, dispatch_spec
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
    key = ("offers", dispatch.manifest_id, dispatch.has_last_word)
    return served.keep(key, lambda: _offers(dispatch, served))


def _offers(dispatch: Dispatch, served: Roster) -> Offers:
    manifest, agent = dispatch.pinned, dispatch.manifest.agent
    agent.refresh_from_db(fields=["active"])
    return Offers(served, _by_name(manifest, agent.slug, served), agent_active=agent.active)


def _by_name(manifest: ManifestSpec, slug: str, served: Roster) -> dict[str, Offered]:
    match manifest.kind:
        case AgentKind.ROUTER:
            return _roster(manifest, slug, served, ASK_HUMAN)
        case AgentKind.SUPERVISOR:
            return _granted(manifest, slug, served) | _roster(manifest, slug, served, WAIT, FINISH)
    return _granted(manifest, slug, served)


def _granted(manifest: ManifestSpec, slug: str, served: Roster) -> dict[str, Offered]:
    """Granted tools in the manifest's order. The proposal tool names the targets that this agent may propose."""
    specs = registry.specs(grant.tool for grant in manifest.grants)
    if PROPOSE_HANDOFF in specs:
        specs[PROPOSE_HANDOFF] = proposals.shaped(specs[PROPOSE_HANDOFF], manifest, slug, served)
    grants = {grant.tool: grant.grant() for grant in manifest.grants}
    return {name: Offered(specs[name], grants[name]) for name in grants if name in specs}


def _roster(manifest: ManifestSpec, slug: str, served: Roster, *beside: str) -> dict[str, Offered]:
    """The live roster, and the platform's tools that go with it."""
    specs = [dispatch_spec(tool) for tool in served.dispatch_tools(manifest, slug)]
    specs += [tool.spec for name in beside if (tool := registry.platform_tool(name))]
    return {spec.name: Offered(spec, Grant(spec.name)) for spec in specs}
