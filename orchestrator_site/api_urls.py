"""Every path of the REST API, /api/v1/. A test fails for a path that has no row in the table of who may do what."""

from django.http import HttpRequest, HttpResponse
from django.urls import path, re_path
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from agents import api as agents
from approvals import api as approvals
from orchestrator_site import probes
from orchestrator_site.core import problems
from runs import api as runs
from runs.budgets import api as budgets
from runs.pacing import api as pacing
from runs.policies import api as policies
from tools import api as tools

app_name = "api"


@csrf_exempt
def nothing_here(request: HttpRequest) -> HttpResponse:
    told = "There is nothing at this address."
    return problems.response(404, told if request.path.endswith("/") else f"{told} Addresses here end in a slash.")


urlpatterns = [
    path("runs/", runs.Runs.as_view(), name="runs"),
    path("runs/<uuid:run_id>/", runs.OneRun.as_view(), name="run"),
    path("runs/<uuid:run_id>/events/", runs.Events.as_view(), name="run-events"),
    path("runs/<uuid:run_id>/cancel/", runs.Cancel.as_view(), name="run-cancel"),
    path("runs/<uuid:run_id>/pause/", runs.Pause.as_view(), name="run-pause"),
    path("runs/<uuid:run_id>/resume/", runs.Resume.as_view(), name="run-resume"),
    path("runs/<uuid:run_id>/comment/", runs.Comment.as_view(), name="run-comment"),
    path("runs/<uuid:run_id>/answer/", runs.Answer.as_view(), name="run-answer"),
    path("runs/<uuid:run_id>/teach/", runs.Teach.as_view(), name="run-teach"),
    path("runs/<uuid:run_id>/retry/", runs.Retry.as_view(), name="run-retry"),
    path("runs/<uuid:run_id>/audit/", runs.Audit.as_view(), name="run-audit"),
    path("runs/<uuid:run_id>/trace/", runs.Trace.as_view(), name="run-trace"),
    path("budgets/", budgets.Budgets.as_view(), name="budgets"),
    path("uncertain/", runs.Uncertain.as_view(), name="uncertain"),
    path("uncertain/<uuid:call_id>/resolve/", runs.Resolve.as_view(), name="uncertain-resolve"),
    path("handoffs/", runs.Handoffs.as_view(), name="handoffs"),
    path("handoffs/<uuid:handoff_id>/", runs.OneHandoff.as_view(), name="handoff"),
    path("artifacts/<uuid:artifact_id>/", runs.OneArtifact.as_view(), name="artifact"),
    path("artifacts/<uuid:artifact_id>/content/", runs.ArtifactContent.as_view(), name="artifact-content"),
    path("approvals/", approvals.Approvals.as_view(), name="approvals"),
    path("approvals/standing/", approvals.StandingApprovals.as_view(), name="standing-approvals"),
    path("approvals/standing/<int:standing_id>/revoke/", approvals.Revoke.as_view(), name="standing-approval-revoke"),
    path("approvals/<uuid:request_id>/", approvals.OneApproval.as_view(), name="approval"),
    path("approvals/<uuid:request_id>/decide/", approvals.Decide.as_view(), name="approval-decide"),
    path("approvals/<uuid:request_id>/split/", approvals.Split.as_view(), name="approval-split"),
    path("agents/", agents.Agents.as_view(), name="agents"),
    path("agents/<slug:slug>/", agents.OneAgent.as_view(), name="agent"),
    path("agents/<slug:slug>/versions/", agents.Versions.as_view(), name="agent-versions"),
    path("agents/<slug:slug>/publish/", agents.Publish.as_view(), name="agent-publish"),
    path("agents/<slug:slug>/rollback/", agents.Rollback.as_view(), name="agent-rollback"),
    path("agents/<slug:slug>/retire/", agents.Retire.as_view(), name="agent-retire"),
    path("agents/<slug:slug>/reinstate/", agents.Reinstate.as_view(), name="agent-reinstate"),
    path("roster/", agents.LiveRoster.as_view(), name="roster"),
    path("models/", agents.Models.as_view(), name="models"),
    path("tools/", tools.Tools.as_view(), name="tools"),
    path("tools/<slug:name>/", tools.OneTool.as_view(), name="tool"),
    path("breakers/", pacing.Breakers.as_view(), name="breakers"),
    path("switches/", pacing.Switches.as_view(), name="switches"),
    path("policies/", policies.Policies.as_view(), name="policies"),
    path("policies/facts/", policies.Facts.as_view(), name="policy-facts"),
    path("policies/simulate/", policies.Simulate.as_view(), name="policy-simulate"),
    path("policies/simulations/<uuid:simulation_id>/", policies.OneSimulation.as_view(), name="policy-simulation"),
    path(
        "policies/simulations/<uuid:simulation_id>/cancel/",
        policies.CancelSimulation.as_view(),
        name="policy-simulation-cancel",
    ),
    path("policies/<int:number>/", policies.OnePolicy.as_view(), name="policy"),
    path("policies/<int:number>/publish/", policies.Publish.as_view(), name="policy-publish"),
    path("policies/<int:number>/discard/", policies.Discard.as_view(), name="policy-discard"),
    path("policies/<int:number>/take_back/", policies.TakeBack.as_view(), name="policy-take-back"),
    path("policies/<int:number>/shadow/", policies.Shadow.as_view(), name="policy-shadow"),
    path("health/live/", probes.Live.as_view(), name="health-live"),
    path("health/ready/", probes.Ready.as_view(), name="health-ready"),
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    path("docs/", SpectacularSwaggerView.as_view(url_name="api:schema"), name="docs"),
    re_path("", nothing_here, name="nothing"),  # the last: whatever is asked below /api/v1/ gets a problem document
]
