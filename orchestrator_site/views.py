"""The site's own pages: what needs me now, and the health of the installation."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from approvals.models import ApprovalRequest
from orchestrator_site import health
from orchestrator_site.core import canonical, events
from orchestrator_site.core.models import Event
from runs import access, presentation
from runs.access import Person
from runs.models import Run, ToolCall
from runs.models.runs import MAY_VIEW

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
    decidable = ApprovalRequest.objects.decidable_by(user).select_related("requester").in_queue_order()
    mine = Run.objects.filter(owner_id=user.pk).order_by("-pk")
    context = {
        "title": "What needs you now",
        "requests": list(decidable.defer("frozen", "edited_frozen", "reasoning")[:REQUESTS_SHOWN]),
        "uncertain": list(
            ToolCall.objects.uncertain()
            .filter(dispatch__run__in=visible)
            .select_related("dispatch__run", "dispatch__manifest__agent")
            .order_by("created_at")[:REQUESTS_SHOWN]
        ),
        "open_runs": presentation.lines(list(mine.open()[:RUNS_SHOWN])),
        "ended_runs": presentation.lines(list(mine.filter(finished_at__isnull=False)[:5])),
        "notices": _notices(user),
        "observers": health.failing_observers() if access.may_look_after(user) else [],
        "may_start": access.may_start(user),
        "typed": {},
        "faults": {},
        "content": "site/_home.html",
    }
    return render(request, "part.html" if "part" in request.GET else "site/home.html", context)


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
    context = {"title": "Health", "health": health.everything(), "content": "site/_ops.html"}
    return render(request, "part.html" if "part" in request.GET else "site/ops.html", context)
