"""The approvals' API: what is asked of people, and their verdicts. A GET never decides."""

from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.exceptions import PermissionDenied
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.request import Request
from rest_framework.response import Response

from approvals import batches, decisions, errors, quorum, standing, states
from approvals.models import ApprovalRequest
from approvals.serializers import (
    LIMIT,
    DecideBody,
    DecisionSerializer,
    OutcomeSerializer,
    RequestDetailSerializer,
    RequestQuery,
    RequestSerializer,
    RevokeBody,
    StandingQuery,
    StandingSerializer,
)
from orchestrator_site.core import permissions
from orchestrator_site.core.api import Endpoint, Listing, Page
from orchestrator_site.core.idempotency import idempotent
from orchestrator_site.core.permissions import Access
from orchestrator_site.core.problems import Problem, conflict, invalid
from orchestrator_site.core.tokens import APPROVALS_DECIDE

READ = Access("approvals:read")
T = TypeVar("T")


class QueuePage(LimitOffsetPagination):
    """By offset: the order of the queue is not that of one column."""

    default_limit = 50
    max_limit = LIMIT
    # `count` is exact where fewer than this follow; beyond, it says that there are more.
    counted_ahead = 10_000

    def get_count(self, queryset: Any) -> int:
        assert self.request is not None
        return queryset.order_by()[: self.get_offset(self.request) + self.counted_ahead].count()


class Approvals(Endpoint):
    access = {"GET": READ}
    pagination_class = QueuePage

    @extend_schema(
        operation_id="approvals_list",
        parameters=[RequestQuery],
        responses=RequestSerializer(many=True),
        tags=["approvals"],
    )
    def get(self, request: Request) -> Response:
        """The requests you may see: what is due soon and risky comes first."""
        query, page = self.asked(RequestQuery), QueuePage()
        rows: Any = page.paginate_queryset(_listed(request.user, query), request, view=self)
        quorum.fetch(rows)
        return page.get_paginated_response(RequestSerializer(rows, many=True).data)


def _listed(user: Any, query: dict[str, Any]) -> Any:
    requests = ApprovalRequest.objects.visible_to(user).select_related("requester")
    if "kind" in query:
        requests = requests.filter(kind=query["kind"])
    if "run" in query:
        requests = requests.filter(run_id=query["run"])
    if query["status"] == states.OPEN:
        together = requests.filter(batch=query["batch"]) if "batch" in query else requests.open().leading()
        return together.open().with_calls().in_queue_order()
    return (requests if query["status"] == "all" else requests.filter(status=query["status"])).order_by("-id")


class OneApproval(Endpoint):
    access = {"GET": READ}

    @extend_schema(operation_id="approvals_retrieve", responses=RequestDetailSerializer, tags=["approvals"])
    def get(self, request: Request, request_id: UUID) -> Response:
        """One request with its frozen content, its digest, and who decided what."""
        return Response(_shown(request, request_id))


class Decide(Endpoint):
    access = {"POST": Access(APPROVALS_DECIDE)}

    @extend_schema(
        operation_id="approvals_decide",
        request=DecideBody,
        responses=OutcomeSerializer,
        tags=["approvals"],
        examples=[
            OpenApiExample("approve", {"verdict": "approved", "digest": "9f86d0…"}, request_only=True),
            OpenApiExample(
                "reject",
                {"verdict": "rejected", "digest": "9f86d0…", "reason": "The customer was refunded already."},
                request_only=True,
            ),
            OpenApiExample(
                "modify",
                {"verdict": "modified", "digest": "9f86d0…", "arguments": {"order": "A-1", "amount": 20}},
                request_only=True,
            ),
            OpenApiExample(
                "redirect a handoff",
                {
                    "verdict": "modified",
                    "digest": "9f86d0…",
                    "arguments": {"target": "refunds", "task": "Pay 20 back."},
                },
                request_only=True,
            ),
            OpenApiExample(
                "override a precondition",
                {"verdict": "approved", "digest": "9f86d0…", "override": True, "reason": "I asked the customer."},
                request_only=True,
            ),
            OpenApiExample(
                "answer", {"verdict": "answered", "digest": "9f86d0…", "answer": "The blue one."}, request_only=True
            ),
        ],
    )
    @idempotent
    def post(self, request: Request, request_id: UUID) -> Response:
        """Give your verdict. Of all who decide at once, one wins, and the others get a 409 that says who.

        Where several people have to approve, it stays open and `assents` says who has; the last one decides it.
        The digest is that of what you looked at. An app's token never decides.
        """
        if permissions.is_app_token(request):
            raise PermissionDenied("An app's token never decides approvals; a person's may.")
        found = get_object_or_404(ApprovalRequest.objects.visible_to(request.user), pk=request_id)
        body = self.posted(DecideBody)
        beforehand = body.pop("standing", {}).get("terms")
        outcome = decide(request, found, edit=body.pop("arguments", None), standing=beforehand, **body)
        successor = outcome.successor.pk if outcome.successor else None
        return Response({"request": _shown(request, request_id), "successor": successor})


class Split(Endpoint):
    access = {"POST": Access(APPROVALS_DECIDE)}

    @extend_schema(operation_id="approvals_split", request=None, responses=RequestDetailSerializer, tags=["approvals"])
    @idempotent
    def post(self, request: Request, request_id: UUID) -> Response:
        """Decide one by one what is asked together: each request stands alone from here on."""
        if permissions.is_app_token(request):
            raise PermissionDenied("An app's token never decides approvals; a person's may.")
        found = get_object_or_404(ApprovalRequest.objects.visible_to(request.user), pk=request_id)
        by, via = permissions.person(request), permissions.via(request)
        obey(lambda: batches.split(found.pk, by=by, via=via))
        return Response(_shown(request, request_id))


class StandingApprovals(Listing):
    access = {"GET": READ}

    @extend_schema(
        operation_id="standing_approvals_list",
        parameters=[StandingQuery],
        responses=StandingSerializer(many=True),
        tags=["approvals"],
    )
    def get(self, request: Request) -> Response:
        """What was approved beforehand, newest first; empty for who may not see all requests."""
        query = self.asked(StandingQuery)
        rows = standing.visible_to(request.user).select_related("decision")
        if "tool" in query:
            rows = rows.filter(tool=query["tool"])
        if query["status"] == states.ACTIVE:
            rows = rows.active()
        elif query["status"] != "all":
            rows = rows.filter(status=query["status"])
        return Page("-pk").answer(rows, self, StandingSerializer)


class Revoke(Endpoint):
    access = {"POST": Access(APPROVALS_DECIDE)}

    @extend_schema(
        operation_id="standing_approvals_revoke", request=RevokeBody, responses=StandingSerializer, tags=["approvals"]
    )
    @idempotent
    def post(self, request: Request, standing_id: int) -> Response:
        """From now on it covers nothing: the next call like these is asked about, also one that is about to be sent."""
        if permissions.is_app_token(request):
            raise PermissionDenied("An app's token never decides approvals; a person's may.")
        found = get_object_or_404(standing.visible_to(request.user), pk=standing_id)
        by, via, reason = permissions.person(request), permissions.via(request), self.posted(RevokeBody)["reason"]
        revoked = obey(lambda: standing.revoke(found.pk, by=by, via=via, reason=reason))
        return Response(StandingSerializer(revoked).data)


def decide(request: Request, asked: ApprovalRequest, **posted: Any) -> decisions.Outcome:
    """Decide as who is asking; what the decision refuses becomes a problem."""
    by, via = permissions.person(request), permissions.via(request)
    return obey(lambda: decisions.decide(asked.pk, by=by, via=via, **posted))


def obey(verb: Callable[[], T]) -> T:
    try:
        return verb()
    except errors.AlreadyDecided as error:
        decided = DecisionSerializer(error.decision).data
        raise conflict(str(error), kind="already-decided", decision=decided) from error
    except errors.NotAllowedToDecide as error:
        raise Problem(403, str(error), kind="not-allowed-to-decide") from error
    except errors.DeadlinePassed as error:
        raise conflict(str(error), kind="deadline-passed") from error
    except errors.DigestMismatch as error:
        raise conflict(str(error), kind="digest-mismatch") from error
    except errors.ReasonNeeded as error:
        raise invalid({"reason": str(error)}, status=422) from error
    except errors.AnswerNeeded as error:
        raise invalid({"answer": str(error)}, status=422) from error
    except errors.OverrideNeeded as error:
        raise conflict(str(error), kind="override-needed", obstacles=list(error.obstacles)) from error
    except errors.InvalidVerdict as error:
        raise invalid({"verdict": str(error)}, status=422) from error
    except errors.InvalidStanding as error:
        faults = {f"standing.{name}".rstrip("."): fault for name, fault in error.faults.items()}
        raise invalid(faults, status=422) from error
    except errors.InvalidEdit as error:
        raise invalid({_field(name): fault for name, fault in error.faults.items()}, status=422) from error


def _field(name: str) -> str:
    """Where, in the posted body, a fault of the edit lies."""
    if name in ("", "arguments", "answer"):
        return name or "arguments"
    return f"arguments.{name}"


def _shown(request: Request, request_id: UUID) -> Any:
    joined = ApprovalRequest.objects.visible_to(request.user).select_related("requester", "decision", "successor")
    return RequestDetailSerializer(get_object_or_404(joined, pk=request_id), context={"request": request}).data
