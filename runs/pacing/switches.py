"""Kill switches: after one is thrown, no intent of what it names commits. What would need one waits, and goes on when
it is released.

Whoever commits an intent holds LOCK shared from the moment that its dispatch is its own (`runs_epoch_to_act`), and
reads the roster's epoch after it has the lock. Whoever moves a switch holds it alone, and grows the epoch: so every
intent either was committed before, or is ruled by the rows as they are now.
Lock order: run, dispatch, LOCK, call, request, budget, chain head.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from django.contrib.auth.models import User
from django.db import connection
from django.db.models import OuterRef, Subquery
from django.db.models.functions import Now

from agents import roster
from agents.roster import Roster
from orchestrator_site.core import events
from runs import states
from runs.errors import BadRequest
from runs.models import Dispatch
from runs.models.pacing import AGENT, ALL, APP, CREDENTIAL, SWITCH_SCOPES, TOOL, Switch, is_known, no_such
from runs.pacing.deeds import Deed, Held

# Its number stands in the migration that makes runs_epoch_to_act, too.
LOCK = 0x6261746F6E11
COMMAND = "command:kill_switch"


# -- what is stopped ---------------------------------------------------------------------------------------------
def stopping(served: Roster, deed: Deed) -> Held | None:
    """What stops a deed, by the rows of `served`, whose epoch was read under the lock."""
    thrown = served.keep("switches", _thrown)
    if not thrown:
        return None
    return next((thrown[key] for key in _keys(deed) if key in thrown), None)


def _keys(deed: Deed) -> Iterator[tuple[str, str]]:
    yield ALL, ""
    yield APP, str(deed.app)
    yield AGENT, deed.agent
    yield TOOL, deed.tool
    for name in sorted(deed.credentials):
        yield CREDENTIAL, name


def _thrown() -> Mapping[tuple[str, str], Held]:
    """Apps by the ids of their users, as dispatches know them: by one statement, so that none is renamed between."""
    app = User.objects.filter(username=OuterRef("name")).values("pk")
    rows = Switch.objects.thrown().annotate(app=Subquery(app))
    return {(row.scope, str(row.app or "") if row.scope == APP else row.name): _held(row) for row in rows}


def _held(row: Switch) -> Held:
    return Held(f"{row} to be released: {row.by_name} threw it: {row.reason}"[:300], row.key)


# -- throwing and releasing --------------------------------------------------------------------------------------
def throw(scope: str, name: str = "", *, by: User | None, reason: str) -> Switch:
    """When this returns, no intent of what it names is committed any more; what was sent before comes to its end.

    `by` None is the command line. Waits for intents that are being committed. Raises BadRequest naming each wrong
    field.
    """
    if found := faults(scope, name, reason):
        raise BadRequest(found)
    return _move(scope, name, to=True, by=by, reason=reason.strip())


def release(scope: str, name: str = "", *, by: User | None, reason: str = "") -> Switch:
    """What waited for it goes on by itself. Raises BadRequest where there is no such switch."""
    if not Switch.objects.filter(scope=scope, name=name).exists():
        raise BadRequest({"name": f"There is no switch of {scope} {name}".rstrip() + " that was ever thrown."})
    return _move(scope, name, to=False, by=by, reason=reason.strip())


def faults(scope: str, name: str, reason: str) -> dict[str, str]:
    """What is wrong with a wish to throw a switch: a sentence for each field."""
    found = _faults_of_name(scope, name)
    if not reason.strip():
        found["reason"] = "Say why: everybody whose work waits reads it."
    elif len(reason) > 300:
        found["reason"] = f"It has {len(reason)} characters; the limit is 300."
    return found


def _faults_of_name(scope: str, name: str) -> dict[str, str]:
    if scope not in SWITCH_SCOPES:
        return {"scope": f"There is no {scope!r}; it is one of {', '.join(SWITCH_SCOPES)}."}
    if scope == ALL:
        return {"name": "Leave it out: this switch stops everything."} if name else {}
    if not name:
        return {"name": f"Say which {scope} it stops."}
    if not is_known(scope, name):
        return {"name": no_such(scope, name)}
    return {}


def _move(scope: str, name: str, *, to: bool, by: User | None, reason: str) -> Switch:
    """Moving it to where it is changes nothing. Locks: LOCK alone, then the epoch; released, waiting dispatches."""
    actor = f"user:{by.get_username()}" if by else COMMAND
    with events.recording() as log:
        _lock_alone()
        switch, _ = Switch.objects.get_or_create(scope=scope, name=name, defaults={"by_name": actor})
        if switch.is_thrown == to:
            return switch
        switch.is_thrown, switch.by, switch.by_name = to, by, by.get_username() if by else "the command line"
        switch.reason = reason if to else switch.reason
        switch.moved_at = Now()  # type: ignore[assignment]
        switch.save()
        roster.bump()
        if not to:
            _wake(switch)
        told: dict[str, Any] = {"reason": reason} if reason else {}
        log.platform("switch_thrown" if to else "switch_released", actor=actor, scope=scope, name=name, **told)
    switch.refresh_from_db()
    return switch


def _lock_alone() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])


def follow(before: str, now: str) -> None:
    """A user was renamed: what is thrown for it stays thrown, and who waits for that is woken by its new name."""
    switch = Switch.objects.thrown().filter(scope=APP, name=before).first()
    if switch is None:
        return
    held = Dispatch.objects.filter(status=states.WAITING, held_by=switch.key)
    # An older one of that name is of nobody any more.
    Switch.objects.filter(scope=APP, name=now).delete()
    switch.name = now
    switch.save(update_fields=["name"])
    held.update(held_by=switch.key)
    roster.bump()


def _wake(switch: Switch) -> None:
    """Who waits for it decided so under the lock, and is seen here; the reconcilers queue them."""
    held = Dispatch.objects.filter(status=states.WAITING, held_by=switch.key)
    held.update(due_at=Now())
