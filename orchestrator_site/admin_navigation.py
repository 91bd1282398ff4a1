"""The admin's sidebar: what an operator edits and watches, in the words of the house."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse


def stylesheet(request: HttpRequest) -> str:
    return static("admin_site/admin.css")


def mark(request: HttpRequest) -> str:
    return static("orchestrator_site/mark.svg")


def is_demo_model() -> bool:
    """Whether model replies come from the bundled demo model server."""
    return bool(settings.BATON_DEMO_MODEL_URL) or not settings.ANTHROPIC_API_KEY


def environment(request: HttpRequest) -> list[str] | None:
    """The mark beside the admin's titles."""
    return ["Demo model server", "primary"] if is_demo_model() else None


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """Groups without anything this person may see are left out."""
    groups = [
        _group(
            "Now",
            _own("What needs me", "home", "/"),
            _own("Runs, live", "monitoring", "/runs/"),
            _own("Approvals to decide", "rule", "/approvals/"),
            _own("Uncertain calls", "help_center", "/uncertain/"),
            _own("Health", "ecg_heart", "/ops/"),
        ),
        _group(
            "Agents",
            _rows("Agents", "smart_toy", "agents.agent"),
            _rows("Manifests", "description", "agents.manifest"),
            _rows("Models", "neurology", "agents.modelentry"),
            _rows("Ordering rules", "low_priority", "agents.orderingrule"),
            _rows("Transitions", "grid_on", "agents.transition"),
            _rows("Routing rules", "alt_route", "agents.routingrule"),
            _rows("Taught exemplars", "school", "agents.exemplar"),
            _rows("Routing fits", "model_training", "agents.routingfit"),
            _rows("Failure rules", "healing", "agents.failurerule"),
            _rows("Plan templates", "schema", "runs.plantemplate"),
            _rows("Watch rules", "visibility", "runs.watchrule"),
        ),
        _group(
            "Tools",
            _rows("Tools", "build", "tools.tool"),
            _rows("Tool versions", "history", "tools.toolversion"),
            _rows("Policies", "policy", "tools.policy"),
            _rows("Simulations", "science", "runs.simulation"),
            _rows("Destination lists", "checklist", "tools.destinationlist"),
            _rows("Egress rules", "outbound", "tools.egressrule"),
        ),
        _group(
            "Work",
            _rows("Runs", "play_circle", "runs.run"),
            _rows("Conversations", "forum", "runs.conversation"),
            _rows("Dispatches", "account_tree", "runs.dispatch"),
            _rows("Steps", "stairs", "runs.step"),
            _rows("Tool calls", "call_made", "runs.toolcall"),
            _rows("Attempts", "send", "runs.attempt"),
            _rows("Nodes", "account_tree", "runs.node"),
            _rows("Plans", "schema", "runs.plan"),
            _rows("Routings", "alt_route", "runs.routing"),
            _rows("Handoffs", "swap_horiz", "runs.handoff"),
            _rows("Messages", "mail", "runs.message"),
            _rows("Context views", "compress", "runs.contextview"),
            _rows("Artifacts", "attach_file", "runs.artifact"),
        ),
        _group(
            "Money",
            _rows("Budgets", "payments", "runs.budget"),
            _rows("Budgets, by period", "calendar_month", "runs.budgetperiod"),
            _rows("Budgets of runs", "account_balance_wallet", "runs.account"),
            _rows("Drawn by runs", "toll", "runs.allotment"),
        ),
        _group(
            "Pace",
            _rows("Kill switches", "emergency_home", "runs.switch"),
            _rows("Breakers", "electric_bolt", "runs.breaker"),
            _rows("Rates", "speed", "runs.ratelimit"),
            _rows("Rates in use", "water_drop", "runs.ratebucket"),
            _rows("Places", "event_seat", "runs.placelimit"),
            _rows("Places taken", "airline_seat_recline_normal", "runs.place"),
            _rows("Shares of apps", "balance", "runs.appshare"),
        ),
        _group(
            "Approvals",
            _rows("Requests", "approval", "approvals.approvalrequest"),
            _rows("Decisions", "gavel", "approvals.decision"),
            _rows("Standing approvals", "event_repeat", "approvals.standingapproval"),
        ),
        _group(
            "Platform",
            _rows("Events", "list_alt", "core.event"),
            _rows("Chains", "link", "core.chainhead"),
            _rows("Checkpoints", "verified", "core.checkpoint"),
            _rows("Restores", "settings_backup_restore", "core.restoration"),
            _rows("Owed to observers", "notifications_active", "core.observation"),
            _rows("Tokens", "key", "core.token"),
            _rows("Idempotency keys", "fingerprint", "core.idempotencykey"),
            _rows("Rosters of workers", "lan", "agents.workerroster"),
            _rows("People", "person", "auth.user"),
            _rows("Roles", "group", "auth.group"),
            _own("API documentation", "api", "/api/v1/docs/"),
        ),
    ]
    kept = [group for make in groups if (group := make(request))["items"]]
    kept[0]["separator"] = False
    return kept


Item = Callable[[HttpRequest], dict[str, Any] | None]


def _group(title: str, *items: Item) -> Callable[[HttpRequest], dict[str, Any]]:
    def make(request: HttpRequest) -> dict[str, Any]:
        seen = [made for item in items if (made := item(request))]
        return {"title": title, "separator": True, "items": seen}

    return make


def _own(title: str, icon: str, link: str) -> Item:
    """One of the platform's own pages; each of them decides by itself what this person sees there."""
    return lambda request: {"title": title, "icon": icon, "link": link, "active": False}


def _rows(title: str, icon: str, model: str) -> Item:
    """A list of the admin, for whoever may view or change its rows."""
    app, name = model.split(".")

    def make(request: HttpRequest) -> dict[str, Any] | None:
        if not any(request.user.has_perm(f"{app}.{right}_{name}") for right in ("view", "change")):
            return None
        link = reverse(f"admin:{app}_{name}_changelist")
        return {"title": title, "icon": icon, "link": link, "active": request.path.startswith(link)}

    return make
