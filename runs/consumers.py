"""Websockets: what is sent is the hub's; what clients say is not listened to."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any
from urllib.parse import parse_qs

from channels.generic.websocket import AsyncWebsocketConsumer
from django.contrib.auth.models import User
from django.db import Error as DatabaseError

from orchestrator_site.core.events import run_chain
from runs.live import guards, messages
from runs.live.following import follow
from runs.live.guards import Guard, Refused, SignedOut
from runs.live.hub import Closing
from runs.live.messages import Message

logger = logging.getLogger(__name__)

# Close codes: ours follow HTTP's; a page comes again by itself after the last two.
BAD_REQUEST, SIGNED_OUT, NOT_FOUND = 4400, 4401, 4404
BROKEN, RESTARTING = 1011, 1012


class BadAfter(ValueError):
    """`after` has to be the seq of the last event you have, a whole number from 0 on."""


def seq_of(text: str) -> int:
    """Raises BadAfter."""
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise BadAfter(BadAfter.__doc__)
    return int(text)


class LiveConsumer(AsyncWebsocketConsumer):
    """A socket that tells a session's user what happens, as long as that user may know.

    Refusals come after the handshake: a browser tells a page the code of a close, but not why a handshake failed.
    """

    _telling: asyncio.Task[None] | None = None

    def may_watch(self, user: User) -> bool:
        """Asked in a thread, at the beginning and again every few seconds."""
        raise NotImplementedError

    def messages(self, user: User) -> AsyncGenerator[Message, None]:
        raise NotImplementedError

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._hush()

    async def connect(self) -> None:
        await self.accept()
        self._telling = asyncio.create_task(self._tell())

    async def disconnect(self, code: int) -> None:
        await self._hush()

    async def _hush(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.wait([self._telling])

    async def _tell(self) -> None:
        try:
            code, why = await self._tell_until_refused()
            await self.close(code, why)
        except OSError:
            pass  # the client has gone; `disconnect` follows
        except Exception:
            logger.exception("the socket %s broke", self.scope["path"])
            with suppress(OSError, RuntimeError):
                await self.close(BROKEN)

    async def _tell_until_refused(self) -> tuple[int, str]:
        try:
            await self._tell_all()
        except BadAfter as error:
            return BAD_REQUEST, str(error)
        except SignedOut as error:
            return SIGNED_OUT, str(error)
        except Refused as error:
            return NOT_FOUND, str(error)
        except DatabaseError as error:
            logger.warning("the socket %s ends, rows cannot be read: %s", self.scope["path"], error)
            return BROKEN, "Try again."
        except Closing:
            pass
        return RESTARTING, "Come again."

    async def _tell_all(self) -> None:
        guard = Guard(guards.of_session(self.scope["session"].session_key), self.may_watch)
        user = await guard.check()
        async with aclosing(self.messages(user)) as told:
            async for message in told:
                await guard.check_now_and_then()
                if message is not messages.QUIET:
                    await self.send(text_data=message.text)

    def after(self) -> int | None:
        """The `after` of the address. Raises BadAfter."""
        given = parse_qs(self.scope["query_string"].decode("latin-1")).get("after")
        return seq_of(given[-1]) if given else None


class RunConsumer(LiveConsumer):
    """`/ws/runs/{id}/?after=SEQ`: a run's events after SEQ, all of them without it, and its agents' words."""

    def may_watch(self, user: User) -> bool:
        return guards.may_see_run(self.scope["url_route"]["kwargs"]["run_id"], user)

    def messages(self, user: User) -> AsyncGenerator[Message, None]:
        return follow(run_chain(self.scope["url_route"]["kwargs"]["run_id"]), self.after() or 0)


class NowhereConsumer(AsyncWebsocketConsumer):
    """What no address leads to."""

    async def connect(self) -> None:
        await self.accept()
        await self.close(NOT_FOUND, "Not found.")
