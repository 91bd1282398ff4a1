"""Every action has its event, and every event its action.

The moves of each kind of row are said here once more, apart from the platform's own tables: an event that leads where
no arrow goes, an unknown type, a row whose status is not that of its last event, all of these are findings.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

from tests.chaos.checker.findings import Verdict
from tests.chaos.checker.material import Material, Row

LINE = "actions without event, events without action"

ARROWS: dict[str, dict[str, set[str]]] = {
    "run": {
        "": {"accepted"},
        "accepted": {"working", "cancelled"},
        "working": {"waiting", "paused", "succeeded", "failed", "cancelled"},
        "waiting": {"working", "paused", "succeeded", "failed", "cancelled"},
        "paused": {"working", "succeeded", "failed", "cancelled"},
    },
    "dispatch": {
        "": {"queued"},
        "queued": {"working", "waiting", "paused", "failed", "cancelled"},
        "working": {"queued", "waiting", "paused", "succeeded", "failed", "cancelled"},
        "waiting": {"queued", "paused", "failed", "cancelled"},
        "paused": {"queued", "failed", "cancelled"},
    },
    # Whether it begins blocked, ready or at work is not told. All that are there have ended when the work has.
    "node": {
        "": {"ready", "working", "waiting", "succeeded", "failed", "skipped", "cancelled"},
        "ready": {"working", "failed", "skipped", "cancelled"},
        "working": {"ready", "waiting", "succeeded", "failed", "skipped", "cancelled"},
        "waiting": {"ready", "working", "succeeded", "failed", "skipped", "cancelled"},
    },
    "step": {"": {"asked"}, "asked": {"answered", "failed", "lost"}},
    "tool_call": {
        "": {"ruled", "ready", "executing", "refused"},
        "ruled": {"awaiting_approval", "ready", "refused", "cancelled"},
        "awaiting_approval": {"ready", "done", "refused", "cancelled", "uncertain"},
        "ready": {"executing", "ruled", "done", "failed", "awaiting_approval", "refused", "cancelled", "uncertain"},
        "executing": {"done", "failed", "ready", "uncertain"},
        "uncertain": {"resolved", "ready"},
    },
    "attempt": {"": {"sent"}, "sent": {"succeeded", "failed", "unknown"}},
    "handoff": {"": {"accepted", "declined", "expired", "cancelled"}},
}
# Only a person's comment leads back to work, told of since the row has ended.
REOPENED = {"run": {"succeeded", "failed"}, "node": {"succeeded", "failed"}}
CLOSINGS = {
    "approval_decided",
    "approval_expired",
    "approval_superseded",
    "approval_modified_needs_another",
}
# Told of, and held against rows below or elsewhere, or moving nothing of their own.
ALSO_KNOWN = {
    "dispatch_reclaimed",
    "worker_exited",
    "worker_stopped",
    "dispatch_state_upgraded",
    "run_restored",
    "node_commented",
    "node_superseded",
    "tool_call_edited",
    "tool_call_notice",
    "approval_assented",
    "approval_batch_decided",
    "approval_batch_split",
    "approval_binding_refused",
    "standing_approval_used",
    "budget_low",
    "budget_raised",
    "model_tries_renewed",
    "late_evidence_kept",
    "uncertain_call_decided",
    "cancel_requested",
    "routed",
    "node_added",
    "plan_proposed",
    "plan_accepted",
    "plan_declined",
    "plan_expired",
    "plan_cancelled",
    "message_posted",
    "messages_delivered",
    "answer_returned",
    "board_posted",
    "judged",
    "rerouted",
    "results_left_out",
    "routing_judged",
    "routing_taught",
    "summary_asked",
    "summary_taken",
    "votes_counted",
    "watch_rule_failed",
    "watch_rule_fired",
    "approval_requested",
} | CLOSINGS


@dataclass(frozen=True)
class Machine:
    """`key` of an event names the row it moved; `rows` are the statuses of the rows there are, by the same key."""

    name: str
    key: Callable[[Row], Hashable]
    rows: Callable[[Material], dict[Hashable, str]]

    def status_of(self, event: Row) -> str | None:
        if self.name == "attempt":
            return _status_of_attempt(event)
        status = event["type"].removeprefix(f"{self.name}_")
        is_own = event["type"] not in ALSO_KNOWN and any(status in after for after in ARROWS[self.name].values())
        return status if is_own and event["type"] == f"{self.name}_{status}" else None


def _status_of_attempt(event: Row) -> str | None:
    """An attempt moves with its call, in the call's event."""
    data = event.get("data", {})
    return "sent" if event["type"] == "tool_call_executing" else data.get("attempt_status")


def _by_id(table: str) -> Callable[[Material], dict[Hashable, str]]:
    return lambda material: {row["id"]: row["status"] for row in material.of(table)}


MACHINES = (
    Machine("run", lambda event: event["run_id"], _by_id("runs_run")),
    Machine("dispatch", lambda event: event["data"]["dispatch"], _by_id("runs_dispatch")),
    Machine("node", lambda event: event["data"]["node"], _by_id("runs_node")),
    Machine(
        "step",
        lambda event: (event["data"]["dispatch"], event["data"]["step"]),
        lambda material: {(row["dispatch_id"], row["number"]): row["status"] for row in material.of("runs_step")},
    ),
    Machine("tool_call", lambda event: event["data"]["call"], _by_id("runs_toolcall")),
    Machine(
        "attempt",
        lambda event: (event["data"]["call"], event["data"]["attempt"]),
        lambda material: {(row["call_id"], row["number"]): row["status"] for row in material.of("runs_attempt")},
    ),
    Machine(
        "handoff",
        lambda event: event["data"]["handoff"],
        lambda material: {
            row["id"]: "" if row["status"] == "proposed" else row["status"] for row in material.of("runs_handoff")
        },
    ),
)


def check(material: Material, verdict: Verdict) -> None:
    events = [event for own in material.events.values() for event in own]
    for machine in MACHINES:
        _check_machine(machine, material, events, verdict)
    _check_types(events, verdict)
    _check_gaps(material, verdict)
    _check_requests(material, events, verdict)
    _check_marks(material, events, verdict)


def _check_machine(machine: Machine, material: Material, events: Iterable[Row], verdict: Verdict) -> None:
    rows = machine.rows(material)
    reached: defaultdict[Hashable, str] = defaultdict(str)
    moved_at: dict[Hashable, int] = {}
    commented_at: dict[str, int] = {}
    for event in events:
        if event["type"] == "node_commented":
            commented_at[event["run_id"]] = event["seq"]
        if (status := machine.status_of(event)) is None:
            continue
        key = machine.key(event)
        is_reopened = status == "working" and reached[key] in REOPENED.get(machine.name, set())
        by_comment = is_reopened and commented_at.get(event["run_id"], 0) > moved_at[key]
        moved_at[key] = event["seq"]
        if status not in ARROWS[machine.name].get(reached[key], set()) and not by_comment:
            verdict.say(LINE, f"{machine.name} {key}: no arrow from {reached[key] or 'nothing'} to {status}")
        if key not in rows:
            verdict.say(LINE, f"{event['type']} #{event['seq']} of run {event['run_id']} tells of no row: {key}")
        reached[key] = status
    for key, status in rows.items():
        if reached[key] != status:
            verdict.say(LINE, f"{machine.name} {key} is {status}; its last event says {reached[key] or 'nothing'}")


def _check_types(events: Iterable[Row], verdict: Verdict) -> None:
    for type, count in Counter(event["type"] for event in events).items():
        if not is_known(type):
            verdict.say(LINE, f"{count} events of a type that the checker does not know: {type}")


def is_known(type: str) -> bool:
    return type in ALSO_KNOWN or any(machine.status_of({"type": type}) is not None for machine in MACHINES)


def _check_gaps(material: Material, verdict: Verdict) -> None:
    for run, events in material.events.items():
        if [event["seq"] for event in events] != list(range(1, len(events) + 1)):
            verdict.say(LINE, f"the chain of run {run} has gaps")
    for run in material.runs.keys() - material.events.keys():
        verdict.say(LINE, f"run {run} has no event")


def _check_quorum(material: Material, verdict: Verdict) -> None:
    """What several people have to approve was approved by as many different ones."""
    people = Counter(request for request, _ in {(row["request_id"], row["by_id"]) for row in material.assents})
    for key, request in material.requests.items():
        if request["status"] == "approved" and people[key] < request.get("approvers", 1) > 1:
            verdict.say(LINE, f"request {key} is approved by {people[key]}; {request['approvers']} have to")


def _check_requests(material: Material, events: list[Row], verdict: Verdict) -> None:
    """One event opens each request, and one closes it with its decision."""
    opened: Counter[str] = Counter()
    closed: defaultdict[str, list[Row]] = defaultdict(list)
    for event in events:
        if event["type"] == "approval_requested":
            opened[event["data"]["request"]] += 1
        elif event["type"] in CLOSINGS:
            closed[event["data"]["request"]].append(event)
    _same("requests", set(material.requests), opened, verdict)
    told = _counted(events, "approval_assented", lambda event: event["data"]["assent"])
    _same("assents", {row["id"] for row in material.assents}, told, verdict)
    _check_quorum(material, verdict)
    _same("decisions", set(material.decisions), Counter({key: len(own) for key, own in closed.items()}), verdict)
    for key, decision in material.decisions.items():
        if key in closed and closed[key][0]["data"]["verdict"] != decision["verdict"]:
            verdict.say(LINE, f"request {key} was {decision['verdict']}; its event says otherwise")
        if material.requests[key]["status"] != decision["verdict"]:
            verdict.say(LINE, f"request {key} is {material.requests[key]['status']}, decided {decision['verdict']}")


def _check_marks(material: Material, events: list[Row], verdict: Verdict) -> None:
    """What is noted on a row without moving it."""
    asked_to_cancel = {run["id"] for run in material.runs.values() if run["cancel_requested_at"]}
    _same("cancels", asked_to_cancel, _counted(events, "cancel_requested", lambda event: event["run_id"]), verdict)
    taken_back = {row["id"] for row in material.nodes.values() if row["superseded"]}
    told_of = _counted(events, "node_superseded", lambda event: event["data"]["node"])
    _same("superseded nodes", taken_back, told_of, verdict)
    # A decision leads to whatever took the place of its node, and has an event for each of them.
    routes = {row["node_id"] for row in material.of("runs_route") if row["node_id"]}
    routed = _counted(events, "routed", lambda event: event["data"]["node"])
    _same("routes", routes | (taken_back & routed.keys()), routed, verdict)
    sent = Counter(row["call_id"] for row in material.of("runs_attempt"))
    if sent != (moved := _counted(events, "tool_call_executing", lambda event: event["data"]["call"])):
        verdict.say(LINE, f"attempts and moves to executing differ: {sent - moved or moved - sent}")
    late = {(row["call_id"], row["number"]) for row in material.of("runs_attempt") if row["late_evidence"]}
    told = {
        (event["data"]["call"], event["data"]["attempt"]) for event in events if event["type"] == "late_evidence_kept"
    }
    if late != told:
        verdict.say(LINE, f"late evidence and its events differ: {late ^ told}")


def _counted(events: Iterable[Row], type: str, key: Callable[[Row], str]) -> Counter[str]:
    return Counter(key(event) for event in events if event["type"] == type)


def _same(noun: str, rows: set[str], told: Counter[str], verdict: Verdict) -> None:
    for key in rows - told.keys():
        verdict.say(LINE, f"{noun}: {key} has no event")
    for key, count in told.items():
        if key not in rows:
            verdict.say(LINE, f"{noun}: an event tells of {key}, which is not there")
        elif count > 1:
            verdict.say(LINE, f"{noun}: {count} events tell of {key}")
