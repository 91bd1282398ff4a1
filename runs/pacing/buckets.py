"""A token bucket with a future: what is taken now, and the places of those who wait. Pure: no query, no clock."""

import datetime as dt
from dataclasses import dataclass

LONG_AGO = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)


@dataclass
class Bucket:
    """A call uses the rate up for an `interval`; `at_once` of them may be ahead of the clock.

    `spent_to` moves only when a call is let through: whatever becomes of those who wait, no more of them pass than the
    rate allows. Places are `interval`s apart, so who comes at his place finds it free, where all before him were in
    time. Who comes late for his may find that others were let through instead, and is given the next of a second row,
    not the last of the first.
    """

    interval: dt.timedelta
    at_once: int
    spent_to: dt.datetime = LONG_AGO
    promised_to: dt.datetime = LONG_AGO
    made_up_to: dt.datetime = LONG_AGO

    @property
    def free_at(self) -> dt.datetime:
        return self.spent_to - (self.at_once - 1) * self.interval

    def keep_to(self, now: dt.datetime) -> None:
        """No clock that goes on brings it further than so many intervals ahead: then it was ahead once, and what it
        took and promised by that is cut to a full bucket's."""
        latest = now + self.at_once * self.interval
        if self.spent_to > latest:
            self.spent_to = latest
            self.promised_to, self.made_up_to = min(self.promised_to, latest), min(self.made_up_to, latest)

    def left(self, now: dt.datetime) -> int:
        """How many in a row would be let through at this moment, to who has a place."""
        ahead = max(self.spent_to - now, dt.timedelta(0))
        return max(self.at_once + -ahead // self.interval, 0)

    def may_take(self, now: dt.datetime, *, has_place: bool) -> bool:
        """Who has no place does not pass those who have one."""
        return now >= self.free_at and (has_place or now >= self.promised_to)

    def take(self, now: dt.datetime) -> None:
        self.spent_to = max(self.spent_to, now) + self.interval

    def place(self, now: dt.datetime, *, was_late: bool) -> dt.datetime:
        """When to come again."""
        if was_late:
            self.made_up_to = max(self.made_up_to + self.interval, self.free_at, now)
            return self.made_up_to
        self.promised_to = max(self.promised_to + self.interval, self.free_at, now)
        return self.promised_to
