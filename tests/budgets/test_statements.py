"""What budgets cost in statements: nothing where there is none, one where a run's own budget cost one already."""

from decimal import Decimal

import pytest

from runs import engine
from tests.budgets.cast import budget
from tests.runs.cast import agent, call, carry_all, claim, script, start, text, tool
from tests.runs.test_query_counts import queries_of, statements

pytestmark = pytest.mark.django_db(transaction=True)


def statements_of_turns(ann, **more):
    """Of a first turn, of those in the middle, of the last; a run before it has opened what is opened once."""
    for _ in range(2):
        run = start(ann, script(*[call(("echo", {"n": n})) for n in range(3)], text("Hello.")), **more)
        loop = engine.Loop(claim(run), is_new=True)
        counts = [len(statements(queries_of(loop.advance)[1])) for _ in range(4)]
        carry_all(run)
    return counts


@pytest.fixture(autouse=True)
def cast(model):
    tool("echo", "tests.echo")
    agent("worker", "echo")


def test_a_turn_under_budgets_costs_what_one_under_the_runs_own_budget_does(model, ann):
    own = statements_of_turns(ann, budget_usd=Decimal(1))

    for each in ({"level": "global"}, {"level": "user", "owner": ann}, {"level": "agent", "agent": "worker"}):
        budget(cap="100", **each)
    under, with_both = statements_of_turns(ann), statements_of_turns(ann, budget_usd=Decimal(1))

    assert under[1:] == with_both[1:] == own[1:]
    # Once a run: its allotments are opened, three statements, and drawn with the reservation.
    assert under[0] == with_both[0] == own[0] + 3


def test_a_turn_that_nothing_caps_costs_one_statement_less(model, ann):
    own, none = statements_of_turns(ann, budget_usd=Decimal(1)), statements_of_turns(ann)

    assert none == [count - 1 for count in own]
