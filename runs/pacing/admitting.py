"""Whether what is allowed may begin now: asked in the transaction that would commit its intent, after the rulings."""

from collections.abc import Sequence

from agents.roster import Roster
from runs.models import Dispatch
from runs.pacing import places, rates, switches
from runs.pacing.deeds import Deed, Held


def admit(dispatch: Dispatch, served: Roster, deeds: Sequence[Deed], *, waits: bool) -> list[Held | None]:
    """For each deed None where it begins now, and what it takes of its limits is taken; else what holds it up.

    Each of them takes of all its limits or of none. `waits`: where none may begin the dispatch is going to wait, so it
    is given its place in the rate. What the dispatch began before has come to its end. The caller holds it, under the
    lock of the switches, and commits what may begin. Locks: limits of places, buckets.
    """
    held = [switches.stopping(served, deed) for deed in deeds]
    if places.limits(served):
        places.leave(dispatch)
    going = [n for n, stop in enumerate(held) if stop is None]
    seats = {n: seat for n in going if (seat := places.matching(served, deeds[n]))}
    counted = {n: found for n in going if (found := rates.matching(served, deeds[n]))}
    if not seats and not counted:
        return held
    taken = places.counted(dispatch, (each for of_deed in seats.values() for each in of_deed))
    buckets = rates.locked(dispatch, (each for of_deed in counted.values() for each in of_deed))
    for n in going:
        held[n] = taken.hold(seats.get(n, [])) or buckets.hold(counted.get(n, []))
        if held[n] is None:
            buckets.take(counted.get(n, []))
            taken.take(seats.get(n, []))
    if waits and all(held) and (over := next((n for n in counted if _waits_for_rate(held[n])), None)) is not None:
        held[over] = buckets.place(counted[over])
    buckets.write()
    taken.write()
    return held


def _waits_for_rate(held: Held | None) -> bool:
    return held is not None and held.by.startswith("rate:")


def foremost(held: Sequence[Held]) -> Held:
    """Of all that holds a dispatch up, what it waits for: a moment, where one of them is over by then."""
    return next((each for each in held if each.due_at is not None), held[0])
