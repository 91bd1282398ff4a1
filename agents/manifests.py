"""Manifests as operators move them: draft, revise, publish, roll back, retire, reinstate; and what stands in their way.

Each verb is one transaction: it locks the agent's row, records an event on the platform chain, and, by saving,
bumps the epoch of the roster. `by` is the user who asked, None the installation itself.
"""

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.db.models.functions import Now
from pydantic import ValidationError

from agents.errors import InvalidSlug, ManifestIsADraft, ManifestIsPublished, NotPublishable
from agents.models import EXEMPLAR_LENGTH, SLUG, SLUG_LENGTH, Agent, Manifest, ModelEntry
from agents.roster import slug_of
from agents.values import AgentKind, GrantSpec, ManifestSpec, Problem, no_such
from orchestrator_site.core import canonical, events, json_schema
from tools import registry
from tools.models import Tool

# The verbs


def draft(slug: str, spec: ManifestSpec, by: User | None) -> Manifest:
    """The next version of an agent, which is made when there is none by that slug. Raises InvalidSlug."""
    if len(slug) > SLUG_LENGTH or not re.match(SLUG, slug):
        raise InvalidSlug(
            f"{slug!r} cannot be an agent's slug: use up to {SLUG_LENGTH} lower-case letters, digits and single dashes."
        )
    with events.recording() as log:
        Agent.objects.get_or_create(slug=slug)
        agent = Agent.objects.select_for_update(no_key=True).get(slug=slug)
        latest = agent.manifests.first()
        manifest = Manifest(agent=agent, number=latest.number + 1 if latest else 1, created_by=by)
        manifest.take(spec)
        manifest.save()
        log.platform("manifest_drafted", actor=_actor(by), agent=slug, manifest=manifest.number)
    return manifest


def revise(manifest: Manifest, spec: ManifestSpec, by: User | None) -> Manifest:
    """Write a draft anew; one that says the same already is left alone. Raises ManifestIsPublished."""
    with events.recording() as log:
        agent = _locked(manifest.agent_id)
        manifest = Manifest.objects.select_for_update(of=["self"]).with_agent().get(pk=manifest.pk)
        before = {name: getattr(manifest, name) for name in ManifestSpec.model_fields}
        manifest.take(spec)
        if before != {name: getattr(manifest, name) for name in ManifestSpec.model_fields}:
            manifest.save()
            log.platform("manifest_revised", actor=_actor(by), agent=agent.slug, manifest=manifest.number)
    return manifest


def publish(manifest: Manifest, by: User | None) -> Manifest:
    """From here on it never changes, and new dispatches work by it. Raises NotPublishable, ManifestIsPublished."""
    with events.recording() as log:
        agent = _locked(manifest.agent_id)
        manifest = Manifest.objects.select_for_update(of=["self"]).with_agent().get(pk=manifest.pk)
        if not manifest.is_draft:
            raise ManifestIsPublished(f"{manifest} is published already; roll back to it to put it to work again.")
        _refuse_problems(manifest)
        manifest.published_at, manifest.published_by = Now(), by
        manifest.save(update_fields=["published_at", "published_by"])
        manifest.refresh_from_db(fields=["published_at"])
        _put_to_work(log, "manifest_published", agent, manifest, by)
    return manifest


def rollback(agent: Agent, to_number: int, by: User | None) -> Manifest:
    """Put an earlier published version to work again, as it stands.

    Raises Manifest.DoesNotExist, ManifestIsADraft, and NotPublishable when what it names is no longer there.
    """
    with events.recording() as log:
        agent = _locked(agent.pk)
        manifest = Manifest.objects.with_agent().get(agent=agent, number=to_number)
        if manifest.is_draft:
            raise ManifestIsADraft(f"{manifest} was never published; publish it instead.")
        _refuse_problems(manifest)
        _put_to_work(log, "manifest_rolled_back", agent, manifest, by)
    return manifest


def retire(agent: Agent, by: User | None) -> Agent:
    """Take an agent off the roster. Its running dispatches are stopped by the gate at their next call."""
    return _set_active(agent, False, "agent_retired", by)


def reinstate(agent: Agent, by: User | None) -> Agent:
    return _set_active(agent, True, "agent_reinstated", by)


def _set_active(agent: Agent, active: bool, event: str, by: User | None) -> Agent:
    with events.recording() as log:
        agent = _locked(agent.pk)
        if agent.active != active:
            agent.active = active
            agent.save(update_fields=["active"])
            log.platform(event, actor=_actor(by), agent=agent.slug)
    return agent


def _locked(agent_id: int) -> Agent:
    return Agent.objects.select_for_update(of=["self"], no_key=True).select_related("published").get(pk=agent_id)


def _put_to_work(log: events.Record, event: str, agent: Agent, manifest: Manifest, by: User | None) -> None:
    before = agent.published.number if agent.published else None
    agent.published = manifest
    agent.save(update_fields=["published"])
    log.platform(
        event,
        actor=_actor(by),
        agent=agent.slug,
        manifest=manifest.number,
        replaces=before,
        digest=canonical.digest(canonical.dumps(manifest.spec().model_dump(mode="json"))),
    )


def _actor(by: User | None) -> str:
    return f"user:{by.get_username()}" if by else events.SYSTEM


def _refuse_problems(manifest: Manifest) -> None:
    if found := problems_of(manifest):
        raise NotPublishable(found)


# What stands in the way


def problems_of(manifest: Manifest) -> list[Problem]:
    """As `problems`, of a row, which may have been edited into something that is no manifest at all."""
    try:
        spec = manifest.spec()
    except ValidationError as error:
        return [Problem(".".join(map(str, part["loc"])), f"{part['msg']}.") for part in error.errors()]
    return problems(spec, manifest.agent)


def problems(spec: ManifestSpec, agent: Agent) -> list[Problem]:
    """Every reason why this agent cannot work by this manifest, in the manifest's own order; empty when it can.

    A disabled tool is no reason: the switch is live, and a manifest outlives it. A grant cannot loosen what its
    tool says, by its shape.
    """
    return [
        *_text_problems(spec),
        *_model_problems(spec),
        *_grant_problems(spec.grants),
        *_handoff_problems(spec, agent),
        *_summariser_problems(spec, agent),
        *_schema_problems(spec),
        *_exemplar_problems(spec.exemplars, agent),
    ]


def _text_problems(spec: ManifestSpec) -> Iterator[Problem]:
    for name in ("title", "owns", "system_prompt"):
        if not getattr(spec, name).strip():
            yield Problem(name, "there is nothing in it.")


def _summariser_problems(spec: ManifestSpec, agent: Agent) -> Iterator[Problem]:
    if not spec.summariser:
        return
    active = dict(Agent.objects.values_list("slug", "active"))
    if spec.summariser == agent.slug:
        yield Problem("summariser", "an agent does not summarise its own turns.")
    elif spec.summariser not in active:
        yield Problem("summariser", no_such("agent", spec.summariser, active))
    elif not active[spec.summariser]:
        yield Problem("summariser", f"the agent {spec.summariser!r} is retired.")


def _schema_problems(spec: ManifestSpec) -> Iterator[Problem]:
    if spec.output_schema is None:
        return
    if spec.kind == AgentKind.ROUTER:
        yield Problem("output_schema", "a router answers by its routes: leave it empty.")
    for sentence in json_schema.problems(spec.output_schema):
        yield Problem("output_schema", sentence)


def _model_problems(spec: ManifestSpec) -> Iterator[Problem]:
    yield from _repeats("models", spec.models, "model")
    catalogue = {entry.name: entry for entry in ModelEntry.objects.all()}
    wanted = spec.limits.tokens_per_call
    for index, name in enumerate(spec.models):
        entry = catalogue.get(name)
        if entry is None:
            yield Problem(f"models.{index}", no_such("model", name, catalogue))
        elif not entry.enabled:
            yield Problem(f"models.{index}", f"the model {name!r} is disabled.")
        elif wanted > entry.output_limit:
            sentence = f"{wanted} is above the {entry.output_limit} output tokens that the model {name!r} can give."
            yield Problem("limits.tokens_per_call", sentence)


def _grant_problems(grants: Sequence[GrantSpec]) -> Iterator[Problem]:
    names = [grant.tool for grant in grants]
    yield from _repeats("grants", names, "tool", ".tool")
    known = registry.specs(names)
    unknown = [(index, name) for index, name in enumerate(names) if name not in known]
    if not unknown:
        return
    candidates = [*Tool.objects.values_list("name", flat=True), *registry.platform_names()]
    for index, name in unknown:
        if slug_of(name):
            sentence = f"{name!r} is not granted: routers and supervisors are offered it by the roster."
        else:
            sentence = no_such("tool", name, candidates)
        yield Problem(f"grants.{index}.tool", sentence)


def _handoff_problems(spec: ManifestSpec, agent: Agent) -> Iterator[Problem]:
    if spec.handoff_targets and spec.kind == AgentKind.ROUTER:
        yield Problem("handoff_targets", "a router dispatches and hands nothing off: leave the list empty.")
    yield from _repeats("handoff_targets", spec.handoff_targets, "agent")
    active = dict(Agent.objects.values_list("slug", "active")) if spec.handoff_targets else {}
    for index, slug in enumerate(spec.handoff_targets):
        if slug == agent.slug:
            yield Problem(f"handoff_targets.{index}", "an agent cannot hand off to itself.")
        elif slug not in active:
            yield Problem(f"handoff_targets.{index}", no_such("agent", slug, active))
        elif not active[slug]:
            yield Problem(f"handoff_targets.{index}", f"the agent {slug!r} is retired.")


def _exemplar_problems(exemplars: Sequence[str], agent: Agent) -> Iterator[Problem]:
    """A request cannot be meant for two: what another agent at work has already is named with that agent."""
    yield from _repeats("exemplars", exemplars, "request")
    others = Agent.objects.at_work().exclude(slug=agent.slug).values_list("slug", "published__exemplars")
    taken = {text: slug for slug, texts in (others if exemplars else ()) for text in texts}
    for index, text in enumerate(exemplars):
        if not text.strip():
            yield Problem(f"exemplars.{index}", "there is nothing in it.")
        elif len(text) > EXEMPLAR_LENGTH:
            sentence = f"it has {len(text)} characters, and a request of {EXEMPLAR_LENGTH} says enough: shorten it."
            yield Problem(f"exemplars.{index}", sentence)
        elif text in taken:
            yield Problem(f"exemplars.{index}", f"{text!r} is an exemplar of {taken[text]!r} too: take one away.")


def _repeats(field: str, names: Sequence[str], noun: str, suffix: str = "") -> Iterator[Problem]:
    for name, count in Counter(names).items():
        if count > 1:
            last = len(names) - 1 - list(reversed(names)).index(name)
            yield Problem(f"{field}.{last}{suffix}", f"the {noun} {name!r} is listed {count} times.")


# What changed


@dataclass(frozen=True)
class Change:
    """One field that differs; `lines` are a unified diff of its text, without the file headers."""

    field: str
    lines: tuple[str, ...]


def diff(a: ManifestSpec, b: ManifestSpec) -> list[Change]:
    """The fields that differ from `a` to `b`, in the manifest's own order."""
    before, after = a.model_dump(mode="json"), b.model_dump(mode="json")
    return [Change(name, _lines(before[name], after[name])) for name in before if before[name] != after[name]]


def _lines(before: Any, after: Any) -> tuple[str, ...]:
    diffed = difflib.unified_diff(_text(before).splitlines(), _text(after).splitlines(), lineterm="")
    return tuple(diffed)[2:]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=2, sort_keys=True)
