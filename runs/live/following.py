"""Following a chain: every event after a seq exactly once and in order, then what happens from now on."""

from collections.abc import AsyncGenerator

from runs.live import hub, messages, rows
from runs.live.hub import Inbox, Missed, Probe
from runs.live.messages import Message

# A client that has nothing to be told hears QUIET this often.
BEAT_SECONDS = 15.0
PAGE = 500


async def follow(chain: str, after: int | None, *probes: Probe) -> AsyncGenerator[Message, None]:
    """`after` None begins with what comes next. A `live` message says that the past was told, and comes again when the
    hub's state changes. Raises hub.Closing, and DatabaseError while the rows cannot be read.

    Close it with `aclosing`: it stays subscribed until then.
    """
    here = hub.here()
    async with here.inbox(chains=[chain], probes=probes) as inbox:  # subscribed first, so that nothing falls between
        last = await rows.off_loop(rows.head, chain) if after is None else after
        while True:
            page = await rows.off_loop(rows.after, chain, last, PAGE)
            for message in page:
                yield message
                last = message.seq or last
            if len(page) == PAGE:
                continue
            yield messages.live(degraded=here.is_degraded)
            while news := await _next(inbox, last):
                yield news
                last = news.seq or last


async def _next(inbox: Inbox, last: int) -> Message | None:
    """None: something is missing, and the rows have it."""
    while True:
        try:
            message = await inbox.take(BEAT_SECONDS)
        except Missed:
            return None
        if message.seq is None or message.seq == last + 1:
            return message
        if message.seq > last:
            return None
