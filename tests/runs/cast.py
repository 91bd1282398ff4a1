"""The standing cast: agents that play scripts, tools over an outside ledger, people, and ways to move a run."""

import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User
from django.db import connections
from django.db.models.functions import Now

from agents import manifests
from agents.models import Manifest, ModelEntry
from agents.values import GrantSpec, Limits, ManifestSpec
from approvals import decisions
from approvals.models import MAY_DECIDE, SESSION, ApprovalRequest
from orchestrator_site.core import canonical, events
from runs import carrier, intake, leases, reconcile, states
from runs.models import Dispatch, Run, Step, ToolCall
from runs.values import Lease
from tests.runs.callables import ledger
from tests.waiting import PATIENCE_SECONDS
from tools import registry
from tools.values import Effect, ExecutorKind, Risk

MODEL_KEY = "BATON_TEST_MODEL_KEY"
os.environ[MODEL_KEY] = "a key for tests"

ANY_OBJECT = {"type": "object"}


def script(*turns: dict[str, Any], loop: bool = False) -> str:
    """The input of a run whose agent plays these turns."""
    return json.dumps({"script": list(turns), "loop": loop})


def scripts(**turns_by_agent: list[dict[str, Any]] | dict[str, Any]) -> str:
    """The input of a run whose agents each play their own turns; keys are slugs with _ for -."""
    return json.dumps({"scripts": {f"You are {slug}.": turns for slug, turns in turns_by_agent.items()}})


def text(words: str) -> dict[str, Any]:
    return {"text": words}


def call(*calls: tuple[str, dict[str, Any]], say: str = "") -> dict[str, Any]:
    """A turn that asks for tools."""
    return {"tools": [{"name": name, "input": arguments} for name, arguments in calls], "text": say}


def model(endpoint: str, name: str = "scripted", **changes: Any) -> ModelEntry:
    content: dict[str, Any] = {
        "provider_model": name,
        "endpoint": endpoint,
        "credential": f"env:{MODEL_KEY}",
        "context_window": 200_000,
        "output_limit": 8192,
        "input_price": Decimal("1"),
        "output_price": Decimal("5"),
        "cache_read_price": Decimal("0.1"),
        "cache_write_price": Decimal("1.25"),
    }
    return ModelEntry.objects.create(name=name, **content | changes)


def agent(slug: str = "worker", *tools: str | GrantSpec, **changes: Any) -> Manifest:
    """A published agent with these tools."""
    grants = tuple(tool if isinstance(tool, GrantSpec) else GrantSpec(tool=tool) for tool in tools)
    content: dict[str, Any] = {
        "title": slug.capitalize(),
        "owns": f"the work of {slug}",
        "system_prompt": f"You are {slug}.",
        "models": ("scripted",),
        "grants": grants,
        "limits": Limits(**changes.pop("limits", {})),
    }
    draft = manifests.draft(slug, ManifestSpec(**content | changes), by=None)
    return manifests.publish(draft, by=None)


def tool(name: str, callable: str, effect: Effect = Effect.PURE, risk: Risk = Risk.LOW, **content: Any) -> Any:
    """A tool over a registered callable."""
    return registry.define(
        name,
        risk=risk,
        brings=content.pop("brings", ()),
        description=f"Do {name}.",
        input_schema=content.pop("input_schema", ANY_OBJECT),
        executor=ExecutorKind.PYTHON,
        config={"callable": callable},
        effect=effect,
        **content,
    )


def http_tool(name: str, path: str, effect: Effect, risk: Risk, **content: Any) -> Any:
    """A tool over the outside ledger's HTTP."""
    return registry.define(
        name,
        risk=risk,
        brings=content.pop("brings", ()),
        description=f"Do {name}.",
        input_schema=ANY_OBJECT,
        executor=ExecutorKind.HTTP,
        config={
            "method": "POST",
            "url": f"{ledger()}{path}",
            "idempotency_header": "Idempotency-Key",
            "lookup": {"url": f"{ledger()}{path}/{{key}}"},
        },
        effect=effect,
        **content,
    )


def person(name: str, *, decides: bool = False) -> User:
    user = User.objects.create_user(name, password=name)
    if decides:
        from django.contrib.auth.models import Permission

        app, codename = MAY_DECIDE.split(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
    return User.objects.get(pk=user.pk)


def start(owner: User, input: str, agent: str | None = "worker", **more: Any) -> Run:
    return intake.start(owner, input, source="api", agent=agent, **more)


def carry_all(run: Run) -> Run:
    """Carry every dispatch of a run in this process until none is ready."""
    while ready := Dispatch.objects.forgotten().filter(run=run).order_by("number").first():
        assert carrier.carry(ready.pk)
    run.refresh_from_db()
    return run


def due_now(run: Run) -> None:
    """The moment that the run waits for has come."""
    Step.objects.filter(dispatch__run=run).update(retry_at=Now())
    Dispatch.objects.filter(run=run, status=states.WAITING).update(due_at=Now())


def go_on(run: Run) -> Run:
    """The moment has come, the reconciler queues it, and it is carried."""
    due_now(run)
    reconcile.wake_due()
    return carry_all(run)


def until_a_person_is_asked(run: Run) -> Run:
    """Every moment it waits for has come, up to a question."""
    while not ApprovalRequest.objects.open().filter(run_id=run.pk).exists():
        assert not run.is_final, run.output
        run = go_on(run)
    return run


def request_of(run: Run) -> ApprovalRequest:
    """The one open request of a run."""
    return ApprovalRequest.objects.open().get(run_id=run.pk)


def claim(run: Run) -> Lease:
    """The lease of a run's one dispatch."""
    lease = leases.claim(run.dispatches.get().pk, alone=True)
    assert lease is not None
    return lease


def decide(request: ApprovalRequest | None, by: User, verdict: str = "approved", **more: Any) -> Any:
    assert request is not None
    return decisions.decide(request.pk, by=by, verdict=verdict, digest=request.digest, via=SESSION, **more)


def only_call(run: Run) -> ToolCall:
    return ToolCall.objects.get(dispatch__run=run)


def at_once(job: Callable[[], Any], times: int) -> list[Any]:
    """Run a job in many threads at the same moment; each answer is what it returned or raised."""
    barrier = threading.Barrier(times)

    def run(_: int) -> Any:
        try:
            barrier.wait(timeout=PATIENCE_SECONDS)
            return job()
        except Exception as error:
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(run, range(times)))


def overdue(request: ApprovalRequest) -> ApprovalRequest:
    """Its deadline passed an hour ago."""
    ApprovalRequest.objects.filter(pk=request.pk).update(deadline_at=Now() - timedelta(hours=1))
    return request


def event_types(run: Run) -> list[str]:
    return [event.type for event in events.of_run(run.pk)]


def events_of(run: Run, type: str) -> list[dict[str, Any]]:
    """What the run's events of one type say, in order."""
    return [canonical.loads(event.data) for event in events.of_run(run.pk) if event.type == type]
