"""The conductor's rows, to be read. Work is watched on the live pages; the one verb offered here is cancelling."""

from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery, Sum
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from unfold.decorators import action, display

from agents.values import FailureKind
from orchestrator_site.core.admin_bases import (
    COLOURS,
    Growing,
    among_newest,
    changed_elsewhere,
    each,
    holds,
    known,
    labels,
    preformatted,
    row_link,
    row_url,
    run_link,
    short,
    shown_as_json,
    shown_as_text,
    who,
)
from runs import blobs, cancellation
from runs.errors import NotPossible
from runs.models import Account, Artifact, Attempt, Conversation, Dispatch, Handoff, Route, Routing, Run, Step, ToolCall
from runs.states import StopReason
from tools.values import ErrorKind

CANCEL = {
    "title": "Cancel this run?",
    "description": "What has not started is taken back at once; a call being sent settles first, or becomes uncertain.",
    "form_class": None,
    "form_submit_text": "Cancel the run",
}


def usd(amount: Decimal | None) -> str:
    return f"{amount or 0:.4f}"


@admin.register(Run)
class RunAdmin(Growing):
    list_display = [
        "asked",
        "status_shown",
        "live",
        "owner",
        "agent",
        "source",
        "cost_shown",
        "waiting_on",
        "created_at",
    ]
    list_filter = ["status", "source", known("stop_reason", StopReason)]
    search_fields = ["input", "owner__username", "agent__slug"]
    search_help_text = among_newest("A run's id", "words of the request, an owner or an agent")
    list_select_related = ["owner", "agent"]
    actions = ["cancel_chosen"]
    actions_detail = ["cancel"]
    input_shown = shown_as_text("input", "asked")
    output_shown = shown_as_text("output", "answered")
    metadata_shown = shown_as_json("metadata")
    fieldsets = [
        (None, {"fields": ["live", "status_shown", "stop_reason", "waiting_on", "input_shown", "output_shown"]}),
        ("Where it came from", {"fields": ["owner", "source", "agent", "conversation", "metadata_shown"]}),
        ("Money and time", {"fields": ["cost_shown", "created_at", "cancel_requested_at", "finished_at"]}),
        ("Parts", {"fields": ["parts_shown"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        """The cost by a subquery: it is summed for the rows of the page, not for the table."""
        of_run = Dispatch.objects.filter(run=OuterRef("pk")).order_by().values("run")
        return super().get_queryset(request).annotate(cost=Subquery(of_run.annotate(sum=Sum("cost_usd")).values("sum")))

    def has_cancel_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return holds(request, "runs.cancel_run")

    def offers(self, row: Any, verb: str) -> bool:
        return verb != "cancel" or not row.is_final

    @admin.action(description="Cancel", permissions=["cancel"])
    def cancel_chosen(self, request: HttpRequest, chosen: QuerySet[Run]) -> None:
        done = "Cancelled: {rows}."
        each(
            self, request, chosen, lambda run: cancellation.cancel(run.pk, who(request)), done=done, refuses=NotPossible
        )

    @action(description="Cancel", icon="cancel", permissions=["cancel"], dialog=CANCEL)
    def cancel(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        chosen = Run.objects.filter(pk=object_id)
        self.cancel_chosen(request, chosen)
        return changed_elsewhere(request, row_url(chosen.get()))

    @admin.display(description="asked")
    def asked(self, run: Run) -> str:
        return short(run.input)

    @display(description="status", label=COLOURS)
    def status_shown(self, run: Run) -> str:
        return run.status

    @admin.display(description="live page")
    def live(self, run: Run) -> str:
        return run_link(run.pk)

    @admin.display(description="US dollars")
    def cost_shown(self, run: Any) -> str:
        return usd(run.cost)

    @admin.display(description="dispatches")
    def parts_shown(self, run: Run) -> str:
        parts = run.dispatches.select_related("manifest__agent").order_by("number")[:100]
        lines = [
            format_html(
                '<div class="baton-line">{} <span>{}</span> <span>{}</span></div>',
                row_link(part),
                part.manifest,
                part.stop_reason,
            )
            for part in parts
        ]
        return format_html("{}" * len(lines), *lines) if lines else "-"


@admin.register(Conversation)
class ConversationAdmin(Growing):
    id_paths = ("pk", "runs")
    list_display = ["id", "owner", "created_at"]
    search_fields = ["owner__username"]
    search_help_text = among_newest("The id of a conversation or of a run in it", "an owner")
    list_select_related = ["owner"]
    fields = ["id", "owner", "created_at", "runs_shown"]

    @admin.display(description="runs")
    def runs_shown(self, conversation: Conversation) -> str:
        runs = conversation.runs.order_by("created_at")[:100]
        lines = [
            format_html('<div class="baton-line">{} <span>{}</span></div>', row_link(run), run.status) for run in runs
        ]
        return format_html("{}" * len(lines), *lines) if lines else "-"


@admin.register(Dispatch)
class DispatchAdmin(Growing):
    id_paths = ("pk", "run")
    list_display = [
        "name",
        "status_shown",
        "run_shown",
        "manifest",
        "stop_reason",
        "iterations",
        "tokens",
        "cost_shown",
        "created_at",
    ]
    list_filter = ["status", known("stop_reason", StopReason), "origin"]
    search_fields = ["manifest__agent__slug"]
    search_help_text = among_newest("The id of a dispatch or of its run", "an agent")
    list_select_related = ["manifest__agent"]
    task_shown = shown_as_text("task")
    briefing_shown = shown_as_text("briefing")
    output_shown = shown_as_text("output")
    history_shown = shown_as_json("history")
    fieldsets = [
        (
            None,
            {
                "fields": [
                    "run_shown",
                    "number",
                    "manifest",
                    "origin",
                    "depth",
                    "status_shown",
                    "stop_reason",
                    "message",
                ]
            },
        ),
        ("Work", {"fields": ["task_shown", "briefing_shown", "history_shown", "output_shown"]}),
        ("Waiting", {"fields": ["waiting_on", "due_at"]}),
        ("Spent", {"fields": ["iterations", "tokens", "cost_shown", "cost_cap_usd", "worked_seconds"]}),
        (
            "Lease",
            {
                "fields": [
                    "lease_owner",
                    "lease_until",
                    "claimed_at",
                    "hand_deadline",
                    "fence",
                    "claims_without_progress",
                    "rung_at",
                ]
            },
        ),
        ("When", {"fields": ["created_at", "started_at", "finished_at"]}),
    ]

    @admin.display(description="dispatch")
    def name(self, dispatch: Dispatch) -> str:
        return f"#{dispatch.number} {short(dispatch.task, 50)}"

    @display(description="status", label=COLOURS)
    def status_shown(self, dispatch: Dispatch) -> str:
        return dispatch.status

    @admin.display(description="run")
    def run_shown(self, dispatch: Dispatch) -> str:
        return run_link(dispatch.run_id)

    @admin.display(description="US dollars")
    def cost_shown(self, dispatch: Dispatch) -> str:
        return usd(dispatch.cost_usd)


@admin.register(Step)
class StepAdmin(Growing):
    id_paths = ("dispatch", "dispatch__run")
    list_display = [
        "name",
        "status_shown",
        "run_shown",
        "model",
        "stop_reason",
        "tokens_shown",
        "cost_shown",
        "asked_at",
        "error",
    ]
    list_filter = ["status", known("failure", FailureKind)]
    search_fields = ["=model"]
    search_help_text = among_newest("The id of a run or of a dispatch", "a model")
    list_select_related = ["dispatch__manifest__agent"]
    reply_shown = shown_as_json("reply")
    fieldsets = [
        (
            None,
            {"fields": ["dispatch", "run_shown", "number", "status_shown", "model", "stop_reason", "failure", "error"]},
        ),
        ("Reply", {"fields": ["reply_shown"]}),
        (
            "Spent",
            {
                "fields": [
                    "input_tokens",
                    "output_tokens",
                    "cache_read_tokens",
                    "cache_write_tokens",
                    "reserved_usd",
                    "cost_usd",
                    "cost_estimated",
                ]
            },
        ),
        ("When", {"fields": ["asked_at", "ended_at", "fence"]}),
    ]

    @admin.display(description="step")
    def name(self, step: Step) -> str:
        return f"{step.dispatch.manifest.agent.slug}, step {step.number}"

    @display(description="status", label=COLOURS)
    def status_shown(self, step: Step) -> str:
        return step.status

    @admin.display(description="run")
    def run_shown(self, step: Step) -> str:
        return run_link(step.dispatch.run_id)

    @admin.display(description="tokens")
    def tokens_shown(self, step: Step) -> int:
        return step.input_tokens + step.output_tokens + step.cache_read_tokens + step.cache_write_tokens

    @admin.display(description="US dollars")
    def cost_shown(self, step: Step) -> str:
        return usd(step.cost_usd)


@admin.register(ToolCall)
class ToolCallAdmin(Growing):
    id_paths = ("pk", "dispatch__run")
    list_display = [
        "name",
        "status_shown",
        "run_shown",
        "agent",
        "risk_shown",
        "effect_shown",
        "arguments_short",
        "error_kind",
        "created_at",
    ]
    list_filter = ["status", "risk", "effect", known("error_kind", ErrorKind)]
    search_fields = ["=tool"]
    search_help_text = among_newest("The id of a call or of its run", "a tool's name")
    list_select_related = ["dispatch__manifest__agent"]
    proposed_shown = shown_as_json("proposed_arguments", "as the model asked")
    arguments_shown = shown_as_json("arguments", "as it is sent")
    ruling_shown = shown_as_json("ruling")
    result_shown = shown_as_json("result", "what the model reads")
    fieldsets = [
        (
            None,
            {
                "fields": [
                    "tool",
                    "tool_version",
                    "status_shown",
                    "risk_shown",
                    "effect_shown",
                    "run_shown",
                    "dispatch",
                    "step",
                ]
            },
        ),
        ("Arguments", {"fields": ["proposed_shown", "arguments_shown"]}),
        ("Ruling", {"fields": ["ruling_shown", "request"]}),
        ("Result", {"fields": ["error_kind", "result_shown", "attempts_shown"]}),
        ("When", {"fields": ["created_at", "ended_at"]}),
    ]

    @admin.display(description="tool")
    def name(self, call: ToolCall) -> str:
        return call.tool

    @display(description="status", label=COLOURS)
    def status_shown(self, call: ToolCall) -> str:
        return call.status

    @display(description="risk", label=COLOURS)
    def risk_shown(self, call: ToolCall) -> str:
        return call.risk

    @display(description="effect", label=COLOURS)
    def effect_shown(self, call: ToolCall) -> str:
        return call.effect

    @admin.display(description="agent")
    def agent(self, call: ToolCall) -> str:
        return call.dispatch.manifest.agent.slug

    @admin.display(description="run")
    def run_shown(self, call: ToolCall) -> str:
        return run_link(call.dispatch.run_id)

    @admin.display(description="arguments")
    def arguments_short(self, call: ToolCall) -> str:
        return short(call.arguments, 60)

    @admin.display(description="attempts")
    def attempts_shown(self, call: ToolCall) -> str:
        lines = [format_html('<div class="baton-line">{}</div>', row_link(attempt)) for attempt in call.attempts.all()]
        return format_html("{}" * len(lines), *lines) if lines else "-"


@admin.register(Attempt)
class AttemptAdmin(Growing):
    id_paths = ("call", "call__dispatch__run")
    list_display = ["name", "status_shown", "run_shown", "endpoint", "worker", "error_kind", "sent_at", "ended_at"]
    list_filter = ["status", known("error_kind", ErrorKind)]
    search_fields = ["endpoint"]
    search_help_text = among_newest("An idempotency key, or the id of a call or of its run", "parts of an endpoint")
    list_select_related = ["call__dispatch"]
    result_shown = shown_as_json("result")
    late_shown = shown_as_json("late_evidence", "late evidence")
    processes_shown = shown_as_json("processes")
    fieldsets = [
        (None, {"fields": ["call", "run_shown", "number", "status_shown", "endpoint", "idempotency_key", "digest"]}),
        ("Result", {"fields": ["error_kind", "result_shown", "late_shown"]}),
        ("Who carried it", {"fields": ["worker", "fence", "processes_shown"]}),
        ("When", {"fields": ["sent_at", "deadline_at", "ended_at"]}),
    ]

    @admin.display(description="attempt")
    def name(self, attempt: Attempt) -> str:
        return f"{attempt.call.tool}, attempt {attempt.number}"

    @display(description="status", label=COLOURS | {"unknown": "danger"})
    def status_shown(self, attempt: Attempt) -> str:
        return attempt.status

    @admin.display(description="run")
    def run_shown(self, attempt: Attempt) -> str:
        return run_link(attempt.call.dispatch.run_id)


@admin.register(Handoff)
class HandoffAdmin(Growing):
    id_paths = ("pk", "source__run")
    list_display = ["name", "status_shown", "run_shown", "why", "created_at"]
    list_filter = ["status", "target"]
    search_fields = ["reason", "target__slug"]
    search_help_text = among_newest("The id of a handoff or of its run", "words of the reason, an agent")
    list_select_related = ["source__manifest__agent", "target"]
    preconditions_shown = shown_as_json("preconditions")
    task_shown = shown_as_text("task")
    state_shown = shown_as_json("state")
    passed_shown = shown_as_text("passed", "what it reads below its task")
    fields = [
        "run_shown",
        "status_shown",
        "source",
        "target",
        "reason",
        "task_shown",
        "state_shown",
        "preconditions_shown",
        "artifacts_shown",
        "confidence",
        "transfer",
        "passed_shown",
        "tokens_at_most",
        "deadline_seconds",
        "source_watches",
        "request",
        "continued_by",
        "returned_to",
        "closed_by",
        "created_at",
    ]

    @admin.display(description="handoff")
    def name(self, handoff: Handoff) -> str:
        return f"{handoff.source.manifest.agent.slug} → {handoff.target.slug}"

    @display(description="status", label=COLOURS)
    def status_shown(self, handoff: Handoff) -> str:
        return handoff.status

    @admin.display(description="run")
    def run_shown(self, handoff: Handoff) -> str:
        return run_link(handoff.source.run_id)

    @admin.display(description="reason")
    def why(self, handoff: Handoff) -> str:
        return short(handoff.reason)

    @admin.display(description="artifacts")
    def artifacts_shown(self, handoff: Handoff) -> str:
        return labels(map(str, handoff.artifacts))


@admin.register(Route)
class RouteAdmin(Growing):
    id_paths = ("source__run",)
    list_display = ["name", "run_shown", "decided_by", "task_short"]
    search_fields = ["agent__slug", "decided_by"]
    search_help_text = among_newest("The id of a run", "an agent, or who decided")
    list_select_related = ["source", "agent"]
    task_shown = shown_as_text("task")
    fields = ["source", "run_shown", "number", "agent", "task_shown", "decided_by", "node"]

    @admin.display(description="route")
    def name(self, route: Route) -> str:
        return f"{route.number}: {route.agent.slug}"

    @admin.display(description="run")
    def run_shown(self, route: Route) -> str:
        return run_link(route.source.run_id)

    @admin.display(description="task")
    def task_short(self, route: Route) -> str:
        return short(route.task)


@admin.register(Routing)
class RoutingAdmin(Growing):
    """How runs that named nobody came to who got them."""

    id_paths = ("run",)
    list_display = ["line_short", "run_shown", "decided_by_shown", "target_shown", "confidence_shown"]
    list_filter = ["decided_by"]
    search_fields = ["agent", "template"]
    search_help_text = among_newest("The id of a run", "the slug of an agent or of a plan template")
    stages_shown = shown_as_json("stages")
    candidates_shown = shown_as_json("candidates")
    caller_shown = shown_as_json("caller", "who asked")
    again_shown = shown_as_text("again", "to be judged again")
    fieldsets = [
        (None, {"fields": ["run_shown", "line", "decided_by_shown", "target_shown", "confidence_shown"]}),
        ("What each stage said", {"fields": ["stages_shown", "candidates_shown", "again_shown"]}),
        ("Judged by", {"fields": ["caller_shown", "epoch"]}),
    ]

    @admin.display(description="routing")
    def line_short(self, routing: Routing) -> str:
        return short(routing.line)

    @admin.display(description="run")
    def run_shown(self, routing: Routing) -> str:
        return run_link(routing.run_id)

    @admin.display(description="decided by")
    def decided_by_shown(self, routing: Routing) -> str:
        return routing.decided_by or "nobody yet"

    @admin.display(description="went to")
    def target_shown(self, routing: Routing) -> str:
        return routing.target or "-"

    @admin.display(description="sure")
    def confidence_shown(self, routing: Routing) -> str:
        return "-" if routing.confidence is None else f"{routing.confidence:.2f}"


@admin.register(Artifact)
class ArtifactAdmin(Growing):
    id_paths = ("pk", "run")
    list_display = ["name", "run_shown", "media_type", "size", "created_at"]
    search_fields = ["name"]
    search_help_text = among_newest("The id of an artifact or of its run", "a name")
    list_select_related = ["run"]
    fields = [
        *["name", "version", "reference", "run_shown", "dispatch", "media_type", "size"],
        *["digest", "created_at", "text"],
    ]

    @admin.display(description="run")
    def run_shown(self, artifact: Artifact) -> str:
        return run_link(artifact.run_id)

    @admin.display(description="SHA-256")
    def digest(self, artifact: Artifact) -> str:
        return artifact.blob_id

    @admin.display(description="text")
    def text(self, artifact: Artifact) -> str:
        """The first part of it, where it is text."""
        if not artifact.media_type.startswith(("text/", "application/json")):
            return "-"
        try:
            return preformatted(blobs.read(artifact.blob)[:20_000].decode(errors="replace"))
        except blobs.Unreadable as error:
            return str(error)


@admin.register(Account)
class AccountAdmin(Growing):
    """Only runs that were given a budget have one."""

    list_display = ["run_name", "cap_usd", "spent_usd", "reserved_usd", "remaining"]
    search_fields = ["run__owner__username"]
    search_help_text = among_newest("A run's id", "an owner")
    list_select_related = ["run"]
    fields = ["run", "live", "cap_usd", "spent_usd", "reserved_usd", "remaining"]

    @admin.display(description="run")
    def run_name(self, account: Account) -> str:
        return short(account.run.input)

    @admin.display(description="live page")
    def live(self, account: Account) -> str:
        return run_link(account.run_id)

    @admin.display(description="remaining")
    def remaining(self, account: Account) -> str:
        return usd(account.remaining_usd)
