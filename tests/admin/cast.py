"""One row of everything the admin shows, and the people who open it."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.db.models.functions import Now
from django.urls import reverse

from agents import manifests
from agents.models import (
    Agent,
    Exemplar,
    FailureRule,
    Manifest,
    ModelEntry,
    OrderingRule,
    RosterEpoch,
    RoutingFit,
    RoutingRule,
    Transition,
    WorkerRoster,
)
from agents.routing import fits, teaching
from agents.values import GrantSpec, ManifestSpec
from approvals import decisions, kinds, requests, states
from approvals.kinds import Kind
from approvals.models import SESSION, ApprovalRequest, Decision, StandingApproval
from approvals.standing import Terms
from orchestrator_site.core import canonical, checkpoints, events, roles, tokens
from orchestrator_site.core.ids import new_id
from orchestrator_site.core.models import ChainHead, Checkpoint, Event, IdempotencyKey, Observation, Restoration, Token
from runs import intake
from runs.models import (
    Account,
    Allotment,
    AppShare,
    Artifact,
    Attempt,
    Blob,
    BoardEntry,
    Breaker,
    Budget,
    BudgetPeriod,
    ContextView,
    Conversation,
    Dispatch,
    Handoff,
    Message,
    Node,
    Place,
    PlaceLimit,
    Plan,
    PlanTemplate,
    RateBucket,
    RateLimit,
    Route,
    Routing,
    Run,
    Step,
    Switch,
    ToolCall,
    WatchRule,
)
from tools import patterns, registry
from tools.models import DestinationList, EgressRule, Tool, ToolVersion
from tools.values import Effect, ExecutorKind, Risk

PASSWORD = "a password for tests"


class AnyKind(Kind):
    name = "test_admin"
    label = "Test"
    template = "approvals/_none.html"
    verdicts = frozenset({states.APPROVED, states.REJECTED})

    def lock(self, request: ApprovalRequest) -> None:
        pass

    def on_decided(self, request: Any, decision: Any, log: Any) -> None:
        pass


def person(name: str, role: str = "", **fields: Any) -> User:
    user = User.objects.create_user(name, password=PASSWORD, is_staff=True, **fields)
    if role:
        user.groups.add(Group.objects.get(name=role))
    return User.objects.get(pk=user.pk)


def operator() -> User:
    return person("olga", roles.OPERATOR)


def auditor() -> User:
    return person("aude", roles.AUDITOR)


def approver() -> User:
    return person("abel", roles.APPROVER)


def model(name: str = "small", **changes: Any) -> ModelEntry:
    content: dict[str, Any] = {
        "provider_model": "claude-small-1",
        "context_window": 200_000,
        "output_limit": 8192,
        "input_price": Decimal("1"),
        "output_price": Decimal("5"),
        "cache_read_price": Decimal("0.1"),
        "cache_write_price": Decimal("1.25"),
    }
    return ModelEntry.objects.create(name=name, **content | changes)


def tool(name: str = "refund", risk: Risk = Risk.HIGH, **changes: Any) -> Any:
    content: dict[str, Any] = {
        "description": "Pay money back on one order.",
        "input_schema": {"type": "object", "properties": {"amount": {"type": "number"}}},
        "executor": ExecutorKind.HTTP.value,
        "config": {"method": "POST", "url": "http://127.0.0.1:9/refunds", "idempotency_header": "Idempotency-Key"},
        "effect": Effect.KEYED.value,
        "risk_rules": [{"when": "double(args.amount) > 200.0", "risk": "critical", "reason": "A lot of money."}],
        "timeout_seconds": 30.0,
        "result_limit_bytes": 64_000,
    }
    return registry.define(name, risk=risk, **content | changes).tool


def spec(**changes: Any) -> ManifestSpec:
    content: dict[str, Any] = {
        "title": "Order desk",
        "owns": "questions about orders",
        "system_prompt": "You answer questions about orders.",
        "models": ("small",),
    }
    return ManifestSpec(**content | changes)


def at_work(slug: str, **changes: Any) -> Any:
    manifests.publish(manifests.draft(slug, spec(**changes), by=None), by=None)
    return Agent.objects.select_related("published__agent").get(slug=slug)


def run(owner: User, agent: str, input: str = "Where is order 1042?", **more: Any) -> Run:
    return intake.start(owner, input, source="api", agent=agent, budget_usd=Decimal("2"), **more)


class Everything:
    """Two agents, a tool, a run of the first with every kind of row under it, a request decided, the ground's rows."""

    def __init__(self) -> None:
        self.owner = User.objects.create_user("ann")
        model()
        self.tool = tool()
        self.agent = at_work("orders", grants=(GrantSpec(tool="refund"),), handoff_targets=())
        self.other = at_work("refunds")
        self.draft = manifests.draft("orders", spec(title="Order desk, second"), by=None)
        FailureRule.objects.create(agent=self.agent, tries=2)
        PlanTemplate.objects.create(
            slug="two", title="Two", content={"nodes": [{"key": "a", "agent": "x", "task": "t"}]}
        )
        OrderingRule.objects.create(before=self.agent, after=self.other, reason="First read, then pay.")
        Transition.objects.create(source=self.agent, target=self.other, deadline_seconds=600)
        teaching.teach_rule("refunds", 'text.contains("refund")', None, agent=self.other)
        teaching.teach_exemplar(self.other, "I want my money back", None)
        fits.keep_up()
        Switch.objects.create(scope="tool", name="refund", is_thrown=True, reason="Prices are wrong.", by_name="ola")
        Breaker.objects.create(kind="tool", name="refund", failures=2)
        AppShare.objects.create(app=self.owner, weight=2)
        self.places = PlaceLimit.objects.create(scope="agent", name="orders", most=1000)
        rate = RateLimit.objects.create(scope="tool", name="refund", count=10)
        RateBucket.objects.create(limit=rate, key="refund", spent_to=Now(), promised_to=Now(), made_up_to=Now())
        RosterEpoch.objects.get_or_create(pk=1)
        WorkerRoster.objects.create(worker="w1", host="here", pid=1, epoch=1)
        self.run = run(self.owner, "orders")
        self._work()
        self._asked()
        self._ground()

    def _work(self) -> None:
        self.dispatch = Dispatch.objects.get(run=self.run)
        step = Step.objects.create(dispatch=self.dispatch, number=1, fence=1, model="small", reply='{"content":[]}')
        self.call = ToolCall.objects.create(
            dispatch=self.dispatch,
            step=step,
            position=0,
            provider_id="toolu_1",
            tool="refund",
            tool_version=self.tool.current,
            proposed_arguments='{"amount":20}',
            arguments='{"amount":20}',
            effect="keyed",
            risk="high",
            status="done",
            result='{"ok":true}',
        )
        Attempt.objects.create(
            call=self.call,
            number=1,
            fence=1,
            idempotency_key=self.call.idempotency_key,
            digest="d" * 64,
            endpoint="POST http://127.0.0.1:9/refunds",
            worker="w1",
            status="succeeded",
            deadline_at=Now() + timedelta(seconds=30),
        )
        Plan.objects.create(run=self.run, node=self.dispatch.node, source="template", proposed={}, content={})
        BoardEntry.objects.create(
            run=self.run, number=1, dispatch=self.dispatch, agent="orders", category="finding", content="It is late."
        )
        WatchRule.objects.create(name="late", condition='entry.category == "finding"', agent=self.other, task="Look.")
        budget = Budget.objects.create(level="agent", agent=self.agent, cap_usd=Decimal(5))
        period = BudgetPeriod.objects.create(
            budget=budget, begins_at=Now(), ends_at=Now() + timedelta(hours=1), cap_usd=Decimal(5)
        )
        Allotment.objects.create(run=self.run, period=period)
        Handoff.objects.create(source=self.dispatch, target=self.other, reason="Money back.", task="Pay 20 back.")
        Route.objects.create(source=self.dispatch, number=1, agent=self.other, task="Pay.", decided_by="agent:orders")
        Routing.objects.create(run=self.run, epoch=1, line="Routed by the rule “orders”", agent="orders")
        ContextView.objects.create(
            dispatch=self.dispatch, number=1, after_step=1, tokens_before=9000, tokens_after=5000
        )
        Place.objects.create(limit=self.places, key="orders", dispatch=self.dispatch, fence=1)
        Message.objects.create(dispatch=self.dispatch, number=1, sender="user:ann", text="Mind the EU figures.")
        blob = Blob.objects.create(digest="a" * 64, content=b"an answer")
        Artifact.objects.create(run=self.run, dispatch=self.dispatch, name="answer", size=9, blob=blob)

    def _asked(self) -> None:
        kinds.register(AnyKind())
        with events.recording() as log:
            asked = requests.ask(
                log,
                kind=AnyKind.name,
                run_id=self.run.pk,
                call_id=new_id(),
                title="Refund 20",
                frozen={"tool": "refund", "tool_version": 1, "agent": "orders", "arguments": {"amount": 20}},
                risk=Risk.HIGH,
                reasons=["The risk of this call is high."],
                requester_id=self.owner.pk,
                deadline_seconds=3600,
            )
        decider = User.objects.create_superuser("root")
        terms = Terms(pattern=patterns.suggested({"amount": 20}), this_run=True)
        decisions.decide(asked.pk, by=decider, verdict="approved", digest=asked.digest, via=SESSION, standing=terms)
        kinds.forget(AnyKind.name)

    def _ground(self) -> None:
        DestinationList.objects.create(name="customers", kind="domain", lines="example.com")
        EgressRule.objects.create(place="10.0.3.0/24", port=8080)
        event = Event.objects.earliest("pk")
        Observation.objects.create(
            event=event, observer="letters", failures=5, given_up=True, due_at=Now(), last_error="OSError: no"
        )
        IdempotencyKey.objects.create(owner=self.owner, route="runs", key="k1", body_digest="b" * 64, status=201)
        checkpoints.make()
        Restoration.objects.create(database_number=1, outside_number=2, found_by="user:root", marked_at=Now())
        self.token, _ = tokens.create(self.owner, ["runs:read"], by=None)

    @property
    def rows(self) -> dict[type[Model], Model]:
        """One row of every table the admin shows."""
        shown: list[type[Model]] = [
            *[RoutingRule, Exemplar, RoutingFit, Transition, DestinationList, EgressRule],
            *[Agent, FailureRule, Manifest, ModelEntry, OrderingRule, RosterEpoch, WorkerRoster, Tool, ToolVersion],
            *[
                ApprovalRequest,
                Decision,
                StandingApproval,
                Event,
                ChainHead,
                Checkpoint,
                Restoration,
                Observation,
                IdempotencyKey,
                Token,
                User,
                Group,
            ],
            *[
                Account,
                Allotment,
                Budget,
                BudgetPeriod,
                Artifact,
                Attempt,
                ContextView,
                BoardEntry,
                Breaker,
                WatchRule,
                Conversation,
                Dispatch,
                Handoff,
                Message,
                Node,
                Plan,
                AppShare,
                Place,
                PlaceLimit,
                PlanTemplate,
                RateBucket,
                RateLimit,
                Route,
                Routing,
                Run,
                Step,
                Switch,
                ToolCall,
            ],
        ]
        return {table: table._default_manager.order_by("pk").first() for table in shown}  # type: ignore[misc]


def list_url(table: type[Model]) -> str:
    return reverse(f"admin:{table._meta.app_label}_{table._meta.model_name}_changelist")


def add_url(table: type[Model], query: str = "") -> str:
    return reverse(f"admin:{table._meta.app_label}_{table._meta.model_name}_add") + query


def change_url(row: Any) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def delete_url(row: Any) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_delete", args=[row.pk])


def verb_url(row: Any, verb: str) -> str:
    label = f"{row._meta.app_label}_{row._meta.model_name}"
    return reverse(f"admin:{label}_{verb}", args=[row.pk])


def platform_events(type: str) -> list[dict[str, Any]]:
    found = Event.objects.filter(chain=events.PLATFORM, type=type).order_by("seq")
    return [canonical.loads(event.data) | {"actor": event.actor} for event in found]
