"""One hub per web process: it hears the doorbells, reads the rows once for all who watch, and fans out."""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import Error as DatabaseError

from orchestrator_site.core import doorbell
from runs.live import doorbells, messages, rows, watching
from runs.live.messages import Message

logger = logging.getLogger(__name__)

INBOX_ROOM = 200
READ_LIMIT = 500
# Reads follow one another no faster than this: beyond it, events travel in company.
TICK_SECONDS = 0.03
# Probes are asked no more often than this, however much rings.
PROBE_SECONDS = 0.25
# How often the rows are asked although nothing rang, and how often while no doorbell can be heard.
POLL_SECONDS = 5.0
DEGRADED_POLL_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 2.0

REDIS, ROWS, PROBES = "Redis", "the rows", "what is probed"


class Missed(Exception):
    """More came than the inbox could hold; what was in it is gone, and the rows tell the rest."""


class Closing(Exception):
    """This process is about to stop; the client finds another one."""


class Inbox:
    """What one client has not been sent yet."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Message] = asyncio.Queue(INBOX_ROOM)
        self._missed = self._closing = False

    def put(self, message: Message) -> None:
        if self._queue.full():
            self._empty()
            self._missed = True
        self._queue.put_nowait(message)

    def close(self) -> None:
        self._closing = True
        self._empty()
        self._queue.put_nowait(messages.QUIET)

    async def take(self, seconds: float) -> Message:
        """The next message, or QUIET after so many seconds. Raises Missed, Closing."""
        self._check()
        try:
            async with asyncio.timeout(seconds):
                message = await self._queue.get()
        except TimeoutError:
            return messages.QUIET
        self._check()
        return message

    def _check(self) -> None:
        if self._closing:
            raise Closing
        if self._missed:
            self._empty()
            self._missed = False
            raise Missed

    def _empty(self) -> None:
        while not self._queue.empty():
            self._queue.get_nowait()


@dataclass(eq=False)
class Probe:
    """Something beside the chains that clients watch: asked at every poll, told when the answer changes.

    tell: the message for a new answer. with_events: asked also when an event was recorded anywhere.
    """

    ask: Callable[[], Any]
    tell: Callable[[Any], Message]
    with_events: bool = False


@dataclass(eq=False)
class Feed:
    """A chain that is watched; `seq` is the last that was fanned out."""

    seq: int
    inboxes: set[Inbox] = field(default_factory=set)


@dataclass(eq=False)
class Watch:
    """A probe that is watched, and its last answer."""

    answer: Any
    inboxes: set[Inbox] = field(default_factory=set)


class Hub:
    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._feeds: dict[str, Feed] = {}
        self._watches: dict[Probe, Watch] = {}
        self._inboxes: set[Inbox] = set()
        self._behind: set[str] = set()
        self._wake = asyncio.Event()
        self._rung = asyncio.Event()
        self._tried = asyncio.Event()
        self._trouble: set[str] = {REDIS}
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = False

    @property
    def is_degraded(self) -> bool:
        return bool(self._trouble)

    @asynccontextmanager
    async def inbox(self, *, chains: Iterable[str] = (), probes: Iterable[Probe] = ()) -> AsyncIterator[Inbox]:
        """An inbox that gets all news of these from now on, and word when the hub's own state changes."""
        inbox = Inbox()
        await self._ready()
        async with AsyncExitStack() as leaving:
            self._inboxes.add(inbox)
            leaving.callback(self._inboxes.discard, inbox)
            for chain in chains:
                await self._join_feed(chain, inbox)
                leaving.callback(self._leave, self._feeds, chain, inbox)
            for probe in probes:
                await self._join_watch(probe, inbox)
                leaving.callback(self._leave, self._watches, probe, inbox)
            if self._closing:
                inbox.close()
            yield inbox

    def close(self) -> None:
        """Send every client away, before the server stops waiting for them."""
        self._closing = True
        for inbox in self._inboxes:
            inbox.close()

    async def stop(self) -> None:
        self.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    # -- who watches what ----------------------------------------------------------------------------------------
    async def _ready(self) -> None:
        """Listening, or known to be unable to."""
        if not self._tasks and not self._closing:
            self._tasks = [asyncio.create_task(work()) for work in (self._listen, self._read, self._probe)]
        if not self._closing:
            await self._tried.wait()

    async def _join_feed(self, chain: str, inbox: Inbox) -> None:
        if chain not in self._feeds:
            head = await rows.off_loop(rows.head, chain)
            self._feeds.setdefault(chain, Feed(head))
            await rows.off_loop(watching.say, [chain])
        self._feeds[chain].inboxes.add(inbox)

    async def _join_watch(self, probe: Probe, inbox: Inbox) -> None:
        if probe not in self._watches:
            answer = await rows.off_loop(probe.ask)
            self._watches.setdefault(probe, Watch(answer))
        self._watches[probe].inboxes.add(inbox)

    @staticmethod
    def _leave(watched: dict[Any, Any], what: Any, inbox: Inbox) -> None:
        watched[what].inboxes.discard(inbox)
        if not watched[what].inboxes:
            del watched[what]

    # -- doorbells -----------------------------------------------------------------------------------------------
    async def _listen(self) -> None:
        pause = 0.05
        while True:
            try:
                async with doorbells.heard() as rings:
                    self._mended(REDIS)
                    self._tried.set()
                    self._ask_all()  # whatever rang before nobody heard
                    async for name, body in rings:
                        pause = 0.05
                        self._hear(name, body)
            except doorbells.GONE as error:
                self._broken(REDIS, error)
                self._tried.set()
            await asyncio.sleep(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _hear(self, name: str, body: dict[str, Any]) -> None:
        if name == doorbell.LIVE_TEXT:
            self._pass_on_text(body)
            return
        chain, seq = str(body.get("chain")), body.get("seq")
        feed = self._feeds.get(chain)
        if feed and not (isinstance(seq, int) and seq <= feed.seq):
            self._behind.add(chain)
            self._wake.set()
        if any(probe.with_events for probe in self._watches):
            self._rung.set()

    def _pass_on_text(self, body: dict[str, Any]) -> None:
        feed = self._feeds.get(f"run:{body.get('run')}")
        if feed:
            words = {key: body.get(key) for key in ("dispatch", "step", "text")}
            _fan_out(feed.inboxes, messages.passing(messages.TEXT, words))

    # -- rows ----------------------------------------------------------------------------------------------------
    async def _read(self) -> None:
        polled_at = time.monotonic()
        while True:
            if await self._nothing_rings_until(polled_at + self._poll_seconds()):
                polled_at = time.monotonic()
                self._ask_all()
                await rows.off_loop(watching.say, list(self._feeds))
            try:
                await self._read_feeds()
                self._mended(ROWS)
            except DatabaseError as error:
                self._broken(ROWS, error)
                self._ask_all()
                await asyncio.sleep(LONGEST_PAUSE_SECONDS / 2)
            await asyncio.sleep(TICK_SECONDS)

    async def _nothing_rings_until(self, deadline: float) -> bool:
        try:
            async with asyncio.timeout(max(deadline - time.monotonic(), 0)):
                await self._wake.wait()
        except TimeoutError:
            return True
        return time.monotonic() >= deadline

    def _poll_seconds(self) -> float:
        return DEGRADED_POLL_SECONDS if self.is_degraded else POLL_SECONDS

    def _ask_all(self) -> None:
        self._behind.update(self._feeds)
        self._wake.set()
        self._rung.set()

    async def _read_feeds(self) -> None:
        self._wake.clear()
        seqs = {chain: self._feeds[chain].seq for chain in self._behind & self._feeds.keys()}
        self._behind.clear()
        if not seqs:
            return
        news = await rows.off_loop(rows.news, seqs, READ_LIMIT)
        for chain, message in news:
            if feed := self._feeds.get(chain):
                feed.seq = max(feed.seq, message.seq or 0)
                _fan_out(feed.inboxes, message)
        if len(news) == READ_LIMIT:
            self._behind.update(seqs)
            self._wake.set()

    async def _probe(self) -> None:
        while True:
            await self._rung.wait()
            self._rung.clear()
            try:
                for probe, watch in list(self._watches.items()):
                    await self._ask(probe, watch)
                self._mended(PROBES)
            except Exception as error:  # a probe is somebody else's code; the next poll asks again
                self._broken(PROBES, error)
            await asyncio.sleep(PROBE_SECONDS)

    @staticmethod
    async def _ask(probe: Probe, watch: Watch) -> None:
        answer = await rows.off_loop(probe.ask)
        if answer != watch.answer:
            watch.answer = answer
            _fan_out(watch.inboxes, probe.tell(answer))

    # -- its own state -------------------------------------------------------------------------------------------
    def _broken(self, part: str, error: BaseException) -> None:
        if part not in self._trouble:
            logger.warning("live updates are degraded, %s cannot be reached: %s", part, error)
        self._set_trouble(self._trouble | {part})

    def _mended(self, part: str) -> None:
        self._set_trouble(self._trouble - {part})

    def _set_trouble(self, trouble: set[str]) -> None:
        was, self._trouble = self.is_degraded, trouble
        if was != self.is_degraded:
            _fan_out(self._inboxes, messages.live(degraded=self.is_degraded))


def _fan_out(inboxes: Iterable[Inbox], message: Message) -> None:
    for inbox in inboxes:
        inbox.put(message)


_hub: Hub | None = None


def here() -> Hub:
    """The hub of this process, which lives in its event loop."""
    global _hub
    if _hub is None or _hub.loop is not asyncio.get_running_loop():
        _hub = Hub()
    return _hub
