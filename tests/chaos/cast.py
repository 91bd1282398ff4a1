"""Who and what there is: people and their tokens, tools of every class and executor, agents that play scripts."""

import os
from dataclasses import dataclass
from decimal import Decimal

from django.contrib.auth.models import Group, User

from agents import manifests
from agents.models import Agent, FailureRule, ModelEntry
from agents.values import AgentKind, GrantSpec, Limits, ManifestSpec
from orchestrator_site.core import roles, tokens
from runs.models import Budget
from runs.platform_tools import ASK_HUMAN, PROPOSE_HANDOFF
from tools import registry
from tools.models import Tool
from tools.values import Confirmation, Effect, ExecutorKind, Risk

MODEL_KEY = "CHAOS_MODEL_KEY"
TOOL_SECONDS = 3
# Of the agents whose part it is to fail: their scripts are longer.
FEW_ITERATIONS = 2
SCHEMA = {
    "type": "object",
    "properties": {"mark": {"type": "string"}, "amount": {"type": "integer"}, "trouble": {"type": "string"}},
    "required": ["mark", "amount"],
    "additionalProperties": False,
}
PEOPLE = {
    "app": (roles.APP, ["runs:read", "runs:write"]),
    "amir": (roles.APPROVER, ["runs:read", "approvals:read", "approvals:decide"]),
    "ada": (roles.APPROVER, ["runs:read", "approvals:read", "approvals:decide"]),
    "olivia": (
        roles.OPERATOR,
        ["runs:read", "runs:write", "approvals:read", "approvals:decide", "switches:read", "switches:write"],
    ),
}


@dataclass(frozen=True)
class Kind:
    """One tool of the matrix; its name says all of it, for the checker too: `keyed_http_asks`."""

    effect: Effect
    executor: ExecutorKind
    asks: bool

    @property
    def name(self) -> str:
        return f"{self.effect}_{self.executor}_{'asks' if self.asks else 'runs'}"


KINDS = [
    Kind(effect, executor, asks)
    for effect in Effect
    for executor in (ExecutorKind.PYTHON, ExecutorKind.HTTP)
    for asks in (False, True)
]


def bring_in(*, model_url: str, ledger_url: str) -> dict[str, str]:
    """Seed an empty database; the people's tokens by name."""
    os.environ.setdefault(MODEL_KEY, "a key for tests")
    ModelEntry.objects.create(
        name="scripted",
        provider_model="scripted",
        endpoint=model_url,
        credential=f"env:{MODEL_KEY}",
        context_window=200_000,
        output_limit=8192,
        input_price=Decimal("1"),
        output_price=Decimal("5"),
        cache_read_price=Decimal("0.1"),
        cache_write_price=Decimal("1.25"),
    )
    for kind in KINDS:
        _define(kind, ledger_url)
    for slug in ("closer", "helper"):
        _publish(slug, ASK_HUMAN)
    _publish("worker", PROPOSE_HANDOFF, ASK_HUMAN, handoff_targets=("closer", "helper"))
    _publish("lead", kind=AgentKind.SUPERVISOR)
    _publish("router", kind=AgentKind.ROUTER)
    _publish("planner", kind=AgentKind.PLANNER)
    for slug in ("clumsy", "fumbler"):
        _publish(slug, iterations=FEW_ITERATIONS)
    clumsy = Agent.objects.get(slug="clumsy")
    FailureRule.objects.create(agent=clumsy, tries=2, backoff_seconds=0.5, fallbacks=["fumbler"], ask_person=True)
    secrets = {name: _person(name, role, scopes) for name, (role, scopes) in PEOPLE.items()}
    _cap()
    return secrets


def _cap() -> None:
    """Budgets at every level: wide, so that nobody waits, and drawn from by every model call."""
    wide = {"cap_usd": Decimal(10_000)}
    Budget.objects.create(level="global", period="day", zone="Europe/Berlin", **wide)
    Budget.objects.create(level="app", owner=User.objects.get(username="app"), period="month", **wide)
    for slug, period in (("worker", "day"), ("closer", "run")):
        Budget.objects.create(level="agent", agent=Agent.objects.get(slug=slug), period=period, **wide)


def _define(kind: Kind, ledger_url: str) -> None:
    config: dict = {"callable": f"chaos.{kind.effect}"}
    if kind.executor == ExecutorKind.HTTP:
        config = {
            "method": "POST",
            "url": f"{ledger_url}/{kind.effect}",
            "idempotency_header": "Idempotency-Key",
        }
        if kind.effect == Effect.VERIFIABLE:
            config["lookup"] = {"url": f"{ledger_url}/effects/{{key}}"}
    registry.define(
        kind.name,
        risk=Risk.HIGH if kind.asks else Risk.LOW,
        brings=(),
        description=f"Act on the outside world: {kind.name}.",
        input_schema=SCHEMA,
        executor=kind.executor,
        config=config,
        effect=kind.effect,
        timeout_seconds=TOOL_SECONDS,
    )
    confirmation = Confirmation.ALWAYS if kind.asks else Confirmation.NEVER
    Tool.objects.filter(name=kind.name).update(confirmation=confirmation)


def _publish(
    slug: str,
    *platform_tools: str,
    kind: AgentKind = AgentKind.WORKER,
    handoff_targets: tuple[str, ...] = (),
    iterations: int = 60,
) -> None:
    acts = kind not in (AgentKind.ROUTER, AgentKind.PLANNER)
    own = [*(each.name for each in KINDS), *platform_tools] if acts else []
    manifest = ManifestSpec(
        title=slug.capitalize(),
        owns=f"the work of {slug}",
        kind=kind,
        system_prompt=f"You are {slug}.",
        models=("scripted",),
        grants=tuple(GrantSpec(tool=name) for name in own),
        limits=Limits(iterations=iterations, cost_usd=Decimal(100), tokens_total=10_000_000),
        handoff_targets=handoff_targets,
    )
    manifests.publish(manifests.draft(slug, manifest, by=None), by=None)


def _person(name: str, role: str, scopes: list[str]) -> str:
    user = User.objects.create_user(name)
    user.groups.add(Group.objects.get(name=role))
    _, secret = tokens.create(user, scopes, by=None)
    return secret
