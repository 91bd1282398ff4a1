from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from orchestrator_site.core import events, roles
from orchestrator_site.core.events import run_chain
from orchestrator_site.core.ids import new_id
from runs import states
from runs.models import Dispatch, Node, Run
from tests.api import cast
from tests.api.cast import Caller, Scene, tamper

pytestmark = pytest.mark.django_db


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [each["id"] for each in answer.json()["results"]]


# Start


def test_a_run_is_started_and_found_at_its_location(shop: Caller, scene: Scene):
    body = {
        "input": " Where is A-1?\n",
        "agent": "order-desk",
        "metadata": {"ticket": "T-7"},
        "budget_usd": "0.50",
    }
    answer = shop.post("/runs/", body)

    assert answer.status_code == 201
    told = answer.json()
    assert answer["Location"].endswith(f"/api/v1/runs/{told['id']}/")
    assert told == shop.http.get(answer["Location"]).json()
    assert told["input"] == " Where is A-1?\n"
    assert (told["owner"], told["source"], told["agent"]) == ("shop", "api", "order-desk")
    assert told["metadata"] == {"ticket": "T-7"}
    assert told["budget"] == {"cap_usd": "0.500000000", "spent_usd": "0.000000000", "reserved_usd": "0.000000000"}
    assert [(each["agent"], each["status"]) for each in told["dispatches"]] == [("order-desk", "queued")]


def test_a_conversation_goes_on_only_with_ones_own(shop: Caller, scene: Scene):
    done = scene.finished()
    other = cast.caller(cast.person("blog", roles.APP))
    body = {"input": "And now?", "agent": "order-desk", "conversation": str(done.conversation_id)}

    assert other.post("/runs/", body).status_code == 400
    assert shop.post("/runs/", body).json()["conversation"] == str(done.conversation_id)


# Look


def test_a_run_says_where_it_stands(shop: Caller, scene: Scene):
    told = shop.get(f"/runs/{scene.run.pk}/").json()

    assert (told["status"], told["waiting_on"]) == ("waiting", "a person")
    assert told["question"] == {
        "request": str(scene.question.pk),
        "question": "Which colour?",
        "candidates": ["blue", "red"],
        "explained": {},
        "asked_at": told["question"]["asked_at"],
        "deadline_at": told["question"]["deadline_at"],
    }
    assert set(told["open_requests"]) == {str(scene.question.pk), str(scene.approval.pk)}
    assert told["dispatches"][0]["calls"] == {"awaiting_approval": 2, "uncertain": 1}
    assert told["dispatches"][0]["steps"] == 1
    assert [each["name"] for each in told["artifacts"]] == ["letter"]


def test_cost_is_the_sum_of_the_dispatches(operator: Caller, scene: Scene):
    Dispatch.objects.filter(run=scene.run).update(cost_usd="0.25", tokens=100)

    assert operator.get(f"/runs/{scene.run.pk}/").json()["cost_usd"] == "0.250000000"
    listed = operator.get("/runs/").json()["results"][0]
    assert (listed["cost_usd"], listed["tokens"]) == ("0.250000000", 100)


def test_runs_are_filtered(operator: Caller, scene: Scene):
    done = scene.finished()

    assert ids(operator.get("/runs/", status="succeeded")) == [str(done.pk)]
    assert ids(operator.get("/runs/", agent="order-desk")) == [str(done.pk), str(scene.run.pk)]
    assert ids(operator.get("/runs/", agent="nobody")) == []
    assert ids(operator.get("/runs/", conversation=str(scene.run.conversation_id))) == [str(scene.run.pk)]


def test_pages_hold_every_run_once_newest_first(operator: Caller, scene: Scene):
    made = [str(scene.finished().pk) for _ in range(6)]
    Run.objects.filter(pk__in=made[:4]).update(created_at=scene.run.created_at)  # ties are no trap

    found, answer = [], operator.get("/runs/", limit=2)
    while True:
        found += ids(answer)
        if not (following := answer.json()["next"]):
            break
        answer = operator.http.get(following)

    assert sorted(found) == sorted([*made, str(scene.run.pk)])


def test_events_come_in_order_without_gaps(shop: Caller, scene: Scene):
    first = shop.get(f"/runs/{scene.run.pk}/events/", limit=2).json()
    rest = shop.get(f"/runs/{scene.run.pk}/events/", after=first["after"]).json()

    seqs = [each["seq"] for each in first["events"] + rest["events"]]
    assert seqs == list(range(1, len(seqs) + 1))
    assert (first["more"], rest["more"]) == (True, False)
    assert first["events"][0]["type"] == "run_accepted"
    assert first["events"][0]["data"]["source"] == "api"
    assert shop.get(f"/runs/{scene.run.pk}/events/", after=rest["after"]).json()["after"] == rest["after"]


def test_the_trace_is_the_tree_of_what_was_done(shop: Caller, scene: Scene):
    told = shop.get(f"/runs/{scene.run.pk}/trace/").json()

    (dispatch,) = told["dispatches"]
    (step,) = dispatch["steps"]
    assert step["model"] == "small"
    assert [call["tool"] for call in step["calls"]] == ["ask_human", "refund", "refund"]
    (attempt,) = step["calls"][2]["attempts"]
    assert (attempt["status"], step["calls"][2]["status"]) == ("unknown", "uncertain")
    assert step["calls"][1]["arguments"] == {"amount": 20}


def test_the_audit_verifies_and_finds(operator: Caller, scene: Scene):
    path = f"/runs/{scene.run.pk}/audit/"
    whole = operator.get(path).json()
    tamper("UPDATE core_event SET actor = 'user:eve' WHERE chain = %s AND seq = 2", run_chain(scene.run.pk))
    touched = operator.get(path).json()

    assert (whole["verified"], whole["fault"]) == (True, None)
    assert whole["rows"] == len(events.of_run(scene.run.pk))
    assert touched["verified"] is False
    assert touched["fault"]["seq"] == 2
    assert "edited" in touched["fault"]["detail"]


# Act


def test_cancelled_once(shop: Caller, scene: Scene):
    path = f"/runs/{scene.run.pk}/cancel/"
    first, second = shop.post(path), shop.post(path)

    assert first.json()["cancel_requested_at"]
    assert first.json()["open_requests"] == []
    assert second.status_code in (200, 409)
    assert shop.post(f"/runs/{scene.finished().pk}/cancel/").status_code == 409


def test_an_answer_reaches_the_question(shop: Caller, scene: Scene):
    answer = shop.post(f"/runs/{scene.run.pk}/answer/", {"answer": "blue"})

    assert answer.status_code == 200
    assert answer.json()["question"] is None
    scene.question.refresh_from_db()
    assert scene.question.decision.answer == "blue"
    assert (scene.question.decision.via, scene.question.decision.by) == ("token", scene.shop)
    again = shop.post(f"/runs/{scene.run.pk}/answer/", {"answer": "red"})
    assert again.json()["type"].endswith("no-question")


def test_with_two_questions_open_one_has_to_be_named(shop: Caller, scene: Scene):
    second = cast.question(scene.dispatch, 7, "Which size?")
    path = f"/runs/{scene.run.pk}/answer/"

    unnamed = shop.post(path, {"answer": "L"})
    assert unnamed.status_code == 422
    assert str(second.pk) in unnamed.json()["errors"][0]["detail"]
    named = shop.post(path, {"answer": "L", "request": str(second.pk)})
    assert named.json()["question"]["request"] == str(scene.question.pk)
    again = shop.post(path, {"answer": "M", "request": str(second.pk)})
    assert again.json()["type"].endswith("already-decided")
    assert shop.post(path, {"answer": "M", "request": str(scene.approval.pk)}).status_code == 422


def test_an_approval_is_not_given_by_an_answer(shop: Caller, scene: Scene):
    shop.post(f"/runs/{scene.run.pk}/answer/", {"answer": "blue"})

    assert shop.post(f"/runs/{scene.run.pk}/answer/", {"answer": "approved"}).status_code == 409
    scene.approval.refresh_from_db()
    assert scene.approval.status == "open"


def test_for_somebody_else_to_answer_takes_the_scope_to_decide(scene: Scene):
    ola = cast.person("ola", roles.OPERATOR)
    path, body = f"/runs/{scene.run.pk}/answer/", {"answer": "blue"}

    assert cast.caller(ola, "runs:write").post(path, body).status_code == 403
    assert cast.caller(ola, "runs:write", "approvals:decide").post(path, body).status_code == 200


def test_a_retry_is_a_new_run_of_whoever_asked(shop: Caller, scene: Scene):
    done = scene.finished()
    answer = shop.post(f"/runs/{done.pk}/retry/")

    assert answer.status_code == 201
    assert answer.json()["id"] != str(done.pk)
    assert answer.json()["metadata"] == {"retry_of": str(done.pk)}
    assert shop.post(f"/runs/{scene.run.pk}/retry/").json()["type"].endswith("not-possible")


# Calls in doubt, handoffs, artifacts


def test_a_call_in_doubt_shows_what_was_sent_and_is_resolved_once(operator: Caller, scene: Scene):
    (call,) = operator.get("/uncertain/", run=str(scene.run.pk)).json()["results"]
    assert call["attempts"][0]["idempotency_key"] == f"baton-{scene.doubt.pk}"
    assert (call["agent"], call["may_repeat"]) == ("order-desk", False)

    path = f"/uncertain/{scene.doubt.pk}/resolve/"
    assert operator.post(path, {"finding": "happened"}).json()["errors"][0]["field"] == "result"
    assert operator.post(path, {"finding": "repeat"}).status_code == 409
    assert operator.post(path, {"finding": "perhaps"}).status_code == 400
    answer = operator.post(path, {"finding": "happened", "result": "R-9", "reason": "Seen."})
    assert (answer.status_code, answer.json()["status"]) == (200, "resolved")
    assert operator.post(path, {"finding": "abandon"}).status_code == 409
    assert operator.get("/uncertain/").json()["results"] == []


def test_a_person_attests_that_the_old_attempt_is_dead(operator: Caller, scene: Scene):
    body = {"finding": "repeat", "attests_dead": True}

    assert operator.post(f"/uncertain/{scene.doubt.pk}/resolve/", body).json()["status"] == "ready"


def test_handoffs_are_filtered(operator: Caller, scene: Scene):
    assert ids(operator.get("/handoffs/", status="proposed")) == [str(scene.handoff.pk)]
    assert ids(operator.get("/handoffs/", status="accepted")) == []
    assert ids(operator.get("/handoffs/", run=str(new_id()))) == []


def test_an_artifact_is_only_ever_a_download(shop: Caller, scene: Scene):
    told = shop.get(f"/artifacts/{scene.artifact.pk}/").json()
    content = shop.get(f"/artifacts/{scene.artifact.pk}/content/")

    assert told["reference"] == f"artifact:{scene.artifact.pk}"
    assert content.content == b"Dear customer"
    assert content["Content-Type"] == "text/plain"
    assert content["Content-Disposition"].startswith("attachment")
    assert content["X-Content-Type-Options"] == "nosniff"


def test_a_media_type_that_is_none_is_not_passed_on(shop: Caller, scene: Scene):
    type(scene.artifact).objects.update(media_type="text/html\r\nX-Evil: 1")

    answer = shop.get(f"/artifacts/{scene.artifact.pk}/content/")

    assert answer["Content-Type"] == "application/octet-stream"


# Queries


def _full(scene: Scene) -> UUID:
    """One more run, with everything in it."""
    run = cast.start(scene.shop)
    dispatch = cast.waiting(run)
    cast.question(dispatch)
    cast.approval(dispatch)
    cast.doubt(dispatch)
    cast.handoff(dispatch)
    return run.pk


LISTS = {
    "/runs/": 5,
    "/uncertain/": 5,
    "/handoffs/": 4,
    "/approvals/": 5,
    "/agents/": 4,
    "/agents/order-desk/versions/": 5,
    "/tools/": 4,
    "/models/": 4,
}


@pytest.mark.parametrize("path", LISTS)
def test_a_list_costs_the_same_however_long_it_is(path: str, operator: Caller, scene: Scene):
    operator.get(path)  # from here on the token's use is noted already

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert operator.get(path).status_code == 200
        return len(captured)

    few = queries()
    _more(scene)

    assert (few, queries()) == (LISTS[path], LISTS[path])


def _more(scene: Scene) -> None:
    from agents import manifests
    from tests.agents import cast as agents_cast

    for number in range(3):
        _full(scene)
        cast.define_tool(f"tool-{number}")
        agents_cast.entry(f"model-{number}")
        agents_cast.at_work(f"agent-{number}")
        manifests.draft("order-desk", agents_cast.spec(), by=scene.shop)


def test_accepting_a_run_costs_this_much(shop: Caller, scene: Scene):
    """Who may, which agent, six rows written, and what is answered: each statement is a part of what an app waits."""
    body = {"input": "Where is A-1?", "agent": "order-desk"}
    shop.post("/runs/", body)

    with CaptureQueriesContext(connection) as captured:
        assert shop.post("/runs/", body).status_code == 201

    asked = [query["sql"].split()[0] for query in captured if "SAVEPOINT" not in query["sql"]]
    assert (asked.count("SELECT"), asked.count("INSERT"), asked.count("UPDATE"), asked.count("WITH")) == (9, 2, 0, 1)


@pytest.mark.parametrize(("path", "count"), [("/runs/{}/", 11), ("/runs/{}/trace/", 11), ("/runs/{}/events/", 5)])
def test_a_run_costs_the_same_however_much_is_in_it(path: str, count: int, operator: Caller, scene: Scene):
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert operator.get(path.format(scene.run.pk)).status_code == 200
        return len(captured)

    operator.get("/runs/")
    few = queries()
    for position in range(20, 25):
        cast.doubt(scene.dispatch, position)
        cast.approval(scene.dispatch, position + 100)

    assert (few, queries()) == (count, count)


def test_statuses_are_those_of_the_machine(operator: Caller):
    assert all(operator.get("/runs/", status=status).status_code == 200 for status in states.RUN.statuses)


def test_a_comment_names_a_node_of_the_run_and_has_it_done_again(shop: Caller, scene: Scene):
    run, other = scene.finished(), scene.finished()
    foreign, own = Node.objects.get(run=other), Node.objects.get(run=run)

    refused = shop.post(f"/runs/{run.pk}/comment/", {"node": str(foreign.pk), "comment": "Look again."})
    told = shop.post(f"/runs/{run.pk}/comment/", {"node": str(own.pk), "comment": "Look again."})

    assert (refused.status_code, [fault["field"] for fault in refused.json()["errors"]]) == (422, ["node"])
    assert (told.status_code, told.json()["status"]) == (200, "working")
    assert [node["superseded"] for node in told.json()["nodes"]] == [True, False]


def test_a_run_is_paused_and_goes_on(shop: Caller, scene: Scene):
    run = cast.start(scene.shop)

    paused = shop.post(f"/runs/{run.pk}/pause/")
    again = shop.post(f"/runs/{run.pk}/pause/")
    resumed = shop.post(f"/runs/{run.pk}/resume/")

    assert (paused.json()["status"], paused.json()["waiting_on"]) == ("paused", "a person to resume it")
    assert again.status_code == 409
    assert resumed.status_code == 200
    assert resumed.json()["status"] != "paused"
