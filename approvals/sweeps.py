"""The clock's part: closing what nobody decided in time."""

import logging

from approvals import decisions, standing
from approvals.models import ApprovalRequest

logger = logging.getLogger(__name__)


def expire_due(limit: int = 100) -> int:
    """Expire overdue requests, the longest overdue first; returns how many this sweep closed.

    The ids are picked without a lock, because a request is locked after what it is about; whoever sweeps or decides
    at the same time wins or loses at the row, and the loser finds nothing to do.
    """
    standing.expire_due(limit)
    due = list(ApprovalRequest.objects.overdue().order_by("deadline_at").values_list("pk", flat=True)[:limit])
    return sum(_expired(request_id) for request_id in due)


def _expired(request_id) -> bool:
    try:
        return decisions.expire(request_id) is not None
    except Exception:  # one request that cannot be closed must not keep all others open
        logger.exception("request %s could not be expired", request_id)
        return False
