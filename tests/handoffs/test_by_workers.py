"""Handoffs by real workers: what the approver was shown is what the target is sent, and what is refused is told."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User

from approvals.errors import OverrideNeeded, ReasonNeeded
from approvals.models import ApprovalRequest
from runs import artifacts, states
from runs.models import Handoff
from tests.handoffs.cast import GUIDED, PAID, transition
from tests.model_fixtures import ScriptedModel
from tests.runs import callables  # noqa: F401  registers them
from tests.runs.cast import agent, call, decide, events_of, scripts, start, text, tool
from tests.scenarios import Answer, Scenario, Seen, carried, nobody_is_asked, start_workers
from tests.stack import Stack

pytestmark = [pytest.mark.crash, pytest.mark.django_db(transaction=True)]

STRATEGIES = ("structured", "selective", "summary", "full")
LOOKS = (
    call(("look_up", {"order": 7}), say="I look it up."),
    call(("look_up", {"order": 8}), say="And the next one."),
)
STATE = {"order": 7, "amount": 5}
CHECKS = {"green": "handoff.state.amount <= 50", "red": "handoff.state.amount > 50", "unknown": "handoff.state.x == 1"}


def company() -> None:
    """A clerk for each strategy, a payer, a scribe; two who hand it to and fro, and two who do so all the more."""
    tool("look_up", "tests.echo")
    agent("payer")
    agent("scribe")
    for how in STRATEGIES:
        agent(how, "propose_handoff", "look_up", handoff_targets=("payer",))
        transition(how, "payer", transfer=how, **({"summariser": "scribe"} if how == "summary" else {}))
    for pair, limit in ((("to", "fro"), 1), (("up", "down"), 10)):
        agent(pair[1])
        for slug in pair:
            agent(slug, "propose_handoff", handoff_targets=tuple(other for other in pair if other != slug))
        for slug in pair:
            transition("", slug, ring_limit=limit)


def test_every_handoff_comes_to_its_result(
    model: ScriptedModel, stack: Stack, ann: User, bob: User, subtests: pytest.Subtests
) -> None:
    company()
    start_workers(stack)

    carried(Handoffs(ann, bob).all(), model, subtests)


class Handoffs:
    def __init__(self, ann: User, bob: User) -> None:
        self.ann, self.bob = ann, bob

    def all(self) -> dict[str, Scenario]:
        return {
            **{f"passed on: {how}": self.passed_on(how) for how in STRATEGIES},
            "a sentence is unchecked and blocks nothing": self.permitted("The customer is known.", "said"),
            "a green one blocks nothing": self.permitted(_check("green"), "green"),
            "a red one blocks": self.blocked("red", "does not hold"),
            "an unknown one blocks": self.blocked("unknown", "could not be evaluated"),
            "a red one is overridden with a reason": self.overridden(),
            "the ring's limit": self.limited("to", "to has had this once already (to → fro)", accepted=1),
            "the limit of depth": self.limited("up", "This run was handed over 5 times already", accepted=5),
        }

    def approves(self, request: ApprovalRequest) -> None:
        decide(request, self.bob)

    def of(self, clerk: str, turns: Any, check: Callable[[Seen], None], decides: Answer = nobody_is_asked) -> Scenario:
        return Scenario(start(self.ann, scripts(**{clerk: turns}), agent=clerk), check, decides)

    # -- what is passed on ---------------------------------------------------------------------------------------
    def passed_on(self, how: str) -> Scenario:
        more: dict[str, Any] = {"state": STATE} | ({"steps": [2]} if how == "selective" else {})
        task = f"Pay, {how}. {scripts(payer=[PAID], scribe=[text('Order 7 was late.')])}"

        def check(seen: Seen) -> None:
            (shown,), target = seen.asked, seen.tries()[-1]
            (sent,) = seen.requests_of(target)
            assert (seen.run.status, seen.run.output) == (states.SUCCEEDED, "Paid.")
            assert (shown.content["transfer"], shown.content["task"]) == (how, task)
            assert sent.opening == f"Task: {task}\n\n{shown.content['passed']}"
            assert len(sent.body["messages"]) == 1
            assert shown.content["tokens_at_most"] == len(sent.opening.encode())
            assert '\n "amount": 5,\n' in sent.opening
            kept = Handoff.objects.get(source__run=seen.run)
            assert (kept.status, kept.passed, kept.continued_by) == (states.ACCEPTED, shown.content["passed"], target)
            _TRANSFERRED[how](seen, sent.opening.partition("Task state:")[2])

        return self.of(how, [*LOOKS, _proposal("payer", task, **more)], check, self.approves)

    # -- preconditions -------------------------------------------------------------------------------------------
    def permitted(self, precondition: Any, outcome: str) -> Scenario:
        def check(seen: Seen) -> None:
            assert _checklist(seen) == [outcome]
            assert not seen.asked[0].decision.override
            _was_paid(seen)

        return self.of("structured", [_checked(precondition, outcome)], check, self.approves)

    def blocked(self, outcome: str, sentence: str) -> Scenario:
        """The yes does not pass; the proposal goes back with guidance, which the clerk reads."""

        def decides(request: ApprovalRequest) -> None:
            with pytest.raises(OverrideNeeded, match=sentence):
                decide(request, self.bob)
            assert Handoff.objects.get(source__run=request.run_id).status == states.PROPOSED
            decide(request, self.bob, "answered", answer=f"Wait for the {outcome} one.")

        def check(seen: Seen) -> None:
            assert _checklist(seen) == [outcome]
            assert seen.origins() == [("structured", "run"), ("structured", "guidance")]
            assert (seen.run.output, seen.asked[0].decision.verdict) == ("I wait.", "answered")
            assert Handoff.objects.get(source__run=seen.run).status == states.DECLINED
            (sent,) = seen.requests_of(seen.tries()[-1])
            assert f"Wait for the {outcome} one." in sent.opening

        turns = {GUIDED: [text("I wait.")], "": [_checked(_check(outcome), outcome)]}
        return self.of("structured", turns, check, decides)

    def overridden(self) -> Scenario:
        why = "I asked the customer."

        def decides(request: ApprovalRequest) -> None:
            with pytest.raises(ReasonNeeded):
                decide(request, self.bob, override=True)
            decide(request, self.bob, override=True, reason=why)

        def check(seen: Seen) -> None:
            assert _checklist(seen) == ["red"]
            decision = seen.asked[0].decision
            assert (decision.verdict, decision.override, decision.reason) == ("approved", True, why)
            assert events_of(seen.run, "approval_decided")[0]["override"] is True
            _was_paid(seen)

        return self.of("structured", [_checked(_check("red"), "overridden")], check, decides)

    # -- rings and depth -----------------------------------------------------------------------------------------
    def limited(self, first: str, refusal: str, *, accepted: int) -> Scenario:
        """Each hands it to the other, and everything is accepted, until it is refused: whoever is told says so."""
        second = {"to": "fro", "up": "down"}[first]
        told = text("I was told: {{result:1}}")
        task = scripts(**{slug: [_proposal(to, "Do it."), told] for slug, to in ((first, second), (second, first))})

        def decides(request: ApprovalRequest) -> None:
            so_far = Handoff.objects.filter(source__run=request.run_id).count()
            decide(request, self.bob, "modified", edit={"task": f"The {so_far}. time: {task}"})

        def check(seen: Seen) -> None:
            whom = [(first, second)[n % 2] for n in range(accepted + 1)]
            assert seen.origins() == [(slug, "handoff" if n else "run") for n, slug in enumerate(whom)]
            assert [each.depth for each in seen.tries()] == list(range(accepted + 1))
            made = Handoff.objects.filter(source__run=seen.run)
            assert [each.status for each in made] == [states.ACCEPTED] * accepted
            assert len(seen.asked) == accepted
            *before, last = seen.tries()
            assert [len(seen.requests_of(each)) for each in before] == [1] * accepted
            _, sent = seen.requests_of(last)
            (answer,) = sent.results
            assert answer["is_error"]
            assert answer["content"].startswith(refusal)
            assert seen.run.output == f"I was told: {answer['content']}"

        return Scenario(start(self.ann, task, agent=first), check, decides)


def _proposal(target: str, task: str, **more: Any) -> dict[str, Any]:
    return call(("propose_handoff", {"target": target, "reason": "Money is not mine.", "task": task} | more))


def _check(outcome: str) -> dict[str, str]:
    return {"says": "It holds.", "check": CHECKS[outcome]}


def _checked(precondition: Any, name: str) -> dict[str, Any]:
    task = f"Pay, {name}. {scripts(payer=[PAID])}"
    return _proposal("payer", task, preconditions=[precondition], state=STATE)


def _checklist(seen: Seen) -> list[str]:
    """As the approver was shown it."""
    (shown,) = seen.asked
    return [each["outcome"] for each in shown.content["preconditions"]]


def _was_paid(seen: Seen) -> None:
    assert (seen.run.output, seen.origins()) == ("Paid.", [("structured", "run"), ("payer", "handoff")])
    (sent,) = seen.requests_of(seen.tries()[-1])
    assert sent.opening == f"Task: {seen.asked[0].content['task']}\n\n{seen.asked[0].content['passed']}"


# -- each strategy's own -----------------------------------------------------------------------------------------
def _structured(seen: Seen, told: str) -> None:
    assert told.splitlines()[-2] == "References you can read with artifact_read:"
    (reference,) = Handoff.objects.get(source__run=seen.run).artifacts
    assert told.splitlines()[-1] == f"- {reference}"
    assert not any(words in told for words in ("I look it up.", "And the next one.", "called look_up"))


def _selective(seen: Seen, told: str) -> None:
    assert "From what selective did, chosen by it:\n2. And the next one." in told
    assert 'called look_up with {"order":8}' in told
    assert "I look it up." not in told


def _summary(seen: Seen, told: str) -> None:
    assert seen.origins() == [("summary", "run"), ("scribe", "route"), ("payer", "handoff")]
    assert told.endswith("Summary of what summary did:\nOrder 7 was late.")
    assert "I look it up." not in told
    (scribe,) = seen.requests_of(seen.tries()[1])
    assert "I look it up." in scribe.opening
    assert seen.nodes(role="summariser")[0].status == states.SUCCEEDED
    assert seen.asked[0].created_at >= seen.tries()[1].finished_at  # type: ignore[operator]


def _full(seen: Seen, told: str) -> None:
    transcript = told.partition("All that full did:\n")[2]
    assert "1. I look it up." in transcript
    assert "2. And the next one." in transcript
    assert transcript.count("called look_up with") == 2
    (reference,) = [line for line in told.splitlines() if "artifact:" in line][-1:]
    kept = artifacts.find(seen.run.pk, reference.removeprefix("- "))
    assert kept is not None
    assert artifacts.text(kept) == transcript


_TRANSFERRED = {"structured": _structured, "selective": _selective, "summary": _summary, "full": _full}
