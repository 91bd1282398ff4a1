import urllib.request

from tests.stack import Stack


def test_the_stack_serves_the_test_database(stack: Stack) -> None:
    worker = stack.worker()

    with urllib.request.urlopen(f"{stack.url}/api/v1/health/live/") as answer:
        assert answer.status == 200
    assert worker.is_alive()
