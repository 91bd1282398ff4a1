"""People's turns: what they were told of a pause, a resume, a comment or a follow-up is so, and holds.

What a comment takes back begins nothing any more, nothing stands that is made of it, and whoever does it again is told
what was done. What is held against the order of a run's events needs no clock.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator

from tests.chaos.checker.findings import Verdict
from tests.chaos.checker.material import Material, Row, seconds

PAUSED_LINE = "begun while it was stopped"
MADE_OF = "made of what was taken back"
BEGINNINGS = {"dispatch_queued", "step_asked", "tool_call_executing", "approval_requested"}


def check(material: Material, verdict: Verdict) -> None:
    check_told(material, verdict)
    check_follow_ups(material, verdict)
    for run, events in material.events.items():
        _check_paused(material, run, events, verdict)
        _check_taken_back(material, run, events, verdict)
    check_what_stands(material, verdict)
    check_briefings(material, verdict)
    check_machine_tries(material, verdict)


# -- what they were told -----------------------------------------------------------------------------------------
def check_told(material: Material, verdict: Verdict) -> None:
    told = Counter(
        (line["what"], line["run"], line.get("node"))
        for line in material.people
        if line["what"] in ("paused", "resumed", "commented") and line["status"] == 200
    )
    noted = Counter(_noted(material))
    for (what, run, node), count in (told - noted).items():
        verdict.say("lost", f"olivia was told {count} times more than it is there that {run} {node or ''} is {what}")
    for (what, run, node), count in (noted - told).items():
        verdict.say("effects unaccounted for", f"{run} {node or ''} is {what} {count} times more than somebody did so")


def _noted(material: Material) -> Iterator[tuple[str, str, str | None]]:
    for run, events in material.events.items():
        status = ""
        for event in events:
            if event["type"] == "node_commented":
                yield "commented", run, event["data"]["node"]
            elif event["type"] == "run_paused":
                yield "paused", run, None
            elif event["type"] == "run_working" and status == "run_paused":
                yield "resumed", run, None
            status = event["type"] if event["type"].startswith("run_") else status


def check_follow_ups(material: Material, verdict: Verdict) -> None:
    asked = {line["mark"]: line.get("conversation") for line in material.people if line["what"] == "starts"}
    for run in material.runs.values():
        conversation = asked.get(run["metadata"].get("mark"))
        if conversation and run["conversation_id"] != conversation:
            verdict.say("lost", f"run {run['id']} was to go on with {conversation} and is in {run['conversation_id']}")


# -- in the order of events --------------------------------------------------------------------------------------
def _check_paused(material: Material, run: str, events: list[Row], verdict: Verdict) -> None:
    """From the pause to the next move of the run no model is asked, and nothing is sent that was decided meanwhile."""
    is_paused = False
    decided: set[str | None] = set()
    for event in events:
        if event["type"].startswith("run_"):
            is_paused, decided = event["type"] == "run_paused", set()
        elif not is_paused:
            continue
        elif event["type"] == "approval_decided":
            decided.add(material.requests.get(event["data"]["request"], {}).get("call_id"))
        elif event["type"] == "step_asked" or (
            event["type"] == "tool_call_executing" and event["data"]["call"] in decided
        ):
            verdict.say(PAUSED_LINE, f"{event['type']} #{event['seq']} of run {run}, which was paused")


def _check_taken_back(material: Material, run: str, events: list[Row], verdict: Verdict) -> None:
    taken_back: set[str] = set()
    for event in events:
        if event["type"] == "node_superseded":
            taken_back.add(event["data"]["node"])
        elif taken_back and event["type"] in BEGINNINGS:
            node = _node_of(material, event)
            if node and taken_back & set(material.at_and_around(node)):
                told = f"{event['type']} #{event['seq']} of run {run}, at a node that another had taken the place of"
                verdict.say("effects of calls not permitted", told)


def _node_of(material: Material, event: Row) -> str | None:
    data = event["data"]
    dispatch = data.get("dispatch")
    if event["type"] == "approval_requested":
        request = material.requests.get(data["request"], {})
        named = json.loads(request.get("frozen") or "{}").get("node")
        dispatch = request.get("dispatch_id")
        if named or not dispatch:
            return named
    return material.dispatches.get(dispatch, {}).get("node_id")


# -- what stands in the end --------------------------------------------------------------------------------------
def check_what_stands(material: Material, verdict: Verdict) -> None:
    """No node stands that comes after one that was taken back, or that was told of it; no decision leads to one."""
    for edge in material.of("runs_edge"):
        parent, child = material.nodes[edge["parent_id"]], material.nodes[edge["child_id"]]
        if parent["superseded"] and not child["superseded"]:
            verdict.say(MADE_OF, f"{child['key']} of run {child['run_id']} comes after {parent['key']}, and stands")
    for node in material.nodes.values():
        for read in node["reads"]:
            if not node["superseded"] and material.nodes[read]["superseded"]:
                told = f"{node['key']} of run {node['run_id']} was told of {material.nodes[read]['key']}, and stands"
                verdict.say(MADE_OF, told)
    for route in material.of("runs_route"):
        if route["node_id"] and material.nodes[route["node_id"]]["superseded"]:
            verdict.say(MADE_OF, f"the decision {route['id']} leads to a node that another had taken the place of")


def check_briefings(material: Material, verdict: Verdict) -> None:
    """Who does a node again is told of every call in its place that cannot be repeated: here nobody makes more of them
    than are told."""
    first: dict[str, Row] = {}
    for dispatch in sorted(material.dispatches.values(), key=lambda row: row.get("number", 0)):
        first.setdefault(dispatch.get("node_id", ""), dispatch)
    for events in material.events.values():
        for node, before in _in_place_of(material, events).items():
            if node in first:
                _check_briefing(material, first[node], before, verdict)


def _in_place_of(material: Material, events: list[Row]) -> dict[str, set[str]]:
    """By node, all that were taken back in its place before it: it is the first that was added there after them."""
    taken_back: defaultdict[tuple[str | None, str], set[str]] = defaultdict(set)
    found: dict[str, set[str]] = {}
    for event in events:
        if event["type"] not in ("node_added", "node_superseded"):
            continue
        node = material.nodes.get(event["data"]["node"])
        if node is None:
            continue
        place = (node["within_id"], node["key"])
        if event["type"] == "node_superseded":
            taken_back[place] |= {node["id"], *found.get(node["id"], ())}
        elif place in taken_back:
            found[node["id"]] = taken_back.pop(place)
    return found


def _check_briefing(material: Material, dispatch: Row, before: set[str], verdict: Verdict) -> None:
    for call in acted_at(material, before):
        told = f"{call['tool']} with {call['arguments']}"
        if _is_before(material, call, dispatch) and told not in dispatch["briefing"]:
            verdict.say("lost", f"dispatch {dispatch['id']} does its node again and was not told of {told}")


def acted_at(material: Material, nodes: set[str]) -> Iterator[Row]:
    """Calls at these nodes, and at whatever lies within them, that cannot simply be repeated."""
    for call_id, attempts in material.attempts.items():
        call = material.calls.get(call_id)
        if call is None or call["effect"] == "pure" or all(attempt.get("nothing_sent") for attempt in attempts):
            continue
        node = material.dispatches[call["dispatch_id"]].get("node_id")
        if node and nodes & set(material.at_and_around(node)):
            yield call


def check_machine_tries(material: Material, verdict: Verdict) -> None:
    """What has acted is given to another try by people alone: by their word on the failed step, or, of a supervisor
    that has another look, by their comment."""
    people = Counter(
        json.loads(material.requests[key]["frozen"]).get("node")
        for key, decision in material.decisions.items()
        if material.requests[key].get("kind") == "node" and decision["verdict"] in ("approved", "modified")
    )
    commented = {run for what, run, _ in _noted(material) if what == "commented"}
    again: Counter[str] = Counter()
    for dispatch in sorted(material.dispatches.values(), key=lambda row: row.get("number", 0)):
        node = dispatch.get("node_id")
        if dispatch.get("origin") not in ("retry", "fallback", "reroute") or not node:
            continue
        if material.slugs.get(dispatch["manifest_id"]) == "lead" and dispatch["run_id"] in commented:
            continue
        acted = [call for call in acted_at(material, {node}) if _is_before(material, call, dispatch)]
        again[node] += bool(acted)
        if again[node] > people[node]:
            told = f"dispatch {dispatch['id']} tries again what had sent {acted[0]['tool'] if acted else 'something'}"
            verdict.say("effects of calls not permitted", f"{told}, and nobody said so")


def _is_before(material: Material, call: Row, dispatch: Row) -> bool:
    sent = min(seconds(attempt["sent_at"]) for attempt in material.attempts[call["id"]])
    return sent < seconds(dispatch["created_at"])
