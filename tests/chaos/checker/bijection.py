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
        "working": {"waiting", "succeeded", "failed", "cancelled"},
        "waiting": {"working", "succeeded", "failed", "cancelled"},
    },
    "dispatch": {
        "": {"queued", "blocked"},
        "blocked": {"queued", "skipped", "failed", "cancelled"},
        "queued": {"working", "failed", "cancelled"},
        "working": {"queued", "waiting", "succeeded", "failed", "cancelled"},
        "waiting": {"queued", "failed", "cancelled"},
    },
    "step": {"": {"asked"}, "asked": {"answered", "failed", "lost"}},
    "tool_call": {
        "": {"ruled", "ready", "executing", "refused"},
        "ruled": {"awaiting_approval", "ready", "refused", "cancelled"},
        "awaiting_approval": {"ready", "done", "refused", "cancelled"},
        "ready": {"executing", "ruled", "done", "failed", "awaiting_approval", "refused", "cancelled", "uncertain"},
        "executing": {"done", "failed", "ready", "uncertain"},
        "uncertain": {"resolved", "ready"},
    },
    "attempt": {"": {"sent"}, "sent": {"succeeded", "failed", "unknown"}},
    "handoff": {"": {"accepted", "declined", "expired", "cancelled"}},
}
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
    "tool_call_notice",
    "approval_binding_refused",
    "budget_raised",
    "model_tries_renewed",
    "late_evidence_kept",
    "uncertain_call_decided",
    "cancel_requested",
    "routed",
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
    for event in events:
        if (status := machine.status_of(event)) is None:
            continue
        key = machine.key(event)
        if status not in ARROWS[machine.name].get(reached[key], set()):
            verdict.say(LINE, f"{machine.name} {key}: no arrow from {reached[key] or 'nothing'} to {status}")
        if key not in rows:
            verdict.say(LINE, f"{event['type']} #{event['seq']} of run {event['run_id']} tells of no row: {key}")
        reached[key] = status
    for key, status in rows.items():
        if reached[key] != status:
            verdict.say(LINE, f"{machine.name} {key} is {status}; its last event says {reached[key] or 'nothing'}")


def _check_types(events: Iterable[Row], verdict: Verdict) -> None:
    for type, count in Counter(event["type"] for event in events).items():
        if type not in ALSO_KNOWN and all(machine.status_of({"type": type}) is None for machine in MACHINES):
            verdict.say(LINE, f"{count} events of a type that the checker does not know: {type}")


def _check_gaps(material: Material, verdict: Verdict) -> None:
    for run, events in material.events.items():
        if [event["seq"] for event in events] != list(range(1, len(events) + 1)):
            verdict.say(LINE, f"the chain of run {run} has gaps")
    for run in material.runs.keys() - material.events.keys():
        verdict.say(LINE, f"run {run} has no event")


def _check_requests(material: Material, events: Iterable[Row], verdict: Verdict) -> None:
    """One event opens each request, and one closes it with its decision."""
    opened: Counter[str] = Counter()
    closed: defaultdict[str, list[Row]] = defaultdict(list)
    for event in events:
        if event["type"] == "approval_requested":
            opened[event["data"]["request"]] += 1
        elif event["type"] in CLOSINGS:
            closed[event["data"]["request"]].append(event)
    _same("requests", set(material.requests), opened, verdict)
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
    routes = {row["node_id"] for row in material.of("runs_route") if row["node_id"]}
    _same("routes", routes, _counted(events, "routed", lambda event: event["data"]["dispatch"]), verdict)
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
