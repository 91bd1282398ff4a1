"""The standing cast of the API's tests: people by role, their tokens, and a run in which everything is open."""

import datetime as dt
from typing import Any

from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client

from approvals import decisions, requests
from approvals.models import APPROVER, REQUESTER, ApprovalRequest, StandingApproval
from approvals.standing import Terms
from orchestrator_site.core import canonical, clock, events, roles, tokens
from orchestrator_site.core.models import Token
from runs import artifacts, intake, states
from runs.models import Artifact, Attempt, Dispatch, Handoff, Node, Run, Step, ToolCall
from tests.agents import cast as agents_cast
from tools import patterns, registry
from tools.models import Tool
from tools.values import Effect, ExecutorKind, Risk

ROOT = "/api/v1"


def person(name: str, *roles: str, **fields: Any) -> User:
    user = User.objects.create_user(name, password=name, **fields)
    user.groups.set(Group.objects.filter(name__in=roles))
    return User.objects.get(pk=user.pk)


def scopes_of(user: User) -> list[str]:
    """Every scope the user can be given."""
    return [scope for scope in tokens.SCOPES if not (roles.is_app(user) and scope == tokens.APPROVALS_DECIDE)]


class Caller:
    """Somebody with a token, or with none."""

    def __init__(self, secret: str | None = None, token: Token | None = None) -> None:
        self._token, self.secret = token, secret
        self.http = Client(
            headers={"Authorization": f"Bearer {secret}"} if secret else {}, raise_request_exception=True
        )

    @classmethod
    def beside(cls, other: "Caller") -> "Caller":
        """The same token over another connection."""
        return cls(other.secret, other._token)

    @property
    def token(self) -> Token:
        assert self._token is not None
        return self._token

    def get(self, path: str, **query: Any) -> Any:
        return self.http.get(ROOT + path, query)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.send("POST", path, body, **headers)

    def patch(self, path: str, body: Any = None) -> Any:
        return self.send("PATCH", path, body)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        data = canonical.dumps(body if body is not None else {}) if method in ("POST", "PATCH") else ""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.generic(method, ROOT + path, data, content_type="application/json", headers=named)


def caller(user: User, *scopes: str, days: int = 1) -> Caller:
    token, secret = tokens.create(user, scopes or scopes_of(user), by=None, days=days)
    return Caller(secret, token)


def expired(user: User) -> Caller:
    made = caller(user)
    Token.objects.filter(pk=made.token.pk).update(expires_at=clock.database_now() - dt.timedelta(seconds=1))
    return made


def revoked(user: User) -> Caller:
    made = caller(user)
    tokens.revoke(made.token, by=None)
    return made


def define_tool(name: str = "refund") -> Tool:
    registry.define(
        name,
        risk=Risk.HIGH,
        description="Refund an order.",
        input_schema={"type": "object", "properties": {"amount": {"type": "number"}}},
        executor=ExecutorKind.HTTP,
        config={"method": "POST", "url": "https://shop.example.com/refunds"},
        effect=Effect.UNSAFE,
    )
    return Tool.objects.get(name=name)


def start(owner: User, input: str = "Refund order A-1.", **more: Any) -> Run:
    return intake.start(owner, input, source="api", **{"agent": "order-desk"} | more)


def waiting(run: Run) -> Dispatch:
    """The run's dispatch, as it stands when a worker has left it waiting for a person."""
    Dispatch.objects.filter(run=run).update(status=states.WAITING, waiting_on="a person")
    Run.objects.filter(pk=run.pk).update(status=states.WAITING, waiting_on="a person")
    return Dispatch.objects.select_related("run", "manifest__agent").get(run=run)


def call(dispatch: Dispatch, tool: str, status: str, position: int = 0, **fields: Any) -> ToolCall:
    step, _ = Step.objects.get_or_create(
        dispatch=dispatch, number=1, defaults={"fence": 1, "model": "small", "status": states.ANSWERED}
    )
    content = {
        "proposed_arguments": '{"amount":20}',
        "arguments": '{"amount":20}',
        "effect": Effect.UNSAFE,
        "risk": Risk.HIGH,
        "ruling": "{}",
        "provider_id": f"toolu_{position}",
    }
    return ToolCall.objects.create(
        dispatch=dispatch, step=step, position=position, tool=tool, status=status, **content | fields
    )


def ask(dispatch: Dispatch, kind: str, asking: ToolCall | None, to: str, **frozen: Any) -> ApprovalRequest:
    with events.recording() as log:
        request = requests.ask(
            log,
            kind=kind,
            run_id=dispatch.run_id,
            dispatch_id=dispatch.pk,
            call_id=asking.pk if asking else None,
            title="Refund: amount 20",
            frozen=frozen,
            risk=Risk.HIGH,
            reasons=["The risk of this call is high."],
            requester_id=dispatch.run.owner_id,
            addressed_to=to,
            deadline_seconds=3600,
        )
    if asking:
        ToolCall.objects.filter(pk=asking.pk).update(request=request)
    return request


def question(dispatch: Dispatch, position: int = 0, asked: str = "Which colour?") -> ApprovalRequest:
    asking = call(dispatch, "ask_human", states.AWAITING_APPROVAL, position, effect=Effect.PURE, risk=Risk.LOW)
    return ask(dispatch, "question", asking, REQUESTER, question=asked, candidates=["blue", "red"], call=str(asking.pk))


def approval(dispatch: Dispatch, position: int = 1) -> ApprovalRequest:
    asking = call(dispatch, "refund", states.AWAITING_APPROVAL, position)
    return ask(dispatch, "tool_call", asking, APPROVER, tool="refund", arguments={"amount": 20}, risk="high")


def given_beforehand(dispatch: Dispatch, position: int) -> StandingApproval:
    """A decided request, and what was approved beforehand with it."""
    asking = call(dispatch, "refund", states.AWAITING_APPROVAL, position)
    frozen = {"tool": "refund", "tool_version": 1, "agent": "order-desk", "arguments": {"amount": 20}}
    request = ask(dispatch, "tool_call", asking, APPROVER, **frozen, risk="high")
    terms = Terms(pattern=patterns.suggested({"amount": 20}), uses_at_most=5)
    decider = person(f"decider-{position}", roles.OPERATOR)
    digest = request.digest
    decisions.decide(request.pk, by=decider, verdict="approved", digest=digest, via="session", standing=terms)
    return StandingApproval.objects.get(decision__request=request)


def doubt(dispatch: Dispatch, position: int = 2) -> ToolCall:
    sent = call(dispatch, "refund", states.UNCERTAIN, position)
    Attempt.objects.create(
        call=sent,
        number=1,
        fence=1,
        idempotency_key=sent.idempotency_key,
        digest="0" * 64,
        endpoint="POST https://shop.example.com/refunds",
        worker="worker-1",
        status=states.UNKNOWN,
        deadline_at=clock.database_now(),
    )
    return sent


def handoff(dispatch: Dispatch) -> Handoff:
    return Handoff.objects.create(
        source=dispatch, target=dispatch.manifest.agent, reason="It is a refund.", task="Refund order A-1."
    )


class Scene:
    """A run of the app `shop`, of which everything that can be open is open; and one of a stranger's."""

    def __init__(self) -> None:
        agents_cast.entry()
        self.tool = define_tool()
        agents_cast.at_work("order-desk")
        self.shop = person("shop", roles.APP)
        self.run = start(self.shop)
        self.dispatch = waiting(self.run)
        self.question = question(self.dispatch)
        self.approval = approval(self.dispatch)
        self.doubt = doubt(self.dispatch)
        self.handoff = handoff(self.dispatch)
        self.artifact: Artifact = artifacts.keep(self.dispatch, "letter", b"Dear customer", "text/plain")

    def finished(self) -> Run:
        """A run of the same app that has ended without effects."""
        run = start(self.shop)
        Dispatch.objects.filter(run=run).update(status=states.SUCCEEDED, stop_reason="finished")
        Node.objects.filter(run=run).update(status=states.SUCCEEDED, stop_reason="finished")
        Run.objects.filter(pk=run.pk).update(status=states.SUCCEEDED, stop_reason="finished", output="Done.")
        return Run.objects.get(pk=run.pk)


def tamper(sql: str, *values: Any) -> None:
    """Change rows past the triggers, as somebody with the database's own rights could."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(sql, values)
        cursor.execute("SET LOCAL session_replication_role = DEFAULT")
