"""What a precondition's condition may ask for: facts of the run, as its rows are now."""

from collections.abc import Mapping
from typing import Any

from django.db.models import Sum

from orchestrator_site.core import roles
from runs import states
from runs.models import Artifact, Handoff, Node, Run

# A condition looks at so many results and artifacts, the newest, and at so much of a text.
MOST = 200
LONGEST = 20_000

# Every variable that there is, with a value of its kind: see docs/handoffs.md.
SAMPLE: Mapping[str, Any] = {
    "run": {
        "input": "Where is my order?",
        "metadata": {},
        "source": "api",
        "owner": {"username": "shop", "roles": ["App"], "is_app": True},
        "cost_usd": 0.01,
        "tokens": 1200,
        "agents": ["clerk"],
    },
    "results": {},
    "artifacts": {"count": 1, "names": ["receipt"]},
    "handoff": {
        "source": "clerk",
        "target": "payer",
        "task": "Pay 5 back.",
        "state": {},
        "confidence": 0.9,
        "artifacts": 1,
    },
}


def of(handoff: Handoff, *, task: str | None = None) -> dict[str, Any]:
    """Expects source with its run and manifest's agent, and target, joined. `task`: as a person worded it."""
    return {
        "run": _run(handoff.source.run),
        "results": _results(handoff.source.run),
        "artifacts": _artifacts(handoff.source.run),
        "handoff": {
            "source": handoff.source.manifest.agent.slug,
            "target": handoff.target.slug,
            "task": handoff.task if task is None else task,
            "state": handoff.state or {},
            "confidence": handoff.confidence,
            "artifacts": len(handoff.artifacts),
        },
    }


def _run(run: Run) -> dict[str, Any]:
    groups = sorted(run.owner.groups.values_list("name", flat=True))
    spent = run.dispatches.aggregate(cost=Sum("cost_usd"), tokens=Sum("tokens"))
    tried = run.dispatches.order_by("number").values_list("manifest__agent__slug", flat=True)
    return {
        "input": run.input[:LONGEST],
        "metadata": run.metadata,
        "source": run.source,
        "owner": {"username": run.owner.get_username(), "roles": groups, "is_app": roles.APP in groups},
        "cost_usd": float(spent["cost"] or 0),
        "tokens": spent["tokens"] or 0,
        "agents": list(dict.fromkeys(tried)),
    }


def _results(run: Run) -> dict[str, dict[str, str]]:
    """Of the nodes that have ended, by key: {status, text}."""
    ended = Node.objects.filter(run=run, superseded=False, status__in=states.NODE.final)
    newest = ended.select_related("answered_by").order_by("-number")[:MOST]
    return {node.key: {"status": node.status, "text": _text(node)[:LONGEST]} for node in reversed(newest)}


def _text(node: Node) -> str:
    return node.output or (node.answered_by.output if node.answered_by else "") or node.message


def _artifacts(run: Run) -> dict[str, Any]:
    kept = Artifact.objects.filter(run=run)
    names = kept.order_by("-created_at").values_list("name", flat=True)[:MOST]
    return {"count": kept.count(), "names": list(names)}
