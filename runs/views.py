"""The pages of runs: start one, find one, watch one; and say what became of a call in doubt."""

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_GET, require_POST, require_safe

from agents.models import Agent
from approvals import edits
from approvals.errors import InvalidEdit
from orchestrator_site.core import events
from runs import access, blobs, cancellation, comments, corrections, intake, pausing, presentation, states, uncertain
from runs.corrections import Lesson
from runs.errors import BadRequest, NotPossible
from runs.models import Artifact, Dispatch, Run, ToolCall
from runs.models.runs import RunQuerySet

RUNS_A_PAGE = 30
EVENTS_A_PAGE = 200
signed_in = login_required(login_url="login")


# -- starting ----------------------------------------------------------------------------------------------------
@signed_in
def start(request: HttpRequest) -> HttpResponse:
    """The form on its own page; a fault keeps what was typed."""
    if not access.may_start(request.user):
        raise PermissionDenied("You do not have the permission to start runs.")
    if request.method != "POST" or "choose" in request.POST:
        return _start_page(request, request.POST or request.GET, {})
    try:
        run = intake.start(
            request.user,  # type: ignore[arg-type]
            request.POST.get("input", ""),
            source="web",
            agent=request.POST.get("agent") or None,
            conversation=_conversation(request.POST.get("conversation")),
            budget_usd=_budget(request.POST.get("budget_usd")),
            plan=_plan(request.POST),
        )
    except BadRequest as error:
        return _start_page(request, request.POST, error.faults, status=422)
    return redirect("runs:page", run.pk)


def _start_page(
    request: HttpRequest, typed: Mapping[str, str], faults: Mapping[str, str], status: int = 200
) -> HttpResponse:
    context = {"title": "Start a run", "content": "runs/_start.html", "typed": typed, "faults": faults}
    return render(request, "runs/start.html", context, status=status)


def _plan(posted: Mapping[str, str]) -> dict[str, Any] | None:
    """A template with its parameters, which are posted as edits are."""
    if not posted.get("template"):
        return None
    try:
        return {"template": posted["template"], "parameters": edits.read(posted)}
    except InvalidEdit as error:
        raise BadRequest({f"plan.parameters.{name}": said for name, said in error.faults.items()}) from None


def _budget(text: str | None) -> Decimal | None:
    if not (text or "").strip():
        return None
    try:
        amount = Decimal(str(text).strip().removeprefix("$"))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount > 1_000_000:
        raise BadRequest({"budget_usd": "Write US dollars as a number, such as 0.50, or leave it empty."})
    return amount


def _conversation(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        raise BadRequest({"conversation": "That is no conversation's id."}) from None


# -- the list ----------------------------------------------------------------------------------------------------
@require_GET
@signed_in
def index(request: HttpRequest) -> HttpResponse:
    """`?status=&agent=&whose=mine|all&held=<what holds it up>&before=<run id>`. Ids grow with time, so a page is one
    index scan."""
    chosen = {name: request.GET.get(name, "") for name in ("status", "agent", "whose", "held")}
    rows = _filtered(Run.objects.visible_to(request.user), request, chosen)
    if before := request.GET.get("before"):
        rows = rows.filter(pk__lt=_id_or_404(before))
    found = list(rows.select_related("owner").order_by("-pk")[: RUNS_A_PAGE + 1])
    context = {
        "title": "Runs",
        "lines": presentation.lines(found[:RUNS_A_PAGE]),
        "older": found[RUNS_A_PAGE - 1].pk if len(found) > RUNS_A_PAGE else None,
        "chosen": chosen,
        "held_on": _held_on(request, chosen["held"]),
        "statuses": states.RUN.statuses,
        "agents": Agent.objects.values_list("slug", flat=True),
        "content": "runs/_index.html",
    }
    return render(request, "part.html" if "part" in request.GET else "runs/index.html", context)


def _filtered(rows: RunQuerySet, request: HttpRequest, chosen: dict[str, str]) -> RunQuerySet:
    if chosen["status"] in states.RUN.statuses:
        rows = rows.filter(status=chosen["status"])
    if chosen["agent"]:
        rows = rows.filter(Exists(Dispatch.objects.of_agent(chosen["agent"]).filter(run=OuterRef("pk"))))
    if chosen["whose"] == "mine":
        rows = rows.filter(owner=request.user)
    if chosen["held"]:
        rows = rows.filter(pk__in=Dispatch.objects.held_up(by=chosen["held"]).values("run"))
    return rows


def _held_on(request: HttpRequest, by: str) -> str:
    """What holds up the runs that are asked for, in words; empty when nothing does any more."""
    visible = Run.objects.visible_to(request.user)
    held = Dispatch.objects.held_up(by=by).filter(run__in=visible) if by else Dispatch.objects.none()
    return held.values_list("waiting_on", flat=True).first() or ""


def _id_or_404(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Http404 from None


# -- one run -----------------------------------------------------------------------------------------------------
@require_GET
@signed_in
def page(request: HttpRequest, run_id: UUID) -> HttpResponse:
    return _run_page(request, run_id)


def _run_page(
    request: HttpRequest, run_id: UUID, faults: dict[str, str] | None = None, status: int = 200
) -> HttpResponse:
    """`faults` are those of a lesson that could not be taught; what was posted stays."""
    run = _visible(request, run_id, "owner", "agent", "account", "routing")
    context = {
        "title": run.input.strip().split("\n")[0][:80],
        "page": presentation.run_page(run, request.user),
        "run": run,
        "may_cancel": access.may_cancel(request.user) and not run.is_final,
        "may_comment": access.may_start(request.user) and run.status != states.CANCELLED,
        "no_retry": intake.why_no_retry(run) if _offers_retry(request, run) else None,
        "may_retry": _offers_retry(request, run),
        "teach": presentation.teach_form(run, request.POST, faults or {}) if access.may_teach(request.user) else None,
        "may_follow": run.owner_id == request.user.pk and run.is_final and access.may_start(request.user),
        "content": "runs/_run.html",
    }
    return render(request, "part.html" if "part" in request.GET else "runs/page.html", context, status=status)


def _offers_retry(request: HttpRequest, run: Run) -> bool:
    return run.is_final and run.status != states.SUCCEEDED and access.may_start(request.user)


@require_GET
@signed_in
def event_log(request: HttpRequest, run_id: UUID) -> HttpResponse:
    run = _visible(request, run_id)
    after = int(text) if (text := request.GET.get("after", "0")).isdigit() else 0
    found = events.of_run(run.pk, after=after, limit=EVENTS_A_PAGE + 1)
    context = {
        "title": "Event log",
        "content": "runs/_event_log.html",
        "run": run,
        "lines": [presentation.EventLine(event) for event in found[:EVENTS_A_PAGE]],
        "after": after,
        "following": found[EVENTS_A_PAGE - 1].seq if len(found) > EVENTS_A_PAGE else None,
    }
    return render(request, "runs/events.html", context)


@require_safe
@signed_in
def artifact(request: HttpRequest, run_id: UUID, artifact_id: UUID) -> HttpResponse:
    """The bytes, as plain text or as a download: nothing an agent wrote is ever run by a browser."""
    run = _visible(request, run_id)
    seen = Artifact.objects.filter(run__in=Run.objects.visible_to(request.user)).select_related("blob")
    kept = get_object_or_404(seen, pk=artifact_id)
    if kept.run_id != run.pk:  # it was handed to this run, and kept by another
        return redirect("runs:artifact", kept.run_id, kept.pk)
    is_text = kept.media_type.startswith("text/") or kept.media_type == "application/json"
    kind = "text/plain; charset=utf-8" if is_text else "application/octet-stream"
    try:
        response = HttpResponse(blobs.read(kept.blob), content_type=kind)
    except blobs.Unreadable as error:
        return HttpResponse(str(error), status=503, content_type="text/plain; charset=utf-8")
    response["Content-Security-Policy"] = "sandbox; default-src 'none'"
    if not is_text:
        response["Content-Disposition"] = content_disposition_header(True, kept.name) or "attachment"
    return response


@require_POST
@signed_in
def cancel(request: HttpRequest, run_id: UUID) -> HttpResponse:
    run = _visible(request, run_id)
    if not access.may_cancel(request.user):
        messages.error(request, "You do not have the permission to cancel runs.")
        return redirect("runs:page", run.pk)
    try:
        cancellation.cancel(run.pk, request.user)  # type: ignore[arg-type]
    except NotPossible as error:
        messages.info(request, str(error))
    else:
        messages.success(request, "Cancelled: what had not started was taken back.")
    return redirect("runs:page", run.pk)


@require_POST
@signed_in
def pause(request: HttpRequest, run_id: UUID) -> HttpResponse:
    return _hold(request, run_id, pausing.pause, "Paused: what is in hand comes to the end of its turn.")


@require_POST
@signed_in
def resume(request: HttpRequest, run_id: UUID) -> HttpResponse:
    return _hold(request, run_id, pausing.resume, "It goes on.")


def _hold(request: HttpRequest, run_id: UUID, verb: Callable[..., Run], told: str) -> HttpResponse:
    run = _visible(request, run_id)
    if not access.may_cancel(request.user):
        raise PermissionDenied("You do not have the permission to pause runs.")
    try:
        verb(run.pk, request.user)
    except NotPossible as error:
        messages.info(request, str(error))
    else:
        messages.success(request, told)
    return redirect("runs:page", run.pk)


@require_POST
@signed_in
def comment(request: HttpRequest, run_id: UUID, node_id: UUID) -> HttpResponse:
    """What a node came to is not right: it is done again, and with it all that was made of it."""
    run = _visible(request, run_id)
    if not access.may_start(request.user):
        raise PermissionDenied("You do not have the permission to have work done again.")
    node = get_object_or_404(run.nodes, pk=node_id)
    try:
        comments.comment(run.pk, node.pk, request.POST.get("comment", ""), request.user)  # type: ignore[arg-type]
    except (BadRequest, NotPossible) as error:
        told = " ".join(error.faults.values()) if isinstance(error, BadRequest) else str(error)
        messages.error(request, told)
    else:
        messages.success(request, f"{node.key} is done again, with what you said.")
    return redirect("runs:page", run.pk)


@require_POST
@signed_in
def retry(request: HttpRequest, run_id: UUID) -> HttpResponse:
    """The same request as a new run of whoever posts."""
    run = _visible(request, run_id, "agent")
    if not access.may_start(request.user):
        raise PermissionDenied("You do not have the permission to start runs.")
    try:
        again = intake.retry(run, request.user, source="web")  # type: ignore[arg-type]
    except NotPossible as error:
        messages.error(request, str(error))
    except BadRequest as error:
        messages.error(request, " ".join(error.faults.values()))
    else:
        return redirect("runs:page", again.pk)
    return redirect("runs:page", run.pk)


@require_POST
@signed_in
def teach(request: HttpRequest, run_id: UUID) -> HttpResponse:
    """Whose it should have been: taught, and where that was ticked, started there as a new run."""
    run = _visible(request, run_id, "agent")
    if not access.may_teach(request.user):
        raise PermissionDenied("Teaching the routes takes an operator.")
    posted, agent = request.POST, request.POST.get("agent", "")
    try:
        with transaction.atomic():
            if posted.get("lesson"):
                _teach(request, run, agent)
            again = _send(request, run, agent) if posted.get("send") else None
    except BadRequest as error:
        return _run_page(request, run_id, error.faults, status=422)
    except NotPossible as error:
        return _run_page(request, run_id, {"send": str(error)}, status=409)
    return redirect("runs:page", again.pk if again else run.pk)


def _teach(request: HttpRequest, run: Run, agent: str) -> None:
    try:
        lesson = Lesson(request.POST["lesson"])
    except ValueError:
        raise BadRequest({"lesson": "Teach an exemplar, a rule or nothing."}) from None
    said = {name: request.POST.get(name, "") for name in ("text", "condition", "name")}
    taught = corrections.teach(run, request.user, agent=agent, lesson=lesson, **said)  # type: ignore[arg-type]
    messages.success(request, f"From now on requests like it go to {taught.agent}.")


def _send(request: HttpRequest, run: Run, agent: str) -> Run:
    if not access.may_start(request.user):
        raise PermissionDenied("You do not have the permission to start runs.")
    return intake.retry(run, request.user, source="web", agent=agent)  # type: ignore[arg-type]


def _visible(request: HttpRequest, run_id: UUID, *joined: str) -> Run:
    rows = Run.objects.visible_to(request.user)
    return get_object_or_404(rows.select_related(*joined) if joined else rows, pk=run_id)


# -- calls in doubt ----------------------------------------------------------------------------------------------
@require_GET
@signed_in
def uncertain_calls(request: HttpRequest) -> HttpResponse:
    return _uncertain_page(request)


@require_POST
@signed_in
def resolve(request: HttpRequest, call_id: UUID) -> HttpResponse:
    visible = ToolCall.objects.filter(dispatch__run__in=Run.objects.visible_to(request.user))
    call = get_object_or_404(visible, pk=call_id)
    if not access.may_resolve(request.user):
        return _uncertain_page(request, call_id, "You may see this call; resolving it takes an operator.", status=403)
    try:
        uncertain.resolve(
            call.pk,
            _finding(request.POST.get("finding")),
            by=request.user,  # type: ignore[arg-type]
            result=request.POST.get("result", ""),
            reason=request.POST.get("reason", ""),
            attests_dead=request.POST.get("attests_dead") == "yes",
        )
    except BadRequest as error:
        return _uncertain_page(request, call_id, " ".join(error.faults.values()), status=422)
    except NotPossible as error:
        return _uncertain_page(request, call_id, str(error), status=409)
    messages.success(request, f"Noted for {call.tool.replace('_', ' ')}; the run goes on where it can.")
    return redirect("runs:uncertain")


def _finding(text: str | None) -> uncertain.Finding:
    try:
        return uncertain.Finding(text or "")
    except ValueError:
        raise BadRequest({"finding": "Say whether it happened, is to be run again, or is left."}) from None


def _uncertain_page(request: HttpRequest, call_id: UUID | None = None, fault: str = "", status: int = 200):
    context = {
        "title": "Uncertain calls",
        "doubts": presentation.doubts(Run.objects.visible_to(request.user)),
        "may_resolve": access.may_resolve(request.user),
        "fault": fault,
        "fault_of": call_id,
        "typed": request.POST,
        "content": "runs/_uncertain.html",
    }
    layout = "part.html" if "part" in request.GET else "runs/uncertain.html"
    return render(request, layout, context, status=status)
