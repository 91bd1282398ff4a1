"""The model call of a turn, with no transaction open."""

import time
from collections.abc import Callable

from django.db import connection

from agents.values import ModelFailure, ModelReply
from orchestrator_site.core import crashpoints, doorbell
from runs.engine.reserving import Asked
from runs.live import watching
from runs.models import Dispatch

LIVE_TEXT_SECONDS = 0.1


def ask(asked: Asked, dispatch: Dispatch) -> ModelReply | ModelFailure:
    from agents import llm

    assert not connection.in_atomic_block
    connection.close()
    live = _live_text(dispatch, asked.step.number) if watching.is_watched(dispatch.run_id) else None
    reply = llm.complete(asked.request, on_text=live)
    crashpoints.reach("after_reply")
    return reply


def _live_text(dispatch: Dispatch, step: int) -> Callable[[str], None]:
    """Text goes to whoever watches, a few times a second; nobody relies on it."""
    pending: list[str] = []
    last = time.monotonic()

    def say(delta: str) -> None:
        nonlocal last
        pending.append(delta)
        if time.monotonic() - last >= LIVE_TEXT_SECONDS:
            doorbell.ring(
                doorbell.LIVE_TEXT,
                run=str(dispatch.run_id),
                dispatch=str(dispatch.pk),
                step=step,
                text="".join(pending),
            )
            pending.clear()
            last = time.monotonic()

    return say
