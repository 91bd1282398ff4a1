import urllib.request

import psutil

from tests.stack import Stack
from tests.waiting import eventually


def test_the_stack_serves_the_test_database(stack: Stack) -> None:
    worker = stack.start_worker()

    with urllib.request.urlopen(f"{stack.url}/api/v1/health/live/") as answer:
        assert answer.status == 200
    assert worker.is_alive()


def test_a_worker_has_the_process_that_tool_calls_are_forked_from_before_the_first_call(stack: Stack) -> None:
    worker = stack.start_worker()

    eventually(lambda: psutil.Process(worker.pid).children())
