"""What a turn costs in queries: pinned, so that growth is a decision and not an accident."""

from itertools import pairwise

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from runs import engine
from runs.values import Continue, Ended
from tests.runs.cast import agent, call, carry_all, claim, script, start, text, tool

pytestmark = pytest.mark.django_db(transaction=True)


def queries_of(turn):
    with CaptureQueriesContext(connection) as captured:
        outcome = turn()
    return outcome, [query["sql"] for query in captured.captured_queries]


def statements(queries):
    """Without the BEGIN, COMMIT and SAVEPOINT of transactions."""
    return [sql for sql in queries if sql.split()[0] in {"SELECT", "INSERT", "UPDATE", "DELETE", "WITH"}]


def commits(queries):
    return queries.count("COMMIT")


def test_of_a_plain_turn_and_of_a_pure_call(model, ann):
    tool("echo", "tests.echo")
    agent("worker", "echo")
    carry_all(start(ann, script(call(("echo", {})), text("Roster and policy are in memory now."))))
    run = start(ann, script(call(("echo", {"n": 1})), call(("echo", {"n": 2})), text("Hello.")))
    loop = engine.Loop(claim(run), is_new=True)

    first, middle, last = [queries_of(loop.advance) for _ in range(3)]

    assert (type(first[0]), len(statements(first[1]))) == (Continue, 6)
    assert (type(middle[0]), len(statements(middle[1]))) == (Continue, 4)
    assert (type(last[0]), len(statements(last[1]))) == (Ended, 4)
    assert [commits(turn[1]) for turn in (first, middle, last)] == [2, 2, 2]


def test_a_turns_queries_do_not_grow_with_the_turns_before_it(model, ann):
    tool("echo", "tests.echo")
    agent("worker", "echo")
    run = start(ann, script(*[call(("echo", {"n": n})) for n in range(8)], text("Hello.")))
    loop = engine.Loop(claim(run))

    _, *counts = [len(statements(queries_of(loop.advance)[1])) for _ in range(8)]

    assert len(set(counts)) == 1


def test_calls_side_by_side_cost_no_more_than_one(model, ann):
    tool("echo", "tests.echo")
    agent("worker", "echo")

    carry_all(start(ann, script(call(("echo", {})), text("Roster and policy are in memory now."))))

    def two_turns(calls):
        run = start(ann, script(call(*[("echo", {"n": n}) for n in range(calls)]), text("Hello.")))
        loop = engine.Loop(claim(run))
        return sum(len(statements(queries_of(loop.advance)[1])) for _ in range(2))

    assert two_turns(4) == two_turns(1)


KEPT = """
SELECT (SELECT coalesce(sum(pg_column_size(s.*)), 0) FROM runs_step s)
     + (SELECT coalesce(sum(pg_column_size(c.*)), 0) FROM runs_toolcall c)
     + (SELECT coalesce(sum(pg_column_size(a.*)), 0) FROM runs_attempt a)
     + (SELECT coalesce(sum(pg_column_size(e.*)), 0) FROM core_event e)
"""


def bytes_kept():
    with connection.cursor() as cursor:
        cursor.execute(KEPT)
        return cursor.fetchone()[0]


def bytes_of_turns(ann, payload, turns):
    """What each turn adds to the rows, its reply, its call with a result of this size and its events together."""
    run = start(ann, script(*[call(("blob", {"n": n, "size": payload})) for n in range(turns)], text("Hello.")))
    loop = engine.Loop(claim(run))
    kept = []
    for _ in range(turns):
        loop.advance()
        kept.append(bytes_kept())
    return [after - before for before, after in pairwise(kept)]


def test_a_turn_keeps_its_result_once_and_little_beside_it(model, ann):
    tool("blob", "tests.blob")
    agent("worker", "blob", limits={"iterations": 40})

    small, large = bytes_of_turns(ann, 100, 4), bytes_of_turns(ann, 4096, 4)

    assert max(small) <= 4300
    assert (max(large) - max(small)) / (4096 - 100) <= 1.1


def test_what_a_turn_keeps_does_not_grow_with_the_turns_before_it(model, ann):
    tool("blob", "tests.blob")
    agent("worker", "blob", limits={"iterations": 40})

    kept = bytes_of_turns(ann, 100, 20)

    assert max(kept[10:]) - min(kept[:5]) <= 100  # a sequence number grows by a digit
