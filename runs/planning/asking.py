"""What a planner is told beside the request: who is there, in which order, and what a plan looks like."""

import json
from typing import Any

from agents import roster
from agents.values import AgentKind
from runs.planning import checking, values
from runs.planning.values import PlanSpec

# The rules of contracts that hold a planner's answer to what may be accepted.
RULES = "plan"
FORM = (
    "Answer with a plan as one JSON object: {{goal, nodes: [{{key, agent, task, depends_on, …}}], answer}}. Nodes that "
    "do not wait for each other run at the same time. Each is told the results of the nodes it depends on, so "
    "say in its task only what it has to do. At most {limit} nodes."
)


def briefing() -> str:
    served = roster.current(min_epoch=roster.database_epoch())
    kinds = (AgentKind.WORKER, AgentKind.SUPERVISOR)
    agents = [f"- {slug}: {entry.owns}" for slug, entry in sorted(served.entries.items()) if entry.kind in kinds]
    parts = ["Agents at work:\n" + "\n".join(agents)]
    if served.rules:
        rules = [f"- {rule.before} before {rule.after}: {rule.reason}" for rule in served.rules]
        parts.append("In any plan:\n" + "\n".join(rules))
    parts.append(FORM.format(limit=checking.NODE_LIMIT))
    return "\n\n".join(parts)


def start_from(plan: PlanSpec) -> dict[str, Any]:
    """What the node of a planner has that may change a template's plan: every try is told of it, and may read, and
    name, its artifacts."""
    content = values.stored(plan)
    written = json.dumps(content, ensure_ascii=False, indent=1)
    told = f"Start from this plan, and change what the request needs changed:\n{written}"
    handed = dict.fromkeys(each for node in content["nodes"] for each in values.named(node))
    return {"briefing": told} | ({"spec": {"inputs": list(handed)}} if handed else {})


def schema() -> dict[str, Any]:
    """The JSON Schema of a plan."""
    return PlanSpec.model_json_schema()
