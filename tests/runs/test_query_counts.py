"""What a turn costs in queries: pinned, so that growth is a decision and not an accident."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from runs import engine
from runs.values import Continue, Ended
from tests.runs.cast import agent, call, claim, script, start, text, tool

pytestmark = pytest.mark.django_db(transaction=True)


def queries_of(turn):
    with CaptureQueriesContext(connection) as captured:
        outcome = turn()
    return outcome, [query["sql"] for query in captured.captured_queries]


def statements(queries):
    """Without the BEGIN, COMMIT and SAVEPOINT of transactions."""
    return [sql for sql in queries if sql.split()[0] in {"SELECT", "INSERT", "UPDATE", "DELETE", "WITH"}]


def test_of_a_plain_turn_and_of_a_pure_call(model, ann):
    tool("echo", "tests.echo")
    agent("worker", "echo")
    run = start(ann, script(call(("echo", {})), text("Hello.")))
    lease = claim(run)

    asking, settling, finishing = [queries_of(lambda: engine.advance(lease)) for _ in range(3)]

    assert (type(asking[0]), len(statements(asking[1]))) == (Continue, 30)
    assert (type(settling[0]), len(statements(settling[1]))) == (Continue, 27)
    assert (type(finishing[0]), len(statements(finishing[1]))) == (Ended, 29)


def test_a_turns_queries_do_not_grow_with_the_turns_before_it(model, ann):
    tool("echo", "tests.echo")
    agent("worker", "echo")
    run = start(ann, script(*[call(("echo", {"n": n})) for n in range(8)], text("Hello.")))
    lease = claim(run)

    counts = [len(statements(queries_of(lambda: engine.advance(lease))[1])) for _ in range(16)]

    asking, settling = counts[2::2], counts[1::2]
    assert len(set(asking)) == len(set(settling)) == 1


def test_calls_side_by_side_cost_little_more_than_one(model, ann):
    tool("echo", "tests.echo")
    agent("worker", "echo")

    def settling(calls):
        run = start(ann, script(call(*[("echo", {"n": n}) for n in range(calls)]), text("Hello.")))
        lease = claim(run)
        engine.advance(lease)
        return len(statements(queries_of(lambda: engine.advance(lease))[1]))

    one, four = settling(1), settling(4)

    assert (four - one) / 3 == 7
