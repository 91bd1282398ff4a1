"""What people say when they are asked, by the kind of request and the dice."""

import json
from collections.abc import Callable
from random import Random
from typing import Any

Shown = dict[str, Any]
Body = dict[str, Any]

APPROVED: Body = {"verdict": "approved"}
REDIRECTS = ("closer", "helper")
# Fits whoever is given a step that others could not do; no call of it needs a mark.
SIMPLER = f"Leave out what is hard. {json.dumps({'script': [{'text': 'Done without it.'}]})}"


def of(shown: Shown, dice: Random) -> Body:
    """The body of a decision, but for the digest."""
    return _BY_KIND.get(shown["kind"], _of_another)(shown["content"], dice)


def _of_call(content: Shown, dice: Random) -> Body:
    drawn = dice.random()
    if drawn < 0.72:
        return APPROVED
    if drawn < 0.84:
        return {"verdict": "modified", "arguments": content["arguments"] | {"amount": dice.randint(501, 999)}}
    if drawn < 0.95:
        return {"verdict": "rejected", "reason": "The customer was helped already."}
    if drawn < 0.98:
        return {"verdict": "answered", "answer": "I did it by hand."}
    return {"verdict": "rejected", "reason": "Stop here.", "stop": True}


def _of_handoff(content: Shown, dice: Random) -> Body:
    drawn = dice.random()
    if drawn < 0.4:
        return APPROVED
    if drawn < 0.55:
        return {"verdict": "modified", "arguments": {"task": f"{content['task']} Be kind."}}
    if drawn < 0.7:
        others = [slug for slug in REDIRECTS if slug != content["target"]]
        return {"verdict": "modified", "arguments": {"target": dice.choice(others)}}
    if drawn < 0.85:
        return {"verdict": "answered", "answer": "Look again before you hand it over."}
    return {"verdict": "rejected", "reason": "Not now."}


def _of_plan(content: Shown, dice: Random) -> Body:
    drawn = dice.random()
    if drawn < 0.6:
        return APPROVED
    if drawn < 0.85:
        return {"verdict": "modified", "arguments": {"content": _edited(content["content"])}}
    return {"verdict": "rejected", "reason": "Not like this."}


def _edited(plan: Shown) -> Shown:
    """Without its last node, where nothing comes after that; the first one is told more."""
    nodes = plan["nodes"]
    needed = {key for node in nodes for key in node.get("depends_on", ())} | set(plan.get("answer", ()))
    kept = nodes[:-1] if len(nodes) > 1 and nodes[-1]["key"] not in needed else nodes
    first, *others = kept
    return plan | {"nodes": [first | {"task": f"Please: {first.get('task', '')}"}, *others]}


def _of_failed_step(content: Shown, dice: Random) -> Body:
    drawn = dice.random()
    if drawn < 0.25:
        return APPROVED
    if drawn < 0.6:
        return {"verdict": "modified", "arguments": {"agent": "worker", "task": SIMPLER}}
    if drawn < 0.8:
        return {"verdict": "answered", "answer": "I have done it."}
    return {"verdict": "rejected", "reason": "It is not needed."}


def _of_tie(content: Shown, dice: Random) -> Body:
    if dice.random() < 0.9:
        return {"verdict": "answered", "answer": dice.choice(content["candidates"])}
    return {"verdict": "rejected", "reason": "Neither."}


def _of_another(content: Shown, dice: Random) -> Body:
    return APPROVED if dice.random() < 0.85 else {"verdict": "rejected", "reason": "Not now."}


_BY_KIND: dict[str, Callable[[Shown, Random], Body]] = {
    "tool_call": _of_call,
    "handoff": _of_handoff,
    "plan": _of_plan,
    "node": _of_failed_step,
    "vote": _of_tie,
    "routing": lambda content, dice: {"verdict": "answered", "answer": "worker"},
}
