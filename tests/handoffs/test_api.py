"""Handoffs by the REST API: shown whole, and decided with what a person may say."""

import pytest

from orchestrator_site.core import roles
from runs import states
from tests.api import cast as api
from tests.handoffs.cast import clerks, handoff, played, proposal, proposed
from tests.runs import callables  # noqa: F401  registers them
from tests.runs.cast import agent, call, carry_all, request_of, script, start, text, tool
from tools.values import Effect, Risk

pytestmark = pytest.mark.django_db(transaction=True)

LOOK = call(("look_up", {"order": 7}))
RED = {"says": "It is much money.", "check": "handoff.state.amount > 50"}


@pytest.fixture(autouse=True)
def cast(model):
    tool("look_up", "tests.echo")
    clerks()


@pytest.fixture
def amir(db):
    return api.caller(api.person("amir", roles.APPROVER))


@pytest.fixture
def olga(db):
    return api.caller(api.person("olga", roles.OPERATOR))


def decide(caller, run, verdict, **more):
    request = request_of(run)
    return caller.post(f"/approvals/{request.pk}/decide/", {"verdict": verdict, "digest": request.digest} | more)


def test_a_handoff_is_shown_whole(ann, olga):
    run = proposed(ann, LOOK, proposal(state={"amount": 5}, preconditions=["It is known.", RED]))

    shown = olga.get(f"/handoffs/{handoff().pk}/").json()

    assert (shown["source_agent"], shown["target"], shown["state"]) == ("clerk", "payer", {"amount": 5})
    assert shown["passed"] == request_of(run).content["passed"]
    assert shown["tokens_at_most"] == len(f"Task: {shown['task']}\n\n{shown['passed']}".encode())
    assert (shown["transfer"], shown["source_watches"], shown["guidance"]) == ("structured", False, None)
    assert shown["deadline_at"]
    assert shown["preconditions"] == [
        {"says": "It is known.", "check": "", "outcome": "said", "why": ""},
        RED | {"outcome": "red", "why": ""},
    ]


def test_a_red_precondition_takes_an_override_with_a_reason(ann, amir):
    run = proposed(ann, proposal(state={"amount": 5}, preconditions=[RED]))

    blocked = decide(amir, run, "approved")
    unsaid = decide(amir, run, "approved", override=True)
    done = decide(amir, run, "approved", override=True, reason="I asked the customer.")

    assert (blocked.status_code, blocked.json()["type"]) == (409, "urn:baton:problem:override-needed")
    assert blocked.json()["obstacles"] == ["“It is much money.” does not hold."]
    assert (unsaid.status_code, unsaid.json()["errors"][0]["field"]) == (422, "reason")
    decision = done.json()["request"]["decision"]
    assert (decision["override"], decision["reason"]) == (True, "I asked the customer.")


def test_it_is_redirected_by_naming_another_target(ann, amir):
    run = proposed(ann, proposal())

    wrong = decide(amir, run, "modified", arguments={"target": "clerk"})
    done = decide(amir, run, "modified", arguments={"target": "writer", "task": played(writer=[text("Done.")])})

    assert wrong.json()["errors"][0]["field"] == "arguments.target"
    assert "allowed: payer, writer" in wrong.json()["errors"][0]["detail"]
    assert done.json()["request"]["edited"]["target"] == "writer"
    assert carry_all(run).output == "Done."


def test_an_answer_is_guidance_to_its_source(ann, amir, olga):
    run = proposed(ann, proposal(), guided=[text("Understood.")])

    assert decide(amir, run, "answered").json()["errors"][0]["field"] == "answer"
    decide(amir, run, "answered", answer="Write first.")
    run = carry_all(run)

    shown = olga.get(f"/handoffs/{handoff().pk}/").json()
    assert (shown["status"], shown["guidance"]) == (states.DECLINED, "Write first.")
    assert shown["returned_to"] == str(run.dispatches.last().pk)  # type: ignore[union-attr]
    assert run.output == "Understood."


def test_an_override_of_anything_else_is_refused(model, ann, amir):
    tool("pay_back", "tests.effect", Effect.KEYED, Risk.HIGH)
    agent("worker", "pay_back")
    run = carry_all(start(ann, script(call(("pay_back", {})))))

    answer = decide(amir, run, "approved", override=True, reason="So.")

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "verdict")
