"""Who strikes when: draws from the kinds of faults by its dice, takes each back in time, and writes all of it down."""

import json
import time
from collections.abc import Callable, Collection
from pathlib import Path
from random import Random

import psycopg
import redis

from tests.chaos.fault_kinds import KINDS, Blow
from tests.chaos.stage import Stage

DRAWS = 4


class Nemesis:
    """`look` is called many times a second by whoever watches the platform, and answers whether it has had enough."""

    def __init__(
        self, stage: Stage, seed: str, *, seconds: float, pause_seconds: float, log: Path, only: Collection[str] = ()
    ) -> None:
        self.stage, self.dice, self.pause_seconds = stage, Random(seed), pause_seconds
        self.log = log.open("a")
        kinds = {name: kind for name, kind in KINDS.items() if not only or name in only}
        self.names, self.weights = [*kinds], [weight for weight, _ in kinds.values()]
        self.ends_at = time.monotonic() + seconds
        self.next_at = time.monotonic() + 1
        self.taken_back: list[tuple[float, str, Callable[[], object]]] = []

    def look(self) -> bool:
        now = time.monotonic()
        self._take_back(now)
        if now >= self.ends_at:
            return True
        if now >= self.next_at:
            self._strike()
            self.next_at = now + self.dice.expovariate(1 / self.pause_seconds)
        return False

    def rest(self) -> None:
        """Take back whatever is still in force."""
        self._take_back(float("inf"))

    def _strike(self) -> None:
        """One blow, unless a few kinds in a row find nobody to strike at this moment."""
        for _ in range(DRAWS):
            [name] = self.dice.choices(self.names, self.weights)
            try:
                blow = KINDS[name][1](self.stage, self.dice)
            except (psycopg.OperationalError, redis.ConnectionError, redis.TimeoutError, OSError) as error:
                self._write(name, missed=str(error))  # what it wanted to strike is down already
                return
            if blow is not None:
                self._note(name, blow)
                return

    def _note(self, name: str, blow: Blow) -> None:
        if blow.take_back is not None:
            self.taken_back.append((time.monotonic() + blow.seconds, name, blow.take_back))
        self._write(
            name,
            target=blow.target,
            pid=blow.pid,
            killed=blow.killed,
            reported=blow.reported,
            seconds=round(blow.seconds, 2),
            **blow.told,
        )

    def _take_back(self, now: float) -> None:
        due = [each for each in self.taken_back if each[0] <= now]
        self.taken_back = [each for each in self.taken_back if each[0] > now]
        for _, _, take_back in due:
            take_back()

    def _write(self, name: str, **facts: object) -> None:
        self.log.write(json.dumps({"at": time.time(), "fault": name, **facts}) + "\n")
        self.log.flush()
