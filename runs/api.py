"""The runs' API: start work, follow it, answer it, stop it, and look into what it did."""

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Count, Prefetch, Sum, prefetch_related_objects
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from agents.models import Agent
from approvals import api as approvals_api
from approvals import states as verdicts
from approvals.models import ApprovalRequest
from orchestrator_site.core import audit_export, drops, events, permissions, verify
from orchestrator_site.core.api import Endpoint, Listing, Page
from orchestrator_site.core.idempotency import ahead_of, idempotent
from orchestrator_site.core.models import ChainHead
from orchestrator_site.core.permissions import Access
from orchestrator_site.core.problems import Problem, conflict, invalid
from orchestrator_site.core.serializers import Nothing
from orchestrator_site.core.signing import KeyUnusable
from orchestrator_site.core.tokens import APPROVALS_DECIDE
from runs import blobs, cancellation, comments, corrections, intake, pausing, uncertain
from runs.corrections import Lesson
from runs.errors import BadRequest, NotPossible
from runs.models import Artifact, Attempt, ContextView, Dispatch, Edge, Handoff, Message, Node, Run, Step, ToolCall
from runs.orchestration.clarifying import CLARIFY_KIND
from runs.platform_tools import QUESTION_KIND
from runs.serializers import (
    AnswerBody,
    ArtifactSerializer,
    AuditSerializer,
    CommentBody,
    EventQuery,
    EventsSerializer,
    HandoffQuery,
    HandoffSerializer,
    ResolveBody,
    RetryBody,
    RunDetailSerializer,
    RunQuery,
    RunSerializer,
    StartBody,
    TaughtSerializer,
    TeachBody,
    TraceSerializer,
    UncertainCallSerializer,
    UncertainQuery,
)
from runs.uncertain import Finding

# What is asked of who started the run.
QUESTIONS = (QUESTION_KIND, CLARIFY_KIND)

READ = Access("runs:read")
START = Access("runs:write", "runs.start_run")

_MEDIA_TYPE = re.compile(r"[a-z]+/[a-z0-9.+-]+(; ?charset=[a-z0-9-]+)?\Z", re.IGNORECASE)


class Runs(Listing):
    access = {"GET": READ, "POST": START}

    @extend_schema(operation_id="runs_list", parameters=[RunQuery], responses=RunSerializer(many=True), tags=["runs"])
    def get(self, request: Request) -> Response:
        """The runs you may see, newest first."""
        query, page = self.asked(RunQuery), Page("-pk")
        runs = Run.objects.visible_to(request.user).select_related("agent", "owner").filter(**_filters(query))
        rows = page.paginate_queryset(runs, request, view=self)
        return page.get_paginated_response(RunSerializer(_with_cost(rows or []), many=True).data)

    def _look_ahead(self, request: Request) -> Any:
        body = self.posted(StartBody)
        return body, intake.judge(permissions.person(request), **body)

    @extend_schema(
        operation_id="runs_create",
        request=StartBody,
        responses={201: RunDetailSerializer},
        tags=["runs"],
        examples=[
            OpenApiExample("let the router decide", {"input": "Where is order A-1?"}, request_only=True),
            OpenApiExample(
                "name an agent and a cap",
                {
                    "input": "Refund order A-1.",
                    "agent": "order-desk",
                    "metadata": {"ticket": "T-7"},
                    "budget_usd": "0.50",
                },
                request_only=True,
            ),
        ],
    )
    @ahead_of(_look_ahead)
    def post(self, request: Request, *, ahead: Any) -> Response:
        """Start a run. It is accepted at once and worked on in the background: follow `Location`.

        Send an `Idempotency-Key`, and a request that is sent twice starts one run.
        """
        body, judged = ahead
        return _created(request, lambda: intake.start(permissions.person(request), source="api", judged=judged, **body))


class OneRun(Endpoint):
    access = {"GET": READ}

    @extend_schema(operation_id="runs_retrieve", responses=RunDetailSerializer, tags=["runs"])
    def get(self, request: Request, run_id: UUID) -> Response:
        """One run: where it stands, what it waits for, what it cost, and each agent's part."""
        return Response(_detail(_visible(request, run_id)))


class Events(Endpoint):
    access = {"GET": READ}

    @extend_schema(operation_id="runs_events", parameters=[EventQuery], responses=EventsSerializer, tags=["runs"])
    def get(self, request: Request, run_id: UUID) -> Response:
        """The run's events in order, without gaps. Ask again with the `after` of the answer for what came since."""
        query = self.asked(EventQuery)
        run = _visible(request, run_id)
        found = events.of_run(run.pk, after=query["after"], limit=query["limit"] + 1)
        if not found:
            _refuse_dropped(run)
        page = found[: query["limit"]]
        after = page[-1].seq if page else query["after"]
        return Response(EventsSerializer({"events": page, "after": after, "more": len(found) > len(page)}).data)


class Cancel(Endpoint):
    access = {"POST": Access("runs:write", "runs.cancel_run")}

    @extend_schema(operation_id="runs_cancel", request=Nothing, responses=RunDetailSerializer, tags=["runs"])
    @idempotent
    def post(self, request: Request, run_id: UUID) -> Response:
        """Cancel a run. Open requests are withdrawn at once; a call that is executing settles first."""
        return _moved(self, request, run_id, cancellation.cancel)


class Pause(Endpoint):
    access = {"POST": Access("runs:write", "runs.cancel_run")}

    @extend_schema(operation_id="runs_pause", request=Nothing, responses=RunDetailSerializer, tags=["runs"])
    @idempotent
    def post(self, request: Request, run_id: UUID) -> Response:
        """Begin nothing new until the run is resumed. What is in hand comes to the end of its turn."""
        return _moved(self, request, run_id, pausing.pause)


class Resume(Endpoint):
    access = {"POST": Access("runs:write", "runs.cancel_run")}

    @extend_schema(operation_id="runs_resume", request=Nothing, responses=RunDetailSerializer, tags=["runs"])
    @idempotent
    def post(self, request: Request, run_id: UUID) -> Response:
        """Go on with a paused run."""
        return _moved(self, request, run_id, pausing.resume)


class Comment(Endpoint):
    access = {"POST": START}

    @extend_schema(operation_id="runs_comment", request=CommentBody, responses=RunDetailSerializer, tags=["runs"])
    @idempotent
    def post(self, request: Request, run_id: UUID) -> Response:
        """Say what is wrong with what a node came to: it is done again, and with it all that was made of it."""
        run = _visible(request, run_id)
        body = self.posted(CommentBody)
        if not run.nodes.filter(pk=body["node"]).exists():
            raise invalid({"node": "This run has no such node."}, status=422)
        _obey(lambda: comments.comment(run.pk, body["node"], body["comment"], permissions.person(request)))
        return Response(_detail(_visible(request, run_id)))


class Answer(Endpoint):
    access = {"POST": Access("runs:write")}

    @extend_schema(
        operation_id="runs_answer",
        request=AnswerBody,
        responses=RunDetailSerializer,
        tags=["runs"],
        examples=[OpenApiExample("answer", {"answer": "The blue one."}, request_only=True)],
    )
    @idempotent
    def post(self, request: Request, run_id: UUID) -> Response:
        """Answer the run's open question. Who started the run may; for others it takes what deciding takes."""
        run = _visible(request, run_id)
        body = self.posted(AnswerBody)
        question = _question(run, body.get("request"))
        _refuse_others_answers(request, question)
        approvals_api.decide(
            request, question, verdict=verdicts.ANSWERED, digest=question.digest, answer=body["answer"]
        )
        return Response(_detail(_visible(request, run_id)))


class Retry(Endpoint):
    access = {"POST": START}

    def _look_ahead(self, request: Request, run_id: UUID) -> Any:
        run, agent = _visible(request, run_id), self.posted(RetryBody).get("agent")
        return run, agent, intake.judge_retry(run, permissions.person(request), agent=agent)

    @extend_schema(operation_id="runs_retry", request=RetryBody, responses={201: RunDetailSerializer}, tags=["runs"])
    @ahead_of(_look_ahead)
    def post(self, request: Request, run_id: UUID, *, ahead: Any) -> Response:
        """The same request once more, as a new run of yours; refused where the first had effects to repeat.

        With an `agent` it goes there, whoever had it before.
        """
        run, agent, judged = ahead
        by = permissions.person(request)
        return _created(request, lambda: intake.retry(run, by, source="api", agent=agent, judged=judged))


class Teach(Endpoint):
    access = {"POST": Access("agents:write", "agents.add_exemplar")}

    @extend_schema(
        operation_id="runs_teach",
        request=TeachBody,
        responses=TaughtSerializer,
        tags=["runs"],
        examples=[
            OpenApiExample(
                "an exemplar",
                {"agent": "refunds", "lesson": "exemplar", "text": "I want my money back"},
                request_only=True,
            ),
            OpenApiExample(
                "a rule",
                {"agent": "refunds", "lesson": "rule", "name": "money", "condition": 'text.contains("money back")'},
                request_only=True,
            ),
        ],
    )
    @idempotent
    def post(self, request: Request, run_id: UUID) -> Response:
        """Say whose the run should have been. The next request like it goes there; to start this one there, retry it
        with the `agent`. What is left out is taken from the request."""
        run = _visible(request, run_id)
        body = self.posted(TeachBody)
        lesson = Lesson(body.pop("lesson"))
        if lesson == Lesson.RULE:
            permissions.require_permission(request, "agents.add_routingrule")
        taught = _obey(lambda: corrections.teach(run, permissions.person(request), lesson=lesson, **body))
        return Response(TaughtSerializer(taught).data)


class Audit(Endpoint):
    access = {"GET": Access("audit:read")}

    @extend_schema(operation_id="runs_audit", responses=AuditSerializer, tags=["runs"])
    def get(self, request: Request, run_id: UUID) -> Response:
        """Walk the run's hash chain now. `fault` is the first row that is not as it was written.

        `export` lets somebody who does not trust this server verify the same, with the public key alone.
        """
        run = _visible(request, run_id)
        _refuse_dropped(run)
        name = events.run_chain(run.pk)
        listed = _listed(name)
        fault = verify.chain(name, [listed] if listed else [])
        head = ChainHead.objects.filter(chain=name).first() or ChainHead(chain=name)
        told = {"chain": name, "verified": fault is None, "rows": head.seq, "head": head.hash, "fault": fault}
        told |= {"covered": listed.seq if listed else 0, "checkpoint": listed.number if listed else None}
        return Response(AuditSerializer(told | {"export": list(audit_export.of_chain(name))}).data)


class Trace(Endpoint):
    access = {"GET": READ}

    @extend_schema(operation_id="runs_trace", responses=TraceSerializer, tags=["runs"])
    def get(self, request: Request, run_id: UUID) -> Response:
        """What the run did, as a tree with times and costs: dispatches, model calls, tool calls, sends."""
        run = _visible(request, run_id)
        steps = Prefetch("steps", Step.objects.defer("reply").order_by("number").prefetch_related("calls__attempts"))
        _read_dispatches(
            run,
            steps,
            Prefetch("messages", Message.objects.order_by("number")),
            Prefetch("context_views", ContextView.objects.order_by("number")),
        )
        _with_cost([run])
        return Response(TraceSerializer(run).data)


class Uncertain(Listing):
    access = {"GET": READ}

    @extend_schema(
        operation_id="uncertain_list",
        parameters=[UncertainQuery],
        responses=UncertainCallSerializer(many=True),
        tags=["calls in doubt"],
    )
    def get(self, request: Request) -> Response:
        """Calls that were sent, and nobody can say whether they took effect. The longest waiting come first."""
        query = self.asked(UncertainQuery)
        calls = _calls(request).uncertain()
        if "run" in query:
            calls = calls.filter(dispatch__run_id=query["run"])
        return Page("created_at", "pk").answer(calls, self, UncertainCallSerializer)


class Resolve(Endpoint):
    access = {"POST": Access("runs:write", "runs.resolve_uncertain")}

    @extend_schema(
        operation_id="uncertain_resolve",
        request=ResolveBody,
        responses=UncertainCallSerializer,
        tags=["calls in doubt"],
        examples=[
            OpenApiExample(
                "it happened",
                {"finding": "happened", "result": '{"refund": "R-9"}', "reason": "Seen in the ledger."},
                request_only=True,
            )
        ],
    )
    @idempotent
    def post(self, request: Request, call_id: UUID) -> Response:
        """Say what came of a call, after you looked."""
        call = get_object_or_404(_calls(request), pk=call_id)
        body = self.posted(ResolveBody)
        finding = Finding(body.pop("finding"))
        _obey(lambda: uncertain.resolve(call.pk, finding, by=permissions.person(request), **body))
        return Response(UncertainCallSerializer(_calls(request).get(pk=call_id)).data)


class Handoffs(Listing):
    access = {"GET": READ}

    @extend_schema(
        operation_id="handoffs_list",
        parameters=[HandoffQuery],
        responses=HandoffSerializer(many=True),
        tags=["handoffs"],
    )
    def get(self, request: Request) -> Response:
        """Proposals that another agent continues, newest first. Each is decided by its approval request."""
        query = self.asked(HandoffQuery)
        handoffs = _handoffs(request)
        if "status" in query:
            handoffs = handoffs.filter(status=query["status"])
        if "run" in query:
            handoffs = handoffs.filter(source__run_id=query["run"])
        return Page("-pk").answer(handoffs, self, HandoffSerializer)


class OneHandoff(Endpoint):
    access = {"GET": READ}

    @extend_schema(operation_id="handoffs_retrieve", responses=HandoffSerializer, tags=["handoffs"])
    def get(self, request: Request, handoff_id: UUID) -> Response:
        """One proposal."""
        return Response(HandoffSerializer(get_object_or_404(_handoffs(request), pk=handoff_id)).data)


class OneArtifact(Endpoint):
    access = {"GET": READ}

    @extend_schema(operation_id="artifacts_retrieve", responses=ArtifactSerializer, tags=["artifacts"])
    def get(self, request: Request, artifact_id: UUID) -> Response:
        """What an artifact is, and where it came from."""
        return Response(ArtifactSerializer(_artifact(request, artifact_id)).data)


class ArtifactContent(Endpoint):
    access = {"GET": READ}

    @extend_schema(
        operation_id="artifacts_content",
        responses={(200, "application/octet-stream"): OpenApiResponse(OpenApiTypes.BINARY, "The bytes.")},
        tags=["artifacts"],
    )
    def get(self, request: Request, artifact_id: UUID) -> HttpResponse:
        """The bytes themselves, always as a download: an agent wrote them, and a browser must not act on them."""
        artifact = _artifact(request, artifact_id)
        return HttpResponse(
            _content(artifact),
            content_type=artifact.media_type if _MEDIA_TYPE.match(artifact.media_type) else "application/octet-stream",
            headers={
                "Content-Disposition": f'attachment; filename="{artifact.pk}"',
                "Content-Security-Policy": "sandbox; default-src 'none'",
                "X-Content-Type-Options": "nosniff",
                "ETag": f'"{artifact.blob_id}"',
            },
        )


# -- what may be seen --------------------------------------------------------------------------------------------
def _visible(request: Request, run_id: UUID) -> Run:
    joined = Run.objects.visible_to(request.user).select_related("agent", "owner", "account", "routing")
    return get_object_or_404(joined, pk=run_id)


def _refuse_dropped(run: Run) -> None:
    if drop := drops.of_chain(events.run_chain(run.pk)):
        told = f"The run's event log has left this server with {drop}."
        raise Problem(410, told, kind="history-dropped", partition=drop.partition, archive=drop.archive)


def _calls(request: Request) -> Any:
    seen = Run.objects.visible_to(request.user)
    calls = ToolCall.objects.filter(dispatch__run__in=seen).select_related("dispatch__manifest__agent")
    return calls.prefetch_related(Prefetch("attempts", Attempt.objects.order_by("number")))


def _handoffs(request: Request) -> Any:
    seen = Run.objects.visible_to(request.user)
    return Handoff.objects.filter(source__run__in=seen).select_related(
        "source__manifest__agent", "target", "request__decision"
    )


def _artifact(request: Request, artifact_id: UUID) -> Artifact:
    seen = Artifact.objects.filter(run__in=Run.objects.visible_to(request.user)).select_related("blob")
    return get_object_or_404(seen, pk=artifact_id)


def _content(artifact: Artifact) -> bytes:
    try:
        return blobs.read(artifact.blob)
    except blobs.Unreadable as error:
        raise Problem(503, str(error)) from error


def _filters(query: dict[str, Any]) -> dict[str, Any]:
    named = {"status": "status", "conversation": "conversation_id"}
    chosen = {column: query[name] for name, column in named.items() if name in query}
    if "agent" in query:  # by its key: how many runs each has is in the statistics
        chosen["agent__in"] = list(Agent.objects.filter(slug=query["agent"]).values_list("pk", flat=True))
    return chosen


def _listed(chain: str) -> verify.Listed | None:
    """None also where this process has no key to check a checkpoint's signature with: whoever exports checks it."""
    try:
        return verify.newest_of(chain)
    except KeyUnusable:
        return None


# -- what is shown -----------------------------------------------------------------------------------------------
def _with_cost(runs: Sequence[Any]) -> Sequence[Any]:
    """Sets `cost_usd` and `tokens`; asked once for a page, not once for the table."""
    sums = Dispatch.objects.filter(run__in=runs).order_by().values("run_id")
    found = {row["run_id"]: row for row in sums.annotate(cost=Sum("cost_usd"), tokens_sum=Sum("tokens"))}
    for run in runs:
        row = found.get(run.pk, {"cost": Decimal(0), "tokens_sum": 0})
        run.cost_usd, run.tokens = row["cost"], row["tokens_sum"]
    return runs


def _read_dispatches(run: Run, *joined: Prefetch) -> None:
    dispatches = Dispatch.objects.select_related("manifest__agent").order_by("number")
    prefetch_related_objects([run], Prefetch("dispatches", dispatches.prefetch_related(*joined)))


def _read_nodes(run: Run, *, is_new: bool) -> None:
    """A new run has one, without edges."""
    nodes = Node.objects.select_related("agent").order_by("number")
    prefetch_related_objects([run], Prefetch("nodes", nodes))
    of_them = {} if is_new else _edges(run)
    for node in run.nodes.all():
        node.waits_for = of_them.get(node.pk, [])  # type: ignore[attr-defined]


def _edges(run: Run) -> dict[UUID, list[UUID]]:
    """By node, whom it waits for."""
    edges: dict[UUID, list[UUID]] = {}
    for child, parent in Edge.objects.filter(child__run=run).order_by("pk").values_list("child_id", "parent_id"):
        edges.setdefault(child, []).append(parent)
    return edges


def _detail(run: Run, *, is_new: bool = False) -> Any:
    """Expects a run that was just read. Of a new one no worker knows yet: beside its nodes it has nothing."""
    _read_dispatches(run)
    _read_nodes(run, is_new=is_new)
    parts: list[Any] = list(run.dispatches.all())
    _with_counts(parts, is_new=is_new)
    asked = [] if is_new else list(ApprovalRequest.objects.open().filter(run_id=run.pk).order_by("created_at"))
    shown: Any = run
    shown.cost_usd = sum((part.cost_usd for part in parts), Decimal(0))
    shown.tokens = sum(part.tokens for part in parts)
    shown.question = next((request for request in asked if request.kind in QUESTIONS), None)
    shown.open_requests = [request.pk for request in asked]
    return RunDetailSerializer(shown).data


def _with_counts(parts: Sequence[Any], *, is_new: bool) -> None:
    """Sets `step_count` and `calls_by_status`, counted by the database: a run may have thousands."""
    steps: dict[UUID, int] = {}
    calls: dict[UUID, dict[str, int]] = {}
    if not is_new:
        of_them = {"dispatch__in": parts}
        counted = Step.objects.filter(**of_them).order_by().values("dispatch_id")
        steps = {row["dispatch_id"]: row["n"] for row in counted.annotate(n=Count("pk"))}
        grouped = ToolCall.objects.filter(**of_them).order_by().values("dispatch_id", "status")
        for row in grouped.annotate(n=Count("pk")):
            calls.setdefault(row["dispatch_id"], {})[row["status"]] = row["n"]
    for part in parts:
        part.step_count, part.calls_by_status = steps.get(part.pk, 0), calls.get(part.pk, {})


def _created(request: Request, verb: Callable[[], Run]) -> Response:
    """Start a run and tell of it in one transaction: what is told is the run as it was accepted."""
    with transaction.atomic():
        run = _obey(verb)
        told = _detail(_visible(request, run.pk), is_new=True)
    location = request.build_absolute_uri(reverse("api:run", args=[run.pk]))
    return Response(told, status=201, headers={"Location": location})


# -- what is done ------------------------------------------------------------------------------------------------
def _obey(verb: Callable[[], Any]) -> Any:
    """Call a verb; what it refuses becomes a problem."""
    try:
        return verb()
    except BadRequest as error:
        raise invalid(error.faults) from error
    except NotPossible as error:
        raise conflict(str(error), kind="not-possible") from error


def _moved(endpoint: Endpoint, request: Request, run_id: UUID, verb: Callable[[UUID, User], Run]) -> Response:
    """A verb that needs nothing but the run, and the run as it is after it."""
    run = _visible(request, run_id)
    endpoint.posted(Nothing)
    _obey(lambda: verb(run.pk, permissions.person(request)))
    return Response(_detail(_visible(request, run_id)))


def _question(run: Run, request_id: UUID | None) -> ApprovalRequest:
    questions = ApprovalRequest.objects.filter(run_id=run.pk, kind__in=QUESTIONS)
    if request_id is not None:
        named = questions.filter(pk=request_id).first()
        if named is None:
            raise invalid({"request": "This run has asked no such question."}, status=422)
        return named
    asked = list(questions.open().order_by("created_at"))
    if not asked:
        raise conflict("The run asks nothing at the moment.", kind="no-question")
    if len(asked) > 1:
        ids = ", ".join(str(question.pk) for question in asked)
        raise invalid({"request": f"The run asks more than one question; say which you answer: {ids}."}, status=422)
    return asked[0]


def _refuse_others_answers(request: Request, question: ApprovalRequest) -> None:
    """Who is asked answers with `runs:write`; to answer for somebody else is to decide."""
    if question.requester_id == request.user.pk:
        return
    if permissions.is_app_token(request):
        raise Problem(403, "An app's token answers the questions of its own runs only.")
    permissions.require_scope(request, APPROVALS_DECIDE)
