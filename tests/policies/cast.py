"""Policies of tests, and histories that were really ruled on."""

from typing import Any

from django.contrib.auth.models import User

from runs.models import Run
from tests.runs import cast
from tests.runs.cast import call, script, text
from tools.models import Policy
from tools.policies import documents, versions
from tools.policies.values import Outcome, Rule, Scope
from tools.policies.values import Policy as PolicyValue
from tools.values import Effect, Risk

AMOUNT = {"type": "object", "properties": {"order": {"type": "string"}, "amount": {"type": "number"}}}


def rule(name: str, outcome: str, *, condition: str = "", says: str = "So it is ruled.", **rest: Any) -> Rule:
    """Scope by its columns: tool, family, agent, …; the rest as a rule has it."""
    scope = Scope(**{column: rest.pop(column) for column in documents.SCOPE if column in rest})
    return Rule(name=name, outcome=Outcome(outcome), scope=scope, condition=condition, says=says, **rest)


def policy(*rules: Rule, version: str = "test", **thresholds: Any) -> PolicyValue:
    windows = thresholds.pop("windows", ())
    return PolicyValue(version, rules, {window.name: window for window in windows}, **thresholds)


def draft(*rules: Rule, by: User | None = None, **thresholds: Any) -> Policy:
    """Saved, of these rules alone."""
    made = versions.draft(by=by)
    return versions.rewrite(made, policy(*rules, **thresholds), by=by)


def in_force(*rules: Rule, by: User, second: User, **thresholds: Any) -> Policy:
    made = draft(*rules, by=by, **thresholds)
    if versions.publish(made, by=by).status == "proposed":
        versions.publish(made, by=second)
    return Policy.objects.get(pk=made.pk)


def desk() -> None:
    """An agent with a tool that reads and one that pays; what the second pays is an amount."""
    cast.tool("look_up", "tests.echo")
    cast.tool(
        "pay_out",
        "tests.echo",
        Effect.UNSAFE,
        Risk.HIGH,
        input_schema=AMOUNT,
        family="payments",
        sinks={"amount": {"kind": "amount"}},
    )
    cast.agent("worker", "look_up", "pay_out")


def paid(owner: User, *amounts: float) -> list[Run]:
    """One run an amount: it looks up an order, and asks to pay."""
    return [
        cast.carry_all(
            cast.start(
                owner,
                script(
                    call(("look_up", {"order": "A-1"})),
                    call(("pay_out", {"order": "A-1", "amount": amount})),
                    text("Done."),
                ),
            )
        )
        for amount in amounts
    ]
