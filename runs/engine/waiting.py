"""A held dispatch waits: for a person, or for a due time. It costs nothing while it does."""

import datetime as dt

from orchestrator_site.core.events import Record
from runs import leases, lifecycle, states
from runs.models import Dispatch
from runs.values import Waiting


def wait(log: Record, dispatch: Dispatch, on: str, *, due_at: dt.datetime | None = None) -> Waiting:
    """Give the lease back and wait. Whoever gets here ended no worker: the claim does not count for quarantine."""
    given_back = leases.given_back(dispatch) | {"claims_without_progress": 0}
    lifecycle.move_dispatch(log, dispatch, states.WAITING, waiting_on=on[:300], due_at=due_at, **given_back)
    return Waiting(on)
