"""Every pattern of plans, each with what it comes to: its rows, and what its agents were told on the wire."""

import json
from collections.abc import Callable
from typing import Any

from django.contrib.auth.models import User

from agents.models import Agent
from agents.values import AgentKind
from runs import states
from runs.models import PlanTemplate, Run, WatchRule
from tests.model_fixtures import ScriptedModel
from tests.plans.cast import node, plan
from tests.runs import cast
from tests.runs.cast import agent, call, decide, events_of, script, scripts, start, text, tool
from tests.scenarios import Answer, Scenario, Seen, most_at_once, no_more, nobody_is_asked


def company(model: ScriptedModel) -> None:
    """Who plays the patterns, the templates, and the rule that watches."""
    cast.model(model.url, "other")
    cast.model(model.url, "third")
    tool("look_up", "tests.echo")
    agent("worker", "look_up")
    for slug in ("writer", "judge"):
        agent(slug)
    agent("poster", "blackboard_post")
    agent("checker", "blackboard_post")
    agent("planner", kind=AgentKind.PLANNER)
    agent("lead", kind=AgentKind.SUPERVISOR)
    gap = {"key": "a", "agent": "worker", "task": "{{task}}"}
    parameters = {"properties": {"task": {"type": "string"}}, "required": ["task"]}
    PlanTemplate.objects.create(slug="usual", title="Usual", content=plan(gap), parameters=parameters)
    found = {each.slug: each for each in Agent.objects.all()}
    begun = plan(node("a", text("as it was begun")))
    PlanTemplate.objects.create(slug="begun", title="Begun", content=begun, planner=found["planner"])
    PlanTemplate.objects.create(slug="asked", title="Asked", content=plan(node("a", text("unasked"))), ask="always")
    checks = script(call(("blackboard_post", {"category": "claim", "content": "one more"})), text("checked"))
    condition = 'entry.category == "claim"'
    WatchRule.objects.create(name="claims", condition=condition, agent=found["checker"], task=checks, limit=3)


def meets(words: str, name: str, of: int) -> dict[str, Any]:
    """A reply that comes only while so many requests of this name are under way together."""
    return text(words) | {"meets": {"name": name, "of": of}}


def came_to(seen: Seen, output: str) -> None:
    assert (seen.run.status, seen.run.output) == (states.SUCCEEDED, output)


class Patterns:
    def __init__(self, model: ScriptedModel, ann: User, bob: User) -> None:
        self.model, self.ann, self.bob = model, ann, bob

    def all(self) -> dict[str, Scenario]:
        made: list[Callable[[], Scenario]] = [
            self.one_after_another, self.side_by_side, self.a_diamond, self.fifty_items_eight_at_a_time,
            self.a_vote_of_three_models, self.a_vote_with_a_tie, self.merged_two_and_two,
            self.a_judge_with_two_more_rounds, self.three_children_of_a_supervisor, self.a_template,
            self.a_template_a_planner_starts_from, self.a_plan_edited_before_it_is_approved, self.a_blackboard,
        ]  # fmt: skip
        return {make.__name__.replace("_", " "): make() for make in made}

    def of(
        self,
        check: Callable[[Seen], None],
        input: str = "The request.",
        *,
        decides: Answer = nobody_is_asked,
        meanwhile: Callable[[Run], bool] = no_more,
        **asked: Any,
    ) -> Scenario:
        return Scenario(start(self.ann, input, **{"agent": None} | asked), check, decides, meanwhile)

    # -- nodes and edges -----------------------------------------------------------------------------------------
    def one_after_another(self) -> Scenario:
        looks = call(("look_up", {"order": 7}), say="I look it up.")
        nodes = [node("a", looks, text("order 7 is late")), node("b", text("a letter"), after=("a",))]
        return self.of(self._followed, plan=plan(*nodes))

    def _followed(self, seen: Seen) -> None:
        came_to(seen, "a letter")
        (first, second), (a, b) = seen.tries("a", "b"), (seen.node("a"), seen.node("b"))
        assert list(b.parents.all()) == [a]
        assert first.finished_at < second.started_at  # type: ignore[operator]
        assert seen.requests("a")[-1].ended_at <= seen.requests("b")[0].began_at
        told = f"Result of a (worker) ({a.artifact.reference}): order 7 is late"  # type: ignore[union-attr]
        assert seen.told("b") == f"Task: {b.task}\n\n{told}"
        (sent,) = seen.requests("b")
        assert "I look it up." in str(seen.requests("a")[-1].body)
        assert "I look it up." not in str(sent.body)
        assert "look_up" not in str(sent.body["messages"])

    def side_by_side(self) -> Scenario:
        keys = ("s1", "s2", "s3")
        return self.of(self._abreast, plan=plan(*[node(key, meets(key, "abreast", 3)) for key in keys]))

    def _abreast(self, seen: Seen) -> None:
        came_to(seen, "s1\n\ns2\n\ns3")
        assert most_at_once(seen.worked("s1", "s2", "s3")) == 3
        assert most_at_once(seen.sent("s1", "s2", "s3")) == 3
        assert not any(each.parents.exists() for each in seen.nodes(within__isnull=False))
        assert all("Result of" not in seen.told(key) for key in ("s1", "s2", "s3"))

    def a_diamond(self) -> Scenario:
        sides = [node(key, meets(f"the {key}", "sides", 2), after=("top",)) for key in ("left", "right")]
        bottom = node("bottom", text("joined"), after=("left", "right"))
        return self.of(self._joined, plan=plan(node("top", text("the top")), *sides, bottom))

    def _joined(self, seen: Seen) -> None:
        came_to(seen, "joined")
        assert most_at_once(seen.worked("left", "right")) == most_at_once(seen.sent("left", "right")) == 2
        ((_, top),), sides, ((bottom, _),) = seen.sent("top"), seen.sent("left", "right"), seen.sent("bottom")
        assert top <= min(began for began, _ in sides)
        assert max(ended for _, ended in sides) <= bottom
        for side in ("left", "right"):
            assert seen.told(side).endswith(": the top")
        before, left, right = seen.told("bottom").split("\n\nResult of ")
        assert before == f"Task: {seen.node('bottom').task}"
        assert (left.split(" (")[0], left.endswith(": the left")) == ("left", True)
        assert (right.split(" (")[0], right.endswith(": the right")) == ("right", True)

    # -- one task for many ---------------------------------------------------------------------------------------
    def fifty_items_eight_at_a_time(self) -> Scenario:
        """The first eight wait for each other; a ninth would be seen beside others."""
        items = [script(meets(f"r{n}", "eight", 8) if n < 8 else text(f"r{n}")) for n in range(50)]
        return self.of(self._eight_at_a_time, plan=plan(_many(*items, limit=8)))

    def _eight_at_a_time(self, seen: Seen) -> None:
        came_to(seen, "\n\n".join(f"r{n}" for n in range(50)))
        keys = [f"each-{n}" for n in range(1, 51)]
        assert [each.key for each in seen.nodes(within=seen.node("each"))] == keys
        assert len(seen.requests(*keys)) == 50
        assert most_at_once(seen.worked(*keys)) == 8
        assert most_at_once(seen.sent(*keys)) == 8

    def a_vote_of_three_models(self) -> Scenario:
        says = text("aye") | {"by_model": {"other": {"text": "nay"}}}
        asked = node("vote", says, models=["scripted", "other", "third"], reduce={"how": "vote"})
        return self.of(self._won, plan=plan(asked))

    def _won(self, seen: Seen) -> None:
        came_to(seen, "aye")
        assert events_of(seen.run, "votes_counted")[0]["counted"] == [["aye", 2], ["nay", 1]]
        assert seen.node("vote").message == "aye: 2, nay: 1."
        models = ["scripted", "other", "third"]
        assert [sent.body["model"] for sent in seen.requests()] == models
        assert len({sent.opening for sent in seen.requests()}) == 1
        assert [each.terms["models"] for each in seen.tries()] == [[model] for model in models]
        assert [each.steps.get().model for each in seen.tries()] == models

    def a_vote_with_a_tie(self) -> Scenario:
        says = text("yes") | {"by_model": {"other": {"text": "no"}}}
        tied = node("tied", says, models=["scripted", "other"], reduce={"how": "vote"})
        after = node("after", text("so be it"), after=("tied",))

        def decides(request: Any) -> None:
            decide(request, self.bob, "answered", answer="no")

        return self.of(self._decided, plan=plan(tied, after), decides=decides)

    def _decided(self, seen: Seen) -> None:
        came_to(seen, "so be it")
        (asked,) = seen.asked
        assert (asked.kind, asked.content["candidates"]) == ("vote", ["yes", "no"])
        (counted,) = events_of(seen.run, "votes_counted")
        assert (counted["counted"], counted["unread"]) == ([["yes", 1], ["no", 1]], 0)
        asked.refresh_from_db()
        given = asked.decision
        assert (given.verdict, given.answer, given.by) == ("answered", "no", self.bob)
        assert seen.node("tied").output == "no"
        assert "Result of tied" in seen.told("after")
        assert seen.told("after").endswith(": no")
        assert seen.tries("after")[0].created_at >= given.at

    def merged_two_and_two(self) -> Scenario:
        items = [script(text(f"part {n}")) for n in range(5)]
        reduce = {"how": "merge", "agent": "writer", "task": script(text("merged"))}
        return self.of(self._merged, plan=plan(_many(*items, reduce=reduce)))

    def _merged(self, seen: Seen) -> None:
        came_to(seen, "merged")
        merges = seen.nodes(role="reducer")
        keys = {str(each.pk): each.key for each in seen.nodes()}
        tree = [
            ("each-1", "each-2"),
            ("each-3", "each-4"),
            ("each-merge-1", "each-merge-2"),
            ("each-merge-3", "each-5"),
        ]
        assert [tuple(keys[read] for read in each.reads) for each in merges] == tree
        for each, parts in zip(merges, tree, strict=True):
            task, *told = seen.told(each.key).split("\n\nResult of ")
            assert task == f"Task: {each.task}"
            assert tuple(part.split(" (")[0] for part in told) == parts
            assert max(end for _, end in seen.sent(*parts)) <= seen.sent(each.key)[0][0]
        assert seen.told("each-merge-1").count(": part 0") == seen.told("each-merge-1").count(": part 1") == 1

    # -- planned, judged, supervised -----------------------------------------------------------------------------
    def a_judge_with_two_more_rounds(self) -> Scenario:
        def more(key: str, words: str, **judged: Any) -> list[dict[str, Any]]:
            return [text(json.dumps(plan(node(key, text(words)), **judged)))]

        planner = {
            "are there: one, two.": more("three", "third result"),
            "are there: one.": more("two", "second result"),
            "Agents at work": more("one", "first result", judge={"agent": "judge", "rounds": 2}),
        }
        judge = {
            "third result": [text('{"score": 0.9, "feedback": ""}')],
            "second result": [text('{"score": 0.2, "feedback": "a third, please"}')],
            "first result": [text('{"score": 0.1, "feedback": "a second, please"}')],
        }
        return self.of(self._judged, scripts(planner=planner, judge=judge), agent="planner")

    def _judged(self, seen: Seen) -> None:
        came_to(seen, "third result")
        plans = [(each.round, each.source, each.made_by, each.status) for each in seen.run.plans.all()]
        assert plans == [(n, "planner", "agent:planner", states.ACCEPTED) for n in (1, 2, 3)]
        assert [event["score"] for event in events_of(seen.run, "judged")] == [0.1, 0.2, 0.9]
        asked = [("planner", "run"), *[(who, "plan") for who in ["worker", "judge", "planner"] * 3][:-1]]
        assert seen.origins() == asked
        assert "please" not in seen.requests("run")[0].opening.rpartition("}")[2]
        for key, said, there in (
            ("plan-2", "judged 0.10, and 0.80 is wanted. The judge says:\na second, please", "are there: one."),
            ("plan-3", "judged 0.20, and 0.80 is wanted. The judge says:\na third, please", "are there: one, two."),
        ):
            (sent,) = seen.requests(key)
            assert said in sent.opening
            assert there in sent.opening
        for number, words in ((1, "first"), (2, "second"), (3, "third")):
            assert f": {words} result" in seen.told(f"judge-{number}")

    def three_children_of_a_supervisor(self) -> Scenario:
        """The children are answered once all three, and the test, have come; the lead is looked at before."""
        tasks = {slug: scripts(**{slug: [meets(f"{slug} done", "children", 4)]}) for slug in _CHILDREN}
        sends = call(*[(f"dispatch_to_{slug}", {"task": task}) for slug, task in tasks.items()])
        turns = [sends, call(("wait", {})), call(("finish", {"answer": "All done."}))]
        return self.of(self._supervised, scripts(lead=turns), agent="lead", meanwhile=self._the_lead_waits)

    def _the_lead_waits(self, run: Run) -> bool:
        lead, *children = run.dispatches.order_by("number")
        if len(children) < 3 or {each.status for each in children} != {states.WORKING}:
            return False
        if lead.status != states.WAITING:
            return False
        assert (lead.lease_owner, lead.lease_until) == ("", None)
        assert all(each.lease_owner for each in children)
        self.model.meet("children", 4)
        return True

    def _supervised(self, seen: Seen) -> None:
        came_to(seen, "All done.")
        keys = ("worker-1", "writer-2", "judge-3")
        assert most_at_once(seen.worked(*keys)) == most_at_once(seen.sent(*keys)) == 3
        _, waits, last = seen.requests("run")
        children = seen.sent(*keys)
        assert waits.ended_at <= min(end for _, end in children)
        assert max(end for _, end in children) <= last.began_at
        (came,) = last.results
        for key, slug in zip(keys, _CHILDREN, strict=True):
            assert f"Result of {key}" in came["content"] or f"{slug}" in came["content"]
            assert f"): {slug} done" in came["content"]

    # -- where plans come from -----------------------------------------------------------------------------------
    def a_template(self) -> Scenario:
        self._usual = script(text("as usual"))
        return self.of(self._by_template, plan={"template": "usual", "parameters": {"task": self._usual}})

    def _by_template(self, seen: Seen) -> None:
        came_to(seen, "as usual")
        made = seen.run.plans.get()
        assert (made.source, made.status, made.request) == ("template", states.ACCEPTED, None)
        assert [(each["key"], each["task"]) for each in made.content["nodes"]] == [("a", self._usual)]
        assert seen.origins() == [("worker", "plan")]
        assert [sent.opening for sent in seen.requests()] == [self._usual]

    def a_template_a_planner_starts_from(self) -> Scenario:
        planned = plan({"key": "a", "agent": "worker", "task": script(text("planned anew"))})
        return self.of(self._by_planner, scripts(planner=[text(json.dumps(planned))]), plan={"template": "begun"})

    def _by_planner(self, seen: Seen) -> None:
        came_to(seen, "planned anew")
        made = seen.run.plans.get()
        assert (made.source, made.made_by, made.status) == ("planner", "agent:planner", states.ACCEPTED)
        (planner, worker) = seen.tries()
        (sent,) = seen.requests_of(planner)
        _, _, begun = sent.opening.partition("Start from this plan, and change what the request needs changed:\n")
        template, _ = json.JSONDecoder().raw_decode(begun)
        assert [each["task"] for each in template["nodes"]] == [script(text("as it was begun"))]
        assert [each.opening for each in seen.requests_of(worker)] == [script(text("planned anew"))]

    def a_plan_edited_before_it_is_approved(self) -> Scenario:
        edited = plan(node("b", text("instead")))

        def decides(request: Any) -> None:
            assert not Run.objects.get(pk=request.run_id).dispatches.exists()
            decide(request, self.bob, "modified", edit={"content": edited})

        return self.of(self._edited, plan={"template": "asked"}, decides=decides)

    def _edited(self, seen: Seen) -> None:
        came_to(seen, "instead")
        made, (asked,) = seen.run.plans.get(), seen.asked
        assert (made.source, made.status, made.request) == ("template", states.ACCEPTED, asked)
        proposed, content = ([each["key"] for each in it["nodes"]] for it in (made.proposed, made.content))
        assert (proposed, content) == (["a"], ["b"])
        assert asked.decision.verdict == "modified"
        assert [each.key for each in seen.nodes(within__isnull=False)] == ["b"]
        assert [sent.opening for sent in seen.requests()] == [script(text("instead"))]

    # -- shared state --------------------------------------------------------------------------------------------
    def a_blackboard(self) -> Scenario:
        """Each check posts what the rule watches for: it is its limit that ends it."""
        posts = call(("blackboard_post", {"category": "claim", "content": "the first"}))
        turns = {"grown while": [text("read it")], "": [posts, text("posted")]}
        return self.of(self._quiet, scripts(poster=turns), agent="poster")

    def _quiet(self, seen: Seen) -> None:
        came_to(seen, "read it")
        posted = [(each.number, each.agent) for each in seen.run.board.order_by("number")]
        assert posted == [(1, "poster"), (2, "checker"), (3, "checker"), (4, "checker")]
        assert [event["entry"] for event in events_of(seen.run, "watch_rule_fired")] == [1, 2, 3]
        assert (seen.run.board_entries, seen.run.board_seen) == (4, 4)
        assert seen.origins() == [("poster", "run"), *[("checker", "route")] * 3, ("poster", "closing")]
        for n, each in enumerate(seen.nodes(role="watch"), start=1):
            told = seen.told(each.key)
            assert "You were called because of “claims”." in told
            assert [number for number in range(1, 5) if f"[{number}] claim by" in told] == list(range(1, n + 1))
        (sent,) = seen.requests_of(seen.tries()[-1])
        listed = sent.opening.partition("has grown while others worked")[2]
        assert [number for number in range(1, 5) if f"[{number}] claim by checker: one more" in listed] == [2, 3, 4]


_CHILDREN = ("worker", "writer", "judge")


def _many(*items: str, **more: Any) -> dict[str, Any]:
    return {"key": "each", "agent": "worker", "task": "{item}", "over": {"items": list(items)}, **more}
