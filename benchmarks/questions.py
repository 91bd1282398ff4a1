"""What people, applications and workers ask of the database all day, each as a callable over a past.

Used twice: `benchmarks.history` times them, `tests/history/test_plans.py` reads their plans.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.test import Client

from approvals import sweeps
from approvals.models import ApprovalRequest
from benchmarks.past import People
from orchestrator_site import consumers
from orchestrator_site.core import events, observers
from runs import reconcile
from runs.live import rows
from runs.models import Attempt, Dispatch, Run, Step, ToolCall


@dataclass(frozen=True)
class Question:
    name: str
    ask: Callable[[], Any]


def everything(who: People) -> list[Question]:
    return [*sweeping(), *live(who), *pages(who), *api(who), *admin(who)]


def sweeping() -> list[Question]:
    """What every worker asks every two seconds."""
    return [
        Question("sweep: forgotten dispatches", reconcile.call_forgotten),
        Question("sweep: due dispatches", reconcile.wake_due),
        Question("sweep: overdue requests", sweeps.expire_due),
        Question("sweep: runs left behind", reconcile.advance_left_behind),
        Question("sweep: observers", observers.tell),
    ]


def live(who: People) -> list[Question]:
    """What a web process asks while somebody watches."""
    run = _middle_run()
    watched = {events.run_chain(each): 0 for each in Run.objects.order_by("-pk").values_list("pk", flat=True)[:20]}
    return [
        Question("live: head of a chain", lambda: rows.head(events.run_chain(run.pk))),
        Question("live: replay", lambda: rows.after(events.run_chain(run.pk), 3, 500)),
        Question("live: news of 20 chains", lambda: rows.news(watched, 500)),
        Question("live: open requests", consumers.open_requests),
        Question("live: a person's queue", lambda: consumers._queue_of(who.decider.pk)),
    ]


def pages(who: People) -> list[Question]:
    run, asked = _middle_run(), _middle_request()
    waiting = Run.objects.filter(status="waiting").latest("pk")
    seen_by = {"operator": who.operator, "decider": who.decider, "quiet": who.quiet}
    return [
        *[_page(f"home, {name}", user, "/") for name, user in seen_by.items()],
        *[_page(f"runs, {name}", user, "/runs/") for name, user in seen_by.items()],
        _page("runs, older", who.operator, f"/runs/?before={run.pk}"),
        _page("runs, failed", who.operator, "/runs/?status=failed"),
        _page("runs, waiting", who.operator, "/runs/?status=waiting"),
        _page("runs, none accepted", who.operator, "/runs/?status=accepted"),
        _page("runs, agent worker", who.operator, "/runs/?agent=worker"),
        _page("runs, agent rare", who.operator, "/runs/?agent=rare"),
        _page("runs, mine of few", who.quiet, "/runs/?whose=mine"),
        _page("a run", who.operator, f"/runs/{run.pk}/"),
        _page("a waiting run", who.operator, f"/runs/{waiting.pk}/"),
        _page("a run's events", who.operator, f"/runs/{run.pk}/events/"),
        _page("approvals, mine", who.decider, "/approvals/"),
        _page("approvals, open", who.decider, "/approvals/?show=open"),
        _page("approvals, decided", who.decider, "/approvals/?show=decided"),
        _page("a request", who.decider, f"/approvals/{asked.pk}/"),
        _page("uncertain", who.operator, "/uncertain/"),
        _page("health", who.operator, "/ops/"),
    ]


def api(who: People) -> list[Question]:
    run, asked = _middle_run(), _middle_request()
    return [
        _page("api: runs", who.operator, "/api/v1/runs/"),
        _page("api: runs of few", who.quiet, "/api/v1/runs/"),
        _page("api: runs an approver sees", who.decider, "/api/v1/runs/"),
        _page("api: runs failed", who.operator, "/api/v1/runs/?status=failed"),
        _page("api: runs none accepted", who.operator, "/api/v1/runs/?status=accepted"),
        _page("api: runs of agent rare", who.operator, "/api/v1/runs/?agent=rare"),
        _page("api: runs of a conversation", who.operator, f"/api/v1/runs/?conversation={run.conversation_id}"),
        Question("api: runs, third page", lambda: _third_page(who.operator)),
        _page("api: a run", who.operator, f"/api/v1/runs/{run.pk}/"),
        _page("api: a run's events", who.operator, f"/api/v1/runs/{run.pk}/events/"),
        _page("api: a run's trace", who.operator, f"/api/v1/runs/{run.pk}/trace/"),
        _page("api: a run's audit", who.operator, f"/api/v1/runs/{run.pk}/audit/"),
        _page("api: approvals", who.decider, "/api/v1/approvals/"),
        _page("api: approvals, rejected", who.decider, "/api/v1/approvals/?status=rejected"),
        _page("api: approvals, all", who.decider, "/api/v1/approvals/?status=all"),
        _page("api: approvals of few", who.quiet, "/api/v1/approvals/?status=all"),
        _page("api: approvals of a run", who.decider, f"/api/v1/approvals/?status=all&run={asked.run_id}"),
        _page("api: a request", who.decider, f"/api/v1/approvals/{asked.pk}/"),
        _page("api: uncertain", who.operator, "/api/v1/uncertain/"),
        _page("api: handoffs", who.operator, "/api/v1/handoffs/"),
    ]


def admin(who: People) -> list[Question]:
    run = _middle_run()
    part = Dispatch.objects.get(run=run)
    step, call = Step.objects.filter(dispatch=part).latest("pk"), ToolCall.objects.filter(dispatch=part).first()
    attempt = Attempt.objects.filter(call=call).first()
    event = events.of_run(run.pk)[0]
    assert call is not None
    assert attempt is not None
    lists = {
        "core/event": ["type=run_failed", "of=platform", "of=runs", "q=user:decider", f"q={run.pk}", "q=run_failed"],
        "core/chainhead": [f"q=run:{run.pk}"],
        "core/observation": [],
        "runs/run": ["status__exact=failed", "q=on+their+way", "q=nowhere+to+be+found", f"q={run.pk}"],
        "runs/conversation": [f"q={run.conversation_id}", f"q={run.pk}"],
        "runs/dispatch": ["status__exact=failed", f"q={run.pk}", "q=rare"],
        "runs/step": ["status__exact=failed", "status__exact=lost", f"q={run.pk}", "q=nothing"],
        "runs/toolcall": ["status__exact=uncertain", "risk__exact=high", f"q={run.pk}", "q=pay_out", "q=nothing"],
        "runs/attempt": ["status__exact=unknown", f"q={run.pk}", f"q={attempt.idempotency_key}", "q=nothing"],
        "approvals/approvalrequest": ["status__exact=rejected", "risk__exact=critical", "q=pay", f"q={run.pk}"],
        "approvals/decision": ["verdict__exact=rejected", "q=decider", "q=nothing"],
    }
    rows: list[tuple[str, Any]] = [
        ("runs/run", run),
        ("runs/dispatch", part),
        ("runs/step", step),
        ("runs/toolcall", call),
    ]
    rows += [("runs/attempt", attempt), ("core/event", event), ("runs/conversation", run.conversation)]
    return [
        *[_page(f"admin: {name}", who.root, f"/admin/{name}/") for name in lists],
        *[_page(f"admin: {name}?{_short(q)}", who.root, f"/admin/{name}/?{q}") for name in lists for q in lists[name]],
        *[_page(f"admin: one {name}", who.root, f"/admin/{name}/{row.pk}/change/") for name, row in rows],
    ]


def _short(query: str) -> str:
    name, _, value = query.partition("=")
    return f"{name}={value if len(value) < 25 else '<id>'}"


def _middle_run() -> Run:
    """An ended run of half a year ago, with calls."""
    ended = Run.objects.filter(status="succeeded", dispatches__calls__isnull=False, agent__slug="worker")
    ids = ended.order_by("pk").values_list("pk", flat=True)
    return Run.objects.select_related("conversation").get(pk=ids[ids.count() // 2])


def _middle_request() -> ApprovalRequest:
    closed = ApprovalRequest.objects.exclude(status="open").order_by("pk")
    return closed[closed.count() // 2]


def _page(name: str, user: User, address: str) -> Question:
    client = Client(HTTP_HOST="127.0.0.1")
    client.force_login(user)
    return Question(name, lambda: _got(client, address))


def _got(client: Client, address: str) -> Any:
    response = client.get(address, follow=True)
    assert response.status_code == 200, f"{address} answered {response.status_code}"
    return response


def _third_page(user: User) -> Any:
    client = Client(HTTP_HOST="127.0.0.1")
    client.force_login(user)
    address = "/api/v1/runs/"
    for _ in range(2):
        address = _got(client, address).json()["next"]
    return _got(client, address)
