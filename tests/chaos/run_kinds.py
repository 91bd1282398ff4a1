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
    """`agent` None: the router decides. `cancel_after`: seconds after which the app thinks better of it."""

    kind: str
    mark: str
    agent: str | None
    scripts: dict[str, list[Turn]]
    cancel_after: float | None = None

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
    closing = {"script": [draw.turn(*draw.calls_of(1, 3)), draw.end()]}
    proposal = {
        "name": "propose_handoff",
        "input": {
            "target": "closer",
            "reason": "The rest is theirs.",
            "task": f"Close {draw.mark}. {json.dumps(closing)}",
            "confidence": 0.8,
        },
    }
    turns = [draw.turn(*draw.calls_of(1, 2)), draw.turn(proposal)]
    return Errand("handed over", draw.mark, "worker", {"worker": turns})


@kind(3)
def routed_to_two(draw: Draw) -> Errand:
    routing = [
        {"name": f"dispatch_to_{slug}", "input": {"task": f"Your part of {draw.mark}."}}
        for slug in ("worker", "closer")
    ]
    scripts = {
        "router": [draw.turn(*routing)],
        "worker": [draw.turn(*draw.calls_of(1, 3)), draw.end()],
        "closer": [draw.turn(*draw.calls_of(1, 3)), draw.end()],
    }
    return Errand("routed to two", draw.mark, None, scripts)


@kind(2)
def questioned(draw: Draw) -> Errand:
    question = {"name": "ask_human", "input": {"question": f"Which colour for {draw.mark}?"}}
    turns = [draw.turn(question), draw.turn(*draw.calls_of(1, 2))]
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
