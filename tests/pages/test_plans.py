"""Plans before they are carried out: the card that asks for one, and the form that starts a run by a template."""

import json
import re

import pytest
from django.urls import reverse

from agents.models import Agent, FailureRule
from runs import artifacts
from runs.models import Node, Plan, PlanTemplate, Run
from tests.api import cast as api
from tests.plans.cast import carried, node, plan
from tests.runs.cast import agent, carry_all, request_of, script, scripts, start, text, tool
from tools.values import Effect, Risk

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def cast(model):
    for slug in ("worker", "writer"):
        agent(slug)


# -- asked for
@pytest.fixture
def proposed(olga, settings):
    """Every kind of node, and a judge."""
    settings.BATON_ASK_FOR_PLANS = "always"
    content = plan(
        node("gather", retry={"tries": 3}),
        {"key": "each", "agent": "worker", "task": "{item}", "over": {"items": ["a", "b"]}, "depends_on": ["gather"]},
        {"key": "views", "agents": ["worker", "writer"], "task": "Say what you think.", "depends_on": ["gather"]},
        {"key": "sum", "reduce": {"how": "vote", "field": "verdict"}, "depends_on": ["each", "views"]},
        goal="Find out why.",
        judge={"agent": "writer", "bar": 0.9},
    )
    return request_of(start(olga, "The request.", agent=None, plan=content))


@pytest.mark.parametrize("where", ["run", "queue", "page"])
def test_a_plan_is_drawn_and_all_of_it_is_said_wherever_it_is_asked_for(at, proposed, olga, where):
    urls = {
        "run": reverse("runs:page", args=[proposed.run_id]),
        "queue": reverse("approvals:queue") + "?show=open",
        "page": reverse("approvals:page", args=[proposed.pk]),
    }

    html = at(olga).get(urls[where]).content.decode()

    assert "worker, for 2" in html
    assert len(re.findall(r'class="vertex vertex-proposed"', html)) == 5
    for said in ("Find out why.", "verdict", "0.9", "after each, views", "Say what you think."):
        assert said in html
    assert "<dt>tries</dt>" in html


def test_who_looks_at_a_plan_reads_what_its_agents_may_do_and_what_it_is_for(at, olga):
    tool("pay_back", "tests.pay_back", Effect.KEYED, Risk.HIGH)
    tool("look_up", "tests.echo")
    agent("payer", "pay_back", "look_up")
    paying = {"key": "pay", "agent": "payer", "task": "Pay it back."}
    asked = request_of(start(olga, "The request.", agent=None, plan=plan(node("a"), paying, goal="Make good.")))

    html = " ".join(at(olga).get(reverse("approvals:page", args=[asked.pk])).content.decode().split())

    assert asked.reasons == ["payer may do more than read: pay_back."]
    assert "payer may do more than read: pay_back." in html
    assert '<h4>What it is for</h4><blockquote class="prose">Make good.</blockquote>' in html
    assert ">The request.</a>" in html


def test_a_plan_is_posted_as_json_where_no_script_helps(at, proposed, olga):
    edited = plan({"key": "only", "agent": "writer", "task": "All of it."})
    posted = {"verdict": "modified", "digest": proposed.digest, "edit:json:content": json.dumps(edited)}

    at(olga).post(reverse("approvals:decide", args=[proposed.pk]), posted)

    made = Plan.objects.get()
    assert (made.status, made.content) == ("accepted", edited)


def test_what_is_wrong_with_an_edit_is_said_and_what_was_typed_stays(at, proposed, olga):
    ring = json.dumps(plan(node("x", after=("y",)), node("y", after=("x",))))
    posted = {"verdict": "modified", "digest": proposed.digest, "edit:json:content": ring}

    response = at(olga).post(reverse("approvals:decide", args=[proposed.pk]), posted)

    html = response.content.decode()
    assert response.status_code == 422
    assert "they wait for each other in a ring" in html
    assert "&quot;depends_on&quot;: [&quot;y&quot;]" in html


def test_a_tie_says_how_often_each_was_said(at, olga):
    items = [script(text("refund")), script(text("voucher"))]
    vote = {"key": "v", "agent": "worker", "task": "{item}", "over": {"items": items}, "reduce": {"how": "vote"}}
    run = carried(olga, vote)

    html = at(olga).get(reverse("runs:page", args=[run.pk])).content.decode()

    assert html.count("1 time</dt>") == 2
    assert 'name="answer" value="voucher"' in html


def test_a_failed_step_says_how_it_failed_and_who_tried(at, olga):
    FailureRule.objects.create(agent=Agent.objects.get(slug="worker"), ask_person=True)
    run = carried(olga, node("a", text("so far") | {"stop_reason": "max_tokens"}), node("b"))

    html = at(olga).get(reverse("approvals:page", args=[request_of(run).pk])).content.decode()

    assert "The model&#x27;s answer was cut off" in html
    assert "Tried by worker." in html


# -- by a template
@pytest.fixture
def template():
    shapes = {
        "scripts": {"type": "array", "items": {"type": "string"}, "description": "What each is to say."},
        "tone": {"type": "string", "enum": ["kind", "short"]},
        "limit": {"type": "integer", "minimum": 1, "default": 2},
        "note": {"type": "string"},
    }
    content = plan(
        {"key": "each", "agent": "worker", "task": "{item}", "over": {"items": "{{scripts}}"}, "limit": "{{limit}}"}
    )
    schema = {"properties": shapes, "required": ["scripts", "tone"]}
    return PlanTemplate.objects.create(slug="spread", title="Spread", parameters=schema, content=content)


def test_templates_are_offered_where_there_are_any(at, olga, template):
    client = at(olga)

    assert 'name="template"' in client.get(reverse("runs:start")).content.decode()
    template.active = False
    template.save()
    assert 'name="template"' not in client.get(reverse("runs:start")).content.decode()


def test_choosing_one_shows_its_parameters_and_keeps_what_was_typed(at, olga, template):
    html = at(olga).post(reverse("runs:start"), {"choose": "yes", "template": "spread", "input": "Why?"})

    said = html.content.decode()
    assert not Run.objects.exists()
    assert "Why?</textarea>" in said
    assert 'name="agent"' not in said
    for name in ("edit:lines?:scripts", "edit:choice?:tone", "edit:integer?:limit", "edit:text?:note"):
        assert f'name="{name}"' in said
    assert f'id="{template.pk}-limit" value="2"' in said


def test_a_run_is_started_by_a_template(at, olga, template):
    posted = {
        "input": "Why?",
        "template": "spread",
        "edit:lines?:scripts": f"{script(text('1'))}\r\n\r\n{script(text('2'))}\r\n",
        "edit:choice?:tone": "kind",
        "edit:integer?:limit": "1",
        "edit:text?:note": "",
    }

    response = at(olga).post(reverse("runs:start"), posted)

    run = Run.objects.get()
    assert response.url == reverse("runs:page", args=[run.pk])
    assert run.plan == {
        "template": "spread",
        "parameters": {"scripts": [script(text("1")), script(text("2"))], "tone": "kind", "limit": 1},
    }


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"edit:integer?:limit": "many"}, "&#x27;many&#x27; is not a number"),
        ({"edit:integer?:limit": "0"}, "0 is less than the minimum of 1."),
        ({"edit:choice?:tone": ""}, "plan.parameters: &#x27;tone&#x27; is a required property."),
        ({"template": "spraed"}, "did you mean &#x27;spread&#x27;"),
    ],
)
def test_what_is_wrong_with_a_parameter_is_said_and_what_was_typed_stays(at, olga, template, typed, said):
    posted = {"input": "Why?", "template": "spread", "edit:lines?:scripts": "a", "edit:choice?:tone": "kind"}

    response = at(olga).post(reverse("runs:start"), posted | typed)

    html = response.content.decode()
    assert response.status_code == 422
    assert html.count(said) == 1
    assert "Why?</textarea>" in html
    assert not Run.objects.exists()


# -- carried out
def test_an_artifact_without_the_form_of_one_does_not_break_the_page(at, olga):
    run = carried(olga, node("a"), node("b", after=("a",)))
    Node.objects.filter(run=run, key="b").update(spec={"inputs": ["artifact:" + "0" * 36]})

    assert at(olga).get(reverse("runs:page", args=[run.pk])).status_code == 200


def test_an_artifact_is_shown_and_leads_to_where_it_was_kept(at, olga):
    kept = artifacts.keep(carry_all(start(olga, script(text("Kept.")))).dispatches.get(), "notes.md", b"Mondays")
    run = carried(olga, node("a", inputs=[kept.reference]), node("b", after=("a",)))

    html = at(olga).get(reverse("runs:page", args=[run.pk])).content.decode()

    url = reverse("runs:artifact", args=[run.pk, kept.pk])
    assert url in html
    assert at(olga).get(url, follow=True).content == b"Mondays"


@pytest.mark.parametrize(("score", "said"), [(0.3, True), (0.95, False)])
def test_a_best_effort_says_so_on_its_page_and_in_the_api(at, app, score, said):
    """And what the bar was; one that passed says nothing of it."""
    verdict = text(json.dumps({"score": score, "feedback": "No figures."}))
    asked, judge = scripts(writer=[verdict]), {"agent": "writer", "bar": 0.9, "rounds": 2}
    run = carry_all(start(app, asked, agent=None, plan=plan(node("one"), judge=judge)))
    assert (run.status, run.output) == ("succeeded", "one done")

    html = at(app).get(reverse("runs:page", args=[run.pk])).content.decode()
    told = api.caller(app).get(f"/runs/{run.pk}/").json()

    effort = "Best effort: judged 0.30 where 0.90 is wanted. No figures."
    first = next(each for each in told["nodes"] if each["within"] is None)
    assert first["message"] == (effort if said else "")
    assert ("Best effort" in html, f"</span>{effort}</p>" in html) == (said, said)
