"""Circuit breakers of models, tools and agents: what fails again and again is left alone for a while, by all workers,
and is then tried by so many probes and no more.

Closed ones cost nothing: those that are not are read once an epoch of the roster, and every move grows it. Of a closed
one failures alone are written, of a half-open one what came of its probes. Lock order: breakers of tools are locked
before buckets and budgets, those of models and agents at the transaction's end (`Record.at_end`) or alone; several in
the order of their names. Whoever moves one grows the epoch at the end, ahead of the chain's head.
"""

import datetime as dt
from collections.abc import Callable, Mapping
from functools import partial
from math import floor
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.db.models.functions import Now

from agents import roster
from agents.roster import Roster
from orchestrator_site.core import events
from orchestrator_site.core.clock import database_now
from orchestrator_site.core.commits import after_commit
from orchestrator_site.core.events import SYSTEM, Record
from runs import states
from runs.errors import BadRequest
from runs.models import Breaker, Dispatch
from runs.models.pacing import BREAKER_KINDS, TOOL, is_known, no_such
from runs.pacing import outcomes
from runs.pacing.deeds import Held
from tools import registry

# Who finds all probes under way asks again after this long.
PROBED_AGAIN_SECONDS = 5


# -- what is left alone ------------------------------------------------------------------------------------------
def standing(served: Roster) -> Mapping[tuple[str, str], Breaker]:
    """Those that are not closed."""
    return served.keep("breakers", lambda: {(row.kind, row.name): row for row in Breaker.objects.not_closed()})


def shut(served: Roster, kind: str, name: str) -> Breaker | None:
    """Where it is not closed, so that it may be begun by a probe at most."""
    return standing(served).get((kind, name))


def is_to_be_left(row: Breaker, now: dt.datetime) -> bool:
    """No probe need be asked for: it is open, and its time has not come."""
    return row.status == states.OPEN and (row.tries_at is None or now < row.tries_at)


def held(row: Breaker, now: dt.datetime, not_before: dt.datetime | None = None) -> Held:
    """What who cannot do without it waits for, and asks again for even if nobody wakes him."""
    if not is_to_be_left(row, now):
        on, due_at = f"a try of {row.kind} {row.name} that is under way", now + _seconds(PROBED_AGAIN_SECONDS)
    elif row.tries_at is None:
        on = f"{row} to be closed: {row.by_name} opened it: {row.reason}"
        due_at = now + _seconds(settings.BATON_BREAKER_OPEN_SECONDS)
    else:
        on, due_at = f"{row.kind} {row.name} to be tried again: {row.reason}", row.tries_at
    return Held(on[:300], row.key, max(due_at, not_before) if not_before else due_at)


def sentence(row: Breaker) -> str:
    """What a model is told of a tool that is left alone, or people of an agent."""
    until = f"is tried again after {row.tries_at:%H:%M:%S} UTC" if row.tries_at else "stays so until a person closes it"
    return f"Nothing was begun: the circuit breaker of {row.kind} {row.name} is open ({row.reason}), and {until}."


def _seconds(number: float) -> dt.timedelta:
    return dt.timedelta(seconds=number)


# -- probes ------------------------------------------------------------------------------------------------------
def lets_through(served: Roster, kind: str, name: str, prober: UUID) -> bool:
    """Whether it may be begun: it is closed, or this is one of its probes. In a transaction of its own."""
    if shut(served, kind, name) is None:
        return True
    with events.recording() as log:
        return take_probe(log, kind, name, prober)


def take_probe(log: Record, kind: str, name: str, prober: UUID) -> bool:
    """As `lets_through`, in the caller's transaction. Who has a probe keeps it. Locks the breaker."""
    row = _locked(kind, name)
    if row is None or row.status == states.CLOSED or prober in row.probing:
        return True
    now = database_now()
    if row.tries_at is not None and now >= row.tries_at:
        _hand_out(log, row, now)
    if row.status != states.HALF_OPEN or not row.probes_left:
        return False
    row.probes_left -= 1
    row.probing.append(prober)
    row.save(update_fields=["probes_left", "probing"])
    return True


def _hand_out(log: Record, row: Breaker, now: dt.datetime) -> None:
    """New probes: the time of being open is over, or those that were handed out were not heard of."""
    changes: dict[str, Any] = {
        "probes_left": settings.BATON_BREAKER_PROBES,
        "tries_at": now + _seconds(settings.BATON_BREAKER_OPEN_SECONDS),
    }
    if row.status == states.OPEN:
        _move(log, row, states.HALF_OPEN, probing=[], **changes)
    else:
        row.probes_left, row.tries_at = changes["probes_left"], changes["tries_at"]
        row.save(update_fields=list(changes))


def _locked(kind: str, name: str) -> Breaker | None:
    return Breaker.objects.select_for_update(no_key=True).filter(kind=kind, name=name).first()


# -- what came of it ---------------------------------------------------------------------------------------------
def failed(log: Record, kind: str, name: str, prober: UUID, why: str) -> None:
    """Count a failure of a closed one, which opens at so many that are so large a share; a probe's opens it again.

    `why` is of few words, and nothing that a run has brought.
    """
    if settings.BATON_BREAKER_FAILURES:
        _in_order(log, kind, name, prober, partial(_failed, log, kind, name, prober, why))


def worked(log: Record, served: Roster, kind: str, name: str, prober: UUID) -> None:
    """A probe that was answered closes it, whatever the answer. Asks nothing of one that is not half open."""
    row = shut(served, kind, name)
    if row is not None and row.status == states.HALF_OPEN:
        _in_order(log, kind, name, prober, partial(_worked, log, kind, name, prober))


def unused(served: Roster, kind: str, name: str, prober: UUID) -> None:
    """A probe that was not sent says nothing, and is handed to whoever asks next. Locks the breaker."""
    row = shut(served, kind, name)
    if row is None or row.status != states.HALF_OPEN:
        return
    row = _locked(kind, name)
    if row is not None and row.status == states.HALF_OPEN and prober in row.probing:
        row.probing.remove(prober)
        row.probes_left = min(row.probes_left + 1, settings.BATON_BREAKER_PROBES)
        row.save(update_fields=["probes_left", "probing"])


def _in_order(log: Record, kind: str, name: str, prober: UUID, act: Callable[[], None]) -> None:
    if kind == TOOL:
        act()
    else:
        log.at_end(("breaker", kind, name, str(prober)), act)


def _failed(log: Record, kind: str, name: str, prober: UUID, why: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, {"kind": kind, "name": name, "seconds": settings.BATON_BREAKER_WINDOW_SECONDS})
        counted = cursor.fetchone()
    if counted is None:
        row = _locked(kind, name)
        if row is not None and row.status == states.HALF_OPEN and prober in row.probing:
            _open(log, row, f"a try of it failed: {why}")
    elif counted[0] >= settings.BATON_BREAKER_FAILURES and _is_large_share(kind, name, *counted):
        row = _locked(kind, name)
        assert row is not None
        _open(log, row, f"it failed {counted[0]} times within {settings.BATON_BREAKER_WINDOW_SECONDS:g} s, last: {why}")


def _is_large_share(kind: str, name: str, failures: int, since: dt.datetime) -> bool:
    """Of all that ended since the first of these failures did."""
    if not (share := settings.BATON_BREAKER_SHARE):
        return True
    beside = floor(failures * (1 - share) / share)
    return outcomes.went_well(kind, name, since, beside + 1) <= beside


# In a window that begins with its first failure. The row is locked whether it is counted or not.
_COUNT = """
INSERT INTO runs_breaker AS b (kind, name, failures) VALUES (%(kind)s, %(name)s, 1)
ON CONFLICT (kind, name) DO UPDATE SET
    failures = CASE WHEN b.window_from > clock_timestamp() - make_interval(secs => %(seconds)s)
        THEN b.failures + 1 ELSE 1 END,
    window_from = CASE WHEN b.window_from > clock_timestamp() - make_interval(secs => %(seconds)s)
        THEN b.window_from ELSE clock_timestamp() END
WHERE b.status = 'closed'
RETURNING failures, window_from
"""


def _worked(log: Record, kind: str, name: str, prober: UUID) -> None:
    row = _locked(kind, name)
    if row is not None and row.status == states.HALF_OPEN and prober in row.probing:
        _close(log, row, reason="a try of it went well")


# -- by hand -----------------------------------------------------------------------------------------------------
def hold_open(kind: str, name: str, *, by: User, reason: str) -> Breaker:
    """It stays open, and is not probed, until a person closes it. Raises BadRequest naming each wrong field."""
    _check(kind, name, reason)
    with events.recording() as log:
        Breaker.objects.bulk_create([Breaker(kind=kind, name=name)], ignore_conflicts=True)
        row = _locked(kind, name)
        assert row is not None
        _move(log, row, states.OPEN, by, tries_at=None, reason=reason.strip(), probes_left=0, probing=[])
    row.refresh_from_db()
    return row


def close(kind: str, name: str, *, by: User, reason: str) -> Breaker:
    """What waited for it goes on by itself; closing a closed one changes nothing. Raises BadRequest."""
    _check(kind, name, reason)
    with events.recording() as log:
        row = _locked(kind, name)
        if row is None:
            raise BadRequest({"name": f"The breaker of {kind} {name} was never open."})
        if row.status != states.CLOSED:
            _close(log, row, by, reason=reason.strip())
    row.refresh_from_db()
    return row


def _check(kind: str, name: str, reason: str) -> None:
    if found := faults(kind, name, reason):
        raise BadRequest(found)


def faults(kind: str, name: str, reason: str) -> dict[str, str]:
    """What is wrong with a wish to move one: a sentence for each field."""
    found = {}
    if kind not in BREAKER_KINDS:
        found["kind"] = f"There is no {kind!r}; it is one of {', '.join(BREAKER_KINDS)}."
    elif kind == TOOL and registry.platform_tool(name):
        found["name"] = f"{name} is the platform's own, and has no breaker."
    elif not is_known(kind, name):
        found["name"] = no_such(kind, name) if name else f"Say which {kind}."
    if not reason.strip():
        found["reason"] = "Say why: whoever meets it reads it."
    elif len(reason) > 300:
        found["reason"] = f"It has {len(reason)} characters; the limit is 300."
    return found


# -- moves -------------------------------------------------------------------------------------------------------
_TOLD = {states.OPEN: "breaker_opened", states.HALF_OPEN: "breaker_half_open", states.CLOSED: "breaker_closed"}


def _open(log: Record, row: Breaker, reason: str) -> None:
    tries_at = database_now() + _seconds(settings.BATON_BREAKER_OPEN_SECONDS)
    _move(log, row, states.OPEN, tries_at=tries_at, reason=reason[:300], probes_left=0, probing=[])


def _close(log: Record, row: Breaker, by: User | None = None, *, reason: str) -> None:
    nothing: dict[str, Any] = {"failures": 0, "tries_at": None, "probes_left": 0, "probing": []}
    _move(log, row, states.CLOSED, by, reason=reason, window_from=Now(), **nothing)
    after_commit(_wake, row.key)


def _move(log: Record, row: Breaker, to: str, by: User | None = None, **changes: Any) -> None:
    """The caller holds the row."""
    changes |= {"by_name": by.get_username() if by else "", "moved_at": Now()}
    states.BREAKER.move(row, to, **changes)
    log.at_end(("roster",), _grow_epoch)
    actor = f"user:{by.get_username()}" if by else SYSTEM
    log.platform(_TOLD[to], actor=actor, kind=row.kind, name=row.name, reason=row.reason)


def _grow_epoch() -> None:
    roster.bump()


def _wake(key: str) -> None:
    """Whoever is missed, because it began to wait at this moment, asks again by itself."""
    Dispatch.objects.filter(status=states.WAITING, held_by=key).update(due_at=Now())
