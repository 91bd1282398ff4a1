"""What pages need of a request: the card that shows it, and what came of it in plain words."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.utils import timezone

from approvals import eligibility, kinds, states
from approvals.kinds import Kind
from approvals.models import CLOCK, ApprovalRequest, Decision
from orchestrator_site.core.templatetags.plain import ago_words

QUEUE, RUN, PAGE = "queue", "run", "page"

_DID = {
    states.APPROVED: "approved this",
    states.MODIFIED: "changed this and approved it",
    states.REJECTED: "rejected this",
    states.ANSWERED: "answered this",
}


@dataclass(frozen=True)
class Card:
    """One request as one person sees it. `origin` is the page it stands on, where the person goes back to.

    After a fault, `fault` says what was wrong and `typed` what was posted, so that nothing has to be written again.
    """

    request: ApprovalRequest
    kind: Kind
    objection: str | None
    allowed: frozenset[str]
    origin: str = PAGE
    fault: str = ""
    typed: Mapping[str, str] = field(default_factory=dict)

    @property
    def template(self) -> str:
        return self.kind.template

    @property
    def is_beside_words(self) -> bool:
        """On the run's page the agent's own words stand right above the call."""
        return self.origin == RUN and self.request.call_id is not None

    @property
    def is_open(self) -> bool:
        return self.request.status == states.OPEN

    @property
    def decision(self) -> Decision | None:
        return getattr(self.request, "decision", None)

    @property
    def successor(self) -> ApprovalRequest | None:
        return getattr(self.request, "successor", None) if self.request.status == states.SUPERSEDED else None

    @property
    def told(self) -> str:
        """Who decided, what and when, in one sentence."""
        return told(self.decision) if self.decision else ""

    @property
    def may_approve(self) -> bool:
        return states.APPROVED in self.allowed

    @property
    def may_modify(self) -> bool:
        return states.MODIFIED in self.allowed

    @property
    def may_reject(self) -> bool:
        return states.REJECTED in self.allowed

    @property
    def may_answer(self) -> bool:
        return states.ANSWERED in self.allowed

    @property
    def opened(self) -> str:
        """Which of its forms stands open: the one that was posted with a fault."""
        return self.typed.get("verdict", "") if self.fault else ""


def card(
    request: ApprovalRequest,
    user: User | AnonymousUser,
    *,
    origin: str = PAGE,
    fault: str = "",
    typed: Mapping[str, str] | None = None,
) -> Card:
    """Expects requester and decision to be joined."""
    kind = kinds.get(request.kind)
    objections = {verdict: eligibility.why_not(request, user, verdict) for verdict in sorted(kind.verdicts)}
    allowed = frozenset(verdict for verdict, objection in objections.items() if objection is None)
    objection = None if allowed else next(iter(objections.values()))
    return Card(request, kind, objection, allowed, origin, fault, typed or {})


def told(decision: Decision) -> str:
    """“Alice approved this 3 s ago.”"""
    when = ago_words((timezone.now() - decision.at).total_seconds())
    if decision.via == CLOCK:
        return f"Nobody decided in time: it expired {when}."
    if decision.verdict == states.SUPERSEDED:
        return f"It was taken back by {decision.by_name} {when}. {decision.reason}".strip()
    stopped = " and stopped the agent" if decision.stop else ""
    return f"{decision.by_name} {_DID[decision.verdict]}{stopped} {when}."


def next_after(ids: Iterable[Any], current: Any) -> Any | None:
    """What stands below `current` in a queue, else above it; None when it stood alone."""
    queue = list(ids)
    if current not in queue:
        return queue[0] if queue else None
    place = queue.index(current)
    others = queue[place + 1 : place + 2] or queue[max(0, place - 1) : place]
    return others[0] if others else None
