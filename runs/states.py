"""Every move that a run, a node, a dispatch, a step, a tool call, an attempt, a handoff, a plan, a simulation and a
circuit breaker can ever make."""

from enum import StrEnum

from orchestrator_site.core.transitions import machine

# -- run ---------------------------------------------------------------------------------------------------------
ACCEPTED, WORKING, WAITING, PAUSED = "accepted", "working", "waiting", "paused"
SUCCEEDED, FAILED, CANCELLED = "succeeded", "failed", "cancelled"

RUN = machine(
    "run",
    {
        ACCEPTED: {WORKING, CANCELLED},
        WORKING: {WAITING, PAUSED, SUCCEEDED, FAILED, CANCELLED},
        WAITING: {WORKING, PAUSED, SUCCEEDED, FAILED, CANCELLED},  # on people, on a due time
        PAUSED: {WORKING, SUCCEEDED, FAILED, CANCELLED},  # succeeded, failed: what was in hand came to the end
        SUCCEEDED: {WORKING},  # a person's comment has a part of it done again
        FAILED: {WORKING},
        CANCELLED: set(),
    },
    final={SUCCEEDED, FAILED, CANCELLED},
)

# -- node: a place in the run's DAG ------------------------------------------------------------------------------
BLOCKED, READY, SKIPPED = "blocked", "ready", "skipped"

NODE = machine(
    "node",
    {
        BLOCKED: {READY, SKIPPED, CANCELLED},  # parents are still at work
        READY: {WORKING, FAILED, SKIPPED, CANCELLED},  # for a free place, or a due time
        # ready: to be tried again; a dispatch of it, or the nodes within it, are at work
        WORKING: {READY, WAITING, SUCCEEDED, FAILED, SKIPPED, CANCELLED},
        WAITING: {READY, WORKING, SUCCEEDED, FAILED, SKIPPED, CANCELLED},  # on a person
        SUCCEEDED: {WORKING},  # something within it is done again
        FAILED: {WORKING},
        SKIPPED: set(),
        CANCELLED: set(),
    },
    final={SUCCEEDED, FAILED, SKIPPED, CANCELLED},
)

# -- dispatch: one agent's try at a node -------------------------------------------------------------------------
QUEUED = "queued"

DISPATCH = machine(
    "dispatch",
    {
        # waiting: for a free place of its agent; failed: deadline, quarantine
        QUEUED: {WORKING, WAITING, PAUSED, FAILED, CANCELLED},
        WORKING: {QUEUED, WAITING, PAUSED, SUCCEEDED, FAILED, CANCELLED},  # queued again: between two slices
        WAITING: {QUEUED, PAUSED, FAILED, CANCELLED},  # on a person or a due time
        PAUSED: {QUEUED, FAILED, CANCELLED},
        SUCCEEDED: set(),
        FAILED: set(),
        CANCELLED: set(),
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
EXECUTING, DONE, REFUSED = "executing", "done", "refused"
UNCERTAIN, RESOLVED = "uncertain", "resolved"

TOOL_CALL = machine(
    "tool_call",
    {
        PROPOSED: {RULED, CANCELLED},
        RULED: {AWAITING_APPROVAL, DEFERRED, READY, REFUSED, CANCELLED},
        # done: a person answered in the tool's place; uncertain: it was sent before, and nobody knows what became of it
        AWAITING_APPROVAL: {READY, DONE, REFUSED, CANCELLED, UNCERTAIN},
        DEFERRED: {RULED, REFUSED, CANCELLED, UNCERTAIN},
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

# -- plan --------------------------------------------------------------------------------------------------------
PLAN = machine(
    "plan",
    {
        PROPOSED: {ACCEPTED, DECLINED, EXPIRED, CANCELLED},
        ACCEPTED: set(),
        DECLINED: set(),
        EXPIRED: set(),
        CANCELLED: set(),
    },
)

# -- simulation --------------------------------------------------------------------------------------------------
SIMULATION = machine(
    "simulation",
    {
        QUEUED: {WORKING, FAILED, CANCELLED},
        WORKING: {DONE, FAILED, CANCELLED},
        DONE: set(),
        FAILED: set(),
        CANCELLED: set(),
    },
)

# -- circuit breaker ---------------------------------------------------------------------------------------------
CLOSED, OPEN, HALF_OPEN = "closed", "open", "half_open"

BREAKER = machine(
    "breaker",
    {
        CLOSED: {OPEN},
        OPEN: {OPEN, HALF_OPEN, CLOSED},  # open again: a person keeps it so
        HALF_OPEN: {OPEN, CLOSED},
    },
)
