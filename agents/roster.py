"""The roster: who is at work by which manifest, held in the memory of every process under one epoch number.

Whoever changes a row that the roster is made of bumps the epoch in the same transaction; PostgreSQL tells every
listener at the commit. A process that missed it learns of it from the epoch a dispatch names, or from its own poll.
"""

import threading
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, TypeVar

from django.db import connection, transaction
from pydantic import ValidationError

from agents.models import Agent, Manifest, OrderingRule, RosterEpoch, Transition
from agents.values import AgentKind, Edge, ManifestSpec
from tools.models import outbound as outbound_rows
from tools.outbound import Outbound

T = TypeVar("T")

CHANNEL = "roster"
_DISPATCH = "dispatch_to_"

# A lost row (an emptied database) starts at the clock, ahead of every epoch that a living process may remember.
_BUMP = """
INSERT INTO agents_rosterepoch AS row (id, epoch) VALUES (1, 1000 * extract(epoch FROM clock_timestamp())::bigint)
ON CONFLICT (id) DO UPDATE SET epoch = row.epoch + 1 RETURNING epoch
"""
_LEAP = """
UPDATE agents_rosterepoch SET epoch = greatest(epoch, 1000 * extract(epoch FROM clock_timestamp())::bigint)
"""


# What is served


@dataclass(frozen=True)
class Entry:
    """One agent at work and the manifest that new dispatches of it pin."""

    slug: str
    manifest_id: int
    number: int
    spec: ManifestSpec

    @property
    def owns(self) -> str:
        return self.spec.owns

    @property
    def kind(self) -> AgentKind:
        return self.spec.kind


@dataclass(frozen=True)
class Rule:
    """Slugs of two agents: in any plan, `before` comes ahead of `after`."""

    before: str
    after: str
    reason: str


@dataclass(frozen=True)
class Roster:
    """`errors` says, by slug, whose published manifest cannot be read; such an agent keeps its last good entry.

    `transitions` are the rows of it by the slugs of source and target; "" stands for any source.
    `outbound` is where tools may lead: read with the rest, so that a call that is being sent asks no row for it.
    `kept` holds what was read from the rows of this epoch, or worked out from them: it goes when the roster goes.
    """

    epoch: int
    entries: Mapping[str, Entry]
    rules: tuple[Rule, ...] = ()
    transitions: Mapping[tuple[str, str], Edge] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    outbound: Outbound = field(default_factory=Outbound)
    kept: dict[Hashable, Any] = field(default_factory=dict, compare=False, repr=False)

    def keep(self, key: Hashable, read: Callable[[], T]) -> T:
        """`read()` once an epoch. It may see rows newer than the epoch, never older ones: a change grows the epoch."""
        if key not in self.kept:
            self.kept[key] = read()
        return self.kept[key]

    def entry(self, slug: str) -> Entry | None:
        return self.entries.get(slug)

    def edge(self, source: str, target: str) -> Edge:
        """What may pass between two agents. Either row forbids; the pair's own row says the rest, and takes the
        target's contract where it has none."""
        of_any, own = self.transitions.get(("", target), Edge()), self.transitions.get((source, target))
        if own is None:
            return of_any
        return replace(
            own,
            may_hand_over=own.may_hand_over and of_any.may_hand_over,
            may_dispatch=own.may_dispatch and of_any.may_dispatch,
            contract=of_any.contract if own.contract is None else own.contract,
        )

    def dispatch_tools(self, for_manifest: ManifestSpec, slug: str = "") -> list[dict[str, Any]]:
        """The `dispatch_to_*` tools of this manifest, `slug` being its own agent, which is left out, as is whoever a
        transition keeps from it; and for a router, whoever no request is routed to.

        None but for routers and supervisors. Sorted by name, so that the provider's prompt cache hits.
        """
        if for_manifest.kind not in (AgentKind.ROUTER, AgentKind.SUPERVISOR):
            return []
        names = [name for name in sorted(self.entries) if name != slug and self.edge(slug, name).may_dispatch]
        if for_manifest.kind == AgentKind.ROUTER:
            names = [name for name in names if self.entries[name].spec.routable]
        return [_dispatch_tool(self.entries[name], for_manifest.kind, self.rules) for name in names]

    def error_text(self) -> str:
        return "\n".join(f"{slug}: {error}" for slug, error in sorted(self.errors.items()))


def dispatch_tool_name(slug: str) -> str:
    return _DISPATCH + slug.replace("-", "_")


def slug_of(tool_name: str) -> str | None:
    """The agent that a `dispatch_to_*` tool names; None for every other tool. Slugs have no underscores."""
    if not tool_name.startswith(_DISPATCH):
        return None
    return tool_name.removeprefix(_DISPATCH).replace("_", "-")


def _dispatch_tool(entry: Entry, by: AgentKind, rules: Iterable[Rule]) -> dict[str, Any]:
    after = [f"{rule.before} comes before it: {rule.reason}" for rule in rules if rule.after == entry.slug]
    owns = f"Give a task to {entry.spec.title}, who is responsible for: {entry.owns}"
    task = {"type": "string", "description": "The task in full; nothing else is passed on."}
    return {
        "name": dispatch_tool_name(entry.slug),
        "description": " ".join([owns, *after]),
        "input_schema": {
            "type": "object",
            "properties": {"task": task} | (_DECISION if by == AgentKind.ROUTER else {}),
            "required": ["task", "confidence"] if by == AgentKind.ROUTER else ["task"],
            "additionalProperties": False,
        },
    }


# What a router says of its decision. Of how sure it is it has to say something: below a bar it is told to ask.
_DECISION = {
    "confidence": {"type": "number", "minimum": 0, "maximum": 1, "description": "how sure you are that it is theirs"},
    "alongside": {
        "type": "boolean",
        "description": "true: needs nothing of what those you dispatched before it come to, so it may begin with them",
    },
    "query": {
        "type": "string",
        "maxLength": 300,
        "description": "where it has to look something up: what to search for, in a few words",
    },
}


# This process's copy

_loading = threading.Lock()
_current: Roster | None = None


def current(min_epoch: int | None = None) -> Roster:
    """What this process serves: read at first use, and again when it is behind `min_epoch`.

    Inside a transaction that has itself changed the roster the answer is read from the rows and kept by nobody else.
    """
    if _announcement() is not None:
        return _read(_current)
    if _current is None or (min_epoch is not None and _current.epoch < min_epoch):
        return load(min_epoch)
    return _current


def today() -> Roster:
    """What the database says now: the copy in memory wherever it is of the database's epoch. One query."""
    return current(min_epoch=database_epoch())


def load(min_epoch: int | None = None) -> Roster:
    """Read the rows; with `min_epoch`, only if no other thread has done so meanwhile."""
    global _current
    with _loading:
        if _current is not None and min_epoch is not None and _current.epoch >= min_epoch:
            return _current
        _current = _read(_current)
        return _current


def loaded() -> Roster | None:
    """What this process has in memory, without asking the database."""
    return _current


def forget(**kwargs: Any) -> None:
    """Drop this process's copy. Connected to `post_migrate`, which also follows the emptying of a database."""
    global _current
    with _loading:
        _current = None


def _read(before: Roster | None) -> Roster:
    epoch = database_epoch()  # ahead of the rows: a change between the two is loaded once more, never missed
    entries, errors = {}, {}
    for agent in Agent.objects.at_work().select_related("published"):
        assert agent.published is not None
        try:
            entries[agent.slug] = _entry(agent.slug, agent.published)
        except ValidationError as error:
            errors[agent.slug] = _unreadable(agent.published, error)
            if before is not None and (last_good := before.entry(agent.slug)):
                entries[agent.slug] = last_good
    rules = OrderingRule.objects.values_list("before__slug", "after__slug", "reason")
    return Roster(
        epoch,
        MappingProxyType(entries),
        tuple(Rule(*rule) for rule in rules),
        MappingProxyType(_transitions()),
        MappingProxyType(errors),
        outbound_rows.read(),
    )


def _transitions() -> dict[tuple[str, str], Edge]:
    rows = Transition.objects.select_related("source", "target", "summariser")
    return {(row.source.slug if row.source else "", row.target.slug): row.edge() for row in rows}


def _entry(slug: str, manifest: Manifest) -> Entry:
    return Entry(slug=slug, manifest_id=manifest.pk, number=manifest.number, spec=manifest.spec())


def _unreadable(manifest: Manifest, error: ValidationError) -> str:
    reasons = [f"{'.'.join(map(str, part['loc']))}: {part['msg']}" for part in error.errors(include_input=False)]
    return f"version {manifest.number} cannot be read: {'; '.join(reasons)}"


# The epoch


@dataclass(frozen=True)
class _Announcement:
    """Marks, among a transaction's on-commit calls, that the epoch was bumped in it.

    Django drops the mark exactly when PostgreSQL drops the bump: when the transaction, or its savepoint, rolls back.
    """

    epoch: int

    def __call__(self) -> None:
        pass


def bump() -> int:
    """Grow the epoch with the transaction in hand, once in each, and have every listener told at its commit.

    Receivers call it for rows that are saved one by one; whoever writes in bulk calls it. Locks the epoch's row.
    """
    with transaction.atomic():
        if (announced := _announcement()) is not None:
            return announced.epoch
        with connection.cursor() as cursor:
            cursor.execute(_BUMP)
            epoch = cursor.fetchone()[0]
            cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, str(epoch)])
        transaction.on_commit(_Announcement(epoch))
        return epoch


def leap() -> int:
    """As `bump`, and ahead of every epoch that a process may remember from before the database was restored."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(_LEAP)
        return bump()


def _announcement() -> _Announcement | None:
    if not connection.in_atomic_block:
        return None
    return next((call for _, call, *_ in connection.run_on_commit if isinstance(call, _Announcement)), None)


def database_epoch() -> int:
    return RosterEpoch.objects.values_list("epoch", flat=True).first() or 0
