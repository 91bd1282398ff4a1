"""How rates and places stand now, for people. Asks nothing of the database where there are no limits."""

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from django.db import connection

from agents.roster import Roster
from runs.models import PlaceLimit, RateLimit
from runs.models.pacing import AGENT
from runs.pacing import places, rates
from runs.pacing.buckets import Bucket

# Of a limit that counts each by itself.
NAMES_SHOWN = 4


@dataclass(frozen=True)
class Used:
    """What one name has used up of a limit, and how many dispatches wait for it; `next_at`: the first of them."""

    name: str
    used: int
    waiting: int
    next_at: dt.datetime | None = None


@dataclass(frozen=True)
class Standing:
    """A limit, and the names that use it or wait for it: those that are most waited for first, and how many others."""

    limit: RateLimit | PlaceLimit
    most: int
    names: list[Used]
    others: int = 0

    @property
    def is_rate(self) -> bool:
        return isinstance(self.limit, RateLimit)

    @property
    def shown(self) -> list[tuple[Used, int]]:
        """With what is left of the limit for each."""
        return [(each, max(self.most - each.used, 0)) for each in self.names]

    @property
    def pressure(self) -> tuple[int, float]:
        return sum(each.waiting for each in self.names), max((each.used / self.most for each in self.names), default=0)


def now(served: Roster) -> list[Standing]:
    """Two queries at most. The hardest pressed come first."""
    found = [*_rates(list(rates.limits(served).values())), *_places(served)]
    return sorted(found, key=lambda each: each.pressure, reverse=True)


# -- rates -------------------------------------------------------------------------------------------------------
def _rates(limits: list[RateLimit]) -> list[Standing]:
    if not limits:
        return []
    used, in_all, by_id = defaultdict(list), Counter[int](), {limit.pk: limit for limit in limits}
    with connection.cursor() as cursor:
        cursor.execute(_IN_USE, [list(by_id), NAMES_SHOWN])
        for limit_id, name, spent_to, at, waiting, next_at, count in cursor.fetchall():
            limit, in_all[limit_id] = by_id[limit_id], count
            left = Bucket(limit.interval, limit.at_once, spent_to).left(at)
            used[limit_id].append(Used(name, limit.at_once - left, waiting, next_at))
    return [Standing(each, each.at_once, used[each.pk], in_all[each.pk] - len(used[each.pk])) for each in limits]


_IN_USE = """
WITH waited AS (
    SELECT held_by, count(*) AS dispatches, min(due_at) AS next_at FROM runs_dispatch
    WHERE status = 'waiting' AND held_by LIKE 'rate:%%' GROUP BY held_by
), used AS (
    SELECT b.limit_id, b.key, b.spent_to, coalesce(w.dispatches, 0) AS dispatches, w.next_at,
        count(*) OVER (PARTITION BY b.limit_id) AS in_all,
        row_number() OVER (PARTITION BY b.limit_id ORDER BY coalesce(w.dispatches, 0) DESC, b.spent_to DESC) AS nth
    FROM runs_ratebucket b LEFT JOIN waited w ON w.held_by = 'rate:' || b.limit_id || ':' || b.key
    WHERE b.limit_id = ANY(%s) AND (b.spent_to > clock_timestamp() OR w.held_by IS NOT NULL)
)
SELECT u.limit_id, coalesce(app.username, u.key), u.spent_to, clock_timestamp(), u.dispatches, u.next_at, u.in_all
FROM used u JOIN runs_ratelimit l ON l.id = u.limit_id
LEFT JOIN auth_user app ON l.scope = 'app' AND app.id::text = u.key
WHERE u.nth <= %s ORDER BY u.limit_id, u.nth
"""


# -- places ------------------------------------------------------------------------------------------------------
def _places(served: Roster) -> list[Standing]:
    limits = places.limits(served)
    if not limits:
        return []
    taken, waiting = _taken(limits)
    keys = {limit.pk: [key for limit_id, key in taken | waiting if limit_id == limit.pk] for limit in limits.values()}
    return [_standing(limit, keys[limit.pk], taken, waiting) for limit in limits.values()]


def _standing(
    limit: PlaceLimit, keys: Iterable[str], taken: Counter[places.Counted], waiting: Counter[places.Counted]
) -> Standing:
    used = [Used(key, taken[limit.pk, key], waiting[limit.pk, key]) for key in sorted(keys)]
    used.sort(key=lambda each: (each.waiting, each.used), reverse=True)
    return Standing(limit, limit.most, used[:NAMES_SHOWN], len(used[NAMES_SHOWN:]))


def _taken(limits: places.Limits) -> tuple[Counter[places.Counted], Counter[places.Counted]]:
    """Places that are taken, and dispatches that wait for one."""
    taken, waiting = Counter[places.Counted](), Counter[places.Counted]()
    with connection.cursor() as cursor:
        cursor.execute(_TAKEN)
        for limit_id, key, dispatches in cursor.fetchall():
            if limit_id is not None:
                taken[limit_id, key] += dispatches
            elif key.startswith("place:"):
                _, waited_for, name = key.split(":", 2)
                waiting[int(waited_for), name] += dispatches
            elif (limit := places.limit_of(limits, AGENT, key.removeprefix("agent:"))) is not None:
                taken[limit.pk, key.removeprefix("agent:")] += dispatches
    return taken, waiting


_TAKEN = """
SELECT p.limit_id, p.key, count(*) FROM runs_place p JOIN runs_dispatch d ON d.id = p.dispatch_id
WHERE d.status = 'working' AND d.fence = p.fence GROUP BY p.limit_id, p.key
UNION ALL
SELECT NULL, held_by, count(*) FROM runs_dispatch WHERE status = 'waiting' AND held_by LIKE 'place:%' GROUP BY held_by
UNION ALL
SELECT NULL, 'agent:' || a.slug, count(*) FROM runs_dispatch d
JOIN agents_manifest m ON m.id = d.manifest_id JOIN agents_agent a ON a.id = m.agent_id
WHERE d.status = 'working' GROUP BY a.slug
"""
