"""Of each run that has not ended: is there anybody who would move it? Told apart from one that is merely slow."""

from tests.chaos.checker.findings import Verdict
from tests.chaos.checker.material import FINAL_DISPATCH, FINAL_RUN, Material, grouped

LINE = "open with nobody to move it"


def check(material: Material, verdict: Verdict) -> None:
    dispatches, nodes = grouped(material.dispatches.values(), "run_id"), grouped(material.nodes.values(), "run_id")
    asked = {row["run_id"] for row in material.requests.values() if row["status"] == "open"}
    doubted = {
        material.dispatches[call["dispatch_id"]]["run_id"]
        for call in material.calls.values()
        if call["status"] == "uncertain"
    }
    for run in material.runs.values():
        if run["status"] in FINAL_RUN or run["id"] in asked | doubted:
            continue
        # A paused run is moved by whoever paused it; people resume all that they have paused.
        works = any(
            row["status"] in ("queued", "working") or row.get("unheeded") or _is_due(row)
            for row in dispatches.get(run["id"], [])
        )
        begins = any(row["status"] == "ready" or _is_due(row) for row in nodes.get(run["id"], []))
        if run["status"] == "paused" or not (works or begins):
            verdict.say(LINE, f"run {run['id']} is {run['status']}: {run['waiting_on']}")


def _is_due(row: dict) -> bool:
    """The clock moves it."""
    return row["status"] not in FINAL_DISPATCH and bool(row.get("due_at"))
