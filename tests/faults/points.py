"""Where a worker may be struck, and what is known of a run's call there."""

from tests.faults.batch import Cell

NOT_YET, INTENDED, SENT, RECORDED = "no intent is committed", "the intent is", "it had its effect", "and was recorded"
FREE_CALLS = {
    "before_claim_commit": NOT_YET,
    "after_claim": NOT_YET,
    "after_reserve": NOT_YET,
    "after_reply": NOT_YET,
    "before_reply_commit": NOT_YET,
    "before_intent_commit": NOT_YET,
    "after_reply_commit": INTENDED,  # the reply and the intents of what may go at once are one transaction
    "after_intent": INTENDED,
    "during": SENT,
    "after_send": SENT,
    "before_record_commit": SENT,
    "after_record_commit": RECORDED,
    "before_doorbell": RECORDED,
}
# An approved call is the first thing its worker does, so that the next model call comes after it.
LATER = ["after_reserve", "after_reply", "before_reply_commit", "after_reply_commit"]
ASKED_CALLS = FREE_CALLS | dict.fromkeys(LATER, RECORDED)


def known_at(point: str, cell: Cell) -> str:
    return (ASKED_CALLS if cell.gated else FREE_CALLS)[point]


def commits_an_intent(point: str, cell: Cell) -> bool:
    """The worker stands in the transaction that decides to send."""
    return point == "before_intent_commit" or (point == "before_reply_commit" and not cell.gated)


def slice_turns(point: str) -> str:
    """A worker rings when its slice ends; within one it records what was sent as it reserves the next model call."""
    return "1" if point == "before_doorbell" else "20"
