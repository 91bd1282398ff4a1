"""Call a worker to a dispatch. A lost call costs time, never work: the reconciler finds what nobody came for."""

import logging
from datetime import timedelta
from uuid import UUID

from celery import current_app
from django.conf import settings
from django.db.models.functions import Now
from kombu.exceptions import OperationalError

from orchestrator_site.core import crashpoints
from orchestrator_site.core.commits import after_commit
from orchestrator_site.core.doorbell import breaker
from runs.models import Dispatch

logger = logging.getLogger(__name__)

CARRY = "runs.tasks.carry"
# So that they do not pile up where no worker runs. Whoever hears one judges by his own clock when that is over: it is
# long enough for clocks that are hours apart.
HEARD_WITHIN_SECONDS = 24 * 3600


def ring_after_commit(dispatch_id: UUID) -> None:
    """Note the call in the caller's transaction, and ring once it is committed."""
    Dispatch.objects.filter(pk=dispatch_id).update(rung_at=Now())
    ring_new_after_commit(dispatch_id)


def ring_new_after_commit(dispatch_id: UUID) -> None:
    """For a row that this transaction inserts: `rung_at` is that moment already."""
    after_commit(_ring_or_leave, dispatch_id)


def _ring_or_leave(dispatch_id: UUID) -> None:
    """Where the broker is away, the next reconciler that looks comes for it."""
    if not ring(dispatch_id):
        Dispatch.objects.filter(pk=dispatch_id).update(rung_at=Now() - timedelta(seconds=settings.BATON_LEASE_SECONDS))


def ring(dispatch_id: UUID) -> bool:
    """Never raises; False when the broker did not take it."""
    crashpoints.reach("before_doorbell")
    if breaker.is_open:  # whether Redis is back is found out by those doorbells that wait for less than the broker does
        return False
    try:
        current_app.send_task(CARRY, args=[str(dispatch_id)], retry=False, expires=HEARD_WITHIN_SECONDS)
        breaker.worked()
    except (OperationalError, OSError) as error:
        breaker.failed()
        logger.warning("no worker called to dispatch %s: %s", dispatch_id, error)
        return False
    return True
