"""Who waits for a place is called when one is free: the highest priority first, then the app with the least at work."""

from uuid import UUID

from django.db import connection

from agents import roster
from orchestrator_site.core import events
from runs import doorbells, lifecycle, orchestration, states
from runs.models import Dispatch, PlaceLimit, Run
from runs.models.pacing import AGENT
from runs.pacing import places


def call_held() -> int:
    """Queue as many of those who wait for a place as there are free ones. Asks nothing where there are no limits."""
    if not places.limits(roster.current()):
        return 0
    return sum(_call(dispatch_id, run_id) for dispatch_id, run_id in _up_next())


def _up_next() -> list[tuple[UUID, UUID]]:
    with connection.cursor() as cursor:
        cursor.execute(_WAITED_FOR)
        waited_for = [held_by for (held_by,) in cursor.fetchall()]
    return [each for held_by in waited_for for each in _of(held_by, _free(held_by))]


_WAITED_FOR = "SELECT DISTINCT held_by FROM runs_dispatch WHERE status = 'waiting' AND held_by LIKE 'place:%'"


def _free(held_by: str) -> int:
    """Places of a limit; where that is gone, there is room for all."""
    _, limit_id, key = held_by.split(":", 2)
    limit = PlaceLimit.objects.filter(pk=limit_id, active=True).first()
    if limit is None:
        return 1000
    taken = places.working(key) if limit.scope == AGENT else places.under_way(limit.pk, key)
    return max(limit.most - taken, 0)


def _of(held_by: str, free: int) -> list[tuple[UUID, UUID]]:
    if not free:
        return []
    with connection.cursor() as cursor:
        cursor.execute(_BEST, [held_by, free])
        return cursor.fetchall()


# As runs_next_up does, of those who are not queued.
_BEST = """
SELECT d.id, d.run_id FROM runs_dispatch d
LEFT JOIN (SELECT app, count(*) AS at_work FROM runs_dispatch WHERE status = 'working' GROUP BY app) b ON b.app = d.app
LEFT JOIN runs_appshare s ON s.app_id = d.app
WHERE d.status = 'waiting' AND d.held_by = %s
ORDER BY d.priority DESC,
    (coalesce(b.at_work, 0) + row_number() OVER (PARTITION BY d.app ORDER BY d.priority DESC, d.id))
        / coalesce(s.weight, 1),
    d.id
LIMIT %s
"""


def _call(dispatch_id: UUID, run_id: UUID) -> bool:
    """Locks: run, dispatch."""
    with events.recording() as log:
        run = Run.objects.select_for_update(of=("self",), no_key=True).select_related("agent").get(pk=run_id)
        held = Dispatch.objects.filter(pk=dispatch_id, status=states.WAITING, held_by__startswith="place:")
        dispatch = held.select_for_update(skip_locked=True, of=("self",)).first()
        if dispatch is None:
            return False
        lifecycle.move_dispatch(log, dispatch, states.QUEUED, waiting_on="", held_by="", due_at=None)
        doorbells.ring_after_commit(dispatch.pk)
        orchestration.advance_locked(log, run)
    return True
