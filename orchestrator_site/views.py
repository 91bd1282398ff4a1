"""The site's own pages: what needs me now, and the health of the installation."""

from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from approvals.models import ApprovalRequest
from orchestrator_site import health
from orchestrator_site.core import canonical, events
from orchestrator_site.core.models import Event
from runs import access, presentation
from runs.access import Person
from runs.budgets import standing
from runs.errors import BadRequest
from runs.models import Run, ToolCall
from runs.models.pacing import BREAKER_KINDS, MAY_MOVE_BREAKERS, SWITCH_SCOPES, offered
from runs.models.runs import MAY_VIEW
from runs.pacing import breakers, switches
from tools.models import Policy
from tools.models.policies import PROPOSED

signed_in = login_required(login_url="login")
REQUESTS_SHOWN = 6
RUNS_SHOWN = 8
NOTICES_SHOWN = 6
RUNS_WITH_NOTICES = 100


@require_GET
@signed_in
def home(request: HttpRequest) -> HttpResponse:
    user = request.user
    visible = Run.objects.visible_to(user)
    decidable = ApprovalRequest.objects.decidable_by(user).leading().select_related("requester").in_queue_order()
    mine = Run.objects.filter(owner_id=user.pk).order_by("-pk")
    context = {
        "title": "What needs you now",
        "requests": list(decidable.with_calls().defer("frozen", "edited_frozen", "reasoning")[:REQUESTS_SHOWN]),
        "uncertain": list(
            ToolCall.objects.uncertain()
            .filter(dispatch__run__in=visible)
            .select_related("dispatch__run", "dispatch__manifest__agent")
            .order_by("created_at")[:REQUESTS_SHOWN]
        ),
        "open_runs": presentation.lines(list(mine.open()[:RUNS_SHOWN])),
        "ended_runs": presentation.lines(list(mine.filter(finished_at__isnull=False)[:5])),
        "notices": _notices(user),
        "policies": _proposed(user),
        "observers": health.failing_observers() if access.may_look_after(user) else [],
        "budgets": standing.nearly_gone() if access.may_see_budgets(user) else [],
        "may_start": access.may_start(user),
        "typed": {},
        "faults": {},
        "content": "site/_home.html",
    }
    return render(request, "part.html" if "part" in request.GET else "site/home.html", context)


def _proposed(user: Person) -> list[Policy]:
    """Weaker policies that wait for a second person, for whoever may be that person."""
    if not user.has_perm("tools.publish_policy"):
        return []
    return list(Policy.objects.filter(status=PROPOSED).exclude(proposed_by=user.pk).select_related("proposed_by"))


def _notices(user: Person) -> list[dict[str, Any]]:
    """Calls that ran without asking and only told of it. Who does not see all runs is told of their newest ones:
    theirs may be few, and looking for them by type would read the whole log."""
    told = Event.objects.filter(type="tool_call_notice").order_by("-at")
    if not user.has_perm(MAY_VIEW):
        newest = Run.objects.visible_to(user).order_by("-pk").values_list("pk", flat=True)[:RUNS_WITH_NOTICES]
        told = told.filter(chain__in=[events.run_chain(run_id) for run_id in newest])
    return [{"event": event, **canonical.loads(event.data)} for event in told[:NOTICES_SHOWN]]


@require_GET
@signed_in
def ops(request: HttpRequest) -> HttpResponse:
    if not access.may_look_after(request.user):
        raise Http404
    return _ops_page(request)


def _ops_page(
    request: HttpRequest,
    faults: Mapping[str, str] | None = None,
    breaker_faults: Mapping[str, str] | None = None,
) -> HttpResponse:
    context = {
        "title": "Health",
        "health": health.everything(),
        "may_throw": access.may_throw(request.user),
        "scopes": SWITCH_SCOPES,
        "typed": request.POST,
        "faults": faults,
        "may_move_breakers": request.user.has_perm(MAY_MOVE_BREAKERS),
        "breaker_kinds": BREAKER_KINDS,
        "breaker_faults": breaker_faults,
        "names": offered,
        "content": "site/_ops.html",
    }
    page = "part.html" if "part" in request.GET else "site/ops.html"
    return render(request, page, context, status=422 if faults or breaker_faults else 200)


@require_POST
@signed_in
def move_switch(request: HttpRequest) -> HttpResponse:
    """Throw or release a kill switch, as the button says that was pressed."""
    if not access.may_look_after(request.user):
        raise Http404
    if not access.may_throw(request.user):
        raise PermissionDenied("You do not have the permission to throw kill switches.")
    scope, name, reason = (request.POST.get(field, "").strip() for field in ("scope", "name", "reason"))
    move = switches.release if request.POST.get("move") == "release" else switches.throw
    try:
        moved = move(scope, name, by=request.user, reason=reason)  # type: ignore[arg-type]
    except BadRequest as error:
        return _ops_page(request, error.faults)
    done = "is thrown: nothing of it is begun any more." if moved.is_thrown else "is released: what waited goes on."
    messages.success(request, f"{str(moved).capitalize()} {done}")
    return redirect("ops")


@require_POST
@signed_in
def move_breaker(request: HttpRequest) -> HttpResponse:
    """Open or close a circuit breaker, as the button says that was pressed."""
    if not access.may_look_after(request.user):
        raise Http404
    if not request.user.has_perm(MAY_MOVE_BREAKERS):
        raise PermissionDenied("You do not have the permission to open and close circuit breakers.")
    kind, name, reason = (request.POST.get(field, "").strip() for field in ("kind", "name", "reason"))
    move = breakers.close if request.POST.get("move") == "close" else breakers.hold_open
    try:
        moved = move(kind, name, by=request.user, reason=reason)  # type: ignore[arg-type]
    except BadRequest as error:
        return _ops_page(request, breaker_faults=error.faults)
    messages.success(request, f"{str(moved).capitalize()} is {moved.status}.")
    return redirect("ops")
