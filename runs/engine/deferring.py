"""A call that may run later: it waits for a window to open, and is ruled upon again when it does."""

import datetime as dt
from collections.abc import Iterable, Sequence
from functools import partial

from orchestrator_site.core import events
from orchestrator_site.core.events import Record
from runs import leases, lifecycle, states
from runs.engine import doubt, proposing, rulings, standing
from runs.engine.offer import Offers, offer
from runs.engine.proposing import Ruled
from runs.models import Dispatch, ToolCall
from runs.values import Lease
from tools.values import Defer, ErrorKind, NeedsApproval, Refuse

LATER = "Today it would have to wait for its time."


def defer(log: Record, dispatch: Dispatch, call: ToolCall, ruling: Defer) -> None:
    """Of a call that was ready. What it was approved with stays with it."""
    if doubt.leave(log, dispatch, call, LATER, ruling):
        return
    lifecycle.move_call(log, dispatch.run_id, call, states.RULED, **rulings.made_again(call, ruling))
    lifecycle.move_call(log, dispatch.run_id, call, states.DEFERRED, due_at=ruling.until)


def due(dispatch: Dispatch, calls: Iterable[ToolCall]) -> list[ToolCall]:
    """Those of a held dispatch's calls whose moment has come."""
    return [call for call in calls if call.status == states.DEFERRED and call.due_at and call.due_at <= dispatch.now]


def next_due(calls: Iterable[ToolCall]) -> dt.datetime | None:
    """When the first of them is to be ruled upon again."""
    moments = [call.due_at for call in calls if call.status == states.DEFERRED and call.due_at]
    return min(moments, default=None)


def rule_due(lease: Lease, dispatch: Dispatch, calls: Sequence[ToolCall]) -> None:
    """Rule again on calls whose moment has come, by today's policy; those alike that a person is asked about are one
    question, as they would have been. Raises LostLease."""
    with events.recording() as log:
        leases.hold_known(lease, dispatch, hand_seconds=None)
        offers = offer(dispatch, dispatch.epoch)
        ids = [call.pk for call in calls]
        facts = rulings.gather(dispatch, offers, [call.tool for call in calls], without=ids)
        fresh = ToolCall.objects.select_for_update(of=("self",)).filter(pk__in=ids, status=states.DEFERRED)
        asking = []
        for call in fresh.select_related("request", "dispatch").order_by("step", "position"):
            if asked := _rule(log, dispatch, call, offers, facts):
                asking.append(asked)
            facts = facts if call.status == states.REFUSED else facts.after(call.tool)
        proposing.ask(log, dispatch, asking)


def _rule(log: Record, dispatch: Dispatch, call: ToolCall, offers: Offers, facts: rulings.Facts) -> Ruled | None:
    """A call that a person is to be asked about."""
    offered = offers.at_version(call.tool, call.tool_version_id)
    ruling = standing.relaxed(rulings.rule_again(call, offered, facts), offered, dispatch, call)
    asks = isinstance(ruling, NeedsApproval) and call.request is None
    if isinstance(ruling, Refuse):
        doubt.refuse(log, dispatch, call, ErrorKind(ruling.kind), rulings.sentence(ruling), ruling)
        return None
    if (asks or isinstance(ruling, Defer)) and doubt.leave(log, dispatch, call, ruling=ruling):
        return None
    move = partial(lifecycle.move_call, log, dispatch.run_id, call)
    move(states.RULED, due_at=None, **rulings.made_again(call, ruling))
    if isinstance(ruling, Defer):
        move(states.DEFERRED, due_at=ruling.until)
    elif asks:
        return Ruled(call, offered, ruling)
    else:
        move(states.READY)
    return None
