"""Rules that watch the blackboard: what was posted has agents dispatched, until nothing new follows from it."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from runs import board
from runs.models import BoardEntry, Dispatch, Node, Run, WatchRule
from runs.orchestration import dispatching, nodes, results
from runs.orchestration.nodes import Moves, Place
from tools import conditions

LOOK = "The blackboard of the run has grown while others worked:\n\n{board}"


def look(moves: Moves) -> None:
    """Every entry that no rule has looked at yet, in order."""
    run = moves.run
    if run.board_entries <= run.board_seen or moves.is_stopping or run.is_final:
        return
    entries = list(BoardEntry.objects.filter(run=run).order_by("number"))
    rules = list(WatchRule.objects.in_force().select_related("agent__published__agent"))
    named = _categories_named(rules)
    for number in range(run.board_seen, len(entries)):
        there = entries[: number + 1]
        told = facts(run, there, named)
        for rule in rules:
            _try(moves, rule, there, told)
    run.board_seen = len(entries)
    Run.objects.filter(pk=run.pk).update(board_seen=run.board_seen)


def _try(moves: Moves, rule: WatchRule, entries: list[BoardEntry], told: dict[str, Any]) -> None:
    if not (rule.agent.active and rule.agent.published):
        return
    fired = Node.objects.filter(run=moves.run, watch=rule).count()
    if fired >= rule.limit or not _holds(moves, rule, told):
        return
    shown = [entry for entry in entries if not rule.categories or entry.category in rule.categories]
    place = Place(
        key=f"{rule.agent.slug}-watch-{rule.pk}-{fired + 1}"[:60],
        task=rule.task,
        agent=rule.agent,
        role="watch",
        briefing=f"You were called because of “{rule.name}”.\n\n{board.told(shown)}",
        watch=rule,
    )
    nodes.add(moves, moves.root(), [place])
    number = entries[-1].number
    moves.log.run(moves.run.pk, "watch_rule_fired", rule=rule.name, entry=number, agent=rule.agent.slug)


def _holds(moves: Moves, rule: WatchRule, told: dict[str, Any]) -> bool:
    """One that cannot be evaluated does not hold, and says so once for each entry."""
    try:
        return conditions.is_true(rule.condition, told)
    except conditions.ConditionFailed as error:
        number = told["entry"]["number"]
        moves.log.run(moves.run.pk, "watch_rule_failed", rule=rule.name, entry=number, why=str(error)[:300])
        return False


def facts(run: Run, entries: list[BoardEntry], named: Iterable[str]) -> dict[str, Any]:
    """What a condition reads. A category that is `named`, and that nobody posted in, counts 0."""
    counts = Counter(dict.fromkeys(named, 0))
    counts.update(entry.category for entry in entries)
    return {
        "entry": _entry(entries[-1]),
        "board": [_entry(entry) for entry in entries],
        "counts": dict(counts),
        "run": {"input": run.input, "metadata": run.metadata, "owner": run.owner.get_username()},
    }


def _entry(entry: BoardEntry) -> dict[str, Any]:
    said = entry.facts()
    return said | {"confidence": 0.0 if said["confidence"] is None else said["confidence"]}


def _categories_named(rules: Iterable[WatchRule]) -> set[str]:
    """The categories whose counts the rules ask for."""
    text = " ".join(rule.condition for rule in rules)
    return set(re.findall(r"counts\.([a-z0-9_]+)", text)) | set(re.findall(r"counts\[.([a-z0-9_-]+).\]", text))


# -- when all is quiet -------------------------------------------------------------------------------------------
def looks_again(moves: Moves, node: Node, last: Dispatch) -> bool:
    """All that the rules had dispatched have ended: the agent reads what others posted since it began, and answers
    once more; False where nobody did."""
    if not Node.objects.filter(within=node, role="watch").exists():
        return False
    since = BoardEntry.objects.filter(run=moves.run, created_at__gt=last.started_at or last.created_at)
    if not (news := list(since.exclude(agent=last.manifest.agent.slug).order_by("number"))):
        return False
    parts = [results.briefing(node), results.earlier_tries(node), LOOK.format(board=board.told(news))]
    briefing = "\n\n".join(part for part in parts if part)
    dispatching.start(moves, node, origin="closing", briefing=briefing, depth=last.depth)
    return True
