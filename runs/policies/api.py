"""The policies' API: versions, what publishing them takes, and how they would have ruled on what was recorded."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from uuid import UUID

from django.db import transaction
from django.shortcuts import get_object_or_404
from django.urls import reverse
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from orchestrator_site.core.api import Endpoint, Listing, Page
from orchestrator_site.core.idempotency import idempotent
from orchestrator_site.core.permissions import Access, person
from orchestrator_site.core.problems import conflict, invalid
from orchestrator_site.core.serializers import Nothing
from runs.errors import BadRequest, NotPossible
from runs.models import Simulation
from runs.policies import simulating
from runs.policies.serializers import (
    ContentBody,
    FactSerializer,
    NewPolicyBody,
    PolicyDetailSerializer,
    PolicyQuery,
    PolicySerializer,
    PublishPolicyBody,
    ShadowBody,
    SimulateBody,
    SimulationSerializer,
    told_facts,
    with_content,
)
from tools.models import Policy
from tools.policies import checking, versions
from tools.policies.versions import NotPublishable

T = TypeVar("T")

READ = Access("policies:read", "tools.view_policy")
WRITE = Access("policies:write", "tools.change_policy")
PUBLISH = Access("policies:write", "tools.publish_policy")

_CONTENT = {
    "note": "Small refunds run without asking.",
    "rules": [
        {
            "name": "small refunds",
            "tool": "issue_refund",
            "condition": "args.amount <= 50.0",
            "outcome": "notify",
            "says": "Refunds of up to 50 EUR run, and people are told.",
        }
    ],
}
_EXAMPLE = OpenApiExample("a rule", _CONTENT, request_only=True)


class Policies(Listing):
    access = {"GET": READ, "POST": WRITE}

    @extend_schema(
        operation_id="policies_list",
        parameters=[PolicyQuery],
        responses=PolicySerializer(many=True),
        tags=["policies"],
    )
    def get(self, request: Request) -> Response:
        """Every version, newest first; the one in force is `published`. None yet: the built-in policy is in force."""
        query, rows = self.asked(PolicyQuery), _policies()
        if "status" in query:
            rows = rows.filter(status=query["status"])
        return Page("-number").answer(rows, self, PolicySerializer)

    @extend_schema(
        operation_id="policies_create",
        request=NewPolicyBody,
        responses={201: PolicyDetailSerializer},
        tags=["policies"],
        examples=[_EXAMPLE],
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Draft a version from the one in force, or from `of`, with what the body says otherwise. It has no effect."""
        body = self.posted(NewPolicyBody)
        origin = get_object_or_404(Policy, number=body.pop("of")) if "of" in body else None
        with transaction.atomic():
            made = versions.draft(by=person(request), note=body.get("note", ""), of=origin)
            if set(body) - {"note"}:
                _rewrite(made, body, request)
        address = reverse("api:policy", args=[made.number])
        return Response(_told(made.number), status=201, headers={"Location": address})


class OnePolicy(Endpoint):
    access = {"GET": READ, "PATCH": WRITE}

    @extend_schema(operation_id="policies_retrieve", responses=PolicyDetailSerializer, tags=["policies"])
    def get(self, request: Request, number: int) -> Response:
        """One version with its rules and windows."""
        return Response(_told(number))

    @extend_schema(
        operation_id="policies_change",
        request=ContentBody,
        responses=PolicyDetailSerializer,
        tags=["policies"],
        examples=[_EXAMPLE],
    )
    def patch(self, request: Request, number: int) -> Response:
        """Change a draft. What could never work is refused, at `rules.<place>.<column>`; of a condition with the column
        in it."""
        policy = _policy(number)
        if not policy.is_editable:
            raise conflict(f"It is {policy.status}; only a draft is changed. Make a draft of it.")
        _rewrite(policy, self.posted(ContentBody), request)
        return Response(_told(number))


class Publish(Endpoint):
    access = {"POST": PUBLISH}

    @extend_schema(
        operation_id="policies_publish", request=PublishPolicyBody, responses=PolicyDetailSerializer, tags=["policies"]
    )
    @idempotent
    def post(self, request: Request, number: int) -> Response:
        """Put a draft in force, from the next call of every run on. Where it may allow what the one in force does not,
        it becomes `proposed`, `why_weaker` says why, and another person publishes it with the same call."""
        digest = self.posted(PublishPolicyBody)["digest"]
        _obey(lambda: versions.publish(_policy(number), by=person(request), digest=digest))
        return Response(_told(number))


class Discard(Endpoint):
    access = {"POST": WRITE}

    @extend_schema(
        operation_id="policies_discard", request=Nothing, responses=PolicyDetailSerializer, tags=["policies"]
    )
    @idempotent
    def post(self, request: Request, number: int) -> Response:
        """A draft, or a proposed version, that is not wanted. Its number is not given again."""
        self.posted(Nothing)
        _obey(lambda: versions.discard(_policy(number), by=person(request)))
        return Response(_told(number))


class TakeBack(Endpoint):
    access = {"POST": WRITE}

    @extend_schema(
        operation_id="policies_take_back", request=Nothing, responses=PolicyDetailSerializer, tags=["policies"]
    )
    @idempotent
    def post(self, request: Request, number: int) -> Response:
        """A proposed version becomes a draft again."""
        self.posted(Nothing)
        _obey(lambda: versions.take_back(_policy(number), by=person(request)))
        return Response(_told(number))


class Shadow(Endpoint):
    access = {"POST": WRITE}

    @extend_schema(
        operation_id="policies_shadow", request=ShadowBody, responses=PolicyDetailSerializer, tags=["policies"]
    )
    @idempotent
    def post(self, request: Request, number: int) -> Response:
        """Have a draft tried on every live call, without effect, or no longer."""
        on = self.posted(ShadowBody)["on"]
        _obey(lambda: versions.try_live(_policy(number), on, by=person(request)))
        return Response(_told(number))


class Facts(Endpoint):
    access = {"GET": READ}

    @extend_schema(operation_id="policies_facts", responses=FactSerializer(many=True), tags=["policies"])
    def get(self, request: Request) -> Response:
        """Every fact that a condition may ask for."""
        return Response(FactSerializer(told_facts(), many=True).data)


class Simulate(Endpoint):
    access = {"POST": WRITE}

    @extend_schema(
        operation_id="policies_simulate", request=SimulateBody, responses={202: SimulationSerializer}, tags=["policies"]
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Have a policy tried on what was ruled in a time, by a worker. Follow `Location` for its progress."""
        body = self.posted(SimulateBody)
        policy = get_object_or_404(_policies(), number=body["policy"]) if "policy" in body else None
        value = None if policy else _checked(with_content(versions.in_force(), body["content"]), "content.")
        asked = _obey(
            lambda: simulating.ask(
                policy,
                by=person(request),
                value=value,
                since=body.get("since"),
                until=body.get("until"),
                filters=body.get("filters"),
            )
        )
        address = reverse("api:policy-simulation", args=[asked.pk])
        return Response(SimulationSerializer(asked).data, status=202, headers={"Location": address})


class OneSimulation(Endpoint):
    access = {"GET": READ}

    @extend_schema(operation_id="policies_simulation", responses=SimulationSerializer, tags=["policies"])
    def get(self, request: Request, simulation_id: UUID) -> Response:
        """How far a simulation has come, and what it has found."""
        return Response(SimulationSerializer(_simulation(simulation_id)).data)


class CancelSimulation(Endpoint):
    access = {"POST": WRITE}

    @extend_schema(
        operation_id="policies_simulation_cancel", request=Nothing, responses=SimulationSerializer, tags=["policies"]
    )
    @idempotent
    def post(self, request: Request, simulation_id: UUID) -> Response:
        """Stop it; what it has found stays."""
        self.posted(Nothing)
        _obey(lambda: simulating.cancel(_simulation(simulation_id), by=person(request)))
        return Response(SimulationSerializer(_simulation(simulation_id)).data)


def _policies() -> Any:
    return Policy.objects.whole().select_related("based_on", "created_by", "proposed_by", "published_by")


def _policy(number: int) -> Policy:
    return get_object_or_404(Policy, number=number)


def _told(number: int) -> Any:
    return PolicyDetailSerializer(get_object_or_404(_policies(), number=number)).data


def _simulation(simulation_id: UUID) -> Simulation:
    return get_object_or_404(Simulation.objects.select_related("policy", "asked_by"), pk=simulation_id)


def _rewrite(policy: Policy, body: Mapping[str, Any], request: Request) -> None:
    value = with_content(policy.value(), body)
    _obey(lambda: versions.rewrite(policy, value, by=person(request), note=body.get("note")))


def _checked(value: Any, ahead: str) -> Any:
    if faults := checking.faults(value, **versions.names()):
        raise invalid({f"{ahead}{where}": sentence for where, sentence in faults.items()})
    return value


def _obey(verb: Callable[[], T]) -> T:
    try:
        return verb()
    except NotPublishable as refusal:
        if set(refusal.faults) == {"policy"}:
            raise conflict(refusal.faults["policy"]) from refusal
        raise invalid(refusal.faults) from refusal
    except BadRequest as refusal:
        raise invalid(refusal.faults) from refusal
    except NotPossible as refusal:
        raise conflict(str(refusal)) from refusal
