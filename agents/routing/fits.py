"""Fits as rows: made again by a worker when the live table is another, kept, and served to every process."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import connection
from django.db.models import Case, IntegerField, Value, When

from agents import roster
from agents.models import RoutingFit
from agents.roster import Roster
from agents.routing import embedders, table
from agents.routing.embedders import EmbedderFailed
from agents.routing.fitting import Fit, RouteTable, fit
from orchestrator_site.core import events

logger = logging.getLogger(__name__)

# One process of the fleet fits at a time; the key is ours alone.
LOCK = 0x6261746F6E07
# How many are kept: what was served lately, and what a rollback brings back.
KEPT = 20
RETRY_SECONDS = 60.0


@dataclass(frozen=True)
class Served:
    """The fit that serves, and its row's id and epoch."""

    id: int
    epoch: int
    fit: Fit


def serving(served: Roster) -> Served | None:
    """The fit of the live table, else the newest by the embedder in use; None before the first. Read once an epoch."""
    return served.keep("routing.fit", lambda: _read(served))


def _read(served: Roster) -> Served | None:
    embedder = embedders.configured().name
    is_of_this_table = Case(
        When(digest=table.live(served).digest(embedder), then=Value(0)), default=Value(1), output_field=IntegerField()
    )
    row = RoutingFit.objects.filter(embedder=embedder).order_by(is_of_this_table, "-id").first()
    if row is None:
        return None
    return Served(row.pk, row.epoch, Fit.from_bytes(bytes(row.weights), row.thresholds, row.figures))


# Made again

_failed_at: float | None = None


def keep_up() -> bool:
    """Fit the live table unless its fit is there already, or being made elsewhere. True when this call made one.

    Costs no query while nothing changes. An embedder that fails is asked again after RETRY_SECONDS.
    """
    global _failed_at
    served = roster.current()
    live = table.live(served)
    if not live.routes or served.keep("routing.fit.kept", lambda: is_kept(live)):
        return False
    if _failed_at is not None and time.monotonic() < _failed_at + RETRY_SECONDS:
        return False
    with _alone() as is_ours:
        if not is_ours or is_kept(live):
            return False
        try:
            _keep(live, served.epoch)
        except EmbedderFailed as failure:
            logger.warning("The route table is not fitted, and the last fit serves on: %s", failure)
            _failed_at = time.monotonic()
            return False
    _failed_at = None
    return True


def is_kept(live: RouteTable) -> bool:
    """Whether there is a fit of this very table."""
    return RoutingFit.objects.filter(digest=live.digest(embedders.configured().name)).exists()


def _keep(live: RouteTable, epoch: int) -> None:
    """Fit with no transaction open, then write the row, its event and the roster's new epoch in one."""
    embedder, began = embedders.configured(), time.monotonic()
    made = fit(live, embedder)
    seconds = round(time.monotonic() - began, 3)
    with events.recording() as log:
        row = RoutingFit.objects.create(
            digest=live.digest(embedder.name),
            epoch=epoch,
            embedder=embedder.name,
            weights=made.to_bytes(),
            thresholds=dict(made.thresholds),
            figures=dict(made.figures),
            seconds=seconds,
        )
        old = list(RoutingFit.objects.order_by("-id").values_list("pk", flat=True)[KEPT:])
        RoutingFit.objects.filter(pk__in=old).delete()
        log.platform("routes_fitted", fit=row.pk, embedder=embedder.name, held_out=made.figures["held_out"])


@contextmanager
def _alone() -> Iterator[bool]:
    """Whether no other process of the fleet is at it. The lock is the connection's: no transaction stands open.

    Behind a pooler that shares connections two may fit at once; the second row is refused, and nothing is lost.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
        is_ours = cursor.fetchone()[0]
        try:
            yield is_ours
        finally:
            if is_ours:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])
