"""A clerk who may hand over to a payer or a writer, and what becomes of what it proposes."""

from typing import Any

from agents.models import Agent, Transition
from runs.models import Handoff, Run
from tests.runs.cast import agent, call, carry_all, scripts, start, text

PAID = text("Paid.")
TASK = "Pay 5 back for order 7."
LAST_WORD, GUIDED = "Yours is the last word", "says what to do instead"


def clerks(**changes: Any) -> None:
    """A clerk with a look-up, and two agents that it may hand over to, who may hand over in turn."""
    agent("payer", "propose_handoff", "artifact_read", handoff_targets=())
    agent("writer", "propose_handoff", "artifact_read", handoff_targets=("payer",))
    agent("clerk", "propose_handoff", "look_up", handoff_targets=("payer", "writer"), **changes)


def transition(source: str, target: str, **columns: Any) -> Transition:
    found = {each.slug: each for each in Agent.objects.all()}
    if "summariser" in columns:
        columns["summariser"] = found[columns["summariser"]]
    return Transition.objects.create(source=found[source] if source else None, target=found[target], **columns)


def played(**turns: Any) -> str:
    """A task that payer and writer play; each says one word by default."""
    return f"{TASK} {scripts(**{'payer': [PAID], 'writer': [text('Written.')]} | turns)}"


def proposal(task: str = "", **changes: Any) -> dict[str, Any]:
    arguments = {"target": "payer", "reason": "Money is not mine.", "task": task or played()}
    return call(("propose_handoff", arguments | changes))


def proposed(owner: Any, *turns: dict[str, Any], run: dict[str, Any] | None = None, **others: Any) -> Run:
    """A run of the clerk, which plays these turns first; `others` are what it plays when it is sent for again, by a
    part of what it is then told. It is carried as far as it goes."""
    cases = {part: others[name] for name, part in _AGAIN.items() if name in others}
    return carry_all(start(owner, scripts(clerk={**cases, "": list(turns)}), agent="clerk", **(run or {})))


_AGAIN = {"guided": GUIDED, "last_word": LAST_WORD}


def first_words(model: Any, agent: str) -> str:
    """What the newest request of an agent was told first."""
    asked = [body for body in model.requests() if f"You are {agent}." in str(body.get("system"))]
    content = asked[-1]["messages"][0]["content"]
    return content if isinstance(content, str) else "".join(block["text"] for block in content)


def handoff() -> Handoff:
    return Handoff.objects.order_by("id").last()  # type: ignore[return-value]


def origins(run: Run) -> list[tuple[str, str]]:
    """Who worked, in order, and why."""
    return [(each.manifest.agent.slug, each.origin) for each in run.dispatches.order_by("number")]
