import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.db import OperationalError

from orchestrator_site.asgi import application
from orchestrator_site.core.events import run_chain
from runs.live import doorbells, hub, messages, rows
from runs.live.following import follow
from runs.live.hub import INBOX_ROOM, Closing, Inbox, Missed
from runs.live.messages import Message
from runs.models import Run
from tests.live.conftest import record, signed_in
from tests.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.django_db(transaction=True)


def numbered(seq: int) -> Message:
    return Message(seq, "noted", "{}")


@asynccontextmanager
async def living_hub() -> AsyncIterator[hub.Hub]:
    here = hub.here()
    try:
        yield here
    finally:
        await here.stop()


def test_an_inbox_that_runs_over_says_so_and_starts_anew() -> None:
    async def story() -> None:
        inbox = Inbox()
        for seq in range(INBOX_ROOM + 5):
            inbox.put(numbered(seq))
        with pytest.raises(Missed):
            await inbox.take(1)
        inbox.put(numbered(999))
        assert (await inbox.take(1)).seq == 999
        assert await inbox.take(0) is messages.QUIET
        inbox.close()
        with pytest.raises(Closing):
            await inbox.take(1)

    asyncio.run(story())


def test_a_follower_fills_gaps_and_drops_repetitions(run: Run) -> None:
    record(run, 1, 2, 3, 4)

    async def story() -> list[int]:
        seen = []
        async with living_hub() as here, aclosing(follow(run_chain(run.pk), 2)) as told:
            async for message in told:
                if message.seq:
                    seen.append(message.seq)
                elif message.type == messages.LIVE and len(seen) == 2:
                    await rows.off_loop(record, run, 5, 6, 7)
                    (inbox,) = here._inboxes
                    for seq in (4, 7, 3):  # as no feed of ours would send them
                        inbox.put(numbered(seq))
                if seen[-1:] == [7]:
                    return seen
        return seen

    assert asyncio.run(story()) == [3, 4, 5, 6, 7]


def test_a_silent_redis_is_taken_for_lost_until_another_answers(
    run: Run, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorbells, "ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(hub, "DEGRADED_POLL_SECONDS", 0.1)
    answering = settings.REDIS_URL

    async def story() -> list[tuple[str, bool]]:
        seen = []
        async with living_hub(), aclosing(follow(run_chain(run.pk), 0)) as told:
            async for message in told:
                seen.append((message.type, '"degraded":true' in message.text))
                match seen:
                    case [_]:
                        await rows.off_loop(record, run, 1)
                    case [_, _]:
                        settings.REDIS_URL = answering
                    case _:
                        return seen
        return seen

    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        settings.REDIS_URL = f"redis://127.0.0.1:{mute.getsockname()[1]}/0"
        assert asyncio.run(story()) == [("live", True), ("noted", False), ("live", False)]


def test_rows_that_cannot_be_read_degrade_until_they_can(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    read = rows.news

    def fail(*args: object) -> list[tuple[str, Message]]:
        monkeypatch.setattr(rows, "news", read)
        raise OperationalError("the server went away")

    async def story() -> list[str]:
        seen = []
        async with living_hub(), aclosing(follow(run_chain(run.pk), 0)) as told:
            async for message in told:
                seen.append("degraded" if '"degraded":true' in message.text else message.type)
                if len(seen) == 1:
                    monkeypatch.setattr(rows, "news", fail)
                    await rows.off_loop(record, run, 1)
                if len(seen) == 4:
                    return seen
        return seen

    assert asyncio.run(story()) == ["live", "degraded", "noted", "live"]


def test_a_client_that_goes_leaves_nothing_behind(run: Run) -> None:
    headers = [(b"cookie", f"sessionid={signed_in(run.owner)}".encode()), (b"origin", b"http://localhost")]
    scope = {"type": "websocket", "path": f"/ws/runs/{run.pk}/", "query_string": b"", "headers": headers}

    async def story() -> None:
        async with living_hub() as here:
            before = asyncio.all_tasks()
            clients = [ApplicationCommunicator(application, dict(scope)) for _ in range(5)]
            for client in clients:
                await client.send_input({"type": "websocket.connect"})
                assert (await client.receive_output(10))["type"] == "websocket.accept"
                assert '"live"' in (await client.receive_output(10))["text"]
            assert len(here._feeds[run_chain(run.pk)].inboxes) == 5

            for client in clients:
                await client.send_input({"type": "websocket.disconnect", "code": 1001})
                await client.wait(PATIENCE_SECONDS)

            assert not here._feeds
            assert not here._inboxes
            assert asyncio.all_tasks() - before == set(here._tasks)

    asyncio.run(story())
