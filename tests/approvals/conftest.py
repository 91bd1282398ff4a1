from collections.abc import Callable, Iterator, Mapping
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection

from approvals import kinds, requests, states
from approvals.errors import InvalidEdit
from approvals.kinds import Kind, ReRuled
from approvals.models import ApprovalRequest
from orchestrator_site.core import events
from orchestrator_site.core.ids import new_id
from tools.values import Risk


class Refund(Kind):
    """A fake kind for a refund: its risk grows with the amount. Keeps what it was told."""

    name = "test_refund"
    label = "Refund"
    template = "approvals/_refund.html"
    verdicts = frozenset({states.APPROVED, states.MODIFIED, states.REJECTED, states.ANSWERED})

    def __init__(self) -> None:
        self.told: list[tuple[str, UUID]] = []
        self.objection: str | None = None
        self.breaks = False
        self.another_person = False
        self.four_eyes = False

    def lock(self, request: ApprovalRequest) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 'the subject is locked'")

    def re_rule(self, request: ApprovalRequest, edit: Mapping[str, Any], by: User) -> ReRuled:
        amount = edit.get("amount")
        if not isinstance(amount, int):
            raise InvalidEdit({"amount": "The amount has to be a whole number."})
        risk = Risk.CRITICAL if amount > 1000 else Risk.HIGH if amount > 100 else Risk.LOW
        frozen = {**request.content, "arguments": dict(edit)}
        reasons = (f"Refunds {amount}.",)
        return ReRuled(frozen, risk, reasons, self.another_person, self.four_eyes, title=f"Refund {amount}")

    def may_decide(self, request: ApprovalRequest, user: User) -> str | None:
        return self.objection

    def on_decided(self, request, decision, log) -> None:
        if self.breaks:
            raise RuntimeError("the subject cannot be moved")
        self.told.append((decision.verdict, request.pk))
        log.run(request.run_id, "test_subject_moved", verdict=decision.verdict)

    def on_superseded(self, old, new, log) -> None:
        self.told.append(("superseded", new.pk))


class Question(Kind):
    """A fake kind that only takes answers."""

    name = "test_question"
    label = "Question"
    template = "approvals/_question.html"
    verdicts = frozenset({states.ANSWERED, states.REJECTED})

    def lock(self, request: ApprovalRequest) -> None:
        pass

    def on_decided(self, request, decision, log) -> None:
        pass


@pytest.fixture
def refund() -> Iterator[Refund]:
    kind = Refund()
    kinds.register(kind)
    yield kind
    kinds.forget(kind.name)


@pytest.fixture
def question() -> Iterator[Question]:
    kind = Question()
    kinds.register(kind)
    yield kind
    kinds.forget(kind.name)


class Cast:
    """Ada started the run. Bo and Cy may decide; Di may look; Eve may nothing; Finn may decide but is locked out."""

    def __init__(self) -> None:
        self.ada = self._user("ada")
        self.bo = self._user("bo", "decide_approvalrequest", first_name="Bo", last_name="Berg")
        self.cy = self._user("cy", "decide_approvalrequest")
        self.di = self._user("di", "view_approvalrequest")
        self.eve = self._user("eve")
        self.finn = self._user("finn", "decide_approvalrequest", is_active=False)
        self.root = User.objects.create_superuser("root")

    def _user(self, name: str, *permissions: str, **fields: Any) -> User:
        user = User.objects.create_user(name, **fields)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        return user

    def may_decide_too(self, user: User) -> User:
        user.user_permissions.add(Permission.objects.get(codename="decide_approvalrequest"))
        return User.objects.get(pk=user.pk)


@pytest.fixture
def cast(db: None) -> Cast:
    return Cast()


Asked = Callable[..., ApprovalRequest]


@pytest.fixture
def asked(cast: Cast) -> Asked:
    """Asks for a refund of 200, high risk, in a run that Ada started, with an hour to decide."""

    def ask(**changes: Any) -> ApprovalRequest:
        asking: dict[str, Any] = {
            "kind": "test_refund",
            "run_id": new_id(),
            "call_id": new_id(),
            "title": "Refund 200",
            "frozen": {"tool": "refund", "arguments": {"amount": 200}},
            "risk": Risk.HIGH,
            "reasons": ["The risk of this call is high."],
            "requester_id": cast.ada.pk,
            "deadline_seconds": 3600,
        }
        with events.recording() as log:
            return requests.ask(log, **asking | changes)

    return ask


@pytest.fixture
def types_of() -> Callable[[ApprovalRequest], list[str]]:
    """The event types on a request's run, in order."""
    return lambda request: [event.type for event in events.of_run(request.run_id)]
