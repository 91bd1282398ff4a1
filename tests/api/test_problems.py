"""Every error has one shape: RFC 9457, application/problem+json, with a sentence and the way out."""

import json
from typing import Any

import psycopg
import pytest
from django.db import InterfaceError, InternalError, OperationalError
from django.test import Client
from rest_framework.test import APIRequestFactory
from rest_framework.throttling import BaseThrottle

from orchestrator_site.core.api import Endpoint
from orchestrator_site.core.transitions import StaleRow
from runs import api, intake
from tests.api.cast import ROOT, Caller, Scene

pytestmark = pytest.mark.django_db


def problem(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    assert document["type"] == "about:blank" or document["type"].startswith("urn:baton:problem:")
    return document


def faults(answer: Any, status: int = 400) -> dict[str, str]:
    return {each["field"]: each["detail"] for each in problem(answer, status)["errors"]}


def raw(caller: Caller, content: bytes, content_type: str = "application/json") -> Any:
    return caller.http.generic("POST", f"{ROOT}/runs/", content, content_type=content_type)


def test_an_unknown_field_is_named_with_those_there_are(operator: Caller):
    told = faults(operator.post("/runs/", {"input": "Hello", "agnet": "x", "plans": {}}))

    assert set(told) == {"agnet", "plans"}
    assert "agent" in told["agnet"]


def test_every_wrong_field_is_named_at_once(operator: Caller):
    told = faults(operator.post("/runs/", {"budget_usd": "much", "conversation": "x", "metadata": [], "agent": "a b"}))

    assert set(told) == {"input", "budget_usd", "conversation", "metadata", "agent"}


def test_what_the_verb_finds_wrong_is_named_too(operator: Caller, scene: Scene):
    body = {"input": "  ", "agent": "nobody", "budget_usd": "-1", "conversation": str(scene.run.conversation_id)}
    told = faults(operator.post("/runs/", body | {"input": "x"}))

    assert set(told) == {"agent", "budget_usd", "conversation"}


def test_a_nested_fault_has_a_dotted_path(operator: Caller):
    body = {"slug": "x", "title": "T", "owns": "o", "system_prompt": "p", "models": ["m"], "limits": {"iterations": 0}}
    told = faults(operator.post("/agents/", body | {"grants": [{"tool": "a", "nope": 1}]}))

    assert set(told) == {"limits.iterations", "grants.0.nope"}


def test_an_unknown_query_parameter_is_an_error_and_no_wider_answer(operator: Caller):
    assert set(faults(operator.get("/runs/", stauts="failed"))) == {"stauts"}
    assert set(faults(operator.get("/runs/", status="done"))) == {"status"}
    assert set(faults(operator.get("/runs/", limit=1000))) == {"limit"}


@pytest.mark.parametrize("content", [b"{", b"[]", b'"x"', b"null", b"\xff", b'{"input": NaN}', b"[" * 100_000, b""])
def test_a_body_that_is_no_json_object_is_400(operator: Caller, content: bytes):
    problem(raw(operator, content), 400)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"input": "a\x00b"}, "input"),
        ({"input": "\ud800"}, "input"),
        ({"metadata": {"a": [{"b": "\x00"}]}}, "metadata.a.0.b"),
        ({"metadata": {"\x00": 1}}, "metadata"),
    ],
)
def test_what_no_row_can_keep_is_refused_at_the_door(operator: Caller, body: Any, field: str):
    assert set(faults(raw(operator, json.dumps(body).encode()))) == {field}


def test_a_number_beyond_all_numbers_is_refused(operator: Caller):
    assert set(faults(raw(operator, b'{"metadata": {"a": 1e999}}'))) == {"metadata.a"}


def test_a_body_too_large_is_413(operator: Caller):
    problem(raw(operator, b'{"input": "' + b"x" * 3_000_000 + b'"}'), 413)


def test_another_content_type_is_415(operator: Caller):
    problem(raw(operator, b"input=x", "application/x-www-form-urlencoded"), 415)


def test_a_method_that_is_not_there_is_405(operator: Caller):
    assert "DELETE" in problem(operator.send("DELETE", "/runs/"), 405)["detail"]
    problem(operator.send("OPTIONS", "/runs/"), 405)
    problem(operator.send("PATCH", "/runs/"), 405)


@pytest.mark.parametrize("path", ["/nothing/", "/runs/nonsense/", "/agents/a%00b/", "/"])
def test_an_address_that_is_not_there_is_404(operator: Caller, path: str):
    problem(operator.get(path), 404)
    problem(operator.post(path), 404)


def test_a_forgotten_slash_is_said(operator: Caller):
    assert "slash" in problem(operator.post("/runs"), 404)["detail"]


def test_without_a_token_it_is_401(db: None):
    answer = Client().get(f"{ROOT}/runs/")

    problem(answer, 401)
    assert answer["WWW-Authenticate"] == 'Bearer realm="baton"'


def test_a_missing_scope_is_named(scene: Scene):
    from tests.api import cast

    told = problem(cast.caller(scene.shop, "runs:read").post("/runs/", {"input": "x"}), 403)

    assert "runs:write" in told["detail"]


def hung_up() -> InternalError:
    """What PostgreSQL says to whom it has cut off in the middle of a transaction."""
    error = InternalError("gone")
    error.__cause__ = psycopg.errors.IdleInTransactionSessionTimeout()
    return error


@pytest.mark.parametrize("error", [OperationalError("gone"), InterfaceError("closed"), hung_up()])
def test_a_database_that_does_not_answer_is_503(operator: Caller, monkeypatch: pytest.MonkeyPatch, error: Exception):
    def fail(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(intake, "start", fail)
    answer = operator.post("/runs/", {"input": "Hello"})

    assert "gone" not in problem(answer, 503)["detail"]
    assert int(answer["Retry-After"]) > 0


def test_a_database_that_is_away_is_503_even_before_the_view(operator: Caller, monkeypatch: pytest.MonkeyPatch):
    from orchestrator_site.core import tokens

    def fail(secret: str) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(tokens, "_find", fail)

    problem(operator.get("/runs/"), 503)


def test_a_row_that_somebody_else_moved_is_409(operator: Caller, monkeypatch: pytest.MonkeyPatch):
    def fail(*args: Any, **kwargs: Any) -> None:
        raise StaleRow("run is no longer waiting")

    monkeypatch.setattr(api.intake, "start", fail)

    assert problem(operator.post("/runs/", {"input": "x"}), 409)["type"].endswith("moved-meanwhile")


def test_our_own_mistake_is_500_tells_nothing_and_is_announced(operator: Caller, monkeypatch: pytest.MonkeyPatch):
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(intake, "start", fail)
    with pytest.raises(RuntimeError):  # the test client hears of it as of any other uncaught error
        operator.post("/runs/", {"input": "x"})

    operator.http.raise_request_exception = False
    assert "secret" not in json.dumps(problem(operator.post("/runs/", {"input": "x"}), 500))


def test_who_asks_too_often_is_told_when_to_come_again():
    class Never(BaseThrottle):
        def allow_request(self, request: Any, view: Any) -> bool:
            return False

        def wait(self) -> float:
            return 7

    class Throttled(Endpoint):
        access = {}
        permission_classes = []
        throttle_classes = [Never]

        def get(self, request: Any) -> None:
            raise AssertionError

    answer = Throttled.as_view()(APIRequestFactory().get("/")).render()

    assert answer.status_code == 429
    assert answer["Content-Type"] == "application/problem+json"
    assert answer["Retry-After"] == "7"


def test_a_value_that_is_no_choice_is_answered_with_those_there_are(operator: Caller):
    told = faults(operator.get("/runs/", status="nope"))

    assert told["status"].startswith('"nope" is not a valid choice; there are accepted, working, waiting')


def test_who_brings_no_token_or_no_json_is_told_what_to_send(operator: Caller):
    assert "Authorization: Bearer" in problem(Caller().get("/runs/"), 401)["detail"]
    assert "Content-Type: application/json" in problem(raw(operator, b"input=x", "text/plain"), 415)["detail"]
