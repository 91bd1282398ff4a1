"""The one machine of this room: a request is open once and closed once."""

from orchestrator_site.core.transitions import machine

OPEN = "open"
APPROVED = "approved"
MODIFIED = "modified"
REJECTED = "rejected"
ANSWERED = "answered"
EXPIRED = "expired"
SUPERSEDED = "superseded"

REQUEST = machine(
    "approval_request",
    {
        OPEN: {APPROVED, MODIFIED, REJECTED, ANSWERED, EXPIRED, SUPERSEDED},
        APPROVED: set(),  # by a person: runs as asked
        MODIFIED: set(),  # by a person: runs as edited
        REJECTED: set(),  # by a person: does not run, and the agent is told why
        ANSWERED: set(),  # by a person: the answer stands in the tool's place
        EXPIRED: set(),  # by the clock: for effects the same as rejected
        SUPERSEDED: set(),  # by the system, or by an edit that another person has to decide
    },
)

PERSONAL = frozenset({APPROVED, MODIFIED, REJECTED, ANSWERED})
PERMITTING = frozenset({APPROVED, MODIFIED})
