"""Versions of the policy: drafted from the one in force, checked, and published; the only writer of their status.

A draft that may allow what the policy in force does not is published by a second person: the first one proposes it.
"""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from django.contrib.auth.models import Group, User
from django.db import connection
from django.db.models import Count, F, Max, Q
from django.db.models.functions import Now

from orchestrator_site.core import canonical, events
from orchestrator_site.core.events import Record
from tools import definitions, registry
from tools.models import DestinationList, Policy, PolicyRule, PolicyWindow, Tool, ToolVersion
from tools.models.policies import DISCARDED, DRAFT, POLICY, PROPOSED, PUBLISHED, REPLACED
from tools.policies import checking, comparing
from tools.policies.values import BUILT_IN
from tools.policies.values import Policy as PolicyValue

_slugs: Callable[[], Collection[str]] = tuple


def agents_named_by(slugs: Callable[[], Collection[str]]) -> None:
    """The room above says which agents there are."""
    global _slugs
    _slugs = slugs


THRESHOLDS = ("notify_from", "ask_from", "four_eyes_from", "flow")
# Held by whoever publishes, to the end of the transaction.
LOCK = 0x6261746F6E12


class NotPublishable(Exception):
    """`faults` maps where (a rule's or a window's name and column, or "policy") to a sentence."""

    def __init__(self, faults: dict[str, str]):
        self.faults = faults
        super().__init__(" ".join(f"{where}: {sentence}" for where, sentence in faults.items()))


def in_force() -> PolicyValue:
    """What the gate rules by now: the published version, else the built-in one."""
    published = Policy.objects.whole().published()
    return published.value() if published else BUILT_IN


def shadows() -> tuple[PolicyValue, ...]:
    """Drafts to be tried on live calls."""
    return tuple(policy.value() for policy in Policy.objects.shadows().whole())


def draft(*, by: User | None, note: str = "", of: Policy | None = None) -> Policy:
    """A draft with the rules and windows of a version; of the one in force where none is named."""
    with events.recording() as log:
        origin = of or Policy.objects.select_for_update().published()
        number = (Policy.objects.aggregate(last=Max("number"))["last"] or 0) + 1
        taken = {name: getattr(origin, name) for name in THRESHOLDS} if origin else {}
        made = Policy.objects.create(number=number, note=note, based_on=origin, created_by=by, **taken)
        if origin:
            _copy(origin, made)
        log.platform("policy_drafted", actor=actor(by), policy=number, based_on=origin.number if origin else None)
    return made


def _copy(origin: Policy, to: Policy) -> None:
    rows: list[PolicyRule | PolicyWindow] = [*origin.rules.all(), *origin.windows.all()]
    for row in rows:
        row.pk, row.policy = None, to
        row._state.adding = True
        row.save()


def rewrite(policy: Policy, value: PolicyValue, *, by: User | None, note: str | None = None) -> Policy:
    """Make a draft say what this value says, rules, windows and thresholds, in one piece.

    Raises NotPublishable, by "rules.<place>.<column>": what could never work is not kept; and for what is no draft.
    """
    with events.recording() as log:
        locked = Policy.objects.select_for_update().get(pk=policy.pk)
        if not locked.is_editable:
            raise NotPublishable({"policy": f"It is {locked.status}; only a draft is changed. Make a draft of it."})
        if found := checking.faults(value, **names()):
            raise NotPublishable(found)
        for name in THRESHOLDS:
            setattr(locked, name, getattr(value, name))
        locked.note = locked.note if note is None else note
        locked.rules.all().delete()
        locked.windows.all().delete()
        PolicyWindow.objects.bulk_create(PolicyWindow.of(window, locked) for window in value.windows.values())
        PolicyRule.objects.bulk_create(
            PolicyRule.of(rule, locked, position) for position, rule in enumerate(value.rules)
        )
        locked.save(update_fields=[*THRESHOLDS, "note"])
        log.platform("policy_changed", actor=actor(by), policy=locked.number, digest=canonical.digest(content(locked)))
    return locked


def faults(policy: Policy) -> dict[str, str]:
    """Everything that keeps the rules of this version from working, by "<rule>.<column>"."""
    value = policy.value()
    named = {"rules": [rule.name for rule in value.rules], "windows": list(value.windows)}
    found = checking.faults(value, **names())
    return {f"{named[kind][int(place)]}.{column}": says for (kind, place, column), says in _split(found)}


def _split(found: dict[str, str]) -> Iterator[tuple[list[str], str]]:
    for where, sentence in found.items():
        yield where.split("."), sentence


def names() -> dict[str, Any]:
    """What rules may name, as `checking.rule_faults` takes it."""
    current = ToolVersion.objects.filter(tool__current=F("pk")).values_list("tool__name", "input_schema")
    members = Count("user", filter=Q(user__is_active=True))
    return {
        "tools": dict(current) | _platform_tools(),
        "families": set(Tool.objects.exclude(family="").values_list("family", flat=True)),
        "agents": _slugs(),
        "lists": set(DestinationList.objects.values_list("name", flat=True)),
        "groups": dict(Group.objects.annotate(members=members).values_list("name", "members")),
    }


def _platform_tools() -> dict[str, Any]:
    """The platform's own, those that lead to agents included."""
    known = {name: registry.platform_tool(name) for name in registry.platform_names()}
    own = {name: tool.spec.input_schema for name, tool in known.items() if tool is not None}
    leading: dict[str, Any] = {definitions.RESERVED_PREFIX + slug.replace("-", "_"): {} for slug in _slugs()}
    return own | leading


def content(policy: Policy) -> str:
    """Canonical JSON text of all that the gate reads of it."""
    told = asdict(replace(policy.value(), version=""))
    return canonical.dumps(json.loads(json.dumps(told, default=_as_json)))


def _as_json(value: Any) -> Any:
    return sorted(map(str, value)) if isinstance(value, frozenset) else value.isoformat()


def publish(policy: Policy, *, by: User, digest: str | None = None) -> Policy:
    """Put a version in force; or, where it is weaker, propose it for a second person to publish.

    Returns it `published` or `proposed`. Raises NotPublishable: with faults, for a digest that is not its content's,
    and for the person who proposed it.
    """
    with events.recording() as log:
        _one_at_a_time()
        locked = Policy.objects.select_for_update().get(pk=policy.pk)
        current = Policy.objects.select_for_update().published()
        if found := faults(locked):
            raise NotPublishable(found)
        now = canonical.digest(content(locked))
        if digest is not None and digest != now:
            raise NotPublishable({"policy": "It was changed since you looked at it. Look again."})
        weaker = comparing.why_weaker(locked.value(), current.value() if current else BUILT_IN)
        if not weaker:
            return _put_in_force(log, locked, current, by, now)
        if locked.status == PROPOSED and locked.digest == now:
            if locked.proposed_by_id == by.pk:
                raise NotPublishable({"policy": "It is weaker than the one in force: another person publishes it."})
            return _put_in_force(log, locked, current, by, now)
        return _propose(log, locked, by, now, weaker)


def _one_at_a_time() -> None:
    """Whoever waited sees what was published meanwhile, and is measured against that."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])


def _propose(log: Record, policy: Policy, by: User, digest: str, weaker: Sequence[str]) -> Policy:
    _may(policy, PROPOSED)
    POLICY.move(policy, PROPOSED, by=log.writes, proposed_by=by, digest=digest, why_weaker=list(weaker))
    log.platform("policy_proposed", actor=actor(by), policy=policy.number, digest=digest, weaker=list(weaker))
    return policy


def _put_in_force(log: Record, policy: Policy, current: Policy | None, by: User, digest: str) -> Policy:
    _may(policy, PUBLISHED)
    if current is not None:
        POLICY.move(current, REPLACED)
    POLICY.move(policy, PUBLISHED, digest=digest, published_by=by, published_at=Now(), shadow=False)
    policy.refresh_from_db()
    policy.save(update_fields=["digest"])  # so that whoever watches these rows learns of it
    log.platform(
        "policy_published",
        actor=actor(by),
        policy=policy.number,
        digest=digest,
        proposed_by=policy.proposed_by.get_username() if policy.proposed_by else None,
        replaces=current.number if current else None,
    )
    return policy


def take_back(policy: Policy, *, by: User) -> Policy:
    """A proposed version becomes a draft again."""
    return _moved(policy, DRAFT, "policy_taken_back", by)


def discard(policy: Policy, *, by: User) -> Policy:
    """A draft that is not wanted. Its number is not given again."""
    return _moved(policy, DISCARDED, "policy_discarded", by)


def _moved(policy: Policy, to: str, event: str, by: User) -> Policy:
    with events.recording() as log:
        locked = Policy.objects.select_for_update().get(pk=policy.pk)
        _may(locked, to)
        POLICY.move(locked, to, shadow=False)
        locked.save(update_fields=["shadow"])
        log.platform(event, actor=actor(by), policy=locked.number)
    return locked


def try_live(policy: Policy, on: bool, *, by: User) -> Policy:
    """Have a draft tried on every live call, or no longer. Raises NotPublishable with its faults."""
    with events.recording() as log:
        locked = Policy.objects.select_for_update().get(pk=policy.pk)
        if on and (found := faults(locked)):
            raise NotPublishable(found)
        if on and locked.status not in (DRAFT, PROPOSED):
            raise NotPublishable({"policy": f"It is {locked.status}; only a draft is tried."})
        if on and not locked.shadow:
            locked.shadow_since = Now()
        locked.shadow = on
        locked.save(update_fields=["shadow", "shadow_since"])
        locked.refresh_from_db(fields=["shadow_since"])
        log.platform("policy_shadowed", actor=actor(by), policy=locked.number, on=on)
    return locked


def _may(policy: Policy, to: str) -> None:
    if to not in POLICY.table[policy.status]:
        raise NotPublishable({"policy": f"It is {policy.status}. Make a draft of it."})


def actor(by: User | None) -> str:
    return f"user:{by.get_username()}" if by else events.SYSTEM
