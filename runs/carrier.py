"""Carry a dispatch through turns for a slice, then hand it on."""

import logging
import threading
from uuid import UUID

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection

from orchestrator_site.core import outages
from runs import doorbells, engine, leases, orchestration, restored, suspects
from runs.errors import LostLease, Suspected
from runs.pacing import turns
from runs.values import Continue, Lease

logger = logging.getLogger(__name__)

# Set when this process was told to stop: what is held is handed on at the next boundary.
draining = threading.Event()

# After an error of ours the next claim waits, so that a poisoned dispatch does not spin until it is set aside.
TRIPPED_SECONDS = 2


def carry(dispatch_id: UUID, *, alone: bool = False, fairly: bool = False) -> bool:
    """Claim a dispatch and move it as far as a slice goes; False when there was nothing to claim.

    `alone`: this process carries nothing else, so that it may carry a suspect. `fairly`: the one whose turn it is,
    where that is another one.
    """
    if draining.is_set():
        doorbells.ring(dispatch_id)  # for another worker
        return False
    lease = None
    try:
        if not restored.may_carry():
            return False
        lease = leases.claim_next(dispatch_id) if fairly else leases.claim(dispatch_id, alone=alone)
        if lease is None:
            return False
        with leases.keeper.keeping(lease):
            _carry(lease)
        orchestration.advance(lease.run_id)
        turns.call_held()
    except LostLease as error:
        logger.info("stopped: %s", error)
    except Suspected:
        return suspects.carry(dispatch_id, draining)
    except DatabaseError as error:
        # Whatever was not committed did not happen; the lease runs out and the reconciler calls the next worker.
        logger.warning("dispatch %s left to its lease: %s", dispatch_id, error)
        if lease is not None and outages.is_away(error):
            leases.keeper.drop(lease)
    finally:
        connection.close()
    return True


def _carry(lease: Lease) -> None:
    loop = engine.Loop(lease, is_new=lease.fence == 1)
    for _ in range(settings.BATON_SLICE_TURNS):
        try:
            outcome = loop.advance()
        except (LostLease, DatabaseError):
            raise
        except Exception:
            logger.exception("dispatch %s tripped over an error of ours", lease.dispatch_id)
            leases.hand_on(lease, due_in_seconds=TRIPPED_SECONDS)
            return
        if not isinstance(outcome, Continue):
            return
        if outcome.moves_run:
            orchestration.advance(lease.run_id)
        if draining.is_set():
            break
    loop.pause()
    leases.hand_on(lease)
    doorbells.ring(lease.dispatch_id)
