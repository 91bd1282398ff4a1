"""Where a worker may be struck, and what is known of a run's call there."""

from tests.faults.batch import Cell

NOT_YET, INTENDED, SENT, RECORDED = "no intent is committed", "the intent is", "it had its effect", "and was recorded"
FREE_CALLS = {
    "before_claim_commit": NOT_YET,
    "after_claim": NOT_YET,
    "after_reserve": NOT_YET,
    "after_reply": NOT_YET,
    "before_reply_commit": NOT_YET,
    "after_reply_commit": NOT_YET,
    "before_doorbell": NOT_YET,
    "before_intent_commit": NOT_YET,
    "after_intent": INTENDED,
    "during": SENT,
    "after_send": SENT,
    "before_record_commit": SENT,
    "after_record_commit": RECORDED,
}
# An approved call is the first thing its worker does, so that the next model call and the doorbell come after it.
LATER = ["after_reserve", "after_reply", "before_reply_commit", "after_reply_commit", "before_doorbell"]
ASKED_CALLS = FREE_CALLS | dict.fromkeys(LATER, RECORDED)


def known_at(point: str, cell: Cell) -> str:
    return (ASKED_CALLS if cell.gated else FREE_CALLS)[point]


def is_in_a_transaction(point: str) -> bool:
    """The worker that stands there has rows locked."""
    return point.endswith("_commit") and point.startswith("before_")
