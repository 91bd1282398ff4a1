import urllib.request

import psutil

from tests.stack import Stack


def test_the_stack_serves_the_test_database(stack: Stack) -> None:
    worker = stack.start_worker()

    with urllib.request.urlopen(f"{stack.url}/api/v1/health/live/") as answer:
        assert answer.status == 200
    assert worker.is_alive()


def test_a_worker_has_the_process_that_tool_calls_are_forked_from_before_the_first_call(stack: Stack) -> None:
    """A copy of itself: by then it has read in everything, and has no threads yet."""
    worker = psutil.Process(stack.start_worker().pid)

    [copy] = worker.children()

    assert copy.cmdline() == worker.cmdline()
    assert copy.num_threads() == 1
    assert not copy.net_connections(kind="inet")
