"""Whose a run is, on its page; and what people teach there."""

import pytest
from django.urls import reverse

from agents.models import Agent, Exemplar, RoutingRule
from agents.routing import fits, teaching
from agents.values import AgentKind
from runs import states
from runs.models import Run
from tests.agents.routing import desk
from tests.runs.cast import agent, call, carry_all, decide, request_of, script, scripts, start, text

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def company(model):
    for route in desk.table().routes:
        agent(route.slug, owns=route.description, exemplars=route.exemplars)
    assert fits.keep_up()


def page_of(client, run):
    return client.get(reverse("runs:page", args=[run.pk])).content.decode()


def post(client, run, **fields):
    return client.post(reverse("runs:teach", args=[run.pk]), fields)


def ended(owner, slug="orders"):
    return carry_all(start(owner, script(text("half") | {"stop_reason": "max_tokens"}), agent=slug))


class TestTheLine:
    def test_of_a_rule(self, at, company, app):
        teaching.teach_rule("vip", "true", None, agent=Agent.objects.get(slug="jobs"))
        run = start(app, "x", agent=None)

        html = page_of(at(app), run)

        assert "Routed by the rule “vip”" in html
        assert "→ jobs" in html
        assert "“vip” held, the 1st that was tried." in html

    def test_of_likeness_with_thresholds(self, at, company, app):
        run = start(app, desk.ASKED["refunds"], agent=None)

        html = page_of(at(app), run)

        assert "Semantic: refunds 0." in html
        assert "There are none." in html
        assert html.count("<tr><td>") == 4
        assert "wordllama/l2_supercat_256" in html

    def test_of_a_router_that_asked_and_of_a_person(self, at, company, app, alice):
        agent("triage", kind=AgentKind.ROUTER)
        asked = call(("ask_human", {"question": "Which?", "candidates": ["a <b>"]}))
        sent_back = call(("dispatch_to_jobs", {"task": "x", "confidence": 0.2}))
        script_ = scripts(triage=[sent_back, asked, asked], orders=[text("Seen.")])
        run = carry_all(start(app, desk.NOBODYS[0] + " " * 4100 + script_, agent=None))
        decide(request_of(run), app, "answered", answer="<i>either</i>")
        run = carry_all(run)
        decide(request_of(run), alice, "answered", answer="orders")
        run = carry_all(run)

        html = page_of(at(app), run)

        for said in (
            "Alice chose orders",
            "jobs: sent back, 0.20 sure",
            "a &lt;b&gt;",
            "“&lt;i&gt;either&lt;/i&gt;”",
            "Question by triage",
        ):
            assert said in html

    def test_stands_nowhere_where_the_run_names_its_agent(self, at, company, app):
        run = start(app, "x", agent="orders")

        assert 'id="routing"' not in page_of(at(app), run)


class TestSentElsewhere:
    def test_is_offered_to_operators_alone_with_the_likeliest_first(self, at, company, app, olga):
        run = start(app, desk.ASKED["refunds"], agent=None)

        html = page_of(at(olga), run)
        offered = [part.partition('"')[0] for part in html.split('name="agent" value="')[1:]]

        assert sorted(offered) == ["accounts", "jobs", "orders"]
        assert offered[0] == run.routing.stages[1]["top"][1]["agent"]
        assert "It is not started anew. The run is not finished; cancel it first." in html
        assert 'id="teach"' not in page_of(at(app), run)

    def test_in_two_clicks_teaches_an_exemplar_and_starts_it_there(self, at, company, olga):
        run = ended(olga)
        html = page_of(at(olga), run)
        assert 'id="lesson-exemplar" checked' in html
        assert 'id="teach-send" checked' in html

        response = post(at(olga), run, lesson="exemplar", text="what people said", send="yes", agent="jobs")

        again = Run.objects.exclude(pk=run.pk).get()
        assert response.url == reverse("runs:page", args=[again.pk])
        assert again.dispatches.get().manifest.agent.slug == "jobs"
        assert (Exemplar.objects.get().text, Exemplar.objects.get().from_run) == ("what people said", run.pk)

    def test_as_a_rule_in_force_for_the_next(self, at, company, olga):
        run = start(olga, "Where is it?\nIt was blue.", agent="orders")
        html = page_of(at(olga), run)
        assert "text.contains(&quot;Where is it?&quot;)" in html

        post(at(olga), run, lesson="rule", condition='text.contains("blue")', name="blue things", agent="jobs")

        assert RoutingRule.objects.get().target == "jobs"
        assert start(olga, "the blue one", agent=None).dispatches.get().manifest.agent.slug == "jobs"
        assert Run.objects.count() == 2

    def test_comes_back_with_what_is_wrong_and_what_was_typed(self, at, company, olga):
        run = ended(olga)

        response = post(at(olga), run, lesson="rule", condition="body == 1", name="b", send="yes", agent="jobs")

        html = response.content.decode()
        assert response.status_code == 422
        assert "there is no &#x27;body&#x27;" in html
        assert "body == 1</textarea>" in html
        assert 'id="lesson-rule" checked' in html
        assert (Run.objects.count(), RoutingRule.objects.count()) == (1, 0)

    def test_while_it_is_at_work_starts_and_teaches_nothing(self, at, company, olga):
        run = start(olga, "x", agent="orders")

        response = post(at(olga), run, lesson="exemplar", text="x y z", send="yes", agent="jobs")

        assert response.status_code == 409
        assert "The run is not finished; cancel it first." in response.content.decode()
        assert (Exemplar.objects.count(), Run.objects.count()) == (0, 1)

    def test_takes_an_operator(self, at, company, app):
        run = ended(app)

        assert post(at(app), run, lesson="exemplar", text="mine", agent="jobs").status_code == 403
        assert not Exemplar.objects.exists()
        assert run.status == states.FAILED
