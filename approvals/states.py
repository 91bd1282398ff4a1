"""The machines of this room: a request is open once and closed once; a standing approval serves until it ends."""

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

ACTIVE = "active"
REVOKED = "revoked"
USED_UP = "used_up"

STANDING = machine(
    "standing_approval",
    {
        ACTIVE: {REVOKED, EXPIRED, USED_UP},
        REVOKED: set(),  # by a person: covers nothing from the next call on
        EXPIRED: set(),  # by the clock
        USED_UP: {REVOKED},  # by its last use; a repeated send of that call is still covered, unless it is revoked
    },
    final=[REVOKED, EXPIRED, USED_UP],
)
