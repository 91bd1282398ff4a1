"""Approvals given beforehand, with a decision: of a tool, a pattern of arguments, and for how long or how often.

A use is counted in the transaction that writes the intent to send the call, by a conditional UPDATE, once a call.
Lock: the standing approval's row, after calls and requests.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Now

from approvals import closing, states
from approvals.errors import InvalidStanding, NotAllowedToDecide
from approvals.models import (
    CLOCK,
    MAY_DECIDE,
    MAY_VIEW,
    ApprovalRequest,
    Decision,
    StandingApproval,
    StandingApprovalQuerySet,
    StandingUse,
)
from orchestrator_site.core import canonical, events
from orchestrator_site.core.clock import database_now
from orchestrator_site.core.events import Record
from tools import patterns
from tools.matchers import Matcher

LONGEST = dt.timedelta(days=90)
MOST_USES = 10_000
NEVER_FOR_THIS = "Each call like this one has to be approved for itself: {why}."


@dataclass(frozen=True)
class Terms:
    """What a person says beside their approval. `pattern` has a matcher for every argument of the call.

    At least one of `this_run`, `expires_at` and `uses_at_most` bounds it.
    """

    pattern: Mapping[str, Matcher]
    this_run: bool = False
    any_agent: bool = False
    any_version: bool = False
    expires_at: dt.datetime | None = None
    uses_at_most: int | None = None


def why_not_for(request: ApprovalRequest) -> str | None:
    """A sentence that says why calls like this one cannot be approved beforehand; None when they can."""
    if not request.content.keys() >= {"tool", "tool_version", "agent", "arguments"}:
        return "Only calls of tools can be approved beforehand."
    if request.four_eyes:
        return NEVER_FOR_THIS.format(why="who starts the run may not decide it")
    if request.approvers > 1:
        return NEVER_FOR_THIS.format(why=f"{request.approvers} people have to")
    return None


def check(request: ApprovalRequest, terms: Terms) -> None:
    """Raises InvalidStanding."""
    if why := why_not_for(request):
        raise InvalidStanding({"": why})
    found = patterns.faults(terms.pattern, request.content["arguments"])
    faults = {f"pattern.{name}": fault for name, fault in found.items()}
    now = database_now()
    if not terms.this_run and terms.expires_at is None and terms.uses_at_most is None:
        faults[""] = "Say until when, how often, or that it holds in this run only."
    if terms.expires_at is not None and not now < terms.expires_at <= now + LONGEST:
        faults["expires_at"] = f"It has to end after now, and within {LONGEST.days} days."
    if terms.uses_at_most is not None and not 1 <= terms.uses_at_most <= MOST_USES:
        faults["uses_at_most"] = f"Between 1 and {MOST_USES} times."
    if faults:
        raise InvalidStanding(faults)


def give(log: Record, request: ApprovalRequest, decision: Decision, terms: Terms) -> StandingApproval:
    """In the transaction of the decision; the terms were checked."""
    assert decision.by is not None
    content = request.content
    given = StandingApproval.objects.create(
        tool=content["tool"],
        tool_version=None if terms.any_version else content["tool_version"],
        agent="" if terms.any_agent else content["agent"],
        run_id=request.run_id if terms.this_run else None,
        pattern=patterns.written(terms.pattern),
        risk=request.risk,
        group=request.group,
        decision=decision,
        given_by=decision.by,
        given_by_name=decision.by_name,
        given_at=decision.at,
        reason=decision.reason,
        expires_at=terms.expires_at,
        uses_at_most=terms.uses_at_most,
    )
    log.platform("standing_approval_given", actor=closing.actor_of(decision.by, decision.via), **_facts(given))
    return given


def use(log: Record, standing_id: int, *, run_id: UUID, call_id: UUID, arguments: str) -> bool:
    """Count this call, in the transaction that writes its intent; a repeated send of it is counted already.

    False when it ended, was revoked or was used up meanwhile: then the call may not run on it.
    """
    if StandingUse.objects.filter(standing_id=standing_id, call_id=call_id).exists():
        return _is_good_still(standing_id)
    row = StandingApproval.objects.active().filter(Q(uses_at_most=None) | Q(uses__lt=F("uses_at_most")), pk=standing_id)
    counted = row.update(
        uses=F("uses") + 1,
        status=Case(When(uses_at_most__lte=F("uses") + 1, then=Value(states.USED_UP)), default=F("status")),
        ended_at=Case(When(uses_at_most__lte=F("uses") + 1, then=Now()), default=F("ended_at")),
    )
    if not counted:
        return False
    StandingUse.objects.create(standing_id=standing_id, run_id=run_id, call_id=call_id, arguments=arguments)
    log.run(run_id, "standing_approval_used", standing=standing_id, call=str(call_id))
    return True


def _is_good_still(standing_id: int) -> bool:
    """Locked, so that a revocation that commits first is seen, and one that comes later finds the intent written."""
    good = StandingApproval.objects.filter(Q(expires_at=None) | Q(expires_at__gt=Now()), pk=standing_id)
    return bool(good.filter(status__in=[states.ACTIVE, states.USED_UP]).select_for_update(of=("self",)))


def revoke(standing_id: int, *, by: User, via: str, reason: str = "") -> StandingApproval:
    """From here on it covers nothing: an intent that is not committed yet does not commit on it.

    Raises StandingApproval.DoesNotExist, NotAllowedToDecide. Nothing happens to one that has ended.
    """
    if not may_see(by) or not by.has_perm(MAY_DECIDE):
        raise NotAllowedToDecide("You do not have the permission to decide approval requests.")
    with events.recording() as log:
        standing = StandingApproval.objects.select_for_update().get(pk=standing_id)
        if states.REVOKED in states.STANDING.table[standing.status]:
            _end(log, standing, states.REVOKED, by=by, via=via, why=reason.strip())
        return standing


def expire_due(limit: int = 100) -> int:
    """Mark those whose time is over, or whose giver may decide no more; they have covered nothing since. How many this
    sweep marked."""
    rows = StandingApproval.objects
    with events.recording() as log:
        due = list(rows.overdue().order_by("pk").select_for_update(skip_locked=True)[:limit])
        for standing in due:
            _end(log, standing, states.EXPIRED, via=CLOCK)
        orphaned = list(rows.orphaned().order_by("pk").select_for_update(skip_locked=True, of=("self",))[:limit])
        for standing in orphaned:
            if standing.status == states.ACTIVE:
                _end(log, standing, states.REVOKED, via=CLOCK, why=f"{standing.given_by_name} may decide no more.")
    return len(due) + len(orphaned)


def _end(
    log: Record, standing: StandingApproval, status: str, *, via: str, by: User | None = None, why: str = ""
) -> None:
    name = closing.name_of(by, via)
    states.STANDING.move(standing, status, ended_at=database_now(), ended_by_name=name, ended_why=why)
    told = {"standing": standing.pk, "by": name, "why": why, "uses": standing.uses}
    log.platform(f"standing_approval_{status}", actor=closing.actor_of(by, via), **told)


def may_see(user: User | AnonymousUser) -> bool:
    return user.is_active and (user.has_perm(MAY_VIEW) or user.has_perm(MAY_DECIDE))


def visible_to(user: User | AnonymousUser) -> StandingApprovalQuerySet:
    """All of them for who may view or decide requests; none for others."""
    return StandingApproval.objects.all() if may_see(user) else StandingApproval.objects.none()


def in_words(standing: StandingApproval, uses: int | None = None) -> str:
    """“Ann approved this pattern until 27 Nov 12:00 UTC (standing approval 3, 2 of 10 used).”"""
    until = f" until {standing.expires_at:%d %b %H:%M} UTC" if standing.expires_at else ""
    where = " in this run" if standing.run_id else ""
    of = f" of {standing.uses_at_most}" if standing.uses_at_most is not None else ""
    used = standing.uses if uses is None else uses
    name = standing.given_by_name
    return f"{name} approved this pattern{where}{until} (standing approval {standing.pk}, {used}{of} used)."


def _facts(given: StandingApproval) -> dict[str, Any]:
    return {
        "standing": given.pk,
        "request": str(given.decision.request_id),
        "tool": given.tool,
        "tool_version": given.tool_version,
        "agent": given.agent,
        "run": str(given.run_id) if given.run_id else None,
        "pattern": canonical.loads(given.pattern),
        "risk": given.risk,
        "group": given.group,
        "expires_at": given.expires_at.isoformat() if given.expires_at else None,
        "uses_at_most": given.uses_at_most,
    }
