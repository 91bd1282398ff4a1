"""What a handoff passes on beside its task, as the very text that the target reads. A person sees it before the yes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.values import Transfer
from runs import artifacts, lineage, states
from runs.engine import turn
from runs.models import Dispatch, Handoff, Message, ToolCall
from runs.platform_tools import PROPOSE_HANDOFF

# A longer excerpt is cut there, and goes on in an artifact.
LONGEST_EXCERPT = 24_000
CUT = "\n… cut here; all of it: {reference}"


# -- pure: values to text ----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Turn:
    """One answer of an agent: what it was told before, what it said, and its calls as (tool, arguments, result)."""

    number: int
    said: str
    calls: Sequence[tuple[str, str, str]] = ()
    told: Sequence[tuple[str, str]] = field(default=())  # (sender, text)


@dataclass(frozen=True)
class Passed:
    """Everything that goes along. `excerpt` is what the strategy adds, under its own heading; empty for none."""

    reason: str
    state: Mapping[str, Any] | None = None
    references: Sequence[str] = ()
    heading: str = ""
    excerpt: str = ""


def briefing(passed: Passed) -> str:
    """What the target reads below its task. Pure: the same values, the same text."""
    parts = [f"Handed over because: {passed.reason}"]
    if passed.state is not None:
        parts.append(f"Task state:\n{json.dumps(passed.state, ensure_ascii=False, indent=1, sort_keys=True)}")
    if passed.references:
        listed = "\n".join(f"- {reference}" for reference in passed.references)
        parts.append(f"References you can read with artifact_read:\n{listed}")
    if passed.excerpt:
        parts.append(f"{passed.heading}\n{passed.excerpt}")
    return "\n\n".join(parts)


def transcript(turns: Sequence[Turn]) -> str:
    return "\n\n".join(map(_written, turns))


def _written(turn: Turn) -> str:
    lines = [f"[told by {sender}] {text}" for sender, text in turn.told]
    lines.append(f"{turn.number}. {turn.said}".rstrip())
    for tool, arguments, result in turn.calls:
        lines += [f"called {tool} with {arguments}", f"→ {result}"]
    return "\n".join(lines)


def tokens_at_most(task: str, text: str) -> int:
    """An upper bound of what the target's first message costs: no token is shorter than one byte."""
    return len(f"Task: {task}\n\n{text}".encode())


def cut(text: str, reference: str) -> str:
    return text if len(text) <= LONGEST_EXCERPT else text[:LONGEST_EXCERPT] + CUT.format(reference=reference)


# -- from rows ---------------------------------------------------------------------------------------------------
def of(handoff: Handoff, summary: str = "") -> Passed:
    """What this handoff passes on. The caller holds the source; long excerpts are kept as its artifacts. `summary`
    is what a summariser wrote, empty where there is none."""
    source, slug = handoff.source, handoff.source.manifest.agent.slug
    plain = Passed(handoff.reason, handoff.state, tuple(handoff.artifacts))
    match Transfer(handoff.transfer):
        case Transfer.SELECTIVE:
            chosen = [each for each in turns_of(source) if each.number in handoff.steps]
            name = f"chosen steps of {slug}"
            return _with(plain, source, name, f"From what {slug} did, chosen by it:", transcript(chosen))
        case Transfer.FULL:
            return _with(plain, source, f"transcript of {slug}", f"All that {slug} did:", whole(source), always=True)
        case Transfer.SUMMARY if summary:
            return _with(plain, source, f"summary of {slug}", f"Summary of what {slug} did:", summary)
    return plain


def _with(plain: Passed, source: Dispatch, name: str, heading: str, text: str, *, always: bool = False) -> Passed:
    """The excerpt as it is quoted. `always`: it is kept as an artifact too, however short it is."""
    references, reference = list(plain.references), ""
    if always or len(text) > LONGEST_EXCERPT:
        reference = artifacts.keep(source, name, text.encode(), labels=lineage.of_dispatch(source)).reference
        references.append(reference)
    return Passed(plain.reason, plain.state, references, heading, cut(text, reference))


def whole(dispatch: Dispatch) -> str:
    """Its task and its transcript."""
    return f"Task: {dispatch.task}\n\n{transcript(turns_of(dispatch))}"


def turns_of(dispatch: Dispatch) -> list[Turn]:
    """Its answers in order, the first being 1; tries that failed do not count. The proposal itself is left out."""
    calls: dict[Any, list[ToolCall]] = {}
    for call in dispatch.calls.order_by("position"):
        calls.setdefault(call.step_id, []).append(call)
    mail: dict[int | None, list[Message]] = {}
    for message in Message.objects.filter(dispatch=dispatch).order_by("number"):
        mail.setdefault(message.step, []).append(message)
    answered = dispatch.steps.filter(status=states.ANSWERED).order_by("number")
    return [
        Turn(
            number,
            turn.text_of(json.loads(step.reply or "[]")),
            [
                (call.tool, call.arguments, call.result)
                for call in calls.get(step.pk, ())
                if call.tool != PROPOSE_HANDOFF
            ],
            [(message.sender, message.text) for message in mail.get(step.number, ())],
        )
        for number, step in enumerate(answered, 1)
    ]
