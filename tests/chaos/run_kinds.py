"""The kinds of runs, with their weights. A new capability of the platform gets its kind here.

Each kind is a function of a `Draw`, decorated with its weight, and returns an `Errand`: what an app sends in. The
input carries the script that the model server plays, so that everything a run should do is known from its input.
"""

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from random import Random
from typing import Any

EFFECTS = ("pure", "keyed", "verifiable", "unsafe")
EXECUTORS = ("python", "http")
TOOLS = [f"{effect}_{executor}_{asks}" for effect in EFFECTS for executor in EXECUTORS for asks in ("asks", "runs")]

# What may befall a call, by where it is carried; see ledger.py and callables.py for their meaning.
TROUBLES = {
    "http": ("slow", "late", "hang", "deaf", "500", "500-before", "reset", "reset-before", "422"),
    "python": ("slow", "late", "hang", "deaf", "422", "raise", "exit", "exit-before"),
}
MODEL_FAULTS: list[dict[str, Any]] = [
    {"status": 429, "retry_after": 1},
    {"status": 500},
    {"status": 529},
    {"reset": True},
    {"truncate": True},
    {"garbage": True},
    {"hang": True},
]

Turn = dict[str, Any]
_kinds: list[tuple[int, Callable[["Draw"], "Errand"]]] = []


@dataclass(frozen=True)
class Errand:
    """`agent` None: the router decides, or the `plan` says. `cancel_after`: seconds after which the app thinks better
    of it."""

    kind: str
    mark: str
    agent: str | None
    scripts: dict[str, list[Turn]]
    cancel_after: float | None = None
    plan: dict[str, Any] | None = None

    @property
    def input(self) -> str:
        return json.dumps(
            {"mark": self.mark, "scripts": {f"You are {slug}.": turns for slug, turns in self.scripts.items()}}
        )


@dataclass
class Draw:
    """The dice of one run. Every call carries a mark that no other call has, by which its effects are counted."""

    random: Random
    mark: str
    calls: int = field(default=0, init=False)

    def call(
        self, *, effect: str = "", executor: str = "", asks: float = 0.25, trouble: float | str = 0.06
    ) -> dict[str, Any]:
        """`trouble`: how likely there is some, or which."""
        dice = self.random
        effect, executor = effect or dice.choice(EFFECTS), executor or dice.choice(EXECUTORS)
        self.calls += 1
        arguments: dict[str, Any] = {"mark": f"{self.mark}.{self.calls}", "amount": dice.randint(1, 500)}
        if isinstance(trouble, str):
            arguments["trouble"] = trouble
        elif dice.random() < trouble:
            arguments["trouble"] = self._trouble(effect, executor)
        gate = "asks" if dice.random() < asks else "runs"
        return {"name": f"{effect}_{executor}_{gate}", "input": arguments}

    def _trouble(self, effect: str, executor: str) -> str:
        if (effect, executor) == ("pure", "python"):
            return "raise"  # trusted not to hang, as it runs in the worker's own thread
        return self.random.choice(TROUBLES[executor])

    def turn(self, *calls: dict[str, Any], **more: Any) -> Turn:
        return {"tools": list(calls), "text": f"Working on {self.mark}.", **more}

    def calls_of(self, least: int, most: int, **more: Any) -> list[dict[str, Any]]:
        return [self.call(**more) for _ in range(self.random.randint(least, most))]

    def end(self) -> Turn:
        return {"text": f"Done: {self.mark}."}

    def part(self, least: int, most: int, *last: Turn, **more: Any) -> list[Turn]:
        """The script of a part of a run: a turn of so many calls, if any, and then its end."""
        calls = self.calls_of(least, most, **more)
        return [*([self.turn(*calls)] if calls else []), *(last or [self.end()])]

    def task(self, said: str, script: list[Turn] | dict[str, list[Turn]]) -> str:
        """A task that carries its script, or one for each agent that it may come to."""
        if isinstance(script, list):
            return f"{said} {json.dumps({'script': script})}"
        return f"{said} {json.dumps({'scripts': {f'You are {slug}.': turns for slug, turns in script.items()}})}"

    def proposal(self) -> Turn:
        """Hands over to the closer, with what is left to be done."""
        asked = {
            "target": "closer",
            "reason": "The rest is theirs.",
            "task": self.task(f"Close {self.mark}.", self.part(1, 3)),
            "confidence": 0.8,
        }
        return self.turn({"name": "propose_handoff", "input": asked})

    def question(self) -> Turn:
        return self.turn({"name": "ask_human", "input": {"question": f"Which colour for {self.mark}?"}})


def kind(weight: int) -> Callable[[Callable[[Draw], Errand]], Callable[[Draw], Errand]]:
    def decorate(make: Callable[[Draw], Errand]) -> Callable[[Draw], Errand]:
        _kinds.append((weight, make))
        return make

    return decorate


def draw(random: Random, mark: str, only: Collection[str] = ()) -> Errand:
    """`only`: names of kinds; empty for all."""
    kinds = [(weight, make) for weight, make in _kinds if not only or make.__name__ in only]
    [(_, make)] = random.choices(kinds, [weight for weight, _ in kinds])
    return make(Draw(random, mark))


# -- the kinds ---------------------------------------------------------------------------------------------------
@kind(10)
def calls_of_all_classes(draw: Draw) -> Errand:
    turns = [draw.turn(*draw.calls_of(1, 4)) for _ in range(draw.random.randint(1, 4))]
    return Errand("calls", draw.mark, "worker", {"worker": [*turns, draw.end()]})


@kind(6)
def many_at_once(draw: Draw) -> Errand:
    turns = [draw.turn(*draw.calls_of(6, 8, asks=0.1)) for _ in range(draw.random.randint(1, 3))]
    return Errand("many at once", draw.mark, "worker", {"worker": [*turns, draw.end()]})


@kind(4)
def asked_about(draw: Draw) -> Errand:
    turns = [draw.turn(*draw.calls_of(1, 2, asks=1.0)), draw.turn(*draw.calls_of(1, 2, asks=0.7))]
    return Errand("asked about", draw.mark, "worker", {"worker": [*turns, draw.end()]})


@kind(3)
def handed_over(draw: Draw) -> Errand:
    turns = [draw.turn(*draw.calls_of(1, 2)), draw.proposal()]
    return Errand("handed over", draw.mark, "worker", {"worker": turns})


@kind(3)
def routed_to_two(draw: Draw) -> Errand:
    routing = [
        {"name": f"dispatch_to_{slug}", "input": {"task": f"Your part of {draw.mark}.", "confidence": 0.9}}
        for slug in ("worker", "closer")
    ]
    scripts = {
        "router": [draw.turn(*routing)],
        "worker": [draw.turn(*draw.calls_of(1, 3)), draw.end()],
        "closer": [draw.turn(*draw.calls_of(1, 3)), draw.end()],
    }
    return Errand("routed to two", draw.mark, None, scripts)


@kind(3)
def planned(draw: Draw) -> Errand:
    """A random DAG; a person approves it first, as its agents act."""
    return Errand("planned", draw.mark, None, {}, plan=_random_plan(draw))


@kind(1)
def planned_by_an_agent(draw: Draw) -> Errand:
    answer = {"text": json.dumps(_random_plan(draw))}
    return Errand("planned by an agent", draw.mark, "planner", {"planner": [answer]})


def _random_plan(draw: Draw) -> dict[str, Any]:
    nodes: list[dict[str, Any]] = []
    for n in range(draw.random.randint(2, 6)):
        parents = draw.random.sample(range(n), draw.random.randint(0, min(n, 2)))
        joins = ["all", "any", "always", *(["quorum(1)"] if parents else [])]
        task = draw.task(f"Part {n}.", draw.part(0, 2, asks=0.1))
        after = {"depends_on": [f"n{parent}" for parent in parents], "join": draw.random.choice(joins)}
        nodes.append({"key": f"n{n}", "agent": "worker", "task": task, **after})
    return {"nodes": nodes}


@kind(2)
def voted(draw: Draw) -> Errand:
    """The same for each of some items, of which one answer is made by counting; a person decides a tie."""
    parts = [draw.part(0, 2, _says(draw), asks=0.1) for _ in range(draw.random.randint(2, 4))]
    over = {"items": [json.dumps({"script": part}) for part in parts]}
    each = {"key": "each", "agent": "worker", "task": "Which colour? {item}", "over": over, "limit": 2}
    after = {"key": "after", "agent": "closer", "task": draw.task("Paint it.", draw.part(1, 2, asks=0.1))}
    plan = {"nodes": [each | {"reduce": {"how": "vote", "field": "colour"}}, after | {"depends_on": ["each"]}]}
    return Errand("voted", draw.mark, None, {}, plan=plan)


def _says(draw: Draw) -> Turn:
    return {"text": json.dumps({"colour": draw.random.choice(["red", "blue"])})}


@kind(1)
def put_together(draw: Draw) -> Errand:
    """The same task to two agents, and one answer made of theirs by a third, or two and two."""
    scripts = {slug: draw.part(0, 2, asks=0.1) for slug in ("worker", "helper")}
    how = draw.random.choice(["synthesis", "merge"])
    reduce = {"how": how, "agent": "closer", "task": draw.task("Make one.", draw.part(0, 1, asks=0.0))}
    both = {"key": "both", "agents": [*scripts], "task": draw.task("Your view?", scripts), "reduce": reduce}
    after = {"key": "after", "agent": "worker", "task": draw.task("Act on it.", draw.part(1, 1))}
    return Errand("put together", draw.mark, None, {}, plan={"nodes": [both, after | {"depends_on": ["both"]}]})


@kind(3)
def failing(draw: Draw) -> Errand:
    """A node that its agent never brings to its end: again, another agent, then a person; whoever acted is not tried
    again by the machine."""
    effect = draw.random.choice(["pure", "pure", ""])
    endless = [draw.turn(draw.call(effect=effect, asks=0.0, trouble=0.0)) for _ in range(3)]
    rescue = draw.random.choice(["fumbler", "closer"])
    scripts = {"clumsy": endless, "fumbler": endless, "closer": draw.part(0, 1)}
    hard: dict[str, Any] = {"key": "hard", "agent": "clumsy", "task": draw.task("Try it.", scripts)}
    if draw.random.random() < 0.7:
        hard |= {"retry": {"tries": 2, "backoff_seconds": 0.3}, "fallback": [rescue]}
    after: dict[str, Any] = {"key": "after", "agent": "worker", "task": draw.task("Go on.", draw.part(0, 2, asks=0.1))}
    after |= {"depends_on": ["hard"], "join": draw.random.choice(["all", "always"])}
    return Errand("failing", draw.mark, None, {}, plan={"nodes": [hard, after]})


@kind(2)
def supervised(draw: Draw) -> Errand:
    """Two at once, waited for."""
    return _supervised(draw, "supervised", draw.part(1, 2, asks=0.1), draw.part(1, 2, asks=0.1))


@kind(2)
def supervised_with_people(draw: Draw) -> Errand:
    """One of two hands over what is left, the other asks a person."""
    handing_over = draw.part(0, 1, draw.proposal(), asks=0.1)
    asking = [draw.question(), *draw.part(0, 2, asks=0.1)]
    return _supervised(draw, "supervised with people", handing_over, asking)


def _supervised(draw: Draw, named: str, *parts: list[Turn]) -> Errand:
    sends = [{"name": "dispatch_to_worker", "input": {"task": draw.task("Your part.", part)}} for part in parts]
    until = draw.random.choice([["all"], ["any", "all"]])
    waits = [{"name": "wait", "input": {"until": each}} for each in until]
    ends = {"name": "finish", "input": {"answer": f"Done: {draw.mark}."}}
    return Errand(named, draw.mark, "lead", {"lead": [draw.turn(*sends), *map(draw.turn, waits), draw.turn(ends)]})


@kind(2)
def questioned(draw: Draw) -> Errand:
    turns = [draw.question(), draw.turn(*draw.calls_of(1, 2))]
    return Errand("questioned", draw.mark, "worker", {"worker": [*turns, draw.end()]})


@kind(3)
def model_in_trouble(draw: Draw) -> Errand:
    turns = [draw.turn(*draw.calls_of(1, 2), **draw.random.choice(MODEL_FAULTS), times=1) for _ in range(2)]
    return Errand("model in trouble", draw.mark, "worker", {"worker": [*turns, draw.end()]})


@kind(2)
def slow_model(draw: Draw) -> Errand:
    turns = [draw.turn(*draw.calls_of(1, 2), delay_seconds=draw.random.uniform(0.5, 2)) for _ in range(2)]
    return Errand("slow model", draw.mark, "worker", {"worker": [*turns, draw.end()]})


@kind(4)
def tools_in_trouble(draw: Draw) -> Errand:
    turns = [draw.turn(*draw.calls_of(1, 3, trouble=1.0)), draw.turn(*draw.calls_of(1, 2, trouble=0.5))]
    return Errand("tools in trouble", draw.mark, "worker", {"worker": [*turns, draw.end()]})


@kind(1)
def slow_and_unsafe(draw: Draw) -> Errand:
    """Whoever is killed is likely to have an effect behind it of which it has not heard yet."""
    calls = [draw.call(effect="unsafe", executor="http", asks=0.0, trouble="slow") for _ in range(3)]
    return Errand("slow and unsafe", draw.mark, "worker", {"worker": [draw.turn(*calls), draw.end()]})


@kind(3)
def cancelled(draw: Draw) -> Errand:
    turns = [draw.turn(*draw.calls_of(1, 3, trouble=0.3)) for _ in range(3)]
    after = draw.random.uniform(0.1, 6)
    return Errand("cancelled", draw.mark, "worker", {"worker": [*turns, draw.end()]}, cancel_after=after)


@kind(1)
def mistaken(draw: Draw) -> Errand:
    """Calls that the gate refuses: an unknown tool, one not granted, arguments of the wrong type."""
    wrong = [
        {"name": "no_such_tool", "input": {"mark": f"{draw.mark}.unknown", "amount": 1}},
        {"name": "unsafe_http_runs", "input": {"mark": f"{draw.mark}.wrong", "amount": "much"}},
    ]
    turns = [draw.turn(*wrong), draw.turn(*draw.calls_of(1, 2))]
    return Errand("mistaken", draw.mark, "worker", {"worker": [*turns, draw.end()]})
