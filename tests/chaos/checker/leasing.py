"""Who wrote what under which lease, told from the events alone.

A claim opens a lease, and its fence is the number of claims so far. Nothing of a loop may be written under a fence
that is not the newest, or while nobody holds the dispatch.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from tests.chaos.checker.findings import Verdict
from tests.chaos.checker.material import Material, Row, seconds

LINE = "written without the lease"
CLAIMS = {"dispatch_working", "dispatch_reclaimed"}
GIVEN_BACK = {f"dispatch_{status}" for status in ("queued", "waiting", "paused", "succeeded", "failed", "cancelled")}
BY_HOLDER = {"step_asked", "step_answered", "step_failed", "tool_call_executing"}


@dataclass
class Lease:
    """The newest lease of a dispatch; `since` and `until` by the database's clock, `until` None while it is held."""

    fence: int
    worker: str
    since: float
    until: float | None = None


def check(material: Material, verdict: Verdict) -> None:
    fences = _fences(material)
    for events in material.events.values():
        newest: dict[str, Lease] = {}
        for event in events:
            dispatch = _dispatch_of(material, event)
            if dispatch is None:
                continue
            if event["type"] in BY_HOLDER or _is_result(event):
                _check_write(material, event, newest.get(dispatch), fences, verdict)
            _follow(event, dispatch, newest)
        for dispatch, lease in newest.items():
            if lease.fence != material.dispatches[dispatch]["fence"]:
                fence = material.dispatches[dispatch]["fence"]
                verdict.say(LINE, f"dispatch {dispatch} was claimed {lease.fence} times and has fence {fence}")


def _fences(material: Material) -> dict[tuple[str, str, int], int]:
    """By (kind, dispatch or call, number): the fence under which a step was asked or an attempt sent."""
    found = {("step", step["dispatch_id"], step["number"]): step["fence"] for step in material.of("runs_step")}
    found |= {("attempt", each["call_id"], each["number"]): each["fence"] for each in material.of("runs_attempt")}
    return found


def _dispatch_of(material: Material, event: Row) -> str | None:
    data = event["data"]
    if "dispatch" in data:
        return data["dispatch"]
    call = material.calls.get(data.get("call") or "")
    return call["dispatch_id"] if call else None


def _follow(event: Row, dispatch: str, newest: dict[str, Lease]) -> None:
    if event["type"] in CLAIMS:
        fence = newest[dispatch].fence + 1 if dispatch in newest else 1
        newest[dispatch] = Lease(fence, event["actor"].removeprefix("worker:"), seconds(event["at"]))
    elif event["type"] in GIVEN_BACK and dispatch in newest and newest[dispatch].until is None:
        newest[dispatch].until = seconds(event["at"])


def _check_write(
    material: Material, event: Row, lease: Lease | None, fences: dict[tuple[str, str, int], int], verdict: Verdict
) -> None:
    data = event["data"]
    is_step = event["type"].startswith("step")
    key = ("step", data["dispatch"], data["step"]) if is_step else ("attempt", data["call"], data["attempt"])
    what = f"{event['type']} #{event['seq']} of run {event['run_id']}"
    fence = fences.get(key)
    if lease is None or lease.until is not None:
        verdict.say(LINE, f"{what} was written while nobody held its dispatch")
    elif fence != lease.fence and not _was_looked_up(material, event):
        verdict.say(LINE, f"{what} was written under fence {fence}, and {lease.fence} was the newest")


def _is_result(event: Row) -> bool:
    return event["data"].get("attempt_status") in ("succeeded", "failed")


def _was_looked_up(material: Material, event: Row) -> bool:
    """The target said so when the next worker asked it: it writes the end of an attempt that was not its own."""
    return _is_result(event) and material.calls[event["data"]["call"]]["effect"] == "verifiable"


# -- recovery ----------------------------------------------------------------------------------------------------
PROGRESS = ("step_", "tool_call_", "dispatch_waiting", "dispatch_succeeded", "dispatch_failed")


def recoveries(material: Material) -> dict[str, list[float]]:
    """Seconds from a kill to the next committed step of each dispatch that the killed process held, by whether a
    supervisor told the engine (`reported`) or the lease had to run out (`unreported`)."""
    kills = [line for line in material.nemesis if line.get("killed") and line["fault"] in KILLS_WORKERS]
    found: defaultdict[str, list[float]] = defaultdict(list)
    for held in _leases(material):
        for kill in kills:
            if held.is_of(kill["pid"]) and held.covers(kill["at"]) and (after := held.next_progress(kill["at"])):
                found["reported" if kill["reported"] else "unreported"].append(after - kill["at"])
    return dict(found)


KILLS_WORKERS = {"kill_worker", "kill_stray_worker", "kill_reconciler"}


@dataclass
class Held:
    """One lease, and what its dispatch's events are after it."""

    lease: Lease
    ended_by_claim: float | None
    later: list[Row]

    def is_of(self, pid: int) -> bool:
        return f":{pid}:" in self.lease.worker

    def covers(self, at: float) -> bool:
        until = self.lease.until or self.ended_by_claim
        return self.lease.since <= at and (until is None or at < until)

    def next_progress(self, at: float) -> float | None:
        if self.ended_by_claim is None or self.ended_by_claim < at:
            return None
        moments = [seconds(event["at"]) for event in self.later if event["type"].startswith(PROGRESS)]
        return next((moment for moment in moments if moment >= at), None)


def _leases(material: Material) -> Iterator[Held]:
    for events in material.events.values():
        by_dispatch: defaultdict[str, list[Row]] = defaultdict(list)
        for event in events:
            if dispatch := _dispatch_of(material, event):
                by_dispatch[dispatch].append(event)
        for dispatch, own in by_dispatch.items():
            yield from _leases_of(dispatch, own)


def _leases_of(dispatch: str, events: list[Row]) -> Iterator[Held]:
    newest: dict[str, Lease] = {}
    for index, event in enumerate(events):
        if event["type"] in CLAIMS and dispatch in newest:
            yield Held(newest[dispatch], seconds(event["at"]), events[index + 1 :])
        _follow(event, dispatch, newest)
