"""A POST sent again under its key is answered again, and done once."""

import datetime as dt
import threading
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now

from orchestrator_site.core import roles
from orchestrator_site.core.models import IdempotencyKey
from runs import intake
from runs.models import Run
from tests.agents import cast as agents_cast
from tests.api import cast
from tests.api.cast import Caller, Scene
from tests.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.django_db

HELLO = {"input": "Hello", "metadata": {"a": 1, "b": 2}}


def post(caller: Caller, body: Any = HELLO, key: str = "k-1", path: str = "/runs/") -> Any:
    return caller.post(path, body, Idempotency_Key=key)


def test_the_same_body_gets_the_same_answer_and_starts_one_run(operator: Caller):
    first, second = post(operator), post(operator)

    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert first["Location"] == second["Location"]
    assert (first.get("Idempotent-Replayed"), second["Idempotent-Replayed"]) == (None, "true")
    assert Run.objects.count() == 1


def test_the_order_of_names_makes_no_other_body(operator: Caller):
    post(operator)
    turned = b'{"metadata": {"b": 2, "a": 1},\n "input": "Hello"}'

    again = operator.http.generic(
        "POST", "/api/v1/runs/", turned, content_type="application/json", headers={"Idempotency-Key": "k-1"}
    )

    assert again.status_code == 201
    assert Run.objects.count() == 1


def test_another_body_under_the_key_is_422(operator: Caller):
    post(operator)
    again = post(operator, {"input": "Goodbye"})

    assert again.status_code == 422
    assert again.json()["type"] == "urn:baton:problem:key-reused"
    assert Run.objects.count() == 1


def test_another_key_another_owner_and_another_path_are_other_requests(operator: Caller, scene: Scene):
    shop = cast.caller(scene.shop)
    before = Run.objects.count()

    assert [post(operator).status_code, post(operator, key="k-2").status_code, post(shop).status_code] == [201] * 3
    assert Run.objects.count() == before + 3
    assert post(operator, {}, path=f"/runs/{scene.run.pk}/cancel/").status_code == 200


def test_what_was_refused_is_not_kept_and_may_be_sent_again_corrected(operator: Caller):
    assert post(operator, {"input": "x", "agent": "nobody"}).status_code == 400
    assert post(operator, HELLO).status_code == 201


def test_an_error_takes_the_key_back_with_the_work(operator: Caller, monkeypatch: pytest.MonkeyPatch):
    started = intake.start

    def start_and_fail(*args: Any, **kwargs: Any) -> None:
        started(*args, **kwargs)
        raise RuntimeError

    monkeypatch.setattr(intake, "start", start_and_fail)
    operator.http.raise_request_exception = False
    assert post(operator).status_code == 500
    monkeypatch.undo()

    assert (Run.objects.count(), IdempotencyKey.objects.count()) == (0, 0)
    assert post(operator).status_code == 201


def test_after_a_day_the_key_is_forgotten_and_so_are_old_ones(operator: Caller):
    post(operator)
    post(operator, key="k-2")
    IdempotencyKey.objects.update(created_at=Now() - dt.timedelta(days=1, seconds=1))

    assert post(operator).status_code == 201
    assert Run.objects.count() == 3
    assert IdempotencyKey.objects.count() == 1


@pytest.mark.parametrize("key", ["", "two words", "x" * 201, "schlüssel"])
def test_a_key_that_cannot_be_one_is_400(operator: Caller, key: str):
    answer = post(operator, key=key)

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"


def test_money_and_times_are_replayed_as_they_were(operator: Caller):
    body = HELLO | {"budget_usd": "0.5"}
    first, second = post(operator, body), post(operator, body)

    assert first.json()["budget"]["cap_usd"] == "0.500000000"
    assert first.json() == second.json()


@pytest.fixture
def committed(transactional_db: None) -> Caller:
    agents_cast.entry()
    agents_cast.at_work("order-desk")
    return cast.caller(cast.person("ola", roles.OPERATOR))


def test_of_two_at_once_one_works_and_the_other_is_told_so(committed: Caller, monkeypatch: pytest.MonkeyPatch):
    at_work, finish = threading.Event(), threading.Event()
    started = intake.start

    def slowly(*args: Any, **kwargs: Any) -> Run:
        at_work.set()
        assert finish.wait(PATIENCE_SECONDS)
        return started(*args, **kwargs)

    monkeypatch.setattr(intake, "start", slowly)
    answers: list[Any] = []
    first = threading.Thread(target=_post_and_close, args=(committed, answers))
    first.start()
    assert at_work.wait(PATIENCE_SECONDS)
    meanwhile = post(committed)
    finish.set()
    first.join(20)
    later = post(committed)

    assert meanwhile.status_code == 409
    assert meanwhile.json()["type"] == "urn:baton:problem:in-flight"
    assert answers[0].status_code == later.status_code == 201
    assert answers[0].json() == later.json()
    assert Run.objects.count() == 1


def test_of_many_at_once_one_run_is_started(committed: Caller):
    answers: list[Any] = []
    threads = [threading.Thread(target=_post_and_close, args=(committed, answers)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert Run.objects.count() == 1
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 201}) == 1


def test_the_unique_constraint_is_the_belt(operator: Caller):
    """Without the lock, a second row under the same key is refused by the database, and its work with it."""
    post(operator)
    kept = IdempotencyKey.objects.get()

    with pytest.raises(Exception, match="idempotency_key_once"):
        IdempotencyKey.objects.create(owner=kept.owner, route=kept.route, key=kept.key, body_digest="")


def _post_and_close(caller: Caller, answers: list[Any]) -> None:
    try:
        answers.append(post(Caller.beside(caller)))
    finally:
        connection.close()
