"""What a comment has done again: with its own plan, told what was done, and within what is still in force."""

import json
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from agents.models import Agent, FailureRule
from agents.values import AgentKind
from runs import carrier, comments, states
from runs.errors import NotPossible
from runs.models import Allotment, Dispatch, Node, WatchRule
from runs.orchestration import results
from tests.plans.cast import carried, node, of, plan, statuses
from tests.runs import callables  # noqa: F401  registers them
from tests.runs.cast import agent, call, carry_all, decide, request_of, scripts, start, text, tool
from tools.values import Effect, Risk

pytestmark = pytest.mark.django_db(transaction=True)

CUT = text("so far") | {"stop_reason": "max_tokens"}
MAIL = call(("mail", {"to": "cy"}))


@pytest.fixture(autouse=True)
def cast(model, settings):
    settings.BATON_ASK_FOR_PLANS = "never"
    agent("worker")
    tool("mail", "tests.effect", Effect.KEYED, Risk.LOW)


def as_text(content):
    return text(json.dumps(content))


def two_sided(key, **more):
    turns = {"A person has read": [text(f"{key} new")], "": [text(f"{key} old")]}
    return {"key": key, "agent": "worker", "task": json.dumps({"scripts": {"You are worker.": turns}}), **more}


def told(each: Node) -> str:
    """What its newest try is told beside its task."""
    assert each.dispatch is not None
    return each.dispatch.briefing


def commented(run, key, by):
    comments.comment(run.pk, of(run, key).pk, "Otherwise.", by)
    return carry_all(run)


def supervised(owner):
    """A supervisor after a node, which has one child send a letter."""
    agent("letters", "mail")
    agent("lead", kind=AgentKind.SUPERVISOR)
    to = call(("dispatch_to_letters", {"task": scripts(letters=[MAIL, text("Sent.")])}))
    task = scripts(lead=[to, call(("wait", {})), call(("finish", {"answer": "All."}))])
    return carried(owner, two_sided("a"), node("all", after=("a",)) | {"agent": "lead", "task": task})


def told_anew(run, key, by):
    """What the node of this key within `all` is told, once `all` is done again."""
    run = commented(run, "a", by)
    return told(Node.objects.get(key=key, within=of(run, "all")))


class TestAPlanOfTwoRounds:
    def test_answers_by_its_newest_round_and_is_judged_once_more(self, ann, bob):
        agent("planner", kind=AgentKind.PLANNER)
        agent("judge")
        again = {
            "the nodes that are there: one.": [as_text(plan(node("two", text("second result"), after=("one",))))],
            "Agents at work": [as_text(plan(two_sided("one"), judge={"agent": "judge"}))],
        }
        judged = {
            "second result": [as_text({"score": 0.9, "feedback": ""})],
            "": [as_text({"score": 0.1, "feedback": "more"})],
        }
        run = carry_all(start(ann, scripts(planner=again, judge=judged), agent="planner"))
        assert run.output == "second result"
        nodes = run.nodes.filter(role="", superseded=False).exclude(plan=None)
        assert dict(nodes.values_list("key", "plan__round")) == {"one": 1, "two": 2}

        run = commented(run, "one", bob)

        assert (run.status, run.output) == (states.SUCCEEDED, "second result")
        assert dict(nodes.values_list("key", "plan__round")) == {"one": 1, "two": 2}
        assert of(run, "judge-2").reads == [str(of(run, "two").pk)]


class TestWhatWasDone:
    def test_is_told_to_a_node_behind_the_one_commented_on(self, ann, bob, ledger):
        agent("letters", "mail")
        sent = scripts(letters=[MAIL, text("Sent.")])
        run = carried(ann, two_sided("a"), node("letter", after=("a",)) | {"agent": "letters", "task": sent})

        run = commented(run, "a", bob)

        briefing = told(of(run, "letter"))
        assert 'letters has called mail with {"to":"cy"}' in briefing
        assert "A person has read" not in briefing

    def test_control_nothing_is_told_to_one_that_did_nothing(self, ann, bob):
        run = commented(carried(ann, two_sided("a"), node("b", after=("a",))), "a", bob)

        assert of(run, "b").briefing == ""

    def test_by_a_supervisors_children_is_told_to_whoever_takes_its_place(self, ann, bob, ledger):
        run = supervised(ann)

        comments.comment(run.pk, of(run, "a").pk, "Otherwise.", bob)
        carrier.carry(Dispatch.objects.filter(run=run).latest("number").pk)

        assert 'letters has called mail with {"to":"cy"}' in told(of(run, "all"))

    def test_by_a_supervisors_children_is_told_to_those_it_dispatches_anew(self, ann, bob, ledger):
        run = supervised(ann)
        assert "has called" not in told(of(run, "letters-1"))

        assert told_anew(run, "letters-1", bob).count('letters has called mail with {"to":"cy"}') == 1

    def test_by_a_router_is_told_to_whom_it_dispatches_anew(self, ann, bob, ledger):
        agent("letters", "mail")
        agent("desk", kind=AgentKind.ROUTER)
        to = call(("dispatch_to_letters", {"task": scripts(letters=[MAIL, text("Sent.")]), "confidence": 1}))
        run = carried(ann, two_sided("a"), node("all", after=("a",)) | {"agent": "desk", "task": scripts(desk=[to])})

        assert told_anew(run, "letters", bob).count('letters has called mail with {"to":"cy"}') == 1

    def test_by_a_plan_is_told_to_the_nodes_of_the_next(self, ann, bob, ledger):
        agent("letters", "mail")
        agent("planner", kind=AgentKind.PLANNER)
        letter = {"key": "letter", "agent": "letters", "task": scripts(letters=[MAIL, text("Sent.")])}
        task = scripts(planner=[as_text(plan(letter))])
        run = carried(ann, two_sided("a"), node("all", after=("a",)) | {"agent": "planner", "task": task})

        assert told_anew(run, "letter", bob).count('letters has called mail with {"to":"cy"}') == 1

    def test_by_an_earlier_try_is_told_to_those_whom_a_supervisor_dispatches_at_the_next(self, ann, bob, ledger):
        agent("letters", "mail")
        agent("lead", kind=AgentKind.SUPERVISOR)
        FailureRule.objects.create(agent=Agent.objects.get(slug="lead"), ask_person=True)
        to = call(("dispatch_to_letters", {"task": scripts(letters=[MAIL, text("Sent.")])}))
        again = [to, call(("wait", {})), call(("finish", {"answer": "All."}))]
        turns = {"lead tried before": again, "": [to, call(("wait", {})), CUT]}
        run = carry_all(start(ann, scripts(lead=turns), agent="lead"))

        decide(request_of(run), bob)
        run = carry_all(run)

        first, second = run.nodes.filter(agent__slug="letters").order_by("number")
        assert "has called" not in told(first)
        assert told(second).count('letters has called mail with {"to":"cy"}') == 1

    def test_of_much_the_newest_is_told_and_how_much_more_there_was(self, ann, bob, ledger, monkeypatch):
        monkeypatch.setattr(results, "MOST_DONE", 2)
        agent("worker", "mail")
        mails = [call(("mail", {"to": f"{n}" * 600})) for n in range(5)]
        run = commented(carried(ann, node("a", *mails, text("Sent."))), "a", bob)

        lines = told(of(run, "a")).splitlines()
        done = [line for line in lines if "has called" in line]
        assert [line[line.index("{") :][7:9] for line in done] == ["33", "44"]
        assert all(len(line) < 1000 and "…" in line for line in done)
        (more,) = [line for line in lines if "before those" in line]
        assert more.startswith("3 more before those (mail: 3)")

    def test_is_told_to_each_that_a_node_goes_over_and_so_is_the_comment(self, ann, bob, ledger):
        agent("letters", "mail")
        items = [scripts(letters=[MAIL, text("Sent.")])]
        run = carried(ann, {"key": "each", "agent": "letters", "task": "{item}", "over": {"items": items}})

        comments.comment(run.pk, of(run, "each").pk, "Shorter, please.", bob)

        briefing = told(Node.objects.get(key="each-1", superseded=False, within=of(run, "each")))
        assert "Shorter, please." in briefing
        assert 'letters has called mail with {"to":"cy"}' in briefing

    def test_is_told_to_whoever_reduces_again(self, ann, bob, ledger):
        agent("editor", "mail")
        edits = {"editor": [MAIL, text("Edited.")]}
        items = [json.dumps({"scripts": {"You are worker.": [text("one")], "You are editor.": edits["editor"]}})]
        reduce = {"how": "synthesis", "agent": "editor", "task": scripts(**edits)}
        run = carried(
            ann, {"key": "all", "agent": "worker", "task": "{item}", "over": {"items": items}, "reduce": reduce}
        )

        comments.comment(run.pk, of(run, "all-1").pk, "Otherwise.", bob)
        carrier.carry(Dispatch.objects.filter(run=run).latest("number").pk)

        assert 'editor has called mail with {"to":"cy"}' in told(of(run, "all-editor"))


class TestWorkOfAWatchRule:
    def test_goes_on_beside_what_is_done_again(self, ann, bob):
        agent("worker", "blackboard_post")
        agent("checker")
        condition = 'entry.category == "claim"'
        checker = Agent.objects.get(slug="checker")
        checks = scripts(checker=[text("Checked.")])
        WatchRule.objects.create(name="x", condition=condition, agent=checker, task=checks, limit=1)
        posts = call(("blackboard_post", {"category": "claim", "content": "late"}))
        run = start(ann, "x", agent=None, plan=plan(node("a", posts, text("claimed")), node("b", after=("a",))))
        carrier.carry(run.dispatches.get(number=1).pk)
        watching = run.nodes.get(role="watch")

        comments.comment(run.pk, of(run, "a").pk, "Otherwise.", bob)
        run = carry_all(run)

        watching.refresh_from_db()
        assert (watching.superseded, watching.status) == (False, states.SUCCEEDED)


class TestWithin:
    @pytest.fixture
    def letters(self, ann, model):
        """A supervisor dispatches somebody, and comes to an end that its own script says."""
        agent("lead", kind=AgentKind.SUPERVISOR)
        to = call(("dispatch_to_worker", {"task": scripts(worker=[text("Written.")])}))

        def letters(last):
            task = scripts(lead=[to, call(("wait", {})), last])
            return carried(ann, two_sided("a"), node("all", after=("a",)) | {"agent": "lead", "task": task})

        return letters

    def refused(self, client, run, inner, bob, sentence):
        with pytest.raises(NotPossible, match=sentence):
            comments.comment(run.pk, inner.pk, "Otherwise.", bob)
        page = client.get(reverse("runs:page", args=[run.pk])).content.decode()
        assert reverse("runs:comment", args=[run.pk, inner.pk]) not in page
        assert reverse("runs:comment", args=[run.pk, of(run, "a").pk]) in page

    @pytest.fixture
    def client(self, client, bob):
        bob.is_superuser = True
        bob.save()
        client.force_login(bob)
        return client

    def test_what_was_left_out_nothing_is_done_again(self, letters, bob, client):
        FailureRule.objects.create(agent=Agent.objects.get(slug="lead"), skip=True)
        run = letters(CUT)
        assert of(run, "all").status == states.SKIPPED

        self.refused(client, run, of(run, "worker-1"), bob, "within all, which was skipped: comment on that")

    def test_what_is_done_anew_nothing_is_done_again(self, letters, bob, client):
        run = letters(call(("finish", {"answer": "All."})))
        old = of(run, "worker-1")
        run = commented(run, "a", bob)
        assert Node.objects.get(run=run, key="all", superseded=True).status == states.SUCCEEDED

        self.refused(client, run, old, bob, "within all, which is done anew: comment on what took its place")

    def test_control_within_what_is_in_force_it_is(self, letters, bob, client):
        run = letters(call(("finish", {"answer": "All."})))

        page = client.get(reverse("runs:page", args=[run.pk])).content.decode()

        assert reverse("runs:comment", args=[run.pk, of(run, "worker-1").pk]) in page


class TestAShare:
    def test_is_what_was_left_of_it(self, ann, bob):
        run = carried(ann, two_sided("a", budget_usd="0.05"), node("b", after=("a",)))
        spent = Allotment.objects.get().spent_usd
        assert spent > 0

        run = commented(run, "a", bob)

        bound = Allotment.objects.get()
        assert (run.status, bound.node_id, bound.granted_usd) == (states.SUCCEEDED, of(run, "a").pk, Decimal("0.05"))
        assert bound.spent_usd > spent

    def test_that_was_used_up_is_added_to_by_a_person(self, ann, bob):
        run = carried(ann, two_sided("a", budget_usd="0.05"))
        Allotment.objects.update(granted_usd=Allotment.objects.get().spent_usd)

        run = commented(run, "a", bob)

        assert (run.status, request_of(run).kind) == (states.WAITING, "budget")
        assert statuses(run)["a"] == states.WORKING


class TestWhatItCosts:
    """Bounded, however much is made of the node that is commented on."""

    @staticmethod
    def in_a_row(size, **more):
        return [two_sided("n0", **more), *(node(f"n{n}", after=(f"n{n - 1}",), **more) for n in range(1, size))]

    @staticmethod
    def side_by_side(size, **more):
        return [two_sided("n0", **more), *(node(f"n{n}", after=("n0",), **more) for n in range(1, size))]

    @staticmethod
    def statements(run, by):
        first = of(run, "n0")
        with CaptureQueriesContext(connection) as captured:
            comments.comment(run.pk, first.pk, "Otherwise.", by)
        return [query["sql"] for query in captured.captured_queries]

    @pytest.mark.parametrize("shape", [in_a_row, side_by_side])
    def test_is_the_same_for_three_nodes_and_for_seven(self, ann, bob, shape):
        few, many = (self.statements(carried(ann, *shape(size)), bob) for size in (3, 7))

        assert len(many) == len(few) <= 40

    def test_is_the_same_for_nodes_with_shares(self, ann, bob):
        few, many = (self.statements(carried(ann, *self.side_by_side(size, budget_usd="0.05")), bob) for size in (3, 7))

        assert len(many) == len(few)

    @pytest.mark.parametrize("by_planner", [True, False])
    def test_is_the_same_where_most_of_them_have_not_begun(self, ann, bob, by_planner):
        agent("planner", kind=AgentKind.PLANNER)

        def begun(size):
            planned = plan(*self.in_a_row(size))
            if by_planner:
                run = start(ann, scripts(planner=[as_text(planned)]), agent="planner")
                carrier.carry(run.dispatches.get().pk)
            else:
                run = start(ann, "x", agent=None, plan=planned)
            carrier.carry(run.dispatches.get(node__key="n0").pk)
            return run

        few, many = (self.statements(begun(size), bob) for size in (3, 7))

        assert len(many) == len(few)


class TestAResultThatIsOnlyRead:
    """A second round reads a node of the first, and does not name it among those that it waits for."""

    @pytest.fixture
    def rounds(self, ann, model):
        agent("planner", kind=AgentKind.PLANNER)
        agent("judge")

        def rounds(first, *later):
            judge = {"agent": "judge", "bar": 0.5, "rounds": 1}
            planned = {
                "the nodes that are there": [as_text(plan(*later))],
                "Agents at work": [as_text(plan(*first, judge=judge))],
            }
            bad, good = (as_text({"score": score, "feedback": ""}) for score in (0.1, 0.9))
            judged = {"all read": [good], "": [bad]}
            return carry_all(start(ann, scripts(planner=planned, judge=judged), agent="planner"))

        return rounds

    def test_is_done_again_with_what_it_read(self, rounds, bob):
        run = rounds([two_sided("a")], node("b", text("all read"), inputs=["a"]))
        assert run.output == "all read"

        run = commented(run, "a", bob)

        assert "a new" in told(of(run, "b"))
        assert run.nodes.filter(key="b", superseded=True).count() == 1

    def test_is_gone_over_again(self, rounds, bob):
        over = {"key": "b", "agent": "worker", "task": f"{{item}} {scripts(worker=[text('all read')])}"}
        run = rounds([two_sided("a")], over | {"over": {"result_of": "a"}})

        run = commented(run, "a", bob)

        assert [each.task[:5] for each in run.nodes.filter(key="b-1").order_by("number")] == ["a old", "a new"]

    def test_has_no_part_in_the_join_rule(self, rounds):
        first = [node("a"), node("c", CUT) | {"join": "always"}, node("d", after=("c",), join="always")]
        run = rounds(first, node("b", text("all read"), after=("a",), inputs=["a", "c"]))

        assert (run.output, statuses(run)["b"]) == ("all read", states.SUCCEEDED)
        assert "which failed" in told(of(run, "b"))
