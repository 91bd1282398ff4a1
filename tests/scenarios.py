"""Scenarios by real workers, many at once: what people answer, and what was seen of each, in rows and on the wire."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from approvals.models import ApprovalRequest
from runs import states
from runs.models import Dispatch, Node, Run
from tests.model_fixtures import ScriptedModel
from tests.stack import Stack
from tests.waiting import eventually


@dataclass(frozen=True)
class Sent:
    """A request as the model server had it; the times are by its clock, the second when the reply was ready."""

    body: dict[str, Any]
    began_at: float
    ended_at: float

    @property
    def agent(self) -> str:
        """Whose system prompt it has; the cast's say who they are."""
        return re.findall(r"You are ([\w-]+)\.", str(self.body.get("system")))[0]

    @property
    def opening(self) -> str:
        """What the agent was told first."""
        content = self.body["messages"][0]["content"]
        return content if isinstance(content, str) else "".join(block["text"] for block in content)

    @property
    def results(self) -> list[dict[str, Any]]:
        """The tool results of its newest message."""
        content = self.body["messages"][-1]["content"]
        return [block for block in content if isinstance(block, dict) and block["type"] == "tool_result"]


def most_at_once(spans: Iterable[tuple[Any, Any]]) -> int:
    """Of spans from begin to end; one that begins as another ends is not beside it."""
    marks = sorted(mark for begin, end in spans for mark in ((begin, 1), (end, -1)))
    now = most = 0
    for _, change in marks:
        now += change
        most = max(most, now)
    return most


@dataclass
class Seen:
    """A run that has ended: its rows, its requests, and the questions that people were asked, in their order."""

    run: Run
    asked: list[ApprovalRequest]
    _wire: Mapping[tuple[str, str], list[Sent]]

    def node(self, key: str) -> Node:
        return self.run.nodes.get(key=key, superseded=False)

    def nodes(self, **which: Any) -> list[Node]:
        return list(self.run.nodes.filter(superseded=False, **which).order_by("number"))

    def tries(self, *keys: str) -> list[Dispatch]:
        """The newest of each node; all of the run where none is named."""
        found = self.run.dispatches.select_related("manifest__agent").order_by("number")
        if not keys:
            return list(found)
        newest = {each.node.key: each for each in found.filter(node__key__in=keys, node__superseded=False)}
        return [newest[key] for key in keys]

    def origins(self) -> list[tuple[str, str]]:
        """Who worked, in order, and why."""
        return [(each.manifest.agent.slug, each.origin) for each in self.tries()]

    def requests_of(self, dispatch: Dispatch) -> list[Sent]:
        """What the model server was sent for a dispatch: told its task, and below it what came before."""
        opening = f"Task: {dispatch.task}\n\n{dispatch.briefing}" if dispatch.briefing else dispatch.task
        models = {step.model for step in dispatch.steps.all()}
        sent = self._wire.get((dispatch.manifest.agent.slug, opening), [])
        return [each for each in sent if each.body["model"] in models]

    def requests(self, *keys: str) -> list[Sent]:
        return [sent for each in self.tries(*keys) for sent in self.requests_of(each)]

    def told(self, key: str) -> str:
        return self.requests(key)[0].opening

    def worked(self, *keys: str) -> list[tuple[Any, Any]]:
        """By the rows: from when a worker began to when it had ended."""
        return [(each.started_at, each.finished_at) for each in self.tries(*keys)]

    def sent(self, *keys: str) -> list[tuple[float, float]]:
        """By the wire: from when a request came to when its reply was ready."""
        return [(each.began_at, each.ended_at) for each in self.requests(*keys)]


Answer = Callable[[ApprovalRequest], None]


def nobody_is_asked(request: ApprovalRequest) -> None:
    raise AssertionError(f"nobody is to be asked, and was: {request.title}")


def no_more(run: Run) -> bool:
    return True


@dataclass
class Scenario:
    """`decides`: what a person answers whenever one is asked. `meanwhile` is called until it is true, or the run has
    ended. `check`: what has to be seen then."""

    run: Run
    check: Callable[[Seen], None]
    decides: Answer = nobody_is_asked
    meanwhile: Callable[[Run], bool] = no_more
    asked: list[ApprovalRequest] = field(default_factory=list)
    was_there: bool = False
    trouble: BaseException | None = None

    def go_on(self) -> bool:
        """What is to be done from outside; true once the run has ended, or that has failed."""
        try:
            self._from_outside()
        except (Exception, pytest.fail.Exception) as trouble:
            self.trouble = trouble
            return True
        return Run.objects.filter(pk=self.run.pk, status__in=states.RUN.final).exists()

    def _from_outside(self) -> None:
        self.was_there = self.was_there or self.meanwhile(self.run)
        for request in ApprovalRequest.objects.open().filter(run_id=self.run.pk):
            self.asked.append(request)
            self.decides(request)


def carried(scenarios: Mapping[str, Scenario], model: ScriptedModel, subtests: pytest.Subtests) -> dict[str, Seen]:
    """By workers that are at work already, all side by side; each is checked when all have ended."""
    waits = dict(scenarios)

    def all_have_ended() -> bool:
        for name in [name for name, each in waits.items() if each.go_on()]:
            del waits[name]
        return not waits

    try:
        eventually(all_have_ended)
    except AssertionError as late:
        for each in waits.values():
            each.trouble = late

    seen = looked_at(scenarios, model)
    for name, each in scenarios.items():
        with subtests.test(scenario=name):
            if each.trouble:
                raise each.trouble
            assert each.was_there, "the run has ended, and what was to be seen meanwhile was not"
            _every_step_is_one_request(seen[name])
            each.check(seen[name])
    with subtests.test(scenario="no request is anybody else's"):
        steps = sum(each.steps.count() for found in seen.values() for each in found.tries())
        assert model.count() == steps
    return seen


def looked_at(scenarios: Mapping[str, Scenario], model: ScriptedModel) -> dict[str, Seen]:
    """As they are now."""
    wire: dict[tuple[str, str], list[Sent]] = defaultdict(list)
    for call in model.calls():
        sent = Sent(**call)
        wire[sent.agent, sent.opening].append(sent)
    return {name: Seen(Run.objects.get(pk=each.run.pk), each.asked, wire) for name, each in scenarios.items()}


def _every_step_is_one_request(seen: Seen) -> None:
    for each in seen.tries():
        asked = [step.number for step in each.steps.order_by("number")]
        turns = [sum(m["role"] == "assistant" for m in sent.body["messages"]) for sent in seen.requests_of(each)]
        assert turns == [number - asked[0] for number in asked], (each, asked, turns)


def start_workers(stack: Stack) -> None:
    for _ in range(2):
        stack.start_worker()
