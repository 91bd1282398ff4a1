"""Observers: callables told of committed events, off the path of the work. Their failures are counted and shown."""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable

from django.db import connection, transaction
from django.db.models.functions import Now

from orchestrator_site.core.models import Event, Observation

logger = logging.getLogger(__name__)

Observer = Callable[[Event], None]

GIVE_UP_AFTER = 5
_observers: dict[str, Observer] = {}
_by_type: dict[str, set[str]] = defaultdict(set)


def observe(name: str, *types: str) -> Callable[[Observer], Observer]:
    """Register an observer of these event types. It is told at least once, in no promised order, and may raise."""

    def decorate(observer: Observer) -> Observer:
        if name in _observers and _observers[name] is not observer:
            raise ValueError(f"An observer named {name!r} is registered already.")
        _observers[name] = observer
        for type in types:
            _by_type[type].add(name)
        return observer

    return decorate


def forget(name: str) -> None:
    """Take an observer out again; what it is still owed stays and is told when it is registered anew."""
    _observers.pop(name, None)
    for names in _by_type.values():
        names.discard(name)


def owe(events: Iterable[tuple[int, str]]) -> None:
    """Note, in the events' own transaction, who has to be told of them. `events`: pairs of id and type."""
    owed = [
        Observation(event_id=id, observer=name, due_at=Now())
        for id, type in events
        for name in sorted(_by_type.get(type, ()))
    ]
    if owed:
        Observation.objects.bulk_create(owed)


def tell(limit: int = 100) -> int:
    """Tell what is due and return how many were told. Each in its own transaction, under a row lock others skip."""
    told = 0
    while told < limit and _tell_one():
        told += 1
    return told


def _tell_one() -> bool:
    with transaction.atomic():
        _take_time()
        due = Observation.objects.filter(given_up=False, due_at__lte=Now(), observer__in=list(_observers))
        owed = due.select_related("event").select_for_update(skip_locked=True, of=("self",)).order_by("id").first()
        if owed is None:
            return False
        try:
            with transaction.atomic():
                _observers[owed.observer](owed.event)
        except Exception as error:  # an observer's failure is its own; the work it watches goes on
            _note_failure(owed, error)
        else:
            owed.delete()
        return True


def _take_time() -> None:
    """An observer may be slow: our transaction is not ended for standing still as long as it works."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")


def _note_failure(owed: Observation, error: Exception) -> None:
    said = _said(error)
    logger.warning("observer %s failed on %s: %s", owed.observer, owed.event, said)
    with connection.cursor() as cursor:
        cursor.execute(
            """UPDATE core_observation SET failures = failures + 1, last_error = %s, given_up = failures + 1 >= %s,
               due_at = now() + make_interval(secs => power(2, least(failures, 10))) WHERE id = %s""",
            [said, GIVE_UP_AFTER, owed.pk],
        )


def _said(error: Exception) -> str:
    """As a text column keeps it, whatever the exception says, and even if it cannot say it."""
    try:
        said = f"{type(error).__name__}: {error}"
    except Exception:
        said = type(error).__name__
    return said.encode(errors="replace").decode().replace("\x00", "\ufffd")[:2000]
