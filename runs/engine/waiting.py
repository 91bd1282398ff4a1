"""A held dispatch waits: for a person, or for a due time. It costs nothing while it does."""

import datetime as dt

from orchestrator_site.core.events import Record
from runs import leases, lifecycle, states
from runs.models import Dispatch, ToolCall
from runs.pacing.deeds import Held
from runs.values import Waiting

LINE_LIMIT = 300


def wait(
    log: Record,
    dispatch: Dispatch,
    on: str,
    *,
    due_at: dt.datetime | None = None,
    wake_on: str = "",
    held: Held | None = None,
) -> Waiting:
    """Give the lease back and wait. Whoever gets here ended no worker: the claim does not count for quarantine."""
    changes = leases.given_back(dispatch) | {"claims_without_progress": 0}
    if held is not None:
        changes |= {"held_by": held.by, "place_at": held.due_at}
    elif dispatch.held_by:
        changes |= {"held_by": "", "place_at": None}
    lifecycle.move_dispatch(
        log, dispatch, states.WAITING, waiting_on=_line(on), due_at=due_at, wake_on=wake_on, **changes
    )
    return Waiting(on)


def _line(on: str) -> str:
    return on if len(on) <= LINE_LIMIT else on[: LINE_LIMIT - 1] + "…"


def hold_up(log: Record, dispatch: Dispatch, held: Held) -> Waiting:
    """A held dispatch waits for what paces it: released, or due, it goes on by itself."""
    return wait(log, dispatch, held.on, due_at=held.due_at, held=held)


def waiting_on(call: ToolCall) -> str:
    """What an open call waits for, as the rest of a sentence that begins with "waits for"."""
    if call.status == states.UNCERTAIN:
        return f"a person to say whether {call.tool} happened"
    if call.status == states.DEFERRED and call.due_at is not None:
        return f"its time to call {call.tool}: {call.due_at:%Y-%m-%d %H:%M} UTC"
    if call.request is not None and call.request.kind != "tool_call":
        return f"an answer: {call.request.title}"
    return f"a person's approval of {call.tool} ({call.risk} risk)"
