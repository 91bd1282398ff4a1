"""A held dispatch waits: for a person, or for a due time. It costs nothing while it does."""

import datetime as dt

from orchestrator_site.core.events import Record
from runs import leases, lifecycle, states
from runs.models import Dispatch, ToolCall
from runs.values import Waiting


def wait(log: Record, dispatch: Dispatch, on: str, *, due_at: dt.datetime | None = None) -> Waiting:
    """Give the lease back and wait. Whoever gets here ended no worker: the claim does not count for quarantine."""
    given_back = leases.given_back(dispatch) | {"claims_without_progress": 0}
    lifecycle.move_dispatch(log, dispatch, states.WAITING, waiting_on=on[:300], due_at=due_at, **given_back)
    return Waiting(on)


def waiting_on(call: ToolCall) -> str:
    """What an open call waits for, as the rest of a sentence that begins with "waits for"."""
    if call.status == states.UNCERTAIN:
        return f"a person to say whether {call.tool} happened"
    if call.request is not None and call.request.kind != "tool_call":
        return f"an answer: {call.request.title}"
    return f"a person's approval of {call.tool} ({call.risk} risk)"
