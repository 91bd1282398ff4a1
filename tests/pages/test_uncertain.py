"""Calls in doubt on their page: what was sent, and the three things a person can say."""

import pytest
from django.urls import reverse

from runs import states
from runs.models import ToolCall
from tests.runs.cast import agent, call, carry_all, script, start, text, tool
from tools import registry
from tools.models import Tool
from tools.values import Confirmation, Effect

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def doubtful(model, olga) -> ToolCall:
    """An unsafe call that was sent and killed at its deadline."""
    tool("send_letter", "tests.hang", Effect.UNSAFE, timeout_seconds=0.3)
    registry.switch(Tool.objects.get(), by=olga, confirmation=Confirmation.NEVER)
    agent("worker", "send_letter")
    carry_all(start(olga, script(call(("send_letter", {"to": "ann@example.com"})), text("Sent."))))
    return ToolCall.objects.uncertain().get()


def resolve(client, row, finding, **fields):
    return client.post(reverse("runs:resolve", args=[row.pk]), {"finding": finding} | fields)


def test_the_page_shows_what_was_sent_where_and_by_whom(at, doubtful, olga):
    attempt = doubtful.attempts.get()
    attempt.late_evidence = '{"content":"250 accepted"}'
    attempt.save()

    html = at(olga).get(reverse("runs:uncertain")).content.decode()

    for said in ("ann@example.com", "python:tests.hang", attempt.worker, attempt.idempotency_key, "250 accepted"):
        assert said in html
    assert 'aria-label="1 uncertain call"' in html, "on a phone the menu that counts them is shut"


def test_it_happened_and_the_agent_goes_on_with_the_result(at, doubtful, olga):
    response = resolve(at(olga), doubtful, "happened", result="The letter is in the outbox.")

    doubtful.refresh_from_db()
    assert response.url == reverse("runs:uncertain")
    assert (doubtful.status, doubtful.result) == (states.RESOLVED, "The letter is in the outbox.")
    assert carry_all(doubtful.dispatch.run).output == "Sent."


def test_it_happened_takes_a_result_and_the_form_stays_open(at, doubtful, olga):
    response = resolve(at(olga), doubtful, "happened", reason="I looked.")

    html = response.content.decode()
    assert response.status_code == 422
    assert "Say what the call brought" in html
    assert 'value="I looked."' in html
    assert f'id="happened-{doubtful.pk}" open' in html


def test_a_repeat_without_proof_takes_a_persons_word(at, doubtful, olga):
    doubtful.attempts.update(processes=[])

    page = at(olga).get(reverse("runs:uncertain")).content.decode()
    refused = resolve(at(olga), doubtful, "repeat")
    resolve(at(olga), doubtful, "repeat", attests_dead="yes")

    doubtful.refresh_from_db()
    assert 'name="attests_dead"' in page
    assert refused.status_code == 409
    assert doubtful.status == states.READY


def test_leaving_it_tells_the_agent_not_to_repeat_it(at, doubtful, olga):
    resolve(at(olga), doubtful, "abandon")

    doubtful.refresh_from_db()
    assert "Do not repeat it" in doubtful.result


def test_who_comes_second_is_told(at, doubtful, olga):
    resolve(at(olga), doubtful, "abandon")

    response = resolve(at(olga), doubtful, "happened", result="It did.")

    assert response.status_code == 409


def test_who_may_only_see_it_cannot_resolve_it(at, doubtful, app, eve):
    doubtful.dispatch.run.owner = app
    doubtful.dispatch.run.save()

    html = at(app).get(reverse("runs:uncertain")).content.decode()

    assert "resolving it takes an operator" in html
    assert resolve(at(app), doubtful, "abandon").status_code == 403
    assert resolve(at(eve), doubtful, "abandon").status_code == 404
    doubtful.refresh_from_db()
    assert doubtful.status == states.UNCERTAIN


@pytest.mark.parametrize("finding", ["", "perhaps"])
def test_an_unknown_finding_is_refused(at, doubtful, olga, finding):
    assert resolve(at(olga), doubtful, finding).status_code == 422
