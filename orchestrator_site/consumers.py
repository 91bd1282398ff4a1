"""Websockets over everything: the approval queue, and the platform's own state."""

import datetime as dt
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from django.contrib.auth.models import User
from django.db.models import BooleanField, ExpressionWrapper, Q
from django.db.models.functions import Now

from agents.models import RosterEpoch, WorkerRoster
from approvals.models import ApprovalRequest
from orchestrator_site.core.events import PLATFORM
from runs.consumers import LiveConsumer
from runs.live import following, hub, messages, rows
from runs.live.following import follow
from runs.live.hub import Missed, Probe
from runs.live.messages import Message

# A process that has not said for this long what it serves is shown as silent; it says so every five seconds.
SILENT_AFTER_SECONDS = 15.0


# -- approvals ---------------------------------------------------------------------------------------------------
def open_requests() -> frozenset[Any]:
    """What makes the queue look as it does: which requests are open, to whom and until when."""
    return frozenset(ApprovalRequest.objects.open().values_list("pk", "addressed_to", "deadline_at"))


QUEUE = Probe(open_requests, lambda answer: messages.passing("approvals_changed", {}), with_events=True)


class ApprovalsConsumer(LiveConsumer):
    """`/ws/approvals/`: how many requests wait, at first and whenever this user's queue changes.

    `open` are those the user may see, `mine` those the user may decide; `request` is the id of the one that came or
    went, null when there were several or it only changed.
    """

    def may_watch(self, user: User) -> bool:
        return True  # everyone has a queue, if perhaps an empty one

    async def messages(self, user: User) -> AsyncGenerator[Message, None]:
        here = hub.here()
        async with here.inbox(probes=[QUEUE]) as inbox:
            yield messages.live(degraded=here.is_degraded)
            seen, mine = await rows.off_loop(_queue_of, user.pk)
            yield _queue_message(None, seen, mine)
            while True:
                message = await _next(inbox)
                if message is not None and message.type != "approvals_changed":
                    yield message
                    continue
                before, (seen, mine) = (seen, mine), await rows.off_loop(_queue_of, user.pk)
                if (seen, mine) != before:
                    yield _queue_message(before[0], seen, mine)


async def _next(inbox: hub.Inbox) -> Message | None:
    try:
        return await inbox.take(following.BEAT_SECONDS)
    except Missed:
        return None


def _queue_of(user_id: int) -> tuple[frozenset[Any], int]:
    user = User.objects.get(pk=user_id)  # anew: what a user may do is remembered with the object
    requests = ApprovalRequest.objects
    seen = requests.visible_to(user).open().values_list("pk", "addressed_to", "deadline_at")
    return frozenset(seen), requests.decidable_by(user).count()


def _queue_message(before: frozenset[Any] | None, seen: frozenset[Any], mine: int) -> Message:
    changed = {row[0] for row in before ^ seen} if before is not None else set()
    request = str(changed.pop()) if len(changed) == 1 else None
    return messages.passing("approvals_changed", {"request": request, "open": len(seen), "mine": mine})


# -- operations --------------------------------------------------------------------------------------------------
def platform_state() -> dict[str, Any]:
    """The roster's epoch, and what each process serves of it by its own word."""
    alive = Q(seen_at__gte=Now() - dt.timedelta(seconds=SILENT_AFTER_SECONDS))
    processes = WorkerRoster.objects.annotate(alive=ExpressionWrapper(alive, BooleanField()))
    return {
        "epoch": RosterEpoch.objects.values_list("epoch", flat=True).first() or 0,
        "workers": [*processes.values("worker", "host", "pid", "epoch", "error", "alive")],
    }


STATE = Probe(platform_state, lambda state: messages.passing("ops_changed", state), with_events=True)


class OpsConsumer(LiveConsumer):
    """`/ws/ops/?after=SEQ`: the platform chain's events after SEQ (from now on without it), and its processes."""

    def may_watch(self, user: User) -> bool:
        return user.has_perm("agents.view_workerroster")

    async def messages(self, user: User) -> AsyncGenerator[Message, None]:
        async with aclosing(follow(PLATFORM, self.after(), STATE)) as told:
            async for message in told:
                yield message
                if message.type == messages.LIVE:
                    yield STATE.tell(await rows.off_loop(platform_state))
