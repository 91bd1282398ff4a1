"""The state of the installation, as the health page shows it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import redis
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection
from django.db.models import Count, Max, Min, Model, Q, Sum
from django.db.models.functions import Coalesce, Now

from agents import roster
from agents.models import WorkerRoster
from orchestrator_site.core import checkpoints, doorbell, restorations
from orchestrator_site.core.clock import database_now
from orchestrator_site.core.models import ChainHead, Checkpoint, Event, Observation
from runs import state_versions, states
from runs.budgets import standing
from runs.models import Breaker, Dispatch, Switch, ToolCall
from runs.pacing import standing as pacing

# A listener says every few seconds that it is there.
SILENT_AFTER_SECONDS = 15
COUNTED_UP_TO = 10_000
HELD_SHOWN = 50
LIMITS_SHOWN = 20
TAKES_NO_WRITES = "It takes no writes: nothing moves until it does."


@dataclass(frozen=True)
class Reached:
    """`milliseconds` is None when the service did not answer; `why` says what is wrong with it."""

    name: str
    milliseconds: float | None
    why: str = ""


@dataclass(frozen=True)
class Worker:
    row: WorkerRoster
    behind: int
    silent_seconds: float

    @property
    def is_silent(self) -> bool:
        return self.silent_seconds > SILENT_AFTER_SECONDS


@cache
def _redis() -> redis.Redis:
    return doorbell.connect(patience_seconds=1)


def services() -> list[Reached]:
    return [_reach("PostgreSQL", _ask_database, DatabaseError), _reach("Redis", _ask_redis, redis.RedisError)]


def _reach(name: str, ask: Callable[[], str], failure: type[Exception]) -> Reached:
    began = time.perf_counter()
    try:
        why = ask()
    except failure as error:
        return Reached(name, None, f"{type(error).__name__}: {error}".strip())
    return Reached(name, (time.perf_counter() - began) * 1000, why)


def _ask_database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('transaction_read_only') = 'on'")
        return TAKES_NO_WRITES if cursor.fetchone()[0] else ""


def _ask_redis() -> str:
    _redis().ping()
    return ""


def workers(epoch: int) -> list[Worker]:
    """Every process that serves a roster, by its own word, with how far it is behind."""
    now = database_now()
    return [
        Worker(row, max(0, epoch - row.epoch), (now - row.seen_at).total_seconds())
        for row in WorkerRoster.objects.order_by("-seen_at")[:100]
    ]


def queue() -> dict[str, object]:
    """Open dispatches by status, the longest queued, and leases that have run out."""
    return Dispatch.objects.open().aggregate(
        **{status: Count("pk", filter=Q(status=status)) for status in sorted(states.DISPATCH.open)},
        oldest_queued=Min("rung_at", filter=Q(status=states.QUEUED)),
        oldest_waiting=Min("created_at", filter=Q(status=states.WAITING)),
        leases_out=Count("pk", filter=Q(lease_until__lt=Now())),
        newer=Count("pk", filter=Q(state_version__gt=state_versions.current())),
    )


def held_up() -> list[dict[str, object]]:
    """What dispatches that are allowed to go on wait for, and how many of them."""
    waiting = Dispatch.objects.held_up().order_by().values("held_by")
    counted = waiting.annotate(dispatches=Count("pk"), on=Min("waiting_on"), next_at=Min("due_at"))
    return [dict(row) for row in counted.order_by("-dispatches")[:HELD_SHOWN]]


def failing_observers() -> list[dict[str, object]]:
    """By observer: how many events it failed on, how many it was given up on, and its newest error."""
    failing = Observation.objects.filter(failures__gt=0).values("observer")
    counted = failing.annotate(events=Count("pk"), given_up=Count("pk", filter=Q(given_up=True)), newest=Max("pk"))
    rows = list(counted.order_by("observer"))
    errors = dict(Observation.objects.filter(pk__in=[row["newest"] for row in rows]).values_list("pk", "last_error"))
    return [row | {"last_error": errors.get(row["newest"], "")} for row in rows]


def chains() -> dict[str, int]:
    """How many chains and events there are: counted while they are few, else as the last ANALYZE estimated."""
    heads = ChainHead.objects.values("pk")[:COUNTED_UP_TO].count()
    if heads < COUNTED_UP_TO:
        return ChainHead.objects.aggregate(heads=Count("pk"), events=Coalesce(Sum("seq"), 0))
    return {"heads": max(heads, _estimated(ChainHead)), "events": _estimated(Event)}


def _estimated(model: type[Model]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT coalesce(sum(greatest(reltuples, 0)), 0) FROM pg_class
               WHERE oid IN (SELECT %s::regclass UNION SELECT relid FROM pg_partition_tree(%s) WHERE isleaf)
                 AND relkind = 'r'""",
            [model._meta.db_table] * 2,
        )
        return int(cursor.fetchone()[0])


@dataclass(frozen=True)
class Signed:
    """How far the audit's checkpoints go. `moved`: chains that have grown since; `stands_still`: a backup was restored
    and work waits until it is marked."""

    newest: Checkpoint | None
    moved: int
    stands_still: bool

    @property
    def is_behind(self) -> bool:
        """What moved long ago is signed by now, where workers run, have a key, and can write."""
        if not self.moved or self.newest is None:
            return False
        return (database_now() - self.newest.at).total_seconds() > 5 * settings.BATON_CHECKPOINT_SECONDS


def signed() -> Signed:
    moved = ChainHead.objects.filter(moved=True).order_by("chain")[:1000].count()
    return Signed(checkpoints.newest(), moved, restorations.unmarked() is not None)


def everything() -> dict[str, object]:
    """What the health page shows; when the database does not answer, only that."""
    reached = services()
    if reached[0].milliseconds is None:
        return {"services": reached, "is_reachable": False}
    epoch = roster.database_epoch()
    served = roster.current(min_epoch=epoch)
    limits = pacing.now(served)
    return {
        "services": reached,
        "is_reachable": True,
        "epoch": epoch,
        "agents": [served.entries[slug] for slug in sorted(served.entries)],
        "roster_errors": dict(served.errors),
        "workers": workers(epoch),
        "queue": queue(),
        "uncertain": ToolCall.objects.uncertain().count(),
        "budgets": standing.nearly_gone(),
        "observers": failing_observers(),
        "chains": chains(),
        "signed": signed(),
        "switches": list(Switch.objects.thrown()),
        "breakers": list(Breaker.objects.not_closed()),
        "held": held_up(),
        "limits": limits[:LIMITS_SHOWN],
        "other_limits": len(limits[LIMITS_SHOWN:]),
    }
