"""Places: so many dispatches of an agent at work, so many calls of a tool, a model or a host under way, and no more.

Exact: the limit's row is locked before it is counted what is taken of it. An agent's places are its working dispatches.
A call's are rows that go with the next thing its dispatch begins, and count no longer once that has stopped working.
Lock order: an agent's limit after its dispatch; the others after requests, before buckets, in the order of their ids.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from django.db import connection

from agents import roster
from agents.models import Manifest
from agents.roster import Roster
from runs.models import Dispatch, Place, PlaceLimit
from runs.models.pacing import AGENT, EACH, PLACE_SCOPES
from runs.pacing.deeds import Deed, Held

Limits = Mapping[tuple[str, str], PlaceLimit]
Counted = tuple[int, str]
Seat = tuple[PlaceLimit, str]


def limits(served: Roster) -> Limits:
    return served.keep("places", lambda: {(row.scope, row.name): row for row in PlaceLimit.objects.filter(active=True)})


def limit_of(found: Limits, scope: str, name: str) -> PlaceLimit | None:
    return found.get((scope, name)) or found.get((scope, EACH))


# -- of an agent -------------------------------------------------------------------------------------------------
def of_agent(dispatch: Dispatch) -> Held | None:
    """What a dispatch that is about to be claimed waits for; its row is locked. Locks the limit, where there is one."""
    served = roster.current()
    if not any(scope == AGENT for scope, _ in limits(served)):
        return None
    slug = served.keep(("agent of", dispatch.manifest_id), lambda: _slug(dispatch.manifest_id))
    if (limit := limit_of(limits(served), AGENT, slug)) is None:
        return None
    if limit.pk not in _lock([limit.pk]):
        return None
    at_work = working(slug)
    return _held(limit, slug) if at_work >= limit.most else None


def _slug(manifest_id: int) -> str:
    return Manifest.objects.values_list("agent__slug", flat=True).get(pk=manifest_id)


def working(slug: str) -> int:
    """An agent's dispatches that are at work; those of a worker that is gone count until somebody takes them over."""
    with connection.cursor() as cursor:
        cursor.execute(_WORKING, [slug])
        return cursor.fetchone()[0]


_WORKING = """
SELECT count(*) FROM runs_dispatch d WHERE d.status = 'working' AND d.manifest_id IN
    (SELECT m.id FROM agents_manifest m JOIN agents_agent a ON a.id = m.agent_id WHERE a.slug = %s)
"""


def _held(limit: PlaceLimit, key: str) -> Held:
    return Held(
        f"a free place of {limit.scope} {key}: {limit.most} at once, and all are taken", f"place:{limit.pk}:{key}"
    )


# -- of a call ---------------------------------------------------------------------------------------------------
def matching(served: Roster, deed: Deed) -> list[Seat]:
    """The limits that a call is counted under, each with the name that it is counted as."""
    found = limits(served)
    wanted = [(scope, name) for scope in PLACE_SCOPES if scope != AGENT for name in deed.named(scope)]
    return [(limit, name) for scope, name in wanted if (limit := limit_of(found, scope, name)) is not None]


@dataclass
class Taken:
    """How many places are taken of some limits, which are locked; and those that this dispatch takes now.

    One that is gone since its row was read is not among `counts`, and holds nobody.
    """

    dispatch: Dispatch
    counts: dict[Counted, int] = field(default_factory=dict)
    taking: list[Place] = field(default_factory=list)

    def hold(self, seats: Iterable[Seat]) -> Held | None:
        full = (_held(limit, key) for limit, key in seats if self.counts.get((limit.pk, key), 0) >= limit.most)
        return next(full, None)

    def take(self, seats: Iterable[Seat]) -> None:
        for limit, key in seats:
            if (limit.pk, key) in self.counts:
                self.counts[limit.pk, key] += 1
                self.taking.append(Place(limit=limit, key=key, dispatch=self.dispatch, fence=self.dispatch.fence))

    def write(self) -> None:
        Place.objects.bulk_create(self.taking)


def leave(dispatch: Dispatch) -> None:
    """What it began before has come to its end: its places are free."""
    Place.objects.filter(dispatch=dispatch).delete()


def counted(dispatch: Dispatch, wanted: Iterable[Seat]) -> Taken:
    """Lock these limits in order, and count."""
    keys = sorted({(limit.pk, key) for limit, key in wanted})
    there = _lock(sorted({limit_id for limit_id, _ in keys}))
    return Taken(dispatch, {(limit_id, key): under_way(limit_id, key) for limit_id, key in keys if limit_id in there})


def _lock(ids: Sequence[int]) -> set[int]:
    """Those that hold still: who waits for one that was taken away would be woken by nobody."""
    rows = PlaceLimit.objects.select_for_update(no_key=True).filter(pk__in=ids, active=True)
    return set(rows.order_by("pk").values_list("pk", flat=True))


def under_way(limit_id: int, key: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(_UNDER_WAY, [limit_id, key])
        return cursor.fetchone()[0]


_UNDER_WAY = """
SELECT count(*) FROM runs_place p JOIN runs_dispatch d ON d.id = p.dispatch_id
WHERE p.limit_id = %s AND p.key = %s AND d.status = 'working' AND d.fence = p.fence
"""
