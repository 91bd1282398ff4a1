"""Random walks: a run is moved by workers, people, clocks and deaths in any order; what may never be is looked for.

A walk is a plan and a list of acts, each a name and a number that picks whom it befalls. What cannot be done at the
moment is refused, and that is all. In the end people do whatever they are asked, and the run has to come to its end.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from random import Random
from typing import Any
from unittest import mock

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models.functions import Now

from agents.models import Agent, FailureRule
from agents.values import AgentKind
from approvals import kinds, sweeps
from approvals.errors import NotDecided
from approvals.models import ApprovalRequest
from orchestrator_site.core import crashpoints, events
from runs import cancellation, carrier, comments, pausing, plan_kinds, reconcile, states, uncertain
from runs.errors import BadRequest, NotPossible
from runs.models import Dispatch, Edge, Handoff, Node, Run, Step, ToolCall
from tests.runs.cast import agent, call, decide, overdue, script, scripts, text, tool
from tests.runs.meanwhile import Vanished, elsewhere, leave_to_others
from tests.waiting import PATIENCE_SECONDS
from tools.values import Effect, Risk

Act = tuple[str, int]
# What an act answers that found nothing to do.
NOTHING = object()
# The share of acts that are done by one alone.
ALONE = 0.6
CUT = {"stop_reason": "max_tokens"}
# Refusals of a verb that does not fit: whoever asks is told, and nothing has happened.
REFUSED = (NotDecided, NotPossible, BadRequest)
# Enough for every walk that has ever ended; whoever needs more is going round in circles.
MOST_STEPS = 600


def hire() -> None:
    tool("free", "tests.effect", Effect.KEYED, Risk.LOW)
    tool("gated", "tests.effect", Effect.KEYED, Risk.HIGH)
    tool("unsafe", "tests.effect", Effect.UNSAFE, Risk.LOW)
    for slug in ("worker", "deputy"):
        agent(slug, "free", "gated", "unsafe", "ask_human")
    agent("shaky", "free")
    agent("clerk", "propose_handoff", "free", handoff_targets=("worker", "deputy"))
    agent("lead", kind=AgentKind.SUPERVISOR)
    shaky, deputy = Agent.objects.get(slug="shaky"), Agent.objects.get(slug="deputy")
    FailureRule.objects.create(agent=shaky, tries=2, backoff_seconds=1, fallbacks=["deputy"], ask_person=True)
    FailureRule.objects.create(agent=deputy, ask_person=True)


# -- plans -------------------------------------------------------------------------------------------------------
class Plans:
    """Draws nodes; every call carries a mark that no other call of the plan has."""

    def __init__(self, dice: Random) -> None:
        self.dice, self.marks = dice, 0

    def plan(self, most: int) -> dict[str, Any]:
        nodes: list[dict[str, Any]] = []
        for n in range(self.dice.randint(1, most)):
            parents = self.dice.sample(range(n), self.dice.randint(0, min(n, 3)))
            joins = ["all", "all", "any", "always"] + ["quorum(2)"] * (len(parents) >= 2)
            after = {"depends_on": [f"n{parent}" for parent in sorted(parents)], "join": self.dice.choice(joins)}
            nodes.append({"key": f"n{n}", **after, **self.dice.choice(KINDS)(self, f"n{n}")})
        limit = {"concurrency": self.dice.randint(1, 3)} if self.dice.random() < 0.3 else {}
        return {"nodes": nodes, **limit}

    def does(self, name: str) -> dict[str, Any]:
        self.marks += 1
        return call((name, {"of": f"call {self.marks}", "dedupe": name != "unsafe"}))

    def turns(self, words: str) -> list[dict[str, Any]]:
        """Up to two calls, and the words in the end."""
        names = self.dice.choices(["free", "gated", "unsafe", "asks", ""], [3, 3, 1, 1, 3], k=2)
        asks = call(("ask_human", {"question": "Which?"}))
        return [*[asks if name == "asks" else self.does(name) for name in names if name], text(words)]

    # -- the kinds of nodes
    def plain(self, key: str) -> dict[str, Any]:
        return {"agent": "worker", "task": script(*self.turns(f"{key} done"))}

    def failing(self, key: str) -> dict[str, Any]:
        return {"agent": "worker", "task": script(text(f"{key} half") | CUT)}

    def acts_and_fails(self, key: str) -> dict[str, Any]:
        return {"agent": self.dice.choice(["worker", "deputy"]), "task": script(self.does("free"), text("half") | CUT)}

    def shaky(self, key: str) -> dict[str, Any]:
        """Its tries fail; the deputy, or a person, has to see to it."""
        deputy = [text(f"{key} done")] if self.dice.random() < 0.6 else [text("half") | CUT]
        first = [self.does("free")] if self.dice.random() < 0.3 else []
        return {"agent": "shaky", "task": scripts(shaky=[*first, text("half") | CUT], deputy=deputy)}

    def handed_over(self, key: str) -> dict[str, Any]:
        to = self.dice.choice(["worker", "deputy"])
        task = f"Take it. {scripts(worker=self.turns(f'{key} done'), deputy=self.turns(f'{key} done'))}"
        proposal = call(("propose_handoff", {"target": to, "reason": "Not mine.", "task": task}))
        cases = {"says what to do instead": [text(f"{key} done after all")], "": [proposal]}
        return {"agent": "clerk", "task": scripts(clerk=cases)}

    def mapped(self, key: str) -> dict[str, Any]:
        words = ["yes", "no"]
        items = [script(*self.turns(self.dice.choice(words))) for _ in range(self.dice.randint(2, 4))]
        reduce = self.dice.choice([{"how": "vote"}, {"how": "concatenate", "join": self.dice.choice(["all", "any"])}])
        limit = {"limit": 1} if self.dice.random() < 0.3 else {}
        return {"agent": "worker", "task": "{item}", "over": {"items": items}, "reduce": reduce, **limit}

    def supervised(self, key: str) -> dict[str, Any]:
        parts = [json.loads(script(*self.turns(f"{key} part"))) for _ in range(2)]
        sends = [(f"dispatch_to_{self.dice.choice(['worker', 'shaky'])}", {"task": json.dumps(part)}) for part in parts]
        ends = call(("finish", {"answer": f"{key} done"}))
        turns = [call(*sends), call(("wait", {"until": self.dice.choice(["all", "any"])})), ends]
        return {"agent": "lead", "task": scripts(lead={"lead tried before": [ends], "": turns})}


KINDS: list[Callable[[Plans, str], dict[str, Any]]] = [
    Plans.plain,
    Plans.plain,
    Plans.plain,
    Plans.plain,
    Plans.failing,
    Plans.acts_and_fails,
    Plans.shaky,
    Plans.handed_over,
    Plans.handed_over,
    Plans.mapped,
    Plans.mapped,
    Plans.supervised,
    Plans.supervised,
]


# -- acts --------------------------------------------------------------------------------------------------------
class Walk:
    def __init__(self, run: Run, person: User) -> None:
        self.run, self.person = run, person
        self.told: Counter[str] = Counter()

    def does(self, *acts: Act) -> None:
        """At the same moment, where there are several."""
        if len(acts) == 1:
            self._does(acts[0])
        else:
            jobs = [elsewhere(partial(self._does, act)) for act in acts]
            for job in jobs:
                job.result(timeout=PATIENCE_SECONDS)

    def _does(self, act: Act) -> None:
        name, pick = act
        with suppress(*REFUSED):
            if ACTS[name](self, pick) is not NOTHING:
                self.told[name] += 1

    def carry(self, pick: int) -> object:
        if ready := list(Dispatch.objects.forgotten().filter(run=self.run).order_by("number")):
            carrier.carry(ready[pick % len(ready)].pk, alone=True)
        else:
            return NOTHING
        return None

    def die(self, pick: int) -> None:
        """A worker ends at one of the points at which a death costs most; its lease runs out."""
        left = 1 + pick % 7

        def reach(point: str) -> None:
            nonlocal left
            left -= 1
            if not left:
                raise Vanished

        with mock.patch.object(crashpoints, "reach", reach), suppress(Vanished):
            self.carry(pick)
        leave_to_others(self.run)

    def wake(self, pick: int = 0) -> None:
        """Whatever waits for a moment: the moment has come, and the reconciler has its turn."""
        with transaction.atomic():
            Run.objects.select_for_update(of=("self",)).get(pk=self.run.pk)  # first, as everybody takes it
            Step.objects.filter(dispatch__run=self.run).update(retry_at=Now())
            Dispatch.objects.filter(run=self.run, due_at__isnull=False).update(due_at=Now())
            Node.objects.filter(run=self.run, due_at__isnull=False).update(due_at=Now())
            leave_to_others(self.run)
        for part in (reconcile.wake_due, reconcile.start_due, reconcile.advance_left_behind, sweeps.expire_due):
            part()

    def decide(self, pick: int) -> None:
        if asked := list(ApprovalRequest.objects.open().filter(run_id=self.run.pk).order_by("pk")):
            request = asked[pick % len(asked)]
            allowed = kinds.get(request.kind).verdicts
            yes = "approved" if "approved" in allowed else "answered"
            others = sorted(allowed - {"modified", yes})
            verdict = yes if request.kind == plan_kinds.PLAN_KIND or pick % 10 < 6 else others[pick % len(others)]
            self._give(request, verdict, stop=pick % 50 == 9)

    def _give(self, request: ApprovalRequest, verdict: str, *, stop: bool = False) -> None:
        more: dict[str, Any] = {}
        if verdict == "answered":
            more["answer"] = (request.content.get("choices") or request.content.get("answers") or ["As you like."])[0]
        if verdict == "rejected":
            more = {"reason": "Not so.", "stop": stop}
        decide(request, self.person, verdict, **more)

    def expire(self, pick: int) -> None:
        if asked := list(ApprovalRequest.objects.open().filter(run_id=self.run.pk).order_by("pk")):
            overdue(asked[pick % len(asked)])
            sweeps.expire_due()

    def comment(self, pick: int) -> object:
        ended = Node.objects.filter(run=self.run, superseded=False, status__in=states.NODE.final)
        nodes = list(ended.exclude(number=1).order_by("number"))
        if not nodes:
            return NOTHING
        comments.comment(self.run.pk, nodes[pick % len(nodes)].pk, "Look at it again.", self.person)
        return None

    def resolve(self, pick: int) -> None:
        doubts = list(ToolCall.objects.filter(dispatch__run=self.run, status=states.UNCERTAIN).order_by("pk"))
        if doubts:
            finding = list(uncertain.Finding)[pick % 3]
            result = "It is there." if finding == uncertain.Finding.HAPPENED else ""
            uncertain.resolve(
                doubts[pick % len(doubts)].pk,
                finding,
                by=self.person,
                result=result,
                reason="I looked.",
                attests_dead=finding == uncertain.Finding.REPEAT,
            )

    def pause(self, pick: int) -> None:
        pausing.pause(self.run.pk, self.person)

    def resume(self, pick: int) -> None:
        pausing.resume(self.run.pk, self.person)

    def cancel(self, pick: int) -> None:
        cancellation.cancel(self.run.pk, self.person)

    # -- the end
    def comes_to_its_end(self) -> list[str]:
        """People do what they are asked, until nothing is left; a fault where nobody can move what is left."""
        idle = 0
        for _ in range(MOST_STEPS):
            self.run.refresh_from_db()
            if self.run.is_final and not Dispatch.objects.filter(run=self.run).open().exists():
                return []
            before = self._seen()
            self._one_thing()
            idle = idle + 1 if self._seen() == before else 0
            if idle == 4:
                return [f"nobody can move it: {self._rows()}"]
        return [f"it goes round in circles: {self._rows()}"]

    def _one_thing(self) -> None:
        asked = ApprovalRequest.objects.open().filter(run_id=self.run.pk).order_by("pk").first()
        if self.run.status == states.PAUSED:
            self.resume(0)
        elif Dispatch.objects.forgotten().filter(run=self.run).exists():
            self.carry(0)
        elif asked is not None:
            self._assent(asked)
        elif ToolCall.objects.filter(dispatch__run=self.run, status=states.UNCERTAIN).exists():
            self.resolve(2)
        else:
            self.wake()

    def _assent(self, request: ApprovalRequest) -> None:
        # What fails whenever it is tried is not to be tried for ever.
        verdicts = ("rejected",) if request.kind == plan_kinds.NODE_KIND else ("approved", "answered", "rejected")
        for verdict in verdicts:
            if verdict in kinds.get(request.kind).verdicts:
                with suppress(*REFUSED):
                    return self._give(request, verdict)
        raise AssertionError(f"no verdict on a {request.kind} is taken")

    def _seen(self) -> tuple[Any, ...]:
        log = events.of_run(self.run.pk)
        fences = list(Dispatch.objects.filter(run=self.run).values_list("fence", "status", "iterations"))
        return len(log), fences

    def _rows(self) -> dict[str, Any]:
        nodes = [f"{n.key} {n.status} open {n.parents_open}/{n.inner_open}" for n in self.run.nodes.all()]
        at_work = Dispatch.objects.filter(run=self.run).open()
        return {
            "run": (self.run.status, self.run.waiting_on),
            "nodes": nodes,
            "dispatches": list(at_work.values_list("number", "status", "waiting_on", "due_at", "wake_on")),
        }


ACTS: dict[str, Callable[[Walk, int], object]] = {
    "carry": Walk.carry,
    "die": Walk.die,
    "wake": Walk.wake,
    "decide": Walk.decide,
    "expire": Walk.expire,
    "comment": Walk.comment,
    "resolve": Walk.resolve,
    "pause": Walk.pause,
    "resume": Walk.resume,
    "cancel": Walk.cancel,
}
WEIGHTS = {
    "carry": 14,
    "die": 2,
    "wake": 2,
    "decide": 4,
    "expire": 0.3,
    "comment": 3,
    "resolve": 1,
    "pause": 0.5,
    "resume": 2,
    "cancel": 0.15,
}


def acts(dice: Random, most: int) -> list[tuple[Act, ...]]:
    """What is done, one after the other; some of it by several at the same moment."""
    names = iter(dice.choices(list(WEIGHTS), list(WEIGHTS.values()), k=dice.randint(0, most)))
    drawn: list[tuple[Act, ...]] = []
    for name in names:
        together = [name] if name == "die" or dice.random() < ALONE else [name, *islice(names, dice.randint(1, 2))]
        drawn.append(tuple((each, dice.randrange(10_000)) for each in together if each != "die" or len(together) == 1))
    return drawn


# -- what may never be -------------------------------------------------------------------------------------------
def faults(run: Run, effects: Sequence[dict[str, Any]]) -> list[str]:
    """Of a run that has come to its end. `effects`: what the outside ledger counted."""
    return [*_left_over(run), *_wrong_effects(run, effects), *_unheeded_rules(run)]


def _left_over(run: Run) -> list[str]:
    nodes = [f"{n.key} is still {n.status}" for n in run.nodes.all() if not n.is_final]
    nodes += [f"{n.key} counts {n.inner_at_work} at work" for n in run.nodes.filter(inner_at_work__gt=0)]
    asked = [f"a {r.kind} is still asked" for r in ApprovalRequest.objects.open().filter(run_id=run.pk)]
    offered = [f"{h} is still offered" for h in Handoff.objects.filter(source__run=run, status=states.PROPOSED)]
    ended = {*states.TOOL_CALL.final, states.UNCERTAIN}
    calls = [f"{c.tool} is {c.status}" for c in _calls(run).exclude(status__in=ended)]
    return nodes + asked + offered + calls


def _calls(run: Run) -> Any:
    return ToolCall.objects.filter(dispatch__run=run).order_by("pk")


def _wrong_effects(run: Run, effects: Sequence[dict[str, Any]]) -> list[str]:
    made = Counter(effect["key"] for effect in effects)
    found = []
    done: set[str] = set()
    for each in _calls(run).filter(tool__in=("free", "gated", "unsafe")):
        times = made[str(each.idempotency_key)]
        what = f"{each.tool} {each.arguments}, {each.status},"
        if (each.status == states.DONE and each.attempts.exists() and times != 1) or (
            times > 1 and each.tool != "unsafe"
        ):
            found.append(f"{what} was done {times} times")
        if each.status in (states.REFUSED, states.CANCELLED) and times:
            found.append(f"{what} was done all the same")
        if times and each.arguments in done and each.request_id is None:
            found.append(f"{what} was done again, and nobody was asked")
        done |= {each.arguments} if times else set()
    return found


def _unheeded_rules(run: Run) -> list[str]:
    """Of what stands: each node against the nodes it came after."""
    if run.status == states.CANCELLED:
        return []
    nodes = {node.pk: node for node in run.nodes.filter(superseded=False, within__superseded=False)}
    parents: dict[Any, list[Node]] = {pk: [] for pk in nodes}
    found = []
    for edge in Edge.objects.filter(child__in=nodes).select_related("parent"):
        parents[edge.child_id].append(edge.parent)
        if edge.parent.superseded:
            found.append(f"{nodes[edge.child_id].key} comes after {edge.parent.key}, which is superseded")
    for pk, before in parents.items():
        node = nodes[pk]
        good = sum(each.status == states.SUCCEEDED or each.left_out for each in before)
        join = node.spec.get("join", "all")
        wanted = {"all": len(before), "any": 1, "always": 0, "quorum(2)": 2}[join] if before else 0
        if node.spec and node.status == states.SKIPPED and good >= wanted and not node.message:
            found.append(f"{node.key} was skipped although {good} of {len(before)} had succeeded ({join})")
        if node.spec and node.status != states.SKIPPED and good < wanted and node.status != states.CANCELLED:
            found.append(f"{node.key} is {node.status} although {good} of {len(before)} had succeeded ({join})")
    return found
