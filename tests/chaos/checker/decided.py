"""What people decided of plans, handoffs and failed steps, held against what was done: by whom, and with which task.

What they saw, and what they made of it, is read from their own diary.
"""

import json
from collections import Counter
from collections.abc import Iterator

from tests.chaos.checker.findings import Verdict
from tests.chaos.checker.material import Material, Row

LINE = "arguments not those approved"


def check(material: Material, verdict: Verdict) -> None:
    check_plans(material, verdict)
    check_handoffs(material, verdict)
    check_steps(material, verdict)


def meant(material: Material, kind: str) -> Iterator[tuple[Row, Row, Row]]:
    """Of each decision of this kind that a person made: the request, what was posted, and what it leads to."""
    for line in material.people:
        if line["what"] != "decides" or line["kind"] != kind:
            continue
        decision = material.decisions.get(line["request"])
        body = line["body"]
        if decision is None or (decision["by_name"], decision["verdict"]) != (line["who"], body["verdict"]):
            continue
        yield material.requests[line["request"]], body, line["saw"] | body.get("arguments", {})


def check_plans(material: Material, verdict: Verdict) -> None:
    wanted = {
        request["id"]: content["content"]
        for request, body, content in meant(material, "plan")
        if body["verdict"] in ("approved", "modified")
    }
    for plan in material.of("runs_plan"):
        if plan["status"] != "accepted" or plan["request_id"] is None:
            continue
        content = wanted.get(plan["request_id"])
        if content is None or plan["content"] != content:
            verdict.say(LINE, f"plan {plan['id']} of run {plan['run_id']} is not the one that was approved")
            continue
        _check_nodes(material, plan, content, verdict)


def _check_nodes(material: Material, plan: Row, content: Row, verdict: Verdict) -> None:
    """Each of its nodes stands once, as it was planned, unless the whole was taken back."""
    asked = {node["key"]: (node.get("task", ""), node.get("agent")) for node in content["nodes"]}
    own = [
        node
        for node in material.nodes.values()
        if node["plan_id"] == plan["id"] and node["within_id"] == plan["node_id"] and not node["role"]
    ]
    for node in own:
        if (node["task"], material.agents.get(node["agent_id"])) != asked.get(node["key"]):
            verdict.say(LINE, f"{node['key']} of plan {plan['id']} is not as it was approved")
    standing = Counter(node["key"] for node in own if not node["superseded"])
    for key in asked:
        if standing[key] != 1:
            line = "lost" if standing[key] < 1 else "duplicated"
            verdict.say(line, f"{key} of plan {plan['id']} stands {standing[key]} times")


def check_handoffs(material: Material, verdict: Verdict) -> None:
    wanted = {
        request["id"]: (content["target"], content["task"])
        for request, body, content in meant(material, "handoff")
        if body["verdict"] in ("approved", "modified")
    }
    for handoff in material.of("runs_handoff"):
        if handoff["status"] != "accepted":
            continue
        if handoff["request_id"] not in wanted:
            verdict.say(LINE, f"handoff {handoff['id']} was accepted by nobody")
        elif handoff["continued_by_id"]:
            dispatch = material.dispatches[handoff["continued_by_id"]]
            went = (material.slugs[dispatch["manifest_id"]], dispatch["task"])
            if went != wanted[handoff["request_id"]]:
                verdict.say(LINE, f"handoff {handoff['id']} went to {went[0]}, or with another task than was approved")


def check_steps(material: Material, verdict: Verdict) -> None:
    """What a person said becomes of a failed step."""
    tries = Counter(
        (dispatch["node_id"], material.slugs[dispatch["manifest_id"]], dispatch["task"])
        for dispatch in material.dispatches.values()
        if dispatch.get("origin") == "retry"
    )
    wanted: Counter[tuple[str, str, str]] = Counter()
    for request, body, content in meant(material, "node"):
        node = material.nodes[json.loads(request["frozen"])["node"]]
        if body["verdict"] in ("approved", "modified"):
            wanted[node["id"], content["agent"], content["task"]] += 1
        elif body["verdict"] == "answered" and (node["status"], node["output"]) != ("succeeded", body["answer"]):
            verdict.say(LINE, f"{node['key']} of run {node['run_id']} is {node['status']}; a person gave its result")
        elif body["verdict"] == "rejected" and (node["status"], node["left_out"]) != ("skipped", True):
            verdict.say(LINE, f"{node['key']} of run {node['run_id']} is {node['status']}; a person left it out")
    for node_id, agent, _ in wanted - tries:
        verdict.say("lost", f"a person gave the failed step {node_id} to {agent}, and it was not tried so")
