"""What a worker does with the dispatches that reached no boundary when its grace time is over."""

import logging
from datetime import timedelta

from django.db import Error as DatabaseError
from django.db import connection
from django.db.models.functions import Now

from orchestrator_site.core import events
from runs import doorbells, leases, lifecycle, states
from runs.errors import LostLease
from runs.values import Lease

logger = logging.getLogger(__name__)

# From here until this process has ended.
LAST_STEPS_SECONDS = 1
LOCK_TIMEOUT = "1s"


def hand_back() -> None:
    """Give back what is still held; the caller ends this process at once.

    Whose model is being asked is queued again: its reply, and the money for it, is lost. Whose call is being executed
    cannot be, since only the end of this process proves that nothing more comes of it: its lease runs out right after,
    and whoever takes over does what the call's effect class says.
    """
    for lease in leases.keeper.held():
        try:
            _hand_back(lease)
        except LostLease as error:
            logger.info("nothing to hand back: %s", error)
        except DatabaseError as error:
            logger.warning("dispatch %s left to its lease: %s", lease.dispatch_id, error)
    connection.close()


def _hand_back(lease: Lease) -> None:
    with events.recording() as log:
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
        dispatch = leases.hold(lease)
        is_executing = dispatch.calls.filter(status=states.EXECUTING).exists()
        if is_executing:
            leases.note(
                dispatch,
                lease_until=Now() + timedelta(seconds=LAST_STEPS_SECONDS),
                hand_deadline=Now(),  # so that nobody renews it
                rung_at=Now() - leases.lease_length(),
            )
        else:
            claims = max(dispatch.claims_without_progress - 1, 0)  # this one ended no worker
            changes = leases.given_back(dispatch) | {"claims_without_progress": claims}
            lifecycle.move_dispatch(log, dispatch, states.QUEUED, **changes)
        log.run(dispatch.run_id, "worker_stopped", dispatch=str(dispatch.pk), worker=lease.owner)
    if not is_executing:
        doorbells.ring(lease.dispatch_id)
