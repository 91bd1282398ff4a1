"""People's turns while runs are at work, or after they have ended: pause and resume, comment on a node, follow up."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from random import Random
from typing import Any, Protocol

from tests.chaos.rest import Rest

# Of the runs at work, how many are paused, or have one of their nodes commented on, at each look; of those that have
# ended, how many are commented on, or gone on with, when they are first seen so.
PAUSES, COMMENTS_AT_WORK = 0.02, 0.03
COMMENTS_AFTER, FOLLOW_UPS = 0.3, 0.15
PAUSED_SECONDS = 4.0
COMMENTS_OF_A_RUN = 3
LOOK_SECONDS = 1.0
AT_WORK = ("working", "waiting")
ENDED_WELL_OR_NOT = ("succeeded", "failed")
ENDED_NODE = ("succeeded", "failed", "skipped", "cancelled")


class Company(Protocol):
    """Whose turns these are."""

    by: dict[str, Rest]
    random: Random
    finishing_since: float | None

    def diary(self, who: str, what: str, **facts: Any) -> None: ...
    def once(self, about: str, work: Coroutine[Any, Any, Any]) -> None: ...
    async def start(self, conversation: str | None = None) -> None: ...


class Turns:
    def __init__(self, company: Company) -> None:
        self.company, self.dice = company, company.random
        self.seen_ended: set[tuple[str, str]] = set()
        self.comments: Counter[str] = Counter()

    async def take(self) -> None:
        """Until it is time to finish; what was begun is brought to its end by the company."""
        while self.company.finishing_since is None:
            for run in await self._runs(*AT_WORK):
                if self.dice.random() < PAUSES:
                    self.company.once(f"pause {run['id']}", self._pause(run["id"]))
                elif self.dice.random() < COMMENTS_AT_WORK:
                    self._comment_soon(run["id"])
            await self._look_at_ended()
            await asyncio.sleep(LOOK_SECONDS)

    async def _runs(self, *statuses: str) -> list[dict[str, Any]]:
        pages = [await self.company.by["app"].get("runs/", status=status, limit=100) for status in statuses]
        return [run for page in pages if page for run in page["results"]]

    async def _look_at_ended(self) -> None:
        for run in await self._runs(*ENDED_WELL_OR_NOT):
            seen = (run["id"], run["finished_at"])
            if seen in self.seen_ended:
                continue
            self.seen_ended.add(seen)
            drawn = self.dice.random()
            if drawn < COMMENTS_AFTER:
                self._comment_soon(run["id"])
            elif drawn < COMMENTS_AFTER + FOLLOW_UPS:
                self.company.once(f"follow {run['id']}", self.company.start(run["conversation"]))

    # -- pause and resume -------------------------------------------------------------------------------------
    async def _pause(self, run: str) -> None:
        """Whoever was told that it is paused resumes it."""
        if await self._told("pause", run, "pauses", "paused") == 200:
            await asyncio.sleep(self.dice.uniform(0.3, PAUSED_SECONDS))
            await self._told("resume", run, "resumes", "resumed")

    async def _told(self, verb: str, run: str, before: str, after: str) -> int:
        self.company.diary("olivia", before, run=run)
        status, _ = await self.company.by["olivia"].post(f"runs/{run}/{verb}/", {})
        self.company.diary("olivia", after, run=run, status=status)
        return status

    # -- comments ---------------------------------------------------------------------------------------------
    def _comment_soon(self, run: str) -> None:
        if self.comments[run] < COMMENTS_OF_A_RUN:
            self.comments[run] += 1
            self.company.once(f"comment {run}", self._comment(run))

    async def _comment(self, run: str) -> None:
        shown = await self.company.by["olivia"].get(f"runs/{run}/")
        nodes = [node["id"] for node in shown["nodes"] if _may_be_commented_on(node)] if shown else []
        if not nodes:
            return
        about = {"run": run, "node": self.dice.choice(nodes)}
        self.company.diary("olivia", "comments", **about)
        body = {"node": about["node"], "comment": "Look at it once more."}
        status, _ = await self.company.by["olivia"].post(f"runs/{run}/comment/", body)
        self.company.diary("olivia", "commented", **about, status=status)


def _may_be_commented_on(node: dict[str, Any]) -> bool:
    is_whole = node["within"] is None and node["kind"] == "plan"
    return node["status"] in ENDED_NODE and not node["superseded"] and not node["role"] and not is_whole
