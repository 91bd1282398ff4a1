"""The agents' API: who works here and by which manifest, what is served right now, and which models there are."""

from collections.abc import Callable
from typing import Any

from django.shortcuts import get_object_or_404
from django.urls import reverse
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from agents import manifests, roster
from agents.errors import AgentsError, InvalidSlug, NotPublishable
from agents.models import Agent, Manifest, ModelEntry, WorkerRoster
from agents.serializers import (
    AgentDetailSerializer,
    AgentQuery,
    AgentSerializer,
    ManifestSerializer,
    ModelEntrySerializer,
    NewAgentBody,
    PublishBody,
    RollbackBody,
    RosterSerializer,
    read,
)
from agents.values import ManifestSpec
from orchestrator_site.core.api import Endpoint, Listing, Page
from orchestrator_site.core.clock import database_now
from orchestrator_site.core.idempotency import idempotent
from orchestrator_site.core.permissions import Access, person
from orchestrator_site.core.problems import Problem, conflict, invalid
from orchestrator_site.core.serializers import Nothing, PageQuery

READ = Access("agents:read", "agents.view_agent")
DRAFT = Access("agents:write", "agents.add_manifest")
CHANGE = Access("agents:write", "agents.change_agent")

_MANIFEST = {
    "title": "Order desk",
    "owns": "questions about orders",
    "system_prompt": "You answer questions about orders.",
    "models": ["small"],
    "grants": [{"tool": "order_lookup"}],
    "limits": {"iterations": 8, "cost_usd": "0.50"},
}


class Agents(Listing):
    access = {"GET": READ, "POST": DRAFT}

    @extend_schema(
        operation_id="agents_list", parameters=[AgentQuery], responses=AgentSerializer(many=True), tags=["agents"]
    )
    def get(self, request: Request) -> Response:
        """All agents by slug, those that are retired or were never published too."""
        agents = Agent.objects.select_related("published")
        if (active := self.asked(AgentQuery)["active"]) is not None:
            agents = agents.filter(active=active)
        return Page("slug").answer(agents, self, AgentSerializer)

    @extend_schema(
        operation_id="agents_create",
        request=NewAgentBody,
        responses={201: ManifestSerializer},
        tags=["agents"],
        examples=[OpenApiExample("a worker", {"slug": "order-desk", **_MANIFEST}, request_only=True)],
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Make an agent with its first draft. It is at work once that is published."""
        body = read(NewAgentBody, request.data)
        if Agent.objects.filter(slug=body.slug).exists():
            raise conflict(f"There is an agent {body.slug!r} already; post the next version to its versions/.")
        return _drafted(body.slug, body.manifest(), request)


class OneAgent(Endpoint):
    access = {"GET": READ}

    @extend_schema(operation_id="agents_retrieve", responses=AgentDetailSerializer, tags=["agents"])
    def get(self, request: Request, slug: str) -> Response:
        """One agent with the manifest it works by."""
        return Response(AgentDetailSerializer(_agent(slug)).data)


class Versions(Listing):
    access = {"GET": READ, "POST": DRAFT}

    @extend_schema(
        operation_id="agents_versions_list",
        parameters=[PageQuery],
        responses=ManifestSerializer(many=True),
        tags=["agents"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """Every version of an agent, drafts too, newest first."""
        self.asked(PageQuery)
        versions = Manifest.objects.filter(agent=_agent(slug)).select_related("created_by", "published_by")
        return Page("-number").answer(versions, self, ManifestSerializer)

    @extend_schema(
        operation_id="agents_versions_create",
        request=ManifestSpec,
        responses={201: ManifestSerializer},
        tags=["agents"],
        examples=[OpenApiExample("the next version", _MANIFEST, request_only=True)],
    )
    @idempotent
    def post(self, request: Request, slug: str) -> Response:
        """Draft the next version. Nothing changes before it is published."""
        return _drafted(_agent(slug).slug, read(ManifestSpec, request.data), request)


class Publish(Endpoint):
    access = {"POST": CHANGE}

    @extend_schema(operation_id="agents_publish", request=PublishBody, responses=AgentDetailSerializer, tags=["agents"])
    @idempotent
    def post(self, request: Request, slug: str) -> Response:
        """Publish a draft: from here on it never changes, and new dispatches work by it within a second."""
        agent = _agent(slug)
        number = self.posted(PublishBody).get("number")
        drafts = Manifest.objects.filter(agent=agent)
        drafts = drafts.drafts() if number is None else drafts.filter(number=number)
        if (draft := drafts.order_by("-number").first()) is None:
            raise _no_version(slug, number)
        _obey(lambda: manifests.publish(draft, by=person(request)))
        return Response(AgentDetailSerializer(_agent(slug)).data)


class Rollback(Endpoint):
    access = {"POST": CHANGE}

    @extend_schema(
        operation_id="agents_rollback", request=RollbackBody, responses=AgentDetailSerializer, tags=["agents"]
    )
    @idempotent
    def post(self, request: Request, slug: str) -> Response:
        """Put an earlier published version to work again, as it stands."""
        agent, number = _agent(slug), self.posted(RollbackBody)["number"]
        try:
            _obey(lambda: manifests.rollback(agent, number, by=person(request)))
        except Manifest.DoesNotExist:
            raise _no_version(slug, number) from None
        return Response(AgentDetailSerializer(_agent(slug)).data)


class Retire(Endpoint):
    access = {"POST": CHANGE}

    @extend_schema(operation_id="agents_retire", request=Nothing, responses=AgentDetailSerializer, tags=["agents"])
    @idempotent
    def post(self, request: Request, slug: str) -> Response:
        """Take an agent off the roster. Its running dispatches are stopped by the gate at their next call."""
        agent = _agent(slug)
        self.posted(Nothing)
        manifests.retire(agent, by=person(request))
        return Response(AgentDetailSerializer(_agent(slug)).data)


class Reinstate(Endpoint):
    access = {"POST": CHANGE}

    @extend_schema(operation_id="agents_reinstate", request=Nothing, responses=AgentDetailSerializer, tags=["agents"])
    @idempotent
    def post(self, request: Request, slug: str) -> Response:
        """Put a retired agent back on the roster, by the manifest it had."""
        agent = _agent(slug)
        self.posted(Nothing)
        manifests.reinstate(agent, by=person(request))
        return Response(AgentDetailSerializer(_agent(slug)).data)


class LiveRoster(Endpoint):
    access = {"GET": READ}

    @extend_schema(operation_id="roster", responses=RosterSerializer, tags=["agents"])
    def get(self, request: Request) -> Response:
        """Who is at work by which manifest, and how far each worker process has taken it in."""
        epoch = roster.database_epoch()
        served = roster.current(epoch)
        return Response(
            RosterSerializer(
                {
                    "epoch": epoch,
                    "agents": [entry for _, entry in sorted(served.entries.items())],
                    "workers": _workers(epoch),
                    "errors": dict(served.errors),
                }
            ).data
        )


class Models(Listing):
    access = {"GET": Access("agents:read", "agents.view_modelentry")}

    @extend_schema(
        operation_id="models_list", parameters=[PageQuery], responses=ModelEntrySerializer(many=True), tags=["agents"]
    )
    def get(self, request: Request) -> Response:
        """The model catalogue, disabled models too. Where a model's key is found is not told."""
        self.asked(PageQuery)
        return Page("name").answer(ModelEntry.objects.all(), self, ModelEntrySerializer)


def _agent(slug: str) -> Agent:
    joined = Agent.objects.select_related("published__created_by", "published__published_by")
    return get_object_or_404(joined, slug=slug)


def _drafted(slug: str, spec: ManifestSpec, request: Request) -> Response:
    draft = _obey(lambda: manifests.draft(slug, spec, by=person(request)))
    draft.refresh_from_db()
    location = request.build_absolute_uri(reverse("api:agent-versions", args=[slug]))
    return Response(ManifestSerializer(draft).data, status=201, headers={"Location": location})


def _obey(verb: Callable[[], Any]) -> Any:
    """Call a verb; what it refuses becomes a problem."""
    try:
        return verb()
    except InvalidSlug as error:
        raise invalid({"slug": str(error)}) from error
    except NotPublishable as error:
        raise Problem(
            422,
            "It cannot be published as it stands.",
            kind="not-publishable",
            errors={problem.field: problem.sentence for problem in error.problems},
        ) from error
    except AgentsError as error:
        raise conflict(str(error)) from error


def _no_version(slug: str, number: int | None) -> Problem:
    told = f"{slug!r} has no draft." if number is None else f"{slug!r} has no version {number}."
    return Problem(404, told)


def _workers(epoch: int) -> list[dict[str, Any]]:
    now = database_now()
    return [
        {
            **{
                name: getattr(row, name)
                for name in ("worker", "host", "pid", "epoch", "error", "started_at", "seen_at")
            },
            "lag": max(0, epoch - row.epoch),
            "silent_seconds": round(max(0.0, (now - row.seen_at).total_seconds()), 1),
        }
        for row in WorkerRoster.objects.all()
    ]
