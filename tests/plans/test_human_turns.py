"""People take their turns: comment on a node, pause and resume, go on in the conversation."""

import pytest

from agents.values import AgentKind
from runs import cancellation, carrier, comments, engine, leases, pausing, states
from runs.errors import BadRequest, NotPossible
from runs.models import Node, ToolCall
from runs.orchestration import results
from tests.plans.cast import carried, first_words, node, of, plan, statuses
from tests.runs.cast import agent, call, carry_all, decide, event_types, request_of, script, scripts, start, text, tool
from tools.values import Effect, Risk

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def cast(model):
    for slug in ("worker", "writer"):
        agent(slug)


def says(first, again):
    """A task that is answered otherwise once a person has commented."""
    return {"scripts": {"You are worker.": {"A person has read": [text(again)], "": [text(first)]}}}


def two_sided(key, **more):
    import json

    return {"key": key, "agent": "worker", "task": json.dumps(says(f"{key} old", f"{key} new")), **more}


class TestAComment:
    def test_has_the_node_done_again_and_all_that_was_made_of_it(self, ann, bob, model):
        run = carried(ann, two_sided("eu"), node("us"), node("sum", after=("eu", "us")), node("end", after=("sum",)))
        assert run.status == states.SUCCEEDED
        old = {each.key: each for each in run.nodes.all()}

        comments.comment(run.pk, of(run, "eu").pk, "The EU figures look wrong, pull them again.", bob)
        run.refresh_from_db()
        assert (run.status, run.finished_at) == (states.WORKING, None)
        run = carry_all(run)

        assert (run.status, run.output) == (states.SUCCEEDED, "end done")
        assert results.text(of(run, "eu")) == "eu new"
        told = first_words(model, "The EU figures look wrong")
        assert "eu old" in told
        superseded = {each.key for each in run.nodes.filter(superseded=True)}
        assert superseded == {"eu", "sum", "end"}
        assert of(run, "us").pk == old["us"].pk
        assert run.dispatches.count() == 7
        assert "eu new" in run.dispatches.get(node=of(run, "sum")).briefing

    def test_is_told_who_said_it(self, ann, bob):
        run = carried(ann, two_sided("a"))

        comments.comment(run.pk, of(run, "a").pk, "Again.", bob)

        assert "node_commented" in event_types(run)
        assert "node_superseded" in event_types(run)

    def test_while_others_are_at_work_stops_what_was_made_of_it(self, ann, bob):
        run = start(ann, "x", agent=None, plan=plan(two_sided("a"), node("b", after=("a",)), node("c", after=("b",))))
        carrier.carry(run.dispatches.get(number=1).pk)

        comments.comment(run.pk, of(run, "a").pk, "Otherwise.", bob)

        assert run.dispatches.get(number=2).status == states.CANCELLED
        run = carry_all(run)
        assert (run.status, statuses(run)["c"]) == (states.SUCCEEDED, states.SUCCEEDED)
        assert run.dispatches.filter(node__key="c").count() == 1

    def test_on_an_item_has_it_reduced_again(self, ann, bob):
        import json

        items = [json.dumps(says("no", "yes")), script(text("yes")), script(text("no"))]
        each = {"key": "all", "agent": "worker", "task": "{item}", "over": {"items": items}, "reduce": {"how": "vote"}}
        run = carried(ann, each, node("after", after=("all",)))
        assert of(run, "all").output == "no"

        comments.comment(run.pk, of(run, "all-1").pk, "Look again.", bob)
        run = carry_all(run)

        assert (of(run, "all").output, run.status) == ("yes", states.SUCCEEDED)
        assert run.nodes.filter(key="after", superseded=True).count() == 1

    def test_on_what_a_supervisor_dispatched_has_the_supervisor_look_again(self, ann, bob):
        import json

        agent("lead", kind=AgentKind.SUPERVISOR)
        asked = json.dumps(says("old", "new"))
        first = [
            call(("dispatch_to_worker", {"task": asked})),
            call(("wait", {})),
            call(("finish", {"answer": "was old"})),
        ]
        cases = {"lead tried before": [call(("finish", {"answer": "is new"}))], "": first}
        run = carry_all(start(ann, json.dumps({"scripts": {"You are lead.": cases}}), agent="lead"))
        assert run.output == "was old"

        comments.comment(run.pk, of(run, "worker-1").pk, "Again.", bob)
        run = carry_all(run)

        assert (run.status, run.output) == (states.SUCCEEDED, "is new")

    def test_while_a_supervisor_waits_is_waited_for_and_told_in_place_of_the_old(self, ann, bob):
        import json

        agent("lead", kind=AgentKind.SUPERVISOR)
        sends = [("dispatch_to_worker", {"task": json.dumps(says(f"{name} old", f"{name} new"))}) for name in "ab"]
        turns = [call(*sends), call(("wait", {})), call(("finish", {"answer": "{{result:3}}"}))]
        run = start(ann, scripts(lead=turns), agent="lead")
        for number in (1, 2):
            carrier.carry(run.dispatches.get(number=number).pk)

        comments.comment(run.pk, of(run, "worker-1").pk, "Again.", bob)
        run = carry_all(run)

        assert (run.status, of(run, "worker-1").status) == (states.SUCCEEDED, states.SUCCEEDED)
        assert "a new" in run.output
        assert "b old" in run.output
        assert "a old" not in run.output

    def test_on_what_a_supervisor_was_told_already_is_told_once_more(self, ann, bob):
        import json

        agent("lead", kind=AgentKind.SUPERVISOR)
        sends = [("dispatch_to_worker", {"task": json.dumps(says(f"{name} old", f"{name} new"))}) for name in "ab"]
        waits = [call(("wait", {"until": "any"})), call(("wait", {}))]
        turns = [call(*sends), *waits, call(("finish", {"answer": "{{result:4}}"}))]
        run = start(ann, scripts(lead=turns), agent="lead")
        for number in (1, 2, 1):
            carrier.carry(run.dispatches.get(number=number).pk)

        comments.comment(run.pk, of(run, "worker-1").pk, "Again.", bob)
        run = carry_all(run)

        assert (run.status, of(run, "worker-1").status) == (states.SUCCEEDED, states.SUCCEEDED)
        assert "a new" in run.output

    def test_as_a_supervisor_has_just_finished_has_it_look_again(self, ann, bob):
        import json

        agent("lead", kind=AgentKind.SUPERVISOR)
        sent = call(("dispatch_to_worker", {"task": json.dumps(says("old", "new"))}))
        first = [sent, call(("wait", {})), call(("finish", {"answer": "was old"}))]
        cases = {"lead tried before": [call(("finish", {"answer": "is new"}))], "": first}
        run = start(ann, scripts(lead=cases), agent="lead")
        for number in (1, 2):
            carrier.carry(run.dispatches.get(number=number).pk)
        lease = leases.claim(run.dispatches.get(number=1).pk)
        assert lease is not None
        while not ToolCall.objects.filter(tool="finish", status=states.DONE).exists():
            engine.advance(lease)

        comments.comment(run.pk, of(run, "worker-1").pk, "Again.", bob)
        leases.hand_on(lease)
        run = carry_all(run)

        assert (run.status, run.output) == (states.SUCCEEDED, "is new")
        assert results.text(of(run, "worker-1")) == "new"

    def test_on_a_run_of_one_agent_is_another_first_node(self, ann, bob):
        import json

        run = carry_all(start(ann, json.dumps(says("old", "new"))))

        comments.comment(run.pk, run.nodes.get().pk, "Not so.", bob)
        run = carry_all(run)

        assert (run.status, run.output, run.nodes.count()) == (states.SUCCEEDED, "new", 2)

    def test_of_what_acted_tells_what_was_done_and_repeating_it_asks(self, ann, bob, ledger):
        tool("pay", "tests.effect", Effect.KEYED, Risk.LOW)
        agent("worker", "pay")
        run = carry_all(start(ann, script(call(("pay", {"amount": 5})), text("Paid."))))
        assert run.status == states.SUCCEEDED

        comments.comment(run.pk, run.nodes.get().pk, "Are you sure?", bob)
        run = carry_all(run)

        assert 'worker has called pay with {"amount":5}' in run.dispatches.get(number=2).briefing
        assert request_of(run).reasons == ["The same call already had its effect in this run; this would repeat it."]

    @pytest.mark.parametrize(("said", "fault"), [("", BadRequest), ("x" * 10_001, BadRequest)])
    def test_has_to_say_something(self, ann, bob, said, fault):
        run = carried(ann, node("a"))

        with pytest.raises(fault):
            comments.comment(run.pk, of(run, "a").pk, said, bob)

    def test_is_not_possible_on_what_has_not_ended_or_is_superseded(self, ann, bob):
        run = start(ann, "x", agent=None, plan=plan(node("a"), node("b", after=("a",))))
        with pytest.raises(NotPossible, match="not ended"):
            comments.comment(run.pk, of(run, "a").pk, "x", bob)
        run = carry_all(run)
        old = of(run, "a")
        comments.comment(run.pk, old.pk, "x", bob)

        with pytest.raises(NotPossible, match="taken its place"):
            comments.comment(run.pk, old.pk, "x", bob)
        carry_all(run)
        with pytest.raises(NotPossible, match="whole of the plan"):
            comments.comment(run.pk, Node.objects.get(run=run, number=1).pk, "x", bob)

    def test_is_not_possible_on_a_cancelled_run(self, ann, bob):
        run = start(ann, "x", agent=None, plan=plan(node("a"), node("b", after=("a",))))
        carrier.carry(run.dispatches.get().pk)
        cancellation.cancel(run.pk, ann)

        with pytest.raises(NotPossible, match="was cancelled"):
            comments.comment(run.pk, of(run, "a").pk, "x", bob)


class TestAPausedRun:
    def test_begins_nothing_until_it_is_resumed(self, ann, bob):
        run = start(ann, "x", agent=None, plan=plan(node("a"), node("b", after=("a",))))

        pausing.pause(run.pk, bob)
        run = carry_all(run)
        assert (run.status, run.waiting_on) == (states.PAUSED, "a person to resume it")
        assert [each.status for each in run.dispatches.all()] == [states.PAUSED]

        pausing.resume(run.pk, bob)
        assert carry_all(run).status == states.SUCCEEDED

    def test_lets_what_is_in_hand_end_its_turn(self, ann, bob, monkeypatch):
        tool("echo", "tests.echo")
        agent("worker", "echo")
        run = start(ann, script(call(("echo", {"n": 1})), call(("echo", {"n": 2})), text("Done.")))
        from runs.engine import asking

        original = asking.ask
        asked: list[int] = []

        def ask(*args):
            if not asked:
                pausing.pause(run.pk, bob)
            asked.append(1)
            return original(*args)

        monkeypatch.setattr(asking, "ask", ask)
        run = carry_all(run)

        assert (run.status, len(asked)) == (states.PAUSED, 1)
        assert run.dispatches.get().calls.get().status == states.DONE

        pausing.resume(run.pk, bob)
        run = carry_all(run)
        assert (run.status, run.output, len(asked)) == (states.SUCCEEDED, "Done.", 3)

    def test_keeps_a_decision_for_when_it_is_resumed(self, ann, bob, ledger):
        tool("pay", "tests.effect", Effect.KEYED, Risk.HIGH)
        agent("worker", "pay")
        run = carry_all(start(ann, script(call(("pay", {})), text("Paid."))))
        pausing.pause(run.pk, bob)

        decide(request_of(run), bob)
        run = carry_all(run)
        assert (run.status, run.dispatches.get().status) == (states.PAUSED, states.PAUSED)

        pausing.resume(run.pk, bob)
        assert carry_all(run).output == "Paid."

    def test_can_be_cancelled(self, ann, bob):
        run = start(ann, script(text("x")))
        pausing.pause(run.pk, bob)

        cancellation.cancel(run.pk, bob)

        run.refresh_from_db()
        assert run.status == states.CANCELLED

    def test_is_paused_once_and_resumed_once(self, ann, bob):
        run = start(ann, script(text("x")))
        with pytest.raises(NotPossible, match="not paused"):
            pausing.resume(run.pk, bob)
        pausing.pause(run.pk, bob)
        with pytest.raises(NotPossible, match="paused already"):
            pausing.pause(run.pk, bob)
        pausing.resume(run.pk, bob)
        carry_all(run)
        with pytest.raises(NotPossible, match="has ended"):
            pausing.pause(run.pk, bob)


def test_a_router_run_goes_on_in_its_conversation(ann):
    agent("router", kind=AgentKind.ROUTER)
    asked = scripts(router=[call(("dispatch_to_worker", {"task": "Do.", "confidence": 0.9}))], worker=[text("first")])
    first = carry_all(start(ann, asked, agent=None))

    second = carry_all(start(ann, script(text("second")), conversation=first.conversation_id))

    assert second.dispatches.get().history == [[asked, "first"]]
