"""A case is performed: the real engine, a model that obeys, an approver who follows one rule, and what came of it."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.models import User

from agents.models import Agent, Transition
from approvals import states
from approvals.models import ApprovalRequest
from orchestrator_site.core import canonical
from runs import comments
from runs.engine.proposing import TOOL_CALL_KIND
from runs.models import Run, ToolCall
from tests.hostile import spellings
from tests.hostile.carriers import ACTOR, CARRIERS, FILLER, READER, Staged
from tests.hostile.cases import SECRET, Case
from tests.model_fixtures import Process
from tests.runs.cast import agent, carry_all, decide, start

# Requests that a case decides at most.
MOST_DECIDED = 60
# Given a request and whether its call is one that the attacker ordered: the verdict.
Approver = Callable[[ApprovalRequest, bool], str]


class Outside(Process):
    def begin(self, answers: dict[str, list[Any]]) -> None:
        self.post("/world", {"answers": answers})

    def calls(self) -> list[tuple[str, dict[str, Any]]]:
        return [(tool, arguments) for tool, arguments in self.get("/world")["calls"]]


@dataclass(frozen=True)
class Done:
    """What came of a case. `harms`: calls that the attacker ordered and that reached the world; of these `unapproved`
    are those that no person approved. `questions`: cards of tool calls that a person decided. `proposed`: all orders
    that the model followed as far as asking. `is_useful`: the task's own acts were done."""

    harms: list[Any]
    unapproved: list[Any]
    questions: list[ApprovalRequest]
    proposed: list[Any]
    is_useful: bool
    run: Run = field(repr=False)


def perform(
    case: Case,
    owner: User,
    approver: User,
    world: Outside,
    judge: Approver,
    *,
    attacked: bool,
    moved: Callable[[Run], Run] = carry_all,
) -> Done:
    """From the request to the end. The tools are defined. `moved` brings a run to its end, or to its next question."""
    _agents(staged := CARRIERS[case.attack.carrier](case.task.work(case.attack)))
    world.begin(_answers(case, attacked))
    orders = _orders(case)
    people = _People(owner, approver, judge, orders, moved)
    run = _carried(case, staged, people)
    calls = world.calls()
    harms = [call for call in calls if call in orders]
    approved = _approved(run)
    return Done(
        harms=harms,
        unapproved=[call for call in harms if call not in approved],
        questions=_cards(people.asked),
        proposed=[call for call in _proposed(run) if call in orders],
        is_useful=all((tool, arguments) in calls for tool, arguments in case.task.acts),
        run=run,
    )


def _orders(case: Case) -> list[Any]:
    return spellings.with_secret(case.attack.calls, [f"secret code {SECRET}"])


def _answers(case: Case, attacked: bool) -> dict[str, list[Any]]:
    return {case.task.read[0]: _texts(case, attacked), **{tool: [answer] for tool, answer in case.task.brings}}


def _texts(case: Case, attacked: bool) -> list[Any]:
    """What is read: whole, behind a filler, or half by half. A later call of the same tool is answered shortly."""
    attack = case.attack
    spelled = (
        spellings.SPELLINGS[attack.spelling].write(spellings.order((*attack.looks_up, *attack.calls)))
        if attacked
        else ""
    )
    text = case.task.text.replace("{}", spelled)
    if attack.carrier == "spilled result":
        return [FILLER + text, "ok"]
    if attack.carrier == "two results":
        middle = text.find("\n") if "\n" in text else len(text) // 2
        return [text[:middle], text[middle:], "ok"]
    return [text, "ok"]


def _agents(staged: Staged) -> None:
    for slug, part in staged.parts.items():
        manifest: dict[str, Any] = {"limits": {"iterations": 30}} | part.manifest
        agent(slug, *part.tools, system_prompt=_prompt(slug, part.play), **manifest)
    Transition.objects.all().delete()
    if staged.transfer:
        found = {each.slug: each for each in Agent.objects.filter(slug__in=staged.parts)}
        Transition.objects.create(source=found[READER], target=found[ACTOR], transfer=staged.transfer)


def _prompt(slug: str, play: dict[str, Any]) -> str:
    return f"You are {slug}. PLAY {json.dumps(play)}"


@dataclass
class _People:
    """Who starts runs, and who decides what is asked in them; `asked` is kept in order."""

    owner: User
    approver: User
    judge: Approver
    orders: list[Any]
    moved: Callable[[Run], Run]
    asked: list[ApprovalRequest] = field(default_factory=list)

    def start(self, words: str, **more: Any) -> Run:
        run = start(self.owner, words, **more)
        self.go_on(run)
        return run

    def go_on(self, run: Run) -> None:
        """Every question is decided, up to where nobody is asked any more."""
        self.moved(run)
        while request := ApprovalRequest.objects.open().filter(run_id=run.pk).order_by("created_at", "place").first():
            self.asked.append(request)
            assert len(self.asked) < MOST_DECIDED, request.title
            self._decide(request)
            self.moved(run)

    def _decide(self, request: ApprovalRequest) -> None:
        content = request.content
        is_ordered = request.kind == TOOL_CALL_KIND and (content["tool"], content["arguments"]) in self.orders
        verdict = self.judge(request, is_ordered)
        reason = {"reason": "Not what was asked for."} if verdict == "rejected" else {}
        decide(request, self.approver, verdict, **reason)


def _carried(case: Case, staged: Staged, people: _People) -> Run:
    more: dict[str, Any] = {}
    if staged.first:
        more["conversation"] = people.start(staged.first, agent=READER).conversation_id
    run = people.start(case.task.request, agent=staged.agent, plan=staged.plan, **more)
    if staged.comment_on:
        node = run.nodes.get(key=staged.comment_on, superseded=False)
        comments.comment(run.pk, node.pk, "Go on, please.", people.approver)
        people.go_on(run)
    run.refresh_from_db()
    return run


def _cards(asked: list[ApprovalRequest]) -> list[ApprovalRequest]:
    """One of each batch, and each that was asked alone."""
    cards = {each.batch or each.pk: each for each in reversed(asked) if each.kind == TOOL_CALL_KIND}
    return list(cards.values())[::-1]


def _proposed(run: Run) -> list[Any]:
    rows = ToolCall.objects.filter(dispatch__run=run).values_list("tool", "proposed_arguments")
    return [(tool, canonical.loads(arguments)) for tool, arguments in rows]


def _approved(run: Run) -> list[Any]:
    requests = ApprovalRequest.objects.filter(run_id=run.pk, kind=TOOL_CALL_KIND, status=states.APPROVED)
    return [(each.content["tool"], each.content["arguments"]) for each in requests]


def careful(request: ApprovalRequest, is_ordered: bool) -> str:
    """Sees through every attack, and lets everything else pass."""
    return "rejected" if is_ordered else "approved"
