from typing import Any

import pytest

from approvals.models import APPROVER, ApprovalRequest
from orchestrator_site.core import canonical, roles
from runs.models import ToolCall
from tests.api import cast
from tests.api.cast import Caller, Scene

pytestmark = pytest.mark.django_db


def decide(caller: Caller, request: ApprovalRequest, verdict: str, **more: Any) -> Any:
    return caller.post(f"/approvals/{request.pk}/decide/", {"verdict": verdict, "digest": request.digest} | more)


def kind_of(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.content
    return answer.json()["type"].removeprefix("urn:baton:problem:")


def faulty_fields(answer: Any) -> list[str]:
    assert kind_of(answer, 422) == "invalid"
    return [each["field"] for each in answer.json()["errors"]]


def test_the_queue_lists_what_is_open(approver: Caller, scene: Scene):
    listed = approver.get("/approvals/").json()
    decide(approver, scene.approval, "approved")

    assert {each["id"] for each in listed["results"]} == {str(scene.approval.pk), str(scene.question.pk)}
    assert [each["id"] for each in approver.get("/approvals/").json()["results"]] == [str(scene.question.pk)]
    assert approver.get("/approvals/", status="all").json()["count"] == 2
    assert approver.get("/approvals/", status="approved").json()["count"] == 1
    assert approver.get("/approvals/", status="all", kind="question").json()["count"] == 1
    assert approver.get("/approvals/", status="all", run=str(scene.shop.pk)).status_code == 400


def test_what_is_shown_is_what_was_frozen_and_hashed(approver: Caller, scene: Scene):
    told = approver.get(f"/approvals/{scene.approval.pk}/").json()

    assert told["content"]["arguments"] == {"amount": 20}
    assert canonical.digest(told["frozen"]) == told["digest"] == scene.approval.digest
    assert (told["decision"], told["objection"]) == (None, None)
    assert told["verdicts"] == ["answered", "approved", "modified", "rejected"]


def test_who_may_look_and_not_decide_is_told_why(scene: Scene):
    auditor = cast.caller(cast.person("eve", roles.AUDITOR))

    assert "permission" in auditor.get(f"/approvals/{scene.approval.pk}/").json()["objection"]
    assert kind_of(decide(auditor, scene.approval, "approved"), 403) == "not-allowed-to-decide"


def test_a_question_about_models_says_what_each_said_and_takes_a_yes_or_a_no(approver: Caller, scene: Scene):
    said = [{"model": "small", "tries": 10, "said": "Overloaded."}]
    trouble = cast.ask(scene.doubt.dispatch, "model", None, APPROVER, models=said, tries_from=2)

    told = approver.get(f"/approvals/{trouble.pk}/").json()

    assert (told["kind"], told["content"]["models"], told["verdicts"]) == ("model", said, ["approved", "rejected"])
    assert kind_of(decide(approver, trouble, "modified", arguments={"tries_from": 9}), 422) == "invalid"
    assert decide(approver, trouble, "approved").json()["request"]["status"] == "approved"


def test_approved_by_token(approver: Caller, scene: Scene):
    answer = decide(approver, scene.approval, "approved", reason="Fine.")

    assert answer.status_code == 200
    assert answer.json()["successor"] is None
    told = answer.json()["request"]
    assert (told["status"], told["decision"]["via"], told["decision"]["reason"]) == ("approved", "token", "Fine.")
    assert ToolCall.objects.get(request=scene.approval).status == "ready"


def test_who_comes_second_is_told_who_was_first(approver: Caller, scene: Scene):
    decide(approver, scene.approval, "approved")
    ola = cast.caller(cast.person("ola", roles.OPERATOR))

    answer = decide(ola, scene.approval, "rejected", reason="No.")

    assert kind_of(answer, 409) == "already-decided"
    assert answer.json()["detail"].startswith("ann approved")
    assert answer.json()["decision"]["by"] == "ann"


def test_another_digest_decides_nothing(approver: Caller, scene: Scene):
    answer = approver.post(f"/approvals/{scene.approval.pk}/decide/", {"verdict": "approved", "digest": "0" * 64})

    assert kind_of(answer, 409) == "digest-mismatch"
    scene.approval.refresh_from_db()
    assert scene.approval.status == "open"


def test_after_the_deadline_nobody_decides(approver: Caller, scene: Scene):
    cast.tamper(
        "UPDATE approvals_approvalrequest SET deadline_at = now() - interval '1 s' WHERE id = %s", scene.approval.pk
    )

    assert kind_of(decide(approver, scene.approval, "approved"), 409) == "deadline-passed"


@pytest.mark.parametrize(
    ("posted", "field"),
    [
        ({"verdict": "rejected"}, "reason"),
        ({"verdict": "answered"}, "answer"),
        ({"verdict": "modified"}, "arguments"),
        ({"verdict": "approved", "stop": True}, "verdict"),
        ({"verdict": "approved", "answer": "yes"}, "verdict"),
        ({"verdict": "approved", "arguments": {"amount": 1}}, "verdict"),
    ],
)
def test_what_does_not_go_together_is_422_naming_the_field(
    approver: Caller, scene: Scene, posted: dict[str, Any], field: str
):
    assert faulty_fields(decide(approver, scene.approval, **posted)) == [field]


def test_a_verdict_this_kind_does_not_take_is_422(approver: Caller, scene: Scene):
    assert faulty_fields(decide(approver, scene.question, "approved")) == ["verdict"]


@pytest.mark.parametrize(
    "body",
    [{}, {"verdict": "approved"}, {"verdict": "expired", "digest": "0" * 64}, {"verdict": "approved", "digest": "x"}],
)
def test_a_body_that_is_no_verdict_is_400(approver: Caller, scene: Scene, body: dict[str, Any]):
    assert approver.post(f"/approvals/{scene.approval.pk}/decide/", body).status_code == 400


def test_an_edit_the_tool_does_not_take_is_422(approver: Caller, scene: Scene):
    answer = decide(approver, scene.approval, "modified", arguments={"amount": "much"})

    assert faulty_fields(answer) == ["arguments"]


def test_a_get_never_decides(approver: Caller, scene: Scene):
    path = f"/approvals/{scene.approval.pk}/decide/"

    assert approver.get(path, verdict="approved", digest=scene.approval.digest).status_code == 405
    scene.approval.refresh_from_db()
    assert scene.approval.status == "open"


def test_a_verdict_sent_again_under_its_key_is_one_decision(approver: Caller, scene: Scene):
    path, body = f"/approvals/{scene.approval.pk}/decide/", {"verdict": "approved", "digest": scene.approval.digest}

    first = approver.post(path, body, Idempotency_Key="k")
    again = approver.post(path, body, Idempotency_Key="k")

    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
