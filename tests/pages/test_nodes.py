"""The nodes of a run on its page: the drawing, the list, and what people do from there."""

import json
import re

import pytest
from django.urls import reverse

from agents.models import Agent, FailureRule
from agents.values import AgentKind
from runs import carrier, node_list, presentation, states
from runs.models import BoardEntry, Run
from tests.plans.cast import node, of, plan
from tests.runs.cast import agent, call, carry_all, decide, request_of, script, scripts, start, text, tool
from tools.values import Effect, Risk

pytestmark = pytest.mark.django_db(transaction=True)

CUT = text("so far") | {"stop_reason": "max_tokens"}


@pytest.fixture(autouse=True)
def cast(model):
    for slug in ("worker", "writer"):
        agent(slug)


def begun(owner, *nodes, **more):
    return start(owner, "Compare the figures.", agent=None, plan=plan(*nodes, **more))


def carried(owner, *nodes, **more):
    return carry_all(begun(owner, *nodes, **more))


def page_of(client, run, **query):
    return client.get(reverse("runs:page", args=[run.pk]), query).content.decode()


def shown(run, owner):
    return presentation.run_page(run, owner).nodes


def drawn(html):
    """What the boxes say, in the words of those who do not see them."""
    return re.findall(r'<a href="#node-[^"]*" aria-label="([^"]*)"', html)


def many(*scripts_, **more):
    return {"key": "each", "agent": "worker", "task": "{item}", "over": {"items": list(scripts_)}, **more}


def two_sided(key, **more):
    told = {"A person has read": [text(f"{key} new")], "": [text(f"{key} old")]}
    return {"key": key, "agent": "worker", "task": json.dumps({"scripts": {"You are worker.": told}}), **more}


def test_a_node_whose_agent_waits_for_a_person_is_shown_as_waiting(at, olga, model):
    tool("pay_back", "tests.pay_back", Effect.KEYED, Risk.HIGH)
    agent("payer", "pay_back")
    paying = {"key": "pay", "agent": "payer", "task": script(call(("pay_back", {"amount": 1})), text("Paid."))}
    run = carry_all(start(olga, "Pay.", agent=None, plan=plan(node("a"), paying)))
    decide(request_of(run), olga)
    run = carry_all(run)

    pay = of(run, "pay")
    html = page_of(at(olga), run)

    assert pay.status == states.WORKING
    assert "pay, payer, waiting" in " ".join(drawn(html))
    assert "waits for a person&#x27;s approval of pay_back" in html


# -- the drawing
def test_a_plan_is_drawn_with_a_link_to_each_of_its_nodes(at, olga):
    run = carried(olga, node("a"), node("b", after=("a",)), node("c", after=("a",)), node("d", after=("b", "c")))

    html = page_of(at(olga), run)

    assert [said.split(",")[0] for said in drawn(html)] == ["a", "b", "c", "d"]
    assert drawn(html)[3].endswith("d done, after b, c")
    for row in run.nodes.filter(number__gt=1):
        assert f'href="#node-{row.pk}"' in html
        assert f'id="node-{row.pk}"' in html
    assert html.count("<path d=") == 4


def test_a_run_of_one_agent_is_not_drawn(at, olga):
    run = carry_all(start(olga, script(text("Hello."))))

    html = page_of(at(olga), run)

    assert "<svg" not in html
    assert "dispatch-body-" in html


def test_many_inside_are_folded_to_a_line(at, olga):
    run = carried(olga, many(*[script(CUT if n == 3 else text(str(n))) for n in range(10)]), node("z", after=("each",)))

    html = page_of(at(olga), run)

    assert len(drawn(html)) == 2
    assert "9 of 10 done, 1 failed" in html
    assert "10 nodes within it: 9 of 10 done, 1 failed" in html


def test_what_is_too_wide_for_a_drawing_is_only_listed(at, olga):
    run = begun(olga, *[node(f"n{n}") for n in range(61)])

    html = page_of(at(olga), run)

    assert "<svg" not in html
    assert html.count('class="place"') == 61


def test_a_supervisor_is_drawn_around_those_it_dispatched(at, olga):
    agent("lead", kind=AgentKind.SUPERVISOR)
    asked = call(*[("dispatch_to_worker", {"task": scripts(worker=[text("seen")])})] * 2)
    turns = [asked, call(("wait", {})), call(("finish", {"answer": "All."}))]
    run = carry_all(start(olga, scripts(lead=turns), agent="lead"))

    nodes = shown(run, olga)

    outer, *inner = nodes.drawing.boxes
    assert (outer.vertex.label, [box.vertex.label for box in inner]) == ("lead", ["worker-1", "worker-2"])
    assert inner[0].x == inner[1].x


def test_later_rounds_stand_behind_the_judge_and_the_planner(olga):
    agent("judge")
    agent("planner", kind=AgentKind.PLANNER)

    def verdict(score):
        return text(json.dumps({"score": score, "feedback": "The US is missing."}))

    first = plan(node("eu"), judge={"agent": "judge", "bar": 0.8, "rounds": 1})
    rounds = {"judged 0.40": [text(json.dumps(plan(node("us", after=("eu",)))))], "": [text(json.dumps(first))]}
    verdicts = {"us done": [verdict(0.9)], "": [verdict(0.4)]}
    request = json.dumps({"scripts": {"You are planner.": rounds, "You are judge.": verdicts}})
    run = carry_all(start(olga, request, agent="planner"))

    at_x = {box.vertex.label: box.x for box in shown(run, olga).drawing.boxes}

    order = ["planner", "eu", "judge-1", "plan-2", "us", "judge-2"]
    assert sorted(at_x, key=at_x.get) == order  # type: ignore[arg-type]


@pytest.mark.parametrize("status", states.NODE.statuses)
def test_every_status_has_its_picture(status):
    from orchestrator_site.core.templatetags.plain import status_icon

    assert status_icon(status) != "circle"


# -- the list
def test_each_line_says_what_it_waits_for_or_what_it_came_to(olga):
    run = begun(olga, node("a"), node("b", after=("a",)), node("c", CUT), node("d", after=("b", "c")))
    carrier.carry(run.dispatches.get(number=1).pk)
    carrier.carry(run.dispatches.get(number=2).pk)

    told = {each.name: each.first_words for each in shown(run, olga).shown}

    assert told["a"] == "a done"
    assert told["b"] == ""
    assert told["c"].startswith("The model's answer was cut off")
    assert told["d"] == "after b"


def test_a_node_opens_to_all_of_its_tries(at, olga):
    run = carried(olga, node("a", CUT, retry={"tries": 1}, fallback=["writer"]), node("b"))

    html = page_of(at(olga), run)

    assert "2 tries" in html
    assert "by the plan" in html
    assert "in its place" in html


def test_what_a_person_is_asked_stands_open_in_its_node(at, olga):
    FailureRule.objects.create(agent=Agent.objects.get(slug="worker"), ask_person=True)
    run = carried(olga, node("a", CUT), *[node(f"n{n}") for n in range(5)])

    opened = [each.name for each in shown(run, olga).shown if each.opens]

    assert opened == ["a"]
    assert f'id="request-{request_of(run).pk}"' in page_of(at(olga), run)


def test_a_page_costs_the_same_however_many_nodes_there_are(at, olga, django_assert_num_queries):
    few = carried(olga, node("a"), node("b", after=("a",)))
    more = carried(olga, *[node(f"n{n}", after=(f"n{n - 1}",) if n else ()) for n in range(6)])
    client = at(olga)

    for run in (few, more):
        page_of(client, run)
        with django_assert_num_queries(22):
            page_of(client, run)


# -- done again
def test_a_node_that_ended_is_commented_on_and_done_again(at, olga):
    run = carried(olga, two_sided("eu"), node("sum", after=("eu",)))
    old = of(run, "eu")
    url = reverse("runs:comment", args=[run.pk, old.pk])
    assert f'action="{url}"' in page_of(at(olga), run)

    at(olga).post(url, {"comment": "Pull them again."})
    run = carry_all(Run.objects.get(pk=run.pk))
    html = page_of(at(olga), run)

    new = of(run, "eu")
    assert f'action="{url}"' not in html
    assert f'<a href="#node-{new.pk}">eu</a> took its place' in html
    assert "2 earlier nodes, done again since" in html
    assert len(drawn(html)) == 2
    assert f'href="#node-{old.pk}" aria-label' not in html


def test_a_run_of_one_agent_is_commented_on_in_its_answer(at, olga, alice):
    run = carry_all(start(olga, script(text("Hello."))))
    url = reverse("runs:comment", args=[run.pk, run.nodes.get().pk])

    assert f'action="{url}"' in page_of(at(olga), run)


def test_who_may_not_start_runs_is_not_offered_to_comment(at, asked, alice):
    run = Run.objects.get(pk=asked.run_id)

    assert "do it again" not in page_of(at(alice), run)


# -- held
def test_a_run_is_paused_and_resumed_from_its_page(at, olga):
    run = begun(olga, node("a"), node("b"))
    client = at(olga)
    assert reverse("runs:pause", args=[run.pk]) in page_of(client, run)

    client.post(reverse("runs:pause", args=[run.pk]))
    html = page_of(client, run)

    assert "nothing new begins until it is resumed" in html
    assert reverse("runs:pause", args=[run.pk]) not in html
    client.post(reverse("runs:resume", args=[run.pk]))
    assert carry_all(run).status == states.SUCCEEDED
    assert reverse("runs:pause", args=[run.pk]) not in page_of(client, run)


def test_a_run_that_is_being_cancelled_is_not_offered_to_be_held(at, olga):
    run = begun(olga, node("a"), node("b"))
    Run.objects.filter(pk=run.pk).update(cancel_requested_at="2026-01-01T00:00:00Z")

    assert reverse("runs:pause", args=[run.pk]) not in page_of(at(olga), run)


# -- partial results
def test_what_failed_and_what_was_skipped_stands_in_the_answer(at, olga):
    run = carried(olga, node("a"), node("b", CUT), node("c", after=("b",)), node("d", after=("a", "c"), join="any"))

    html = page_of(at(olga), run)

    answer = html[html.index('class="card answer') : html.index("How it went")]
    assert "2 of 4 nodes did not succeed (b: The model&#x27;s answer was cut off" in answer


def test_what_failed_within_a_node_stands_there_too(olga):
    run = carried(olga, many(script(text("1")), script(CUT)), node("z", after=("each",)))

    assert shown(run, olga).partial.startswith("each: 1 of 2 did not succeed: each-2")


def test_control_where_all_succeeded_nothing_is_said(olga):
    assert shown(carried(olga, node("a"), node("b")), olga).partial == ""


# -- the blackboard
def test_the_blackboard_shows_the_newest_and_folds_the_rest(at, olga):
    run = carry_all(start(olga, script(text("Hello."))))
    dispatch = run.dispatches.get()
    for n in range(1, 13):
        BoardEntry.objects.create(
            run=run,
            number=n,
            dispatch=dispatch,
            agent="worker",
            category="finding",
            content=f"entry {n}.",
            confidence=0.7,
        )
    Run.objects.filter(pk=run.pk).update(board_entries=12)

    html = page_of(at(olga), run)

    assert "12 entries" in html
    assert "2 earlier" in html
    assert html.index("entry 11.") < html.index("entry 12.")
    assert "0.70 sure" in html


# -- proposed
def test_a_proposed_plan_is_drawn_with_its_judge():
    content = plan(
        {"key": "each", "agent": "worker", "task": "{item}", "over": {"items": ["a", "b"]}},
        {"key": "views", "agents": ["worker", "writer"], "task": "t"},
        {"key": "sum", "depends_on": ["each", "views"], "reduce": {"how": "vote"}},
        judge={"agent": "writer"},
    )

    boxes = {box.vertex.label: box for box in node_list.proposed(content).boxes}  # type: ignore[union-attr]

    assert [boxes[key].vertex.detail for key in ("each", "views", "sum", "judge")] == [
        "worker, for 2",
        "2 agents",
        "vote",
        "writer",
    ]
    assert boxes["each"].x < boxes["sum"].x < boxes["judge"].x
