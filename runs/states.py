"""Every move that a run, a dispatch, a step, a tool call, an attempt and a handoff can ever make."""

from enum import StrEnum

from orchestrator_site.core.transitions import machine

# -- run ---------------------------------------------------------------------------------------------------------
ACCEPTED, WORKING, WAITING = "accepted", "working", "waiting"
SUCCEEDED, FAILED, CANCELLED = "succeeded", "failed", "cancelled"

RUN = machine(
    "run",
    {
        ACCEPTED: {WORKING, CANCELLED},
        WORKING: {WAITING, SUCCEEDED, FAILED, CANCELLED},
        WAITING: {WORKING, SUCCEEDED, FAILED, CANCELLED},  # on people, on a due time
        SUCCEEDED: set(),
        FAILED: set(),
        CANCELLED: set(),
    },
)

# -- dispatch ----------------------------------------------------------------------------------------------------
BLOCKED, QUEUED, SKIPPED = "blocked", "queued", "skipped"

DISPATCH = machine(
    "dispatch",
    {
        BLOCKED: {QUEUED, SKIPPED, FAILED, CANCELLED},  # parents are still at work
        QUEUED: {WORKING, FAILED, CANCELLED},  # failed: deadline, quarantine
        WORKING: {QUEUED, WAITING, SUCCEEDED, FAILED, CANCELLED},  # queued again: between two slices
        WAITING: {QUEUED, FAILED, CANCELLED},  # on a person or a due time
        SUCCEEDED: set(),
        FAILED: set(),
        CANCELLED: set(),
        SKIPPED: set(),
    },
)


class StopReason(StrEnum):
    """Why a dispatch ended: exactly one. Only the first two are green."""

    FINISHED = "finished"
    HANDED_OFF = "handed_off"
    MAX_ITERATIONS = "max_iterations"
    MAX_TOKENS = "max_tokens"
    BUDGET = "budget"
    TIMEOUT = "timeout"
    LOOP_DETECTED = "loop_detected"
    REFUSED = "refused"
    REJECTED = "rejected"
    MODEL_FAILED = "model_failed"
    CONTRACT_VIOLATED = "contract_violated"
    QUARANTINED = "quarantined"
    CANCELLED = "cancelled"
    NEEDS_HUMAN = "needs_human"


GREEN = frozenset({StopReason.FINISHED, StopReason.HANDED_OFF})


def status_for(reason: StopReason) -> str:
    """The status in which a dispatch ends. Cut off is never green."""
    if reason in GREEN:
        return SUCCEEDED
    return CANCELLED if reason == StopReason.CANCELLED else FAILED


# -- step: one model call ----------------------------------------------------------------------------------------
ASKED, ANSWERED, LOST = "asked", "answered", "lost"

STEP = machine(
    "step",
    {
        ASKED: {ANSWERED, FAILED, LOST},  # lost: its worker went away before the reply was recorded
        ANSWERED: set(),
        FAILED: set(),
        LOST: set(),
    },
)

# -- tool call ---------------------------------------------------------------------------------------------------
PROPOSED, RULED, AWAITING_APPROVAL, DEFERRED = "proposed", "ruled", "awaiting_approval", "deferred"
READY, EXECUTING, DONE, REFUSED = "ready", "executing", "done", "refused"
UNCERTAIN, RESOLVED = "uncertain", "resolved"

TOOL_CALL = machine(
    "tool_call",
    {
        PROPOSED: {RULED, CANCELLED},
        RULED: {AWAITING_APPROVAL, DEFERRED, READY, REFUSED, CANCELLED},
        AWAITING_APPROVAL: {READY, DONE, REFUSED, CANCELLED},  # done: a person answered in the tool's place
        DEFERRED: {RULED, REFUSED, CANCELLED},
        # ruled again: today's policy is stricter; done, failed, awaiting: platform tools, which need no attempt
        READY: {EXECUTING, RULED, DONE, FAILED, AWAITING_APPROVAL, REFUSED, CANCELLED, UNCERTAIN},
        EXECUTING: {DONE, FAILED, READY, UNCERTAIN},  # ready: may be sent again
        UNCERTAIN: {RESOLVED, READY},  # ready: a person says it did not happen, run it again
        DONE: set(),
        FAILED: set(),
        REFUSED: set(),
        CANCELLED: set(),
        RESOLVED: set(),
    },
)
# Of a call that has left the platform, or may have.
MAY_HAVE_SENT = [EXECUTING, DONE, FAILED, UNCERTAIN, RESOLVED]

# -- attempt: one send of a tool call ----------------------------------------------------------------------------
SENT, UNKNOWN = "sent", "unknown"

ATTEMPT = machine(
    "attempt",
    {
        SENT: {SUCCEEDED, FAILED, UNKNOWN},  # unknown: nobody recorded how it ended
        SUCCEEDED: set(),
        FAILED: set(),
        UNKNOWN: set(),
    },
)

# -- handoff -----------------------------------------------------------------------------------------------------
DECLINED, EXPIRED = "declined", "expired"

HANDOFF = machine(
    "handoff",
    {
        PROPOSED: {ACCEPTED, DECLINED, EXPIRED, CANCELLED},
        ACCEPTED: set(),
        DECLINED: set(),
        EXPIRED: set(),
        CANCELLED: set(),
    },
)
