from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from approvals.models import ApprovalRequest
from runs.models import Run
from tests.model_fixtures import ScriptedModel
from tests.runs import callables, cast  # noqa: F401  (registers the callables)
from tests.runs.cast import agent, call, carry_all, request_of, script, start, text, tool, until_a_person_is_asked
from tools import callables as registered
from tools.values import CallContext, Effect, Risk

REFUND = {
    "type": "object",
    "properties": {
        "order_number": {"type": "integer", "minimum": 1, "description": "The order's number."},
        "amount": {"type": "number", "exclusiveMinimum": 0, "maximum": 1000},
        "reason": {"type": "string", "minLength": 1, "maxLength": 400},
        "address": {"type": "object"},
        "is_gift": {"type": "boolean"},
    },
    "required": ["order_number", "amount", "reason"],
    "additionalProperties": False,
}


@registered.register("tests.pay_back", trusted=True)
def pay_back(*, call: CallContext, **arguments: Any) -> Any:
    return arguments


ASKED = {"order_number": 1042, "amount": 49.5, "reason": "It arrived broken."}


def person(name: str, *roles: str, **fields: Any) -> User:
    user = User.objects.create_user(name, password=name, **fields)
    user.groups.set(Group.objects.filter(name__in=roles))
    return user


@pytest.fixture
def model(db: None, scripted_model: ScriptedModel) -> ScriptedModel:
    cast.model(scripted_model.url)
    return scripted_model


@pytest.fixture
def olga(db: None) -> User:
    """Operates."""
    return person("olga", "Operator", first_name="Olga")


@pytest.fixture
def alice(db: None) -> User:
    """Decides."""
    return person("alice", "Approver", first_name="Alice")


@pytest.fixture
def app(db: None) -> User:
    """Starts runs, and sees its own."""
    return person("shop", "App")


@pytest.fixture
def eve(db: None) -> User:
    """Has an account and nothing else."""
    return person("eve")


@pytest.fixture
def at(client: Client) -> Callable[[User], Client]:
    """A browser in the hands of a user: `at(alice)`."""

    def sign_in(user: User) -> Client:
        client.force_login(user)
        return client

    return sign_in


@pytest.fixture
def desk(model: ScriptedModel) -> None:
    """An agent whose refunds are asked about."""
    tool("pay_back", "tests.pay_back", Effect.KEYED, Risk.HIGH, input_schema=REFUND)
    agent("worker", "pay_back")


def asks_to_pay_back(owner: User, **changes: Any) -> Run:
    """A run that waits for a person's approval."""
    turns = [call(("pay_back", ASKED | changes), say="The photo shows the crack."), text("Paid back.")]
    return carry_all(start(owner, script(*turns)))


@pytest.fixture
def asked(desk: None, app: User) -> ApprovalRequest:
    return request_of(asks_to_pay_back(app))


@pytest.fixture
def unanswered(model: ScriptedModel, app: User) -> ApprovalRequest:
    """No model answers, and a person is asked whether to try again."""
    cast.model(model.url, "spare")
    agent("worker", title="Order desk", models=("scripted", "spare"))
    busy = {"status": 529, "message": "Overloaded: all of our servers are at their limit.", "model": "scripted"}
    gone = {"status": 404, "message": "model: claude-spare-1", "model": "spare"}
    run = start(app, script(text("Here now.") | {"faults": [busy, gone]}))
    return request_of(until_a_person_is_asked(carry_all(run)))
