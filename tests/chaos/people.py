"""The people and the app, over the real REST API: they start runs, decide, answer, cancel, pause, comment, follow up,
and look after doubts.

A process of its own that nobody kills. What they meant to do, saw and were told is written down as JSON lines, the
second witness beside the outside ledger. SIGUSR1: start nothing more, bring everything to its end, then exit 0.
"""

import argparse
import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from random import Random
from typing import Any

from tests.chaos import run_kinds, verdicts
from tests.chaos.callables import ask_ledger
from tests.chaos.rest import Rest
from tests.chaos.run_kinds import Errand
from tests.chaos.turns import Turns

OPEN = ("accepted", "working", "waiting", "paused")
STARTS_AT_ONCE = 8
LOOK_SECONDS = 0.5
# How long a person takes, at most; how often both approvers go for the same request.
THINKING_SECONDS = 1.2
BOTH_DECIDE = 0.08
# Of the doubts, how many are looked into while the nemesis is at work; the others at the end.
RESOLVED_EARLY = 0.5
# How often the operator stops something, as a share of her looks, and for how long at most.
STOPS = 0.06
TOOLS_FOR_EACH_OTHER_STOP = 4
STOPPED_SECONDS = 3.0
# After the nemesis has stopped: what a living process has not sent by then, it will not send.
QUIET_SECONDS = 8.0


class Diary:
    """JSON lines {at, who, what, …}."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("a")

    def __call__(self, who: str, what: str, **facts: Any) -> None:
        self.file.write(json.dumps({"at": time.time(), "who": who, "what": what, **facts}) + "\n")
        self.file.flush()


class Company:
    def __init__(
        self, url: str, tokens: dict[str, str], seed: str, most_open: int, kinds: list[str], diary: Diary
    ) -> None:
        self.seen: Counter[str] = Counter()
        self.by = {name: Rest(url, token, self.seen) for name, token in tokens.items()}
        self.random = Random(seed)
        self.seed, self.most_open, self.kinds, self.diary = seed, most_open, kinds, diary
        self.finishing_since: float | None = None
        self.started = 0
        self.in_hand: set[str] = set()
        self.repeated: set[str] = set()
        self.errands: set[asyncio.Task[Any]] = set()

    def finish(self) -> None:
        self.finishing_since = time.monotonic()

    # -- the app ----------------------------------------------------------------------------------------------
    async def start_runs(self) -> None:
        while self.finishing_since is None:
            wanted = self.most_open - await self._at_work()
            starting = [self.start() for _ in range(min(wanted, STARTS_AT_ONCE))]
            await asyncio.gather(*starting)
            await asyncio.sleep(2 * LOOK_SECONDS)

    async def _at_work(self) -> int:
        """Open runs, without those that wait for somebody to look into a doubt."""
        found = [run for status in OPEN for run in await self.by["app"].all("runs/", status=status)]
        return sum(not (run["waiting_on"] or "").startswith("a person to say whether") for run in found)

    async def start(self, conversation: str | None = None) -> None:
        """Another run; in a conversation it goes on with what was said there."""
        self.started += 1
        errand = run_kinds.draw(self.random, f"r{self.started}", self.kinds)
        body: dict[str, Any] = {"input": errand.input, "metadata": {"mark": errand.mark, "kind": errand.kind}}
        if conversation:
            body["conversation"] = conversation
        if errand.agent:
            body["agent"] = errand.agent
        if errand.plan:
            body["plan"] = errand.plan
        self.diary("app", "starts", mark=errand.mark, kind=errand.kind, conversation=conversation)
        status, run = await self.by["app"].post("runs/", body, key=f"{self.seed}-{errand.mark}".replace(" ", "-"))
        self.diary("app", "started", mark=errand.mark, status=status, run=run.get("id"))
        if errand.cancel_after is not None and status == 201:
            self._in_background(self._cancel(errand, run["id"]))

    async def _cancel(self, errand: Errand, run: str) -> None:
        await asyncio.sleep(errand.cancel_after or 0)
        self.diary("app", "cancels", run=run)
        status, _ = await self.by["app"].post(f"runs/{run}/cancel/", {})
        self.diary("app", "cancelled", run=run, status=status)

    # -- the approvers ----------------------------------------------------------------------------------------
    async def decide_requests(self) -> None:
        while True:
            page = await self.by["amir"].get("approvals/", limit=200) or {"results": []}
            for request in page["results"]:
                self.once(request["id"], self._attend(request["id"]))
            await asyncio.sleep(LOOK_SECONDS)

    async def _attend(self, request_id: str) -> None:
        shown = await self.by["amir"].get(f"approvals/{request_id}/")
        if shown is None or shown["status"] != "open":
            return
        await asyncio.sleep(self.random.uniform(0, THINKING_SECONDS))
        if shown["kind"] == "question":
            await self._answer(shown)
            return
        who = ["amir", "ada"] if self.random.random() < BOTH_DECIDE else [self.random.choice(["amir", "ada"])]
        if shown["four_eyes"] or shown["addressed_to"] == "operator":
            who = ["olivia"]
        await asyncio.gather(*[self._decide(name, shown) for name in who])

    async def _answer(self, shown: dict[str, Any]) -> None:
        answer = self.random.choice(["red", "blue"])
        self.diary("app", "answers", request=shown["id"], answer=answer)
        status, _ = await self.by["app"].post(
            f"runs/{shown['run']}/answer/", {"answer": answer, "request": shown["id"]}
        )
        self.diary("app", "answered", request=shown["id"], status=status)

    async def _decide(self, who: str, shown: dict[str, Any]) -> None:
        body = {"digest": shown["digest"], **verdicts.of(shown, self.random)}
        about = {"request": shown["id"], "call": shown["call"], "kind": shown["kind"]}
        self.diary(who, "decides", **about, body=body, saw=shown["content"], reasons=shown["reasons"])
        status, _ = await self.by[who].post(f"approvals/{shown['id']}/decide/", body)
        self.diary(who, "decided", request=shown["id"], status=status)

    # -- the operator -----------------------------------------------------------------------------------------
    async def stop_things(self) -> None:
        while self.finishing_since is None:
            if self.random.random() < STOPS:
                await self._stop_for_a_while(*self._something())
            await asyncio.sleep(LOOK_SECONDS)

    def _something(self) -> tuple[str, str]:
        tools = self.random.sample(run_kinds.TOOLS, TOOLS_FOR_EACH_OTHER_STOP)
        return self.random.choice([("all", ""), ("agent", "worker"), *[("tool", name) for name in tools]])

    async def _stop_for_a_while(self, scope: str, name: str) -> None:
        what = {"scope": scope, "name": name}
        status, _ = await self.by["olivia"].post("switches/", {**what, "on": True, "reason": "Prices are wrong."})
        self.diary("olivia", "stopped", **what, status=status)
        await asyncio.sleep(self.random.uniform(0.5, STOPPED_SECONDS))
        self.diary("olivia", "releases", **what)
        status, _ = await self.by["olivia"].post("switches/", {**what, "on": False})
        self.diary("olivia", "released", **what, status=status)

    async def look_into_doubts(self) -> None:
        while True:
            for call in await self.by["olivia"].all("uncertain/"):
                early = Random(f"{self.seed} {call['id']}").random() < RESOLVED_EARLY
                if early or self.finishing_since is not None:
                    self.once(call["id"], self._resolve(call))
            await asyncio.sleep(1.0)

    async def _resolve(self, call: dict[str, Any]) -> None:
        """By the truth: the operator looks at the outside world first, and attests nothing that she cannot know."""
        key = f"baton-{call['id']}"
        _, truth = await asyncio.to_thread(ask_ledger, "GET", f"/truth/{key}")
        if truth["in_hand"]:
            return
        body: dict[str, Any]
        if truth["made"]:
            body = {"finding": "happened", "result": '{"found": "by olivia"}', "reason": "It is in the ledger."}
        elif call["id"] in self.repeated or self.random.random() < 0.2:
            body = {"finding": "abandon", "reason": "Nobody needs it any more."}
        elif call["may_repeat"] or self._is_quiet():
            body = {"finding": "repeat", "attests_dead": not call["may_repeat"]}
            self.repeated.add(call["id"])
        else:
            return
        self.diary("olivia", "finds", call=call["id"], body=body)
        status, _ = await self.by["olivia"].post(f"uncertain/{call['id']}/resolve/", body)
        self.diary("olivia", "found", call=call["id"], finding=body["finding"], status=status)

    def _is_quiet(self) -> bool:
        return self.finishing_since is not None and time.monotonic() - self.finishing_since > QUIET_SECONDS

    # -- all of them ------------------------------------------------------------------------------------------
    def _in_background(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work)
        self.errands.add(task)
        task.add_done_callback(self.errands.discard)

    def once(self, about: str, work: Coroutine[Any, Any, Any]) -> None:
        """One pair of hands for one thing."""
        if about in self.in_hand:
            work.close()
            return
        self.in_hand.add(about)

        async def attended() -> None:
            try:
                await work
            finally:
                self.in_hand.discard(about)

        self._in_background(attended())

    async def until_all_has_ended(self) -> None:
        while self.finishing_since is None:
            await asyncio.sleep(0.1)
        await asyncio.gather(self.starting, self.stopping, self.turning)
        while await self._is_anything_open():
            await asyncio.sleep(0.5)

    async def _is_anything_open(self) -> bool:
        if self.errands:
            return True
        for status in OPEN:
            page = await self.by["app"].get("runs/", status=status, limit=1)
            if page is None or page["results"]:
                return True
        return bool((await self.by["olivia"].get("uncertain/", limit=1))["results"])

    async def live(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self.finish)
        self.starting = asyncio.create_task(self.start_runs())
        self.stopping = asyncio.create_task(self.stop_things())
        self.turning = asyncio.create_task(Turns(self).take())
        standing = [asyncio.create_task(each()) for each in (self.decide_requests, self.look_into_doubts)]
        ending = asyncio.create_task(self.until_all_has_ended())
        print("people ready", flush=True)
        done, _ = await asyncio.wait([*standing, ending], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        for task in standing:
            task.cancel()
        self.diary("all", "leave", answers=dict(self.seen))
        for rest in self.by.values():
            await rest.close()


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--url", required=True)
    options.add_argument("--tokens", type=Path, required=True, help="a JSON file: {name: token}")
    options.add_argument("--seed", required=True)
    options.add_argument("--open", type=int, default=24, help="runs at work at once")
    options.add_argument("--kinds", nargs="*", default=[], help="these kinds of runs and no other")
    options.add_argument("--diary", type=Path, required=True)
    given = options.parse_args()
    tokens = json.loads(given.tokens.read_text())
    company = Company(given.url, tokens, given.seed, given.open, given.kinds, Diary(given.diary))
    asyncio.run(company.live())


if __name__ == "__main__":
    main()
