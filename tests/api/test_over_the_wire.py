"""A real web process, asked over HTTP."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from orchestrator_site.core import roles, tokens
from orchestrator_site.services import processes
from runs.models import Run
from tests.agents import cast as agents_cast
from tests.api import cast
from tests.stack import Stack, free_port
from tests.waiting import PATIENCE_SECONDS


def ask(url: str, body: Any = None, **headers: str) -> tuple[int, Any, Any]:
    data = None if body is None else json.dumps(body).encode()
    sent = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, sent), timeout=PATIENCE_SECONDS) as answer:
            return answer.status, json.load(answer), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error), error.headers


def test_of_many_posts_at_once_under_one_key_one_run_comes(stack: Stack):
    agents_cast.entry()
    agents_cast.at_work("order-desk")
    _, secret = tokens.create(cast.person("shop", roles.APP), ["runs:read", "runs:write"], by=None)
    sent = {"Authorization": f"Bearer {secret}", "Idempotency_Key": "k"}

    with ThreadPoolExecutor(10) as pool:
        body = {"input": "Hello", "agent": "order-desk"}
        answers = list(pool.map(lambda _: ask(f"{stack.url}/api/v1/runs/", body, **sent), range(20)))

    assert {status for status, *_ in answers} <= {201, 409}
    (run,) = Run.objects.all()
    assert {told["id"] for status, told, _ in answers if status == 201} == {str(run.pk)}
    location = next(headers["Location"] for status, _, headers in answers if status == 201)
    assert ask(location, Authorization=f"Bearer {secret}")[1]["id"] == str(run.pk)


@pytest.fixture
def orphan(stack: Stack) -> Iterator[str]:
    """A web process whose database is not there."""
    port = free_port()
    nowhere = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nowhere", "BATON_DB_POOL": "0"}
    child = processes.web(port=port, env=stack.env | nowhere, logs=stack.logs)
    child.start()
    try:
        child.wait_ready()
        yield f"http://127.0.0.1:{port}/api/v1"
    finally:
        child.stop()


def test_without_a_database_every_answer_is_a_503_problem(orphan: str):
    for path, headers in [
        ("/runs/", {"Authorization": "Bearer baton_x"}),
        ("/runs/", {"Cookie": "sessionid=" + "x" * 32}),
        ("/health/ready/", {}),
    ]:
        status, told, answered = ask(orphan + path, **headers)
        assert (status, told["status"]) == (503, 503), path
        assert answered["Content-Type"] == "application/problem+json"
        assert answered["Retry-After"]

    assert ask(f"{orphan}/health/live/")[0] == 200
