"""Runs on pages: found, started, watched, continued and cancelled."""

import datetime as dt
import re
from decimal import Decimal
from html import unescape

import pytest
from django.urls import reverse

from agents.values import AgentKind
from approvals.models import ApprovalRequest
from orchestrator_site.core.ids import new_id
from runs import artifacts, presentation, states, views
from runs.models import RateLimit, Run
from runs.states import StopReason
from tests.pages.conftest import asks_to_pay_back
from tests.policies.cast import in_force, rule
from tests.runs.cast import agent, call, carry_all, decide, request_of, script, scripts, start, text, tool
from tools.policies.values import Window
from tools.values import Effect, Risk

pytestmark = pytest.mark.django_db(transaction=True)


def page_of(client, run, **query):
    return client.get(reverse("runs:page", args=[run.pk]), query).content.decode()


# -- starting
def test_asking_the_desk_starts_a_run_and_shows_it(at, model, olga):
    agent()

    posted = {"input": script(text("Hello.")), "agent": "worker", "budget_usd": "$0.50"}
    response = at(olga).post(reverse("runs:start"), posted)

    run = Run.objects.get()
    assert response.url == reverse("runs:page", args=[run.pk])
    assert (run.source, run.owner, run.account.cap_usd) == ("web", olga, Decimal("0.5"))


def test_what_is_wrong_is_said_and_what_was_typed_stays(at, model, olga):
    posted = {"input": "Pay Ann.", "agent": "nobody", "budget_usd": "-1"}
    response = at(olga).post(reverse("runs:start"), posted)

    html = response.content.decode()
    assert response.status_code == 422
    assert "There is no agent &#x27;nobody&#x27; at work." in html
    assert "A budget is more than zero" in html
    assert "Pay Ann.</textarea>" in html
    assert not Run.objects.exists()


@pytest.mark.parametrize("budget", ["a lot", "NaN", "1e99", "Infinity"])
def test_a_budget_that_is_no_amount_is_refused(at, olga, budget):
    response = at(olga).post(reverse("runs:start"), {"input": "x", "budget_usd": budget})

    assert response.status_code == 422
    assert "Write US dollars as a number" in response.content.decode()


def test_a_conversation_goes_on_from_a_finished_run(at, model, app):
    agent()
    first = carry_all(start(app, script(text("Hello."))))
    client = at(app)

    assert "Continue the conversation" in page_of(client, first)
    again = {"input": script(text("Again.")), "agent": "worker", "conversation": str(first.conversation_id)}
    client.post(reverse("runs:start"), again)

    second = Run.objects.exclude(pk=first.pk).get()
    assert second.conversation_id == first.conversation_id
    assert "1 earlier in this conversation" in page_of(client, second)
    assert reverse("runs:page", args=[second.pk]) in page_of(client, first)


def test_another_persons_conversation_is_not_offered(at, model, app, olga):
    agent()
    run = carry_all(start(app, script(text("Hello."))))

    assert "Continue the conversation" not in page_of(at(olga), run)


# -- watching
def test_a_waiting_run_says_why_and_where_to_unblock_it(at, asked, alice):
    html = page_of(at(alice), Run.objects.get(pk=asked.run_id))

    assert "It waits for a person&#x27;s approval of pay_back (high risk)." in html
    assert f'href="#request-{asked.pk}"' in html
    assert f'id="request-{asked.pk}"' in html


def test_a_finished_run_shows_answer_calls_rulings_attempts_and_results(at, asked, alice, olga):
    decide(asked, alice)
    run = carry_all(Run.objects.get(pk=asked.run_id))

    html = page_of(at(olga), run)

    for said in ("Paid back.", "The photo shows the crack.", "A person was asked because", "Alice approved this"):
        assert said in html
    assert "attempt 1" in html
    assert "python:tests.pay_back" in html
    assert html.count("It arrived broken.") >= 2  # the arguments, and the result that echoes them


def test_a_refused_call_says_why(at, model, olga):
    agent()
    run = carry_all(start(olga, script(call(("rob_bank", {})), text("I cannot."))))

    assert "Refused because: There is no such tool." in page_of(at(olga), run)


def test_a_call_that_waits_for_its_window_says_which_rule_and_when(at, model, olga, alice):
    tool("look_up", "tests.echo")
    agent("worker", "look_up")
    seldom = Window("nights", "UTC", frozenset({(dt.datetime.now(dt.UTC).weekday() + 3) % 7}), dt.time(3), dt.time(4))
    later = rule("at night", "defer", tool="look_up", window="nights", says="The archive is read at night.")
    in_force(later, by=olga, second=alice, windows=[seldom])
    run = carry_all(start(olga, script(call(("look_up", {})), text("Done."))))

    html = page_of(at(olga), run)

    assert "It waits because: The archive is read at night. (Rule “at night”.)" in html
    assert re.search("Waits for its time to call look_up: [^·]+ · next try <time [^>]+>in [23] days</time>", html)


def test_a_call_that_waits_for_a_rate_is_not_said_to_have_run(at, model, olga):
    tool("look_up", "tests.echo")
    agent("worker", "look_up")
    RateLimit.objects.create(scope="tool", name="look_up", count=1, per_seconds=3600)
    ran, waits = [carry_all(start(olga, script(call(("look_up", {})), text("Done.")))) for _ in range(2)]

    assert "It ran because" in page_of(at(olga), ran)
    html = page_of(at(olga), waits)
    assert "It ran because" not in html
    assert "It was let through because" in html
    assert "Waits for the rate of tool look_up: 1 call in an hour" in html


def test_who_was_routed_to_stands_below_the_router(at, model, olga):
    agent("orders")
    agent("triage", kind=AgentKind.ROUTER)
    routed = call(("dispatch_to_orders", {"task": "Look.", "confidence": 0.9}))
    run = carry_all(start(olga, scripts(triage=[routed], orders=[text("Seen.")]), agent=None))

    shown = presentation.run_page(run, olga)

    assert [each.agent for each in shown.nodes.shown] == ["triage"]  # type: ignore[union-attr]
    assert [each.agent for each in shown.nodes.shown[0].inner] == ["orders"]  # type: ignore[union-attr]
    assert "routed by triage" in page_of(at(olga), run)


def test_a_cut_off_run_is_not_green_and_says_what_cut_it_off(at, model, olga):
    tool("echo", "tests.echo")
    agent("worker", "echo", limits={"iterations": 1})
    run = carry_all(start(olga, script(call(("echo", {"n": 1})), loop=True)))

    html = page_of(at(olga), run)

    assert "It was cut off: the agent used up the model calls it may make." in html
    assert "answer-failed" in html


def test_every_stop_reason_has_its_sentence():
    assert set(presentation.STOP_WORDS) == set(StopReason)


def test_the_active_step_has_a_place_for_live_text(at, model, olga):
    agent()
    run = start(olga, script(text("Hello.")))
    dispatch = run.dispatches.get()
    dispatch.steps.create(number=1, fence=1, model="scripted")

    assert f'data-live-text="{dispatch.pk}:1"' in page_of(at(olga), run)


def test_what_an_agent_writes_is_text_and_never_markup(at, model, olga):
    agent()
    run = carry_all(start(olga, script(text("<script>alert(1)</script>"))))

    html = page_of(at(olga), run)

    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)" in html


def test_the_parts_of_a_run_come_without_the_page_around(at, asked, alice):
    part = page_of(at(alice), Run.objects.get(pk=asked.run_id), part="1")

    assert "<html" not in part
    assert 'data-part="run"' in part


def test_an_artifact_is_never_run_by_a_browser(at, model, olga):
    agent()
    run = carry_all(start(olga, script(text("Hello."))))
    kept = artifacts.keep(run.dispatches.get(), "page.html", b"<script>alert(1)</script>", "text/html")

    response = at(olga).get(reverse("runs:artifact", args=[run.pk, kept.pk]))

    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert "sandbox" in response["Content-Security-Policy"]
    assert response.content == b"<script>alert(1)</script>"
    assert at(olga).get(reverse("runs:artifact", args=[new_id(), kept.pk])).status_code == 404


def test_the_event_log_is_whole_and_paged(at, asked, alice, monkeypatch):
    monkeypatch.setattr(views, "EVENTS_A_PAGE", 3)
    url = reverse("runs:events", args=[asked.run_id])

    first = at(alice).get(url).content.decode()
    second = at(alice).get(url, {"after": 3}).content.decode()

    assert 'id="event-3"' in first
    assert "?after=3" in first
    assert 'id="event-4"' in second
    assert 'id="event-3"' not in second


def test_cancelling_takes_back_what_is_asked(at, asked, olga):
    response = at(olga).post(reverse("runs:cancel", args=[asked.run_id]), follow=True)

    assert "Cancelled: what had not started was taken back." in response.content.decode()
    assert Run.objects.get(pk=asked.run_id).status == states.CANCELLED
    assert ApprovalRequest.objects.get(pk=asked.pk).status == "superseded"


def test_who_may_not_cancel_is_not_offered_it(at, asked, alice):
    client = at(alice)

    assert 'id="cancel"' not in page_of(client, Run.objects.get(pk=asked.run_id))
    client.post(reverse("runs:cancel", args=[asked.run_id]))
    assert Run.objects.get(pk=asked.run_id).status == states.WAITING


def test_a_run_whose_key_was_refused_is_tried_again_from_its_page(at, model, olga):
    agent("worker")
    failed = carry_all(start(olga, script(text("Here now.") | {"status": 401, "times": 1})))

    html = page_of(at(olga), failed)
    response = at(olga).post(reverse("runs:retry", args=[failed.pk]))
    again = carry_all(Run.objects.exclude(pk=failed.pk).get())

    assert "It stopped because no model could go on with it." in html
    assert "put a valid one there" in html
    assert "Try it again as a new run" in html
    assert response.url == reverse("runs:page", args=[again.pk])
    assert (again.output, again.source, again.owner) == ("Here now.", "web", olga)


def test_tries_that_failed_in_the_same_words_are_shown_as_one(at, unanswered, olga):
    run = Run.objects.get(pk=unanswered.run_id)

    html = page_of(at(olga), run)

    assert html.count('class="step step-failed"') == 3
    assert ("scripted · 4 tries" in html, "scripted · 6 tries" in html) == (True, True)


def test_a_run_with_effects_is_not_tried_again_and_says_why(at, asked, alice, olga):
    decide(asked, alice)
    carry_all(run := Run.objects.get(pk=asked.run_id))
    Run.objects.filter(pk=run.pk).update(status=states.FAILED, stop_reason=StopReason.MODEL_FAILED)

    html = page_of(at(olga), run)
    at(olga).post(reverse("runs:retry", args=[run.pk]))

    assert "Try it again as a new run" not in html
    assert "start a new one that says what is left" in html
    assert Run.objects.count() == 1


def test_who_may_not_start_runs_may_not_try_one_again(at, asked, alice, olga):
    at(olga).post(reverse("runs:cancel", args=[asked.run_id]))

    assert "Try it again" not in page_of(at(alice), Run.objects.get(pk=asked.run_id))
    assert at(alice).post(reverse("runs:retry", args=[asked.run_id])).status_code == 403
    assert at(olga).get(reverse("runs:retry", args=[asked.run_id])).status_code == 405


# -- finding
def test_the_list_filters_by_status_agent_and_owner(at, asked, app, olga):
    agent("greeter")
    done = carry_all(start(olga, script(text("Hello.")), agent="greeter"))
    waiting = Run.objects.get(pk=asked.run_id)

    def found(**query):
        html = at(olga).get(reverse("runs:index"), query).content.decode()
        return {run for run in (done, waiting) if f"line-{run.pk}" in html}

    assert found() == {done, waiting}
    assert found(status="waiting") == {waiting}
    assert found(agent="greeter") == {done}
    assert found(whose="mine") == {done}
    assert found(status="no such") == {done, waiting}


def test_what_is_held_up_leads_to_its_runs(at, model, olga):
    tool("look_up", "tests.echo")
    agent("worker", "look_up")
    limit = RateLimit.objects.create(scope="tool", name="look_up", count=1, per_seconds=3600)
    ran, waits = [carry_all(start(olga, script(call(("look_up", {})), text("Done.")))) for _ in range(2)]
    client = at(olga)

    link = re.search(r'href="(/runs/\?held=[^"]+)"', client.get(reverse("ops")).content.decode())
    assert link is not None
    html = client.get(unescape(link[1])).content.decode()
    assert [f"line-{run.pk}" in html for run in (ran, waits)] == [False, True]
    assert "Only those that wait for the rate of tool look_up" in html

    limit.delete()
    assert "Nothing waits for that any more" in client.get(unescape(link[1])).content.decode()


def test_the_list_is_paged_by_id(at, model, olga, monkeypatch):
    monkeypatch.setattr(views, "RUNS_A_PAGE", 2)
    agent()
    runs = [start(olga, script(text("Hello."))) for _ in range(3)]
    client = at(olga)

    first = client.get(reverse("runs:index")).content.decode()
    second = client.get(reverse("runs:index"), {"before": runs[1].pk}).content.decode()

    assert f"before={runs[1].pk}" in first
    assert [f"line-{run.pk}" in first for run in runs] == [False, True, True]
    assert [f"line-{run.pk}" in second for run in runs] == [True, False, False]
    assert client.get(reverse("runs:index"), {"before": "nonsense"}).status_code == 404


# -- what needs me
def test_home_shows_what_waits_what_ran_unasked_and_what_fails(at, asked, app, olga, desk):
    tool("note", "tests.pay_back", Effect.KEYED, Risk.MEDIUM)
    agent("noter", "note")
    carry_all(start(olga, script(call(("note", {"text": "a small thing"})), text("Noted.")), agent="noter"))

    html = at(olga).get("/").content.decode()

    assert "Pay back: " in html
    assert "Note: text a small thing" in html
    assert "Noted." not in html


# -- what pages cost
@pytest.fixture
def busy(desk, app, olga, alice):
    """Enough rows that a query for each of them would show."""
    for amount in range(1, 7):
        run = asks_to_pay_back(app, amount=amount)
        if amount % 2:
            decide(request_of(run), alice)
            carry_all(run)
    return run


@pytest.mark.parametrize(("name", "queries"), [("home", 17), ("runs:index", 10), ("runs:uncertain", 8), ("ops", 24)])
def test_list_pages_cost_the_same_however_much_there_is(at, busy, olga, name, queries, django_assert_num_queries):
    client = at(olga)
    client.get(reverse(name))

    with django_assert_num_queries(queries):
        client.get(reverse(name))


def test_a_run_costs_the_same_however_many_steps_it_took(at, model, olga, django_assert_num_queries):
    tool("echo", "tests.echo")
    agent("worker", "echo")
    turns = [call(("echo", {"n": n}), ("echo", {"m": n})) for n in range(6)]
    run = carry_all(start(olga, script(*turns, text("Done."))))
    client = at(olga)

    with django_assert_num_queries(22):
        page_of(client, run)


def test_what_came_with_a_run_is_shown_as_json_and_not_as_this_program_writes_it(at, model, app, olga):
    agent("worker")
    run = carry_all(start(app, script(text("Done.")), metadata={"ticket": {"number": 7, "labels": ["late", None]}}))

    html = at(olga).get(reverse("runs:page", args=[run.pk])).content.decode()

    assert "<dt>labels</dt>" in html
    assert "{&#x27;number" not in html


def test_a_long_question_is_asked_whole_and_what_waits_for_it_ends_in_dots(at, model, app, olga):
    agent("worker", "ask_human")
    asked = "Which of these is meant? " * 20 + "Say it with its number."
    run = carry_all(start(app, script(call(("ask_human", {"question": asked})), text("Fine."))))

    html = at(olga).get(reverse("approvals:page", args=[request_of(run).pk])).content.decode()

    assert asked in html
    assert len(run.waiting_on) == 300
    assert run.waiting_on.endswith("…")
