"""Websockets over everything: the approval queue, and the platform's own state."""

import datetime as dt
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.contrib.postgres.aggregates import BitXor
from django.db.models import BigIntegerField, BooleanField, Count, ExpressionWrapper, Func, Q
from django.db.models.functions import Cast, Extract, Now

from agents.models import RosterEpoch, WorkerRoster
from approvals.models import ApprovalRequest, ApprovalRequestQuerySet
from orchestrator_site.core.events import PLATFORM
from runs.consumers import LiveConsumer
from runs.live import following, hub, messages, rows
from runs.live.following import follow
from runs.live.hub import Missed, Probe
from runs.live.messages import Message

# A process that has not said for this long what it serves is shown as silent; it says so every five seconds.
SILENT_AFTER_SECONDS = 15.0


# -- approvals ---------------------------------------------------------------------------------------------------
def open_requests() -> tuple[int, int]:
    """What makes the queue look as it does: how many requests are open, and a fingerprint of which and until when."""
    return _fingerprint(ApprovalRequest.objects.open().leading())


def _fingerprint(requests: ApprovalRequestQuerySet) -> tuple[int, int]:
    """Made by the database: ten thousand requests may wait, and who watches hears of every change."""
    until = Cast(Extract("deadline_at", "epoch"), BigIntegerField())
    told = requests.order_by().aggregate(
        count=Count("pk"),
        which=BitXor(Func("pk", until, function="uuid_hash_extended", output_field=BigIntegerField())),
    )
    return told["count"], told["which"] or 0


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
            queue = await rows.off_loop(_queue_of, user.pk)
            yield queue.message(queue)
            while True:
                message = await _next(inbox)
                if message is not None and message.type != "approvals_changed":
                    yield message
                    continue
                before, queue = queue, await rows.off_loop(_queue_of, user.pk)
                if queue.looks != before.looks:
                    yield queue.message(before)


async def _next(inbox: hub.Inbox) -> Message | None:
    try:
        return await inbox.take(following.BEAT_SECONDS)
    except Missed:
        return None


@dataclass(frozen=True)
class Queue:
    """One person's queue. `came` and `went` are the two requests opened last and the two closed last."""

    open: int
    which: int
    mine: int
    came: frozenset[UUID]
    went: frozenset[UUID]

    @property
    def looks(self) -> tuple[int, int, int]:
        return self.open, self.which, self.mine

    def message(self, before: "Queue") -> Message:
        changed = (self.came - before.came) | (self.went - before.went)
        request = str(next(iter(changed))) if len(changed) == 1 else None
        return messages.passing("approvals_changed", {"request": request, "open": self.open, "mine": self.mine})


def _queue_of(user_id: int) -> Queue:
    user = User.objects.get(pk=user_id)  # anew: what a user may do is remembered with the object
    seen = ApprovalRequest.objects.visible_to(user)
    return Queue(
        *_fingerprint(seen.open().leading()),
        mine=ApprovalRequest.objects.decidable_by(user).leading().count(),
        came=frozenset(seen.order_by("-pk").values_list("pk", flat=True)[:2]),
        went=frozenset(seen.closed().order_by("-decided_at").values_list("pk", flat=True)[:2]),
    )


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
