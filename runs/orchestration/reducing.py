"""Several results become one: joined, counted, or given to an agent in their order."""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from agents.models import Agent
from approvals import requests
from runs import states
from runs.models import Node
from runs.orchestration import nodes, results
from runs.orchestration.nodes import Moves, Place
from runs.planning.values import NodeSpec, Reduce
from runs.states import StopReason
from tools.values import Risk

VOTE_KIND = "vote"
SYNTHESIS = "Make one answer out of these results, in their order. Keep what they agree on, and name where they differ."
MERGE = "Make one text out of these two, without losing what either of them says."
TIE = "Equally many of the answers say each of these:\n{tied}\nAnswer with exactly one of them, and nothing else."


def begin(moves: Moves, node: Node) -> None:
    """Expects a node that is ready to start, and reduces the results of others."""
    nodes.move(moves, node, states.WORKING)
    reduce(moves, node, results.read_by(node))


def reduce(moves: Moves, node: Node, told: Sequence[Node]) -> None:
    """Expects a node at work. What failed is told to whoever reduces, and stands in the node's message."""
    rule = NodeSpec.model_validate(node.spec).reduce or Reduce()
    good = [each for each in told if each.status == states.SUCCEEDED]
    if not nodes.may_start(rule.join, len(good), len(told)) or not good:
        first = next((each for each in told if each.status != states.SUCCEEDED), None)
        reason = (first and first.stop_reason) or StopReason.REFUSED
        output = results.joined(good)
        nodes.fail(moves, node, reason, f"{_failed(told)} It asks for {rule.join}.", output=output)
        return
    match rule.how:
        case "concatenate":
            nodes.succeed(moves, node, output=results.joined(good), message=_failed(told))
        case "vote":
            _vote(moves, node, rule, good, _failed(told))
        case "synthesis":
            nodes.add(moves, node, [_by_agent(node, rule, told, rule.task or SYNTHESIS)], node.plan)
        case "merge":
            _merge(moves, node, rule, good, _failed(told))


def conclude(moves: Moves, node: Node, last: Node, told: Sequence[Node]) -> None:
    """Whoever reduced has ended: its result is the node's."""
    if last.status == states.SUCCEEDED:
        nodes.succeed(moves, node, output=results.text(last), message=_failed(told))
    else:
        nodes.fail(moves, node, last.stop_reason, last.message, output=results.joined(told))


def _failed(told: Sequence[Node]) -> str:
    """What is missing in the result, as a sentence; empty where nothing is."""
    missing = [each for each in told if each.status != states.SUCCEEDED]
    if not missing:
        return ""
    named = "; ".join(f"{each.key} ({each.message or each.stop_reason})" for each in missing[:5])
    more = f"; and {len(missing) - 5} more" if len(missing) > 5 else ""
    return f"{len(missing)} of {len(told)} did not succeed: {named}{more}."


def _by_agent(node: Node, rule: Reduce, told: Sequence[Node], task: str, name: str = "") -> Place:
    agent = Agent.objects.select_related("published__agent").get(slug=name or rule.agent)
    key, reads = f"{node.key}-{agent.slug}"[:60], [each.pk for each in told]
    return Place(key, task, agent=agent, role="reducer", briefing=_briefing(node, _done_before(node)[key]), reads=reads)


def _briefing(node: Node, done: Sequence[str]) -> str:
    """What was said of the node, and what was done in its place by whoever reduced before."""
    return "\n\n".join(part for part in [node.briefing, "\n".join(done)] if part)


def _done_before(node: Node) -> dict[str, list[str]]:
    """By key."""
    done: dict[str, list[str]] = defaultdict(list)
    before = list(Node.objects.filter(within=node, role="reducer", superseded=True).order_by("number"))
    by_node = results.done(before) if before else {}
    for each in before:
        done[each.key] += by_node[each.pk]
    return done


def _merge(moves: Moves, node: Node, rule: Reduce, told: Sequence[Node], missing: str) -> None:
    """Two and two, then their results two and two: all of it is put there at once, and runs as far as it can."""
    if len(told) == 1:
        nodes.succeed(moves, node, output=results.text(told[0]), message=missing)
        return
    free = nodes.left(moves.run)
    if len(told) - 1 > free:
        said = f"To merge {len(told)} takes {len(told) - 1} nodes, and the run may have {free} more. {missing}".strip()
        nodes.fail(moves, node, StopReason.REFUSED, said, output=results.joined(told))
        return
    agent = Agent.objects.select_related("published__agent").get(slug=rule.agent)
    task, done = rule.task or MERGE, _done_before(node)
    places: list[Place] = []
    level: list[tuple[Any, int | None]] = [(each.pk, None) for each in told]  # the node, and its place where it is new
    while len(level) > 1:
        above: list[tuple[Any, int | None]] = []
        for left, right in zip(level[::2], level[1::2], strict=False):
            after = [index for _, index in (left, right) if index is not None]
            key = f"{node.key}-merge-{len(places) + 1}"[:60]
            reads = [left[0], right[0]]
            said = _briefing(node, done[key])
            place = Place(key, task, agent=agent, role="reducer", briefing=said, reads=reads, after=after)
            places.append(place)
            above.append((places[-1].id, len(places) - 1))
        level = above + ([level[-1]] if len(level) % 2 else [])
    nodes.add(moves, node, places, node.plan)


# -- votes -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Tally:
    """How often each value was said, most first; `unread` answers have no such field."""

    counted: list[tuple[str, int]]
    unread: int

    @property
    def winners(self) -> list[str]:
        most = self.counted[0][1] if self.counted else 0
        return [value for value, count in self.counted if count == most]

    def __str__(self) -> str:
        told = ", ".join(f"{value}: {count}" for value, count in self.counted)
        return f"{told}; {self.unread} not counted" if self.unread else told


def tally(answers: Sequence[str], field: str) -> Tally:
    """Pure. A value is compared as its JSON; text without its outer spaces."""
    said = [value_of(answer, field) for answer in answers]
    counted = Counter(value for value in said if value is not None)
    return Tally(counted.most_common(), said.count(None))


def value_of(answer: str, field: str) -> str | None:
    """The value of a field (`a.b` of {"a": {"b": 1}}) in an answer; the whole text where no field is named."""
    if not field:
        return answer.strip()
    try:
        value: Any = json.loads(answer[answer.find("{") : answer.rfind("}") + 1])
        for name in field.split("."):
            value = value[name]
    except (ValueError, KeyError, TypeError):
        return None
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)


def _vote(moves: Moves, node: Node, rule: Reduce, good: Sequence[Node], missing: str) -> None:
    counted = tally([results.text(each) for each in good], rule.field)
    moves.log.run(moves.run.pk, "votes_counted", node=str(node.pk), counted=counted.counted, unread=counted.unread)
    told = f"{counted}. {missing}".strip()
    if not counted.counted:
        nodes.fail(moves, node, StopReason.CONTRACT_VIOLATED, f"No answer has the field {rule.field!r}.")
    elif len(counted.winners) == 1:
        nodes.succeed(moves, node, output=counted.winners[0], message=told)
    elif rule.ties == "person":
        _ask(moves, node, counted)
    else:
        tied = "\n".join(f"- {value}" for value in counted.winners)
        nodes.add(moves, node, [_by_agent(node, rule, good, TIE.format(tied=tied), rule.ties)], node.plan)


def is_vote(node: Node) -> bool:
    return (node.spec.get("reduce") or {}).get("how") == "vote"


def settle_tie(moves: Moves, node: Node, last: Node, told: Sequence[Node]) -> None:
    """An agent decided between equals: what it says is one of them, or a person is asked."""
    rule = NodeSpec.model_validate(node.spec).reduce or Reduce()
    counted = tally([results.text(each) for each in told if each.status == states.SUCCEEDED], rule.field)
    said = value_of(results.text(last), rule.field) or results.text(last).strip()
    if last.status == states.SUCCEEDED and said in counted.winners:
        nodes.succeed(moves, node, output=said, message=f"{counted}; {results.said_by(last)} decided.")
    else:
        _ask(moves, node, counted)


def _ask(moves: Moves, node: Node, counted: Tally) -> None:
    requests.ask(
        moves.log,
        kind=VOTE_KIND,
        run_id=moves.run.pk,
        title=f"A tie in {node.key}: which one?",
        frozen={"node": str(node.pk), "key": node.key, "counted": counted.counted, "candidates": counted.winners},
        risk=Risk.LOW,
        reasons=["Equally many answers say each of them."],
        requester_id=moves.run.owner_id,
        deadline_seconds=settings.BATON_APPROVAL_SECONDS,
    )
    nodes.move(moves, node, states.WAITING, waiting_on=f"a person to decide a tie in {node.key}")
