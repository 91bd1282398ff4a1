"""A run's events as lines for the terminal."""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

from orchestrator_site.core import events
from orchestrator_site.core.models import Event
from runs.models import Dispatch

Teller = Callable[[dict[str, Any]], str]

LINES: dict[str, Teller] = {
    "run_accepted": lambda data: "accepted",
    "run_waiting": lambda data: f"waits for {data.get('waiting_on', 'something')}",
    "run_succeeded": lambda data: "succeeded",
    "run_failed": lambda data: f"failed: {data.get('stop_reason')}",
    "run_cancelled": lambda data: "cancelled",
    "routing_judged": lambda data: f"routing: {data['line']}",
    "routed": lambda data: f"routed to {data['agent']}",
    "plan_proposed": lambda data: f"a plan of {len(data['nodes'])} nodes: {', '.join(data['nodes'])}",
    "plan_accepted": lambda data: "the plan is carried out",
    "votes_counted": lambda data: "votes: " + ", ".join(f"{value} {count}" for value, count in data["counted"]),
    "node_succeeded": lambda data: f"{data['key']} is done",
    "node_failed": lambda data: f"{data['key']} failed: {data.get('message')}",
    "dispatch_reclaimed": lambda data: "taken over by another worker",
    "worker_exited": lambda data: "its worker is gone; what it held is free",
    "step_answered": lambda data: f"model answered ({data.get('stop_reason')}, {data.get('cost_usd', '0')} USD)",
    "step_failed": lambda data: f"model failed: {data.get('error')}",
    "step_lost": lambda data: "a model's reply was lost with its worker",
    "tool_call_ready": lambda data: f"{data['tool']} may run",
    "tool_call_executing": lambda data: f"{data['tool']} sent to {data['endpoint']}, attempt {data['attempt']}",
    "tool_call_awaiting_approval": lambda data: f"{data['tool']} waits for a person",
    "tool_call_done": lambda data: f"{data['tool']} is done",
    "tool_call_failed": lambda data: f"{data['tool']} failed: {data.get('error_kind')}",
    "tool_call_refused": lambda data: f"{data['tool']} was refused: {data.get('error_kind')}",
    "tool_call_uncertain": lambda data: f"{data['tool']} is in doubt",
    "approval_requested": lambda data: f"asks: {data['title']}",
    "approval_decided": lambda data: f"{data.get('verdict')}",
    "handoff_accepted": lambda data: f"handoff to {data['target']} accepted",
    "handoff_declined": lambda data: f"handoff to {data['target']} declined",
}


class Trace:
    """Follows one run: `say` is called with each new line once."""

    def __init__(self, run_id: UUID, say: Callable[[str], None]) -> None:
        self.run_id, self.say, self.seq = run_id, say, 0

    def follow(self) -> None:
        for event in events.of_run(self.run_id, after=self.seq):
            self.seq = event.seq
            if event.type in LINES:
                self.say(f"   {event.seq:>3}  {self._who(event):<10} {LINES[event.type](json.loads(event.data))}")

    def _who(self, event: Event) -> str:
        data = json.loads(event.data)
        if "dispatch" in data:
            dispatch = Dispatch.objects.filter(pk=data["dispatch"]).select_related("manifest__agent").first()
            return dispatch.manifest.agent.slug if dispatch else ""
        return event.actor.split(":", 1)[-1][:10] if event.actor.startswith(("user:", "agent:")) else "run"
